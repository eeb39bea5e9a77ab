"""The commands `encode` and `models`, on the reference's own inputs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessera_mosaic.model.cards import KNOWN, SHIPPED, card_named
from tessera_mosaic.model.checkpoints.checkpoint import random_checkpoint, write_checkpoint
from tessera_mosaic.model.data import WEIGHTS
from tessera_mosaic.model.observations import Stack
from tessera_mosaic.model.sizes import Sizes
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.embedding import encode_directory as directories
from tessera_mosaic.pipeline.embedding.weights import cache_folder
from tessera_mosaic.pipeline.stacks.dpixel_files import write_stack_directory
from tessera_mosaic.pipeline.tiling.lattice import Window
from tests.fakes.disk import small_disk
from tests.fakes.web import fake_web


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden/encoders"


@pytest.fixture
def dpixels(golden: Path, tmp_path: Path) -> Path:
    """A d-pixel directory as others make them, without `stack.json`."""
    folder = tmp_path / "stack"
    folder.mkdir()
    for name, array in np.load(golden / "input_no_ascending.npz").items():
        np.save(folder / f"{name}.npy", array)
    return folder


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command: its JSON, or its one line of complaint."""

    def run(*arguments: object) -> Any:
        code = main([str(argument) for argument in (*arguments, "--json")])
        out, error = capsys.readouterr()
        if code == 0:
            return json.loads(out)
        assert code == 2
        assert not out
        assert error.count("\n") == 1
        return error

    return run


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


def test_a_large_directory_is_encoded_in_bands(
    golden: Path,
    dpixels: Path,
    tmp_path: Path,
    said: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = ("--stack", dpixels, "--weights", golden / "v2_nano.pt", "--report")
    whole = said("encode", *options, "--out", tmp_path / "whole")
    monkeypatch.setattr(directories, "BAND_PIXELS", 25)
    bands = said("encode", *options, "--out", tmp_path / "bands")
    for name in ("codes.npy", "scales.npy"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "bands" / name).read_bytes()
    assert bands["report"] == pytest.approx(whole["report"])


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
    assert "name one with --model v1.1-mpc or v1.1-aws" in said(*options)
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


def test_the_shipped_weights_are_pulled_already(said: Callable[..., Any]) -> None:
    told = said("models", "pull", SHIPPED.name)
    assert told == {"model": SHIPPED.name, "path": str(WEIGHTS), "sha256": SHIPPED.sha256}


def test_no_credential_of_an_address_is_told(
    golden: Path, tmp_path: Path, said: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = (golden / "v2_qknorm.pt").read_bytes()
    with fake_web(lambda request: (200, {}, data)) as address:
        told = said("models", "inspect", f"{address}/a.pt?token=secret")
    assert told["file"] == f"{address}/a.pt"
    assert told["bytes"] == len(data)


def test_the_cards_are_listed(said: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    told = said("models")["models"]
    assert [card["name"] for card in told] == list(KNOWN)
    assert told[-1]["parameters"] == 2_064_266_242
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    table = text.splitlines()[: len(told) + 1]
    medium = next(line for line in table if line.startswith("v2-medium"))
    assert "21,031,506" in medium
    assert "CC0-1.0" in medium
    assert "v2-medium: Its one set of statistics was taken from imagery of mpc" in text


def test_weights_are_inspected_and_converted(
    golden: Path, tmp_path: Path, said: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    told = said("models", "inspect", golden / "v1_1.pt")
    assert (told["family"], told["ignored"], told["published"]) == ("v1.1", 2, None)
    assert told["parameters"] == 122_982
    there = said("models", "convert", golden / "v2_qknorm.pt", tmp_path / "a.safetensors")
    back = said("models", "convert", tmp_path / "a.safetensors", tmp_path / "a.pt")
    assert there["sizes"] == back["sizes"]
    assert there["sizes"]["qk_norm"] is True
    assert "written as .safetensors or .pt" in said(
        "models", "convert", golden / "v2_qknorm.pt", tmp_path / "a.bin"
    )
    shutil.copy(golden / "v2_nano.pt", tmp_path / "best_model_fsdp_20260425_202039.pt")
    assert "is withdrawn" in said(
        "models", "inspect", tmp_path / "best_model_fsdp_20260425_202039.pt"
    )
    assert main(["models", "inspect", str(golden / "v2_nano.pt")]) == 0
    assert "family      v2" in capsys.readouterr().out
