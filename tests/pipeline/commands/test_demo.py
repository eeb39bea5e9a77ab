from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tessera_mosaic.model.quantize import dequantize
from tessera_mosaic.pipeline.commands import demo_steps as demo
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.tiling.lattice import window_of_bounds
from tests.small_demo import SMALL, SmallDemo


def test_the_granules_overlap_and_fill_the_window() -> None:
    window = demo.LAND.window
    covered = np.zeros(window.shape, int)
    for granule in demo.GRANULES:
        covered[window_of_bounds(31, granule.bounds).within(window)] += 1
    assert covered.min() == 1
    assert (covered == 2).any()


def test_the_demo_makes_what_it_names(small_demo: SmallDemo) -> None:
    result, told = small_demo.result, small_demo.told
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

    lines = told[told.index("  import tessera") : told.index("and on the command")].splitlines()
    space: dict[str, Any] = {}
    exec("\n".join(line.strip() for line in lines), space)
    pixels = read_mosaic(Storage(result["store"])).read_window(SMALL.window, demo.YEAR)
    middle = dequantize(pixels.codes, pixels.scales)[32, 32]
    assert np.array_equal(space["embedding"], middle)
    assert np.abs(middle).max() > 0

    counts = pixels.counts["s2"]
    assert counts.max() <= 8
    assert (np.isfinite(pixels.scales) == (sum(pixels.counts.values()) > 0)).all()


def test_a_second_demo_finds_its_work_done_and_with_json_prints_nothing(
    small_demo: SmallDemo, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = small_demo.folder / "mosaic.png"
    picture.unlink()
    again = demo.make_demo(small_demo.folder, SMALL, quiet=True)
    assert (again["done"], again["pixels"]) == (4, 0)
    assert again["picture"] == str(picture)
    assert picture.exists()
    assert capsys.readouterr().out == ""


def test_a_demo_does_not_begin_in_a_mosaic(small_demo: SmallDemo) -> None:
    store = Path(small_demo.result["store"])
    before = sorted(store.iterdir())
    with pytest.raises(BadInput, match="it is a mosaic or another Zarr store"):
        demo.make_demo(store, SMALL, quiet=True)
    assert sorted(store.iterdir()) == before
