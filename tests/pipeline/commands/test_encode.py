"""The command `encode`, on the reference's own inputs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.model.checkpoints.checkpoint import random_checkpoint, write_checkpoint
from tessera_mosaic.model.observations import Stack
from tessera_mosaic.model.sizes import Sizes
from tessera_mosaic.pipeline.embedding.encode_directory import encode_directory
from tessera_mosaic.pipeline.embedding.encoder_requests import EncodeRequest
from tessera_mosaic.pipeline.embedding.weights import cache_folder
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.stacks.dpixel_files import write_stack_directory
from tessera_mosaic.pipeline.tiling.lattice import Window
from tests.fakes.disk import small_disk


@pytest.fixture
def dpixels(golden: Path, tmp_path: Path) -> Path:
    """A d-pixel directory as others make them, without `stack.json`."""
    folder = tmp_path / "stack"
    folder.mkdir()
    for name, array in np.load(golden / "input_no_ascending.npz").items():
        np.save(folder / f"{name}.npy", array)
    return folder


def test_a_directory_is_encoded_as_the_reference_does(
    golden: Path, dpixels: Path, tmp_path: Path, said: Callable[..., Any]
) -> None:
    out = tmp_path / "out"
    weights = golden / "v2_nano.pt"
    options = ("--stack", dpixels, "--out", out, "--model", "v2-nano", "--weights", weights)
    told = said("encode", *options, "--float", "--report")
    wanted = np.load(golden / "v2_nano_expected.npz")
    codes, scales, values = (np.load(out / f"{n}.npy") for n in ("codes", "scales", "embedding"))
    known = np.isfinite(scales)
    assert (codes.dtype, scales.dtype, values.dtype) == (np.int8, np.float32, np.float32)
    assert np.abs(codes.astype(int) - wanted["no_ascending_codes"])[known].max() <= 1
    assert np.abs(values - wanted["no_ascending_embedding"])[known].max() <= 2e-4
    assert told["shape"] == [9, 10, 128]
    assert told["embedded"] == known.sum() == told["report"]["pixels"]
    assert 0.9999 < told["report"]["least_cosine"] <= told["report"]["mean_cosine"] < 1
    short = said("encode", *options, "--dim", 16)
    assert short["shape"] == [9, 10, 16]
    assert short["report"] is None
    assert np.load(out / "codes.npy").shape == (9, 10, 16)
    assert sorted(path.name for path in out.iterdir()) == ["codes.npy", "scales.npy"]


def test_a_large_directory_is_encoded_in_bands(golden: Path, dpixels: Path, tmp_path: Path) -> None:
    weights = str(golden / "v2_nano.pt")

    def request(name: str) -> EncodeRequest:
        return EncodeRequest(dpixels, tmp_path / name, weights=weights, report=True)

    whole = encode_directory(request("whole"))
    bands = encode_directory(request("bands"), band_pixels=25)
    for name in ("codes.npy", "scales.npy"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "bands" / name).read_bytes()
    told, wanted = (dataclasses.asdict(made.report) for made in (bands, whole))
    assert told == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"model": "v9"}, "no model is named 'v9'"),
        ({"precision": "fp8"}, "precision fp8: choose one of fp32, bf16"),
        ({"source": "esa"}, "source esa: choose one of mpc, aws"),
    ],
)
def test_a_request_is_checked_when_it_is_made(asked: dict[str, str], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        EncodeRequest("stack", "out", **asked)


def _removed(folder: Path) -> None:
    (folder / "masks.npy").unlink()


def _truncated(folder: Path) -> None:
    whole = (folder / "bands.npy").read_bytes()
    (folder / "bands.npy").write_bytes(whole[: len(whole) // 2])


def _pickled(folder: Path) -> None:
    np.save(folder / "doys.npy", np.array([{}], object), allow_pickle=True)


def _other_shape(folder: Path) -> None:
    np.save(folder / "masks.npy", np.load(folder / "masks.npy")[:, :-1])


def _other_type(folder: Path) -> None:
    np.save(folder / "bands.npy", np.load(folder / "bands.npy").astype(np.float32))


def _several(folder: Path) -> None:
    with (folder / "bands.npy").open("wb") as file:
        np.savez(file, bands=np.zeros(1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_removed, "masks.npy cannot be read"),
        (_several, "bands.npy cannot be read as a d-pixel array: it holds several"),
        (_truncated, "bands.npy cannot be read"),
        (_pickled, "doys.npy cannot be read"),
        (_other_shape, "bands.npy must be uint16 (50, 8, 10, 10)"),
        (_other_type, "bands.npy must be uint16 (50, 9, 10, 10)"),
    ],
)
def test_damaged_arrays_are_an_error_and_never_zeros(
    dpixels: Path,
    tmp_path: Path,
    said: Callable[..., Any],
    damage: Callable[[Path], None],
    message: str,
) -> None:
    damage(dpixels)
    assert message in said("encode", "--stack", dpixels, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_meets_its_own_imagery_only(
    golden: Path, dpixels: Path, tmp_path: Path, said: Callable[..., Any]
) -> None:
    weights = golden / "v1_1.pt"
    options = ("encode", "--stack", dpixels, "--out", tmp_path / "out", "--weights", weights)
    assert "ask for the model v1.1-mpc or v1.1-aws" in said(*options)
    assert "trained on imagery of mpc" in said(*options, "--model", "v1.1-mpc", "--source", "aws")
    wanted = np.load(golden / "v1_1_expected.npz")
    for source in ("mpc", "aws"):
        assert said(*options, "--source", source)["shape"] == [9, 10, 36]
        known = np.isfinite(np.load(tmp_path / "out/scales.npy"))
        off = (
            np.load(tmp_path / "out/codes.npy").astype(int) - wanted[f"{source}_no_ascending_codes"]
        )
        assert np.abs(off[known]).max() <= 1
    assert "of the family v2, and the weights are" in said(*options, "--model", "v2-nano")


def test_a_stack_says_where_it_is_and_whose_imagery(
    golden: Path, tmp_path: Path, said: Callable[..., Any]
) -> None:
    stack = Stack(**np.load(golden / "input_no_ascending.npz"))
    card = card_named("v1.0")
    sizes = Sizes(latent=6, layers=1, heads=4, feedforward=16, representation=24)
    write_checkpoint(random_checkpoint(sizes, 0, card.family), tmp_path / "v1.pt")
    weights = ("--weights", tmp_path / "v1.pt")

    def encode(name: str, part: Stack, top: int) -> np.ndarray:
        window = Window(31, 370_000 + top, 35_000, *part.shape)
        description = {
            "crs": window.crs,
            "transform": list(window.transform),
            "shape": list(window.shape),
            "year": 2018,
            "rules": {"imagery": "mpc"},
        }
        write_stack_directory(tmp_path / name, part, description)
        said("encode", "--stack", tmp_path / name, "--out", tmp_path / f"{name}-out", *weights)
        return np.load(tmp_path / f"{name}-out/codes.npy")

    def rows(band: slice) -> Stack:
        arrays = {f.name: getattr(stack, f.name) for f in dataclasses.fields(Stack)}
        return Stack(**{n: a[:, band] if a.ndim > 1 else a for n, a in arrays.items()})

    whole = encode("whole", stack, 0)
    parts = [encode("upper", rows(slice(0, 4)), 0), encode("lower", rows(slice(4, 9)), 4)]
    assert np.array_equal(np.concatenate(parts), whole)
    place = json.loads((tmp_path / "lower-out/grid.json").read_text())
    lower = Window(31, 370_004, 35_000, 5, 10)
    assert place == {"crs": "EPSG:32631", "transform": list(lower.transform)}
    assert not np.array_equal(encode("moved", stack, 1), whole)
    options = ("encode", "--stack", tmp_path / "whole", "--out", tmp_path / "o", *weights)
    assert "says that this is imagery of mpc" in said(*options, "--source", "aws")
    (tmp_path / "whole/stack.json").unlink()
    assert "v1.0 (other sizes) draws observations by place" in said(*options)


def test_what_cannot_be_loaded_is_one_line(
    golden: Path, dpixels: Path, tmp_path: Path, said: Callable[..., Any]
) -> None:
    options = ("encode", "--stack", dpixels, "--out", tmp_path / "out")
    weights = ("--weights", golden / "v2_nano.pt")
    assert "no model is named 'v9'" in said(*options, "--model", "v9", *weights)
    assert "no embedding of 17 values" in said(*options, *weights, "--dim", 17)
    assert "GPUs are usable here" in said(*options, *weights, "--device", "cuda:63")
    assert "no weights file" in said(*options, "--weights", dpixels / "bands.npy")
    assert "cannot be read: No such file" in said(*options, "--weights", "none.pt")


def test_without_pulled_weights_a_name_says_how_to_get_them(
    dpixels: Path, tmp_path: Path, said: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = ("encode", "--stack", dpixels, "--out", tmp_path / "out", "--model")
    assert "`tessera-mosaic models pull v2-large`" in said(*options, "v2-large")
    assert "get tessera_v1_1_aws_encoder.pt from https://drive" in said(*options, "v1.1-aws")


def test_what_was_pulled_and_damaged_says_how_to_repair_it(
    dpixels: Path, tmp_path: Path, said: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    card = card_named("v2-nano")
    (cache_folder()).mkdir(parents=True)
    (cache_folder() / card.sha256).write_bytes(b"garbage")
    error = said("encode", "--stack", dpixels, "--out", tmp_path / "out", "--model", card.name)
    assert "is not the file it should be" in error
    assert "fetch it again with `tessera-mosaic models pull v2-nano`" in error


def test_where_nothing_can_be_written_is_one_line_and_nothing_stays(
    dpixels: Path, tmp_path: Path, said: Callable[..., Any]
) -> None:
    options = ("encode", "--stack", dpixels, "--out")
    (tmp_path / "file").touch()
    assert "file cannot be made a directory: File exists" in said(*options, tmp_path / "file")
    with small_disk(10_000):
        assert "out cannot be written to: File too large" in said(*options, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
