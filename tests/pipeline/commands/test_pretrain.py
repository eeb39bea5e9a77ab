"""The command `pretrain`, alone and in several processes that `torchrun` starts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.model.encoder import Encoder
from tests import jobs
from tests.dpixels import write_samples
from tests.model.pretrain.seasons import fields
from tests.model.pretrain.test_training import told

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


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Here and in processes that are started: bytes depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_killed_and_written_otherwise_it_ends_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["pretrain", f"--data={folder}", *SMALL, "--steps=5"]
    state = tmp_path / "killed/state.pt"
    assert jobs.kill_when([*words, f"--out={state.parent}"], state.exists) in (-9, None)
    monkeypatch.chdir(tmp_path)
    again = ["pretrain", "--json", "--out", "killed/", "--steps=5", *SMALL[1:], "--data"]
    assert jobs.run_here([*again, str(folder)]) == 0
    assert jobs.run_here([*words, "--out=whole"]) == 0
    for name in ("history.csv", "last.safetensors", "best.safetensors", "options.json"):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes(), name
    killed, whole = (
        torch.load(f"{each}/state.pt", weights_only=True) for each in ("killed", "whole")
    )
    assert told(killed) == told(whole)
