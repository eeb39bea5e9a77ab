"""The command `pretrain`, alone and in several processes that `torchrun` starts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.model.encoder import Encoder
from tests import jobs
from tests.dpixels import write_samples
from tests.model.pretrain.seasons import fields

SMALL = ("--steps=2", "--batch=32", "--s2-tokens=4", "--s1-tokens=4", "--projector=16")
SMALL += ("--every=1", "--precision=fp32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """d-pixels of 12 labelled fields, in two files."""
    return write_samples(tmp_path_factory.mktemp("d-pixels"), fields(count=12, side=5))


def test_messages_name_the_options(folder: Path, tmp_path: Path, said: Callable[..., Any]) -> None:
    words = [*SMALL, f"--data={folder}", f"--out={tmp_path}"]
    assert "pretrain: --s2-tokens 0: choose 1 or more" in said("pretrain", *words, "--s2-tokens=0")
    probed = said("pretrain", *words, f"--probe={folder}", "--init", folder / "0.npz")
    assert "0.npz: it cannot be read safely as weights" in probed


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_several_processes_end_well_and_the_first_tells(
    folder: Path, tmp_path: Path, sharding: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2"]
    launch += [
        "--master-addr=127.0.0.1",
        f"--master-port={port}",
        "-m",
        "tessera_mosaic",
        "pretrain",
    ]
    words = [*SMALL, f"--data={folder}", f"--out={tmp_path}", f"--sharding={sharding}", "--json"]
    done = subprocess.run(
        [sys.executable, *launch, *words],
        cwd=jobs.ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["history"]["step"] == told["steps"] == 2
    assert json.loads((tmp_path / "options.json").read_text())["processes"] == 2
    Encoder.load(told["best"], card_named("v2-nano"), threads=1)
