"""The commands as a user types them, against the reference vectors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.server import serving
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.tiling.lattice import window_of_bounds

ROOT = Path(__file__).resolve().parents[1]
SQUARE = ["--region", "3.0193,50.8131,3.0284,50.8188", "--year", "2018"]
SQUARE_BOUNDS = (501_360, 5_629_040, 502_000, 5_629_680)


def command(*arguments: str | Path) -> tuple[int, str, str]:
    """Run `tessera-mosaic` in a process of its own, from the project's root."""
    done = subprocess.run(
        [sys.executable, "-m", "tessera_mosaic", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


def result(*arguments: str | Path) -> dict[str, Any]:
    """The JSON object that a command prints, and nothing else on standard output."""
    code, out, error = command(*arguments, "--json")
    assert code == 0, error
    return json.loads(out)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
def test_stack_of_real_imagery_equals_the_reference_bit_for_bit(
    shared: Path, tmp_path: Path, kernel: str
) -> None:
    catalog = "../shared/data/flanders/catalog.json"
    result("stack", "--catalog", catalog, *SQUARE, "--kernel", kernel, "--out", tmp_path)
    expected = np.load(shared / f"golden/stack/stack_31UDS_2018_{kernel}.npz")
    about = json.loads((tmp_path / "stack.json").read_text())
    assert about["crs"] == "EPSG:32631"
    a, _, west, _, e, north = about["transform"]
    assert (a, e) == (10, -10)
    col, row = round((SQUARE_BOUNDS[0] - west) / 10), round((north - SQUARE_BOUNDS[3]) / 10)
    for name in set(expected) - {"transform"}:
        found = np.load(tmp_path / f"{name}.npy")
        if found.ndim > 1:
            found = found[:, row : row + 64, col : col + 64]
        assert found.dtype == expected[name].dtype
        np.testing.assert_array_equal(found, expected[name], err_msg=name)


def test_mosaic_of_real_imagery_holds_the_reference_codes(shared: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    catalog = "../shared/data/flanders/catalog.json"
    weights = ["--weights", "../shared/golden/encoders/v2_nano.pt", "--model", "v2-nano"]
    places = ["--catalog", catalog, *SQUARE, "--store", store]
    outcome = result("run", *places, *weights, "--tile", "256", "--precision", "fp32")
    assert (outcome["failed"], outcome["done"], outcome["pixels"]) == (0, 2, 64 * 64)
    assert outcome.keys() >= {"tiles", "seconds", "pixels_per_second"}

    expected = np.load(shared / "golden/stack/mosaic_31UDS_2018_v2_nano.npz")
    pixels = read_mosaic(Storage(str(store))).read_window(window_of_bounds(31, SQUARE_BOUNDS), 2018)
    off = np.abs(pixels.codes.astype(int) - expected["bilinear_codes"])
    assert (off == 0).mean() >= 0.999
    assert off.max() <= 1
    np.testing.assert_allclose(pixels.scales, expected["bilinear_scales"], rtol=1e-4)
    # Every other pixel of the two tiles was never seen.
    wider = window_of_bounds(31, (500_500, 5_628_200, 502_500, 5_630_200))
    around = read_mosaic(Storage(str(store))).read_window(wider, 2018)
    assert np.isfinite(around.scales).sum() == 64 * 64

    standing = result("status", "--store", store)
    assert (standing["planned"], standing["done"], standing["missing"]) == (2, 2, 0)
    again = result("run", *places, *weights, "--tile", "256")
    assert again["pixels"] == 0

    code, _, error = command("run", *places, "--tile", "256")
    assert code == 2
    assert "weights_sha256" in error
    assert len(error.strip().splitlines()) == 1


def test_encode_of_reference_stack(shared: Path, tmp_path: Path) -> None:
    stack = tmp_path / "stack"
    stack.mkdir()
    for name, values in np.load(shared / "golden/encoders/input_tile.npz").items():
        np.save(stack / f"{name}.npy", values)
    weights = shared / "golden/encoders/v2_nano.pt"
    out = tmp_path / "out"
    result(
        *("encode", "--stack", stack, "--out", out, "--model", "v2-nano"),
        *("--weights", weights, "--precision", "fp32", "--float"),
    )
    expected = np.load(shared / "golden/encoders/v2_nano_expected.npz")
    embedding = expected["tile_embedding"]
    found = np.load(out / "embedding.npy")
    np.testing.assert_array_equal(np.isnan(found), np.isnan(embedding))
    np.testing.assert_allclose(found, embedding, atol=2e-4)
    seen = ~np.isnan(embedding[..., 0])
    off = np.abs(np.load(out / "codes.npy").astype(int) - expected["tile_codes"])
    assert (off[seen] == 0).mean() >= 0.999
    assert off[seen].max() <= 1
    assert np.isposinf(np.load(out / "scales.npy")[~seen]).all()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small simulated archive."""
    spec = Simulation((Footprint.around("31UDS", 3.0, 50.8, 16),), s2_days=2, s1_days=1)
    return simulate_archive(tmp_path_factory.mktemp("archive") / "archive", spec).parent


def without_classes(folder: Path) -> str:
    path = sorted(folder.glob("sentinel-2-l2a/*/*.json"))[0]
    item = json.loads(path.read_text())
    del item["assets"]["SCL"]
    path.write_text(json.dumps(item))
    return f"{item['id']} SCL: the item has no such asset"


def cut_short(folder: Path) -> str:
    path = sorted(folder.glob("sentinel-2-l2a/*/SCL.tif"))[0]
    path.write_bytes(path.read_bytes()[:100])
    return f"{path.parent.name} SCL: it ends "


def taken_away(folder: Path) -> str:
    path = sorted(folder.glob("sentinel-1-rtc/*/vh.tif"))[0]
    path.unlink()
    return f"{path.parent.name} vh: "


def leads_away(folder: Path) -> str:
    path = sorted(folder.glob("sentinel-1-rtc/*/*.json"))[0]
    item = json.loads(path.read_text())
    item["assets"]["vv"]["href"] = "HTTP://127.0.0.1:1/vv.tif"
    path.write_text(json.dumps(item))
    return f"{item['id']} vv: HTTP://127.0.0.1:1/vv.tif is of the scheme 'HTTP'"


@pytest.mark.parametrize("damage", [without_classes, cut_short, taken_away, leads_away])
def test_a_scene_that_cannot_be_read_is_one_line_and_exit_code_2(
    archive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], str],
) -> None:
    folder = shutil.copytree(archive, tmp_path / "archive")
    line = damage(folder)
    place = ["--region", "2.9999,50.7999,3.0001,50.8001", "--year", "2024"]
    options = ["stack", f"--catalog={folder}/catalog.json", *place, f"--out={tmp_path}/out"]
    assert main(options) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(f"tessera-mosaic stack: {line}")
    assert len(error.strip().splitlines()) == 1, error
    assert not list((tmp_path / "out").iterdir())
    assert main([*options, "--allow-lost-scenes", "1"]) == 0


def test_what_a_catalogues_address_holds_after_its_path_is_not_told(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(archive) as server:
        catalogue = f"{server.url}/catalog.json?sig=secret"
        place = ["--region", "60,0,60.001,0.001", "--year", "2024", f"--out={tmp_path}/out"]
        assert main(["stack", "--catalog", catalogue, *place]) == 2
    error = capsys.readouterr().err
    assert "catalog.json has no scenes of 2024" in error
    assert "secret" not in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["launch"],
        ["status", "--store", "nowhere"],
        ["run", "--catalog", "none.json", *SQUARE, "--store", "nowhere"],
        ["run", "--catalog", "none.json", *SQUARE, "--store", "nowhere", "--machin_type=n1"],
        ["stack", "--catalog", "none.json", *SQUARE, "--out", "nowhere", "--surprise"],
        ["demo", "--out", "/proc/nowhere"],
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments: list[str]) -> None:
    code, out, error = command(*arguments)
    assert code == 2
    assert out == ""
    assert len(error.strip().splitlines()) == 1, error
    assert not (ROOT / "nowhere").exists()


def test_who_reads_only_the_beginning_hears_no_traceback() -> None:
    words = [sys.executable, "-m", "tessera_mosaic", "models", "--json"]
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
