from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tessera_mosaic.model.quantize import dequantize
from tessera_mosaic.pipeline.commands import demo_steps as demo
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.tiling.lattice import window_of_bounds

WEST = replace(demo.GRANULES[0], west=499_680, north=5_632_320, height=64, width=48)
EAST = replace(demo.GRANULES[1], west=499_980, north=5_632_320, height=64, width=34)


SMALL = demo.Land(
    replace(demo.LAND.archive, footprints=(WEST, EAST), s2_days=8, s1_days=6),
    window_of_bounds(31, (499_680, 5_631_680, 500_320, 5_632_320)),
)
"""A land of 64 px a side, with few passes."""


def test_the_granules_overlap_and_fill_the_window() -> None:
    window = demo.LAND.window
    covered = np.zeros(window.shape, int)
    for granule in demo.GRANULES:
        covered[window_of_bounds(31, granule.bounds).within(window)] += 1
    assert covered.min() == 1
    assert (covered == 2).any()


def run(out: Path, json_output: bool = False) -> dict[str, Any]:
    return demo.make_demo(out, SMALL, quiet=json_output)


def test_the_demo_makes_what_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(tmp_path / "demo")
    told = capsys.readouterr().out
    assert (result["tiles"], result["done"], result["failed"]) == (4, 4, 0)
    assert result["pixels"] == 64 * 64
    for made in ("archive", "store", "picture", "labels", "head", "map", "map_picture"):
        assert Path(result[made]).exists()
    assert result["store"] in told
    assert result["picture"] in told
    assert "simulated" in told
    assert demo.load_encoder(None, None).card.name in told
    with Image.open(result["picture"]) as picture:
        assert picture.width > 1500

    assert result["map_right"] > 0.5
    assert result["map_areas"]["points"] == 300
    assert Path(result["map_report"]).read_text().startswith("<!doctype html>")
    assert "crop map" in told

    lines = told[told.index("  import zarr") : told.index("The crop map")].splitlines()
    space: dict[str, Any] = {}
    exec("\n".join(line.strip() for line in lines), space)
    pixels = read_mosaic(Storage(result["store"])).read_window(SMALL.window, demo.YEAR)
    middle = dequantize(pixels.codes, pixels.scales)[32, 32]
    assert np.array_equal(space["embedding"], middle)
    assert np.abs(middle).max() > 0

    counts = pixels.counts["s2"]
    assert counts.max() <= 8
    assert (np.isfinite(pixels.scales) == (sum(pixels.counts.values()) > 0)).all()


def test_a_second_demo_finds_its_work_done(tmp_path: Path) -> None:
    first = run(tmp_path / "demo", json_output=True)
    Path(first["picture"]).unlink()
    again = run(tmp_path / "demo", json_output=True)
    assert (again["done"], again["pixels"]) == (4, 0)
    assert Path(again["picture"]).exists()


def test_json_is_alone_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(tmp_path / "demo", json_output=True)
    assert told["picture"] == str(tmp_path / "demo" / "mosaic.png")
    assert capsys.readouterr().out == ""
