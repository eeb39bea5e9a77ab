"""`pretrain` goes from folders of d-pixels to a weights file, and says what it cannot use."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.model.checkpoints.checkpoint import read_checkpoint
from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.model.pretrain.samples import Samples, encode_samples
from tessera_mosaic.pipeline.commands.pretrain import pretrain_arguments, pretrain_command
from tessera_mosaic.pipeline.errors import BadInput
from tests import jobs
from tests.model.pretrain.seasons import fields

SMALL = ("--steps=2", "--batch=32", "--s2-tokens=4", "--s1-tokens=4", "--projector=16")
SMALL += ("--every=1", "--precision=fp32")


def pretrain(*words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    pretrain_arguments(parser)
    args = parser.parse_args([*SMALL, *words])
    args.json = True
    return pretrain_command(args)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """d-pixels of 12 labelled fields, in two files."""
    return write_samples(tmp_path_factory.mktemp("d-pixels"), fields(count=12, side=5))


def write_samples(out: Path, samples: Samples) -> Path:
    """A folder as `sample` makes it, with two files."""
    halves = np.array_split(np.arange(len(samples)), 2)
    for number, half in enumerate(halves):
        (out / f"{number}.npz").write_bytes(encode_samples(samples.take(half)))
    files = {f"{number}.npz": len(half) for number, half in enumerate(halves)}
    (out / "index.json").write_text(json.dumps({"files": files, "failed": {}}))
    return out


def test_it_makes_weights_that_the_encoder_takes(folder: Path, tmp_path: Path) -> None:
    told = pretrain(f"--data={folder}", f"--out={tmp_path}")
    assert told["steps"] == 2
    assert told["history"]["rank"] > 0
    encoder = Encoder.load(told["best"], card_named("v2-nano"), threads=1)
    assert encoder.card.sizes == card_named("v2-nano").sizes


def test_a_student_starts_from_weights_and_follows_a_teacher(folder: Path, tmp_path: Path) -> None:
    teacher = pretrain(f"--data={folder}", f"--out={tmp_path / 'teacher'}")["best"]
    words = [f"--data={folder}", f"--teacher={teacher}", f"--init={teacher}", "--lr=0"]
    told = pretrain(*words, f"--probe={folder}", f"--out={tmp_path / 'student'}")
    assert {"prefix_16", "prefix_128", "probe"} <= told["history"].keys()
    one, other = (read_checkpoint(path).state for path in (teacher, told["last"]))
    assert all(bool((one[name] == other[name]).all()) for name in one)


def test_other_options_do_not_go_on_in_a_folder(folder: Path, tmp_path: Path) -> None:
    pretrain(f"--data={folder}", f"--out={tmp_path}")
    with pytest.raises(BadInput, match="with other options"):
        pretrain(f"--data={folder}", f"--out={tmp_path}", "--mix=0")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--batch=1000",), "do not fill a batch"),
        (("--steps=0",), "have to be 1 or more"),
        (("--model=v1.1-mpc",), "v1.1-mpc"),
        (("--out=gs://bucket/folder",), "local folder"),
        (("--out=/dev/null/folder",), "there is a file where a folder"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    folder: Path, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        pretrain(f"--data={folder}", f"--out={tmp_path}", *words)
    assert not list(tmp_path.iterdir()), "the right options have to be free to use the folder"


def test_a_probe_needs_classes_and_fields(tmp_path: Path) -> None:
    samples = fields(count=4, side=8)
    folder = write_samples(tmp_path, samples)
    (tmp_path / "one").mkdir()
    one = dataclasses.replace(samples, labels=np.ones_like(samples.labels))
    other = dataclasses.replace(samples, labels=(samples.labels % 2 + 1).astype(np.int32))
    for probed, says in ((one, "no two classes"), (other, "5 folds need as many fields")):
        labelled = write_samples(tmp_path / "one", probed)
        with pytest.raises(BadInput, match=says):
            pretrain(f"--data={folder}", f"--probe={labelled}", f"--out={tmp_path / 'out'}")


def test_an_index_that_names_other_files_is_refused(tmp_path: Path) -> None:
    folder = write_samples(tmp_path, fields(count=4))
    (folder / "1.npz").write_bytes((folder / "0.npz").read_bytes()[:-40])
    with pytest.raises(BadInput, match=r"1\.npz holds no d-pixels"):
        pretrain(f"--data={folder}", f"--out={tmp_path / 'out'}")
    (folder / "1.npz").unlink()
    with pytest.raises(BadInput, match=r"has no 1\.npz"):
        pretrain(f"--data={folder}", f"--out={tmp_path / 'out'}")


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


def test_a_folder_without_d_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="make d-pixels with `sample`"):
        pretrain(f"--data={tmp_path}", f"--out={tmp_path / 'out'}")
