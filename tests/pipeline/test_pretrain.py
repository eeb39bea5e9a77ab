"""`pretrain` goes from folders of d-pixels to a weights file, and says what it cannot use."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.cards import card_named
from model.checkpoint import read_checkpoint
from model.encoder import Encoder
from model.pretrain.samples import encode_samples
from pipeline.errors import BadInput
from pipeline.pretrain import pretrain_arguments, pretrain_command
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
    out = tmp_path_factory.mktemp("d-pixels")
    samples = fields(count=12, side=5)
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
    ],
)
def test_what_cannot_be_trained_is_refused(
    folder: Path, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        pretrain(f"--data={folder}", f"--out={tmp_path}", *words)


def test_a_folder_without_d_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="make d-pixels with `sample`"):
        pretrain(f"--data={tmp_path}", f"--out={tmp_path / 'out'}")
