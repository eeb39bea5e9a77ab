"""Training goes from folders of d-pixels to a weights file, and says what it cannot use."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.model.checkpoints.checkpoint import read_checkpoint
from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.model.pretrain.training import BEST, LAST
from tessera_mosaic.pipeline.embedding.encoder_requests import PretrainRequest
from tessera_mosaic.pipeline.embedding.pretraining import OPTIONS, Pretrained, pretrain
from tessera_mosaic.pipeline.errors import BadInput
from tests.dpixels import write_samples
from tests.model.pretrain.seasons import fields

SMALL = {"steps": 2, "batch": 32, "s2_tokens": 4, "s1_tokens": 4, "projector": 16, "every": 1}


def trained(data: Path | str, out: Path | str, **more: object) -> Pretrained:
    """Train on a folder of d-pixels, with the small numbers of the tests."""
    made = pretrain(PretrainRequest((str(data),), str(out), precision="fp32", **SMALL | more))
    assert made is not None
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """d-pixels of 12 labelled fields, in two files."""
    return write_samples(tmp_path_factory.mktemp("d-pixels"), fields(count=12, side=5))


def test_it_makes_weights_that_the_encoder_takes(folder: Path, tmp_path: Path) -> None:
    told = trained(folder, tmp_path)
    assert told.steps == 2
    assert told.history["rank"] > 0
    encoder = Encoder.load(told.best, card_named("v2-nano"), threads=1)
    assert encoder.card.sizes == card_named("v2-nano").sizes


def test_a_student_starts_from_weights_and_follows_a_teacher(folder: Path, tmp_path: Path) -> None:
    teacher = str(trained(folder, tmp_path / "teacher").best)
    asked = {"teacher": teacher, "init": teacher, "lr": 0.0, "probe": str(folder)}
    told = trained(folder, tmp_path / "student", **asked)
    assert {"prefix_16", "prefix_128", "probe"} <= told.history.keys()
    one, other = (read_checkpoint(path).state for path in (teacher, told.last))
    assert all(bool((one[name] == other[name]).all()) for name in one)


def test_other_options_do_not_go_on_in_a_folder(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path)
    with pytest.raises(BadInput, match="with other options"):
        trained(folder, tmp_path, mix=0.0)


def test_a_training_goes_by_content_and_not_by_spelling(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = tmp_path / "teacher.safetensors"
    shutil.copy(trained(folder, tmp_path / "first").best, teacher)
    shutil.copytree(folder, tmp_path / "data")
    asked = {"probe": str(folder), "teacher": str(teacher), "init": str(teacher)}
    out = tmp_path / "out"
    first = trained(tmp_path / "data", out, **asked)
    monkeypatch.chdir(tmp_path)
    spelled = {"probe": "data", "teacher": "./teacher.safetensors", "init": "teacher.safetensors"}
    assert trained("data", "./out/", **spelled).history == first.history
    trained(folder, tmp_path / "other", seed=1)
    shutil.copy(tmp_path / "other" / LAST, teacher)
    with pytest.raises(BadInput, match="another teacher and init"):
        trained(folder, out, **asked)
    shutil.copy(tmp_path / "first" / BEST, teacher)
    write_samples(tmp_path / "data", fields(count=12, side=5, seed=1))
    with pytest.raises(BadInput, match=r"another data \(see"):
        trained("data", out, **asked)


def test_a_training_goes_on_whose_folder_tells_how_its_options_were_spelt(
    folder: Path, tmp_path: Path
) -> None:
    first = trained(folder, tmp_path)
    files = json.loads((folder / "index.json").read_text())["files"]
    earlier = json.loads((tmp_path / OPTIONS).read_text()) | {
        **{"data": [str(folder)], "files": {f"0/{name}": n for name, n in files.items()}},
        **{"out": "elsewhere", "words": ["pretrain", "--steps=2"]},
    }
    (tmp_path / OPTIONS).write_text(json.dumps(earlier))
    assert trained(folder, tmp_path).history == first.history
    with pytest.raises(BadInput, match="other options or files: another mix"):
        trained(folder, tmp_path, mix=0.0)
    (tmp_path / OPTIONS).write_text("{")
    with pytest.raises(BadInput, match=r"options\.json cannot be read"):
        trained(folder, tmp_path)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"batch": 1000}, "do not fill a batch"),
        ({"steps": 0}, "steps 0: choose 1 or more"),
        ({"model": "v1.1-mpc"}, r"model v1\.1-mpc: only encoders of v2"),
        ({"out": "gs://bucket/folder"}, "local folder"),
        ({"out": "/dev/null/folder"}, "there is a file where a folder"),
        ({"sharding": "none"}, "sharding none: choose ddp or fsdp"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    folder: Path, tmp_path: Path, asked: dict[str, object], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        trained(folder, **{"out": tmp_path} | asked)
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
            trained(folder, tmp_path / "out", probe=str(labelled))


def test_an_index_that_names_other_files_is_refused(tmp_path: Path) -> None:
    folder = write_samples(tmp_path, fields(count=4))
    (folder / "1.npz").write_bytes((folder / "0.npz").read_bytes()[:-40])
    with pytest.raises(BadInput, match=r"1\.npz holds no d-pixels"):
        trained(folder, tmp_path / "out")
    (folder / "1.npz").unlink()
    with pytest.raises(BadInput, match=r"has no 1\.npz"):
        trained(folder, tmp_path / "out")


def test_a_folder_without_d_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="make d-pixels with `sample`"):
        trained(tmp_path, tmp_path / "out")
