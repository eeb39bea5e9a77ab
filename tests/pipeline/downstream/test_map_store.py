"""A map's store: what readers of Zarr find in it, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray

from tessera_mosaic.pipeline.downstream.map_layout import NO_DATA, MapClass, MapLayout
from tessera_mosaic.pipeline.downstream.map_store import create_map, open_map
from tessera_mosaic.pipeline.errors import BadInput, StoreMismatch
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window

CLASSES = (MapClass(0, "forest", (0, 100, 0)), MapClass(7, "wheat", (230, 180, 60)))
TILE = Tile(31, 11580, 1086, 32)
YEARS = (2017, 2018)


def test_a_map_of_classes_is_what_xarray_reads(tmp_path: Path) -> None:
    layout = MapLayout(32, CLASSES, probabilities=True)
    made = create_map(Storage(str(tmp_path)), layout, {"head": "a"}, YEARS, [31])
    rng = np.random.default_rng(0)
    values = {
        "class": rng.choice(np.array([0, 7, 255], np.uint8), (32, 32)),
        "confidence": rng.integers(0, 255, (32, 32)).astype(np.uint8),
        "probability": rng.integers(0, 255, (2, 32, 32)).astype(np.uint8),
        "quality": rng.integers(0, 900, (4, 32, 32)).astype(np.uint16),
    }
    stored = made.write(TILE, 2018, values)
    assert [each.key for each in stored] == list(made.keys(TILE, 2018))
    opened = open_map(str(tmp_path))
    assert opened == made
    zone = xarray.open_zarr(tmp_path, group="utm31", consolidated=True, chunks=None)
    place = {"y": slice(TILE.window.row, None), "x": slice(TILE.window.col, None)}
    for name, expected in values.items():
        found = zone[name].isel(time=1, **place)[..., :32, :32]
        np.testing.assert_array_equal(found.to_numpy(), expected)
        np.testing.assert_array_equal(opened.read(TILE, 2018, name), expected)
    assert zone["class"].dims == ("time", "y", "x")
    assert zone["code"].values.tolist() == [0, 7]
    assert zone["time"].values.tolist() == [2017, 2018]
    assert float(zone["x"][TILE.window.col]) == TILE.window.west + 5.0
    # No chunk is written of what is all fill, and a year without a map is without data.
    assert (opened.read(TILE, 2017) == NO_DATA).all()
    root = xarray.open_zarr(tmp_path, consolidated=True, chunks=None)
    assert root.attrs["classes"][1] == {"code": 7, "name": "wheat", "colour": "#e6b43c"}


def test_a_window_is_put_together_from_tiles(tmp_path: Path) -> None:
    made = create_map(Storage(str(tmp_path)), MapLayout(32, unit="t/ha"), {}, YEARS, [31])
    values = np.arange(1024, dtype=np.float32).reshape(32, 32)
    values[:, 0] = np.nan
    quality = np.zeros((4, 32, 32), np.uint16)
    arrays = {"value": values, "uncertainty": values, "quality": quality}
    made.write(TILE, 2017, arrays)
    window = Window(31, TILE.window.row - 2, TILE.window.col + 1, 4, 33)
    found = made.read_window(window, 2017, "value")
    np.testing.assert_array_equal(found[2:, :31], values[:2, 1:])
    assert np.isnan(found[:2]).all()
    assert np.isnan(found[:, 31:]).all()


def test_another_map_is_refused_by_name(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    create_map(storage, MapLayout(32, CLASSES), {"head": "a"}, YEARS, [31])
    grown = create_map(storage, MapLayout(32, CLASSES), {"head": "a"}, (*YEARS, 2019), [32])
    assert grown.years == (2017, 2018, 2019)
    assert grown.zones == (31, 32)
    with pytest.raises(StoreMismatch, match='head: "b" here, "a" there'):
        create_map(storage, MapLayout(32, CLASSES), {"head": "b"}, YEARS, [31])
    with pytest.raises(BadInput, match="is no map of 2020"):
        grown.step(2020)
    with pytest.raises(BadInput, match="holds no map"):
        open_map(str(tmp_path / "nothing"))
