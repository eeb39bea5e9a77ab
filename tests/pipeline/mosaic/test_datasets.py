"""The mosaic as xarray datasets."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.datasets import dequantize, open_mosaic
from tessera_mosaic.pipeline.tiling.lattice import to_lonlat
from tests.samples import TILES, YEARS, Sample, write_sample

NORTH = TILES[0]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_sample(Storage(str(tmp_path_factory.mktemp("sample"))))


def box_of(rows: slice, cols: slice) -> tuple[float, float, float, float]:
    """A degrees box just inside the outer edges of some pixels of the first tile."""
    west, _, _, north = NORTH.window.bounds
    at = to_lonlat(NORTH.zone).transform
    low = at(west + cols.start * 10 + 2, north - rows.stop * 10 + 2)
    high = at(west + cols.stop * 10 - 2, north - rows.start * 10 - 2)
    return (*low, *high)


def test_a_region_is_the_smallest_window_that_holds_the_box(sample: Sample) -> None:
    zones = open_mosaic(sample.mosaic.storage.url)
    assert (list(zones), zones.years) == ([1, 31, 32, 60], YEARS)
    rows, cols = slice(10, 60), slice(20, 70)
    parts = zones.region(*box_of(rows, cols), year=YEARS[0])
    put = sample.tiles[NORTH, YEARS[0]]
    assert list(parts) == [31]
    assert np.array_equal(parts[31]["scales"], put.scales[rows, cols], equal_nan=True)
    assert np.array_equal(parts[31]["observations_s2"], put.counts["s2"][rows, cols])
    assert np.array_equal(parts[31]["embeddings"], np.moveaxis(put.codes[rows, cols], -1, 0))


@pytest.mark.parametrize("depth", [None, 128, 16])
def test_dequantized_values(sample: Sample, depth: int | None) -> None:
    rows, cols = slice(10, 60), slice(20, 70)
    part = open_mosaic(sample.mosaic.storage.url).region(*box_of(rows, cols), year=YEARS[1])[31]
    put = sample.tiles[NORTH, YEARS[1]]
    codes, scales = put.codes[rows, cols, :depth], put.scales[rows, cols]
    expected = codes.astype(np.float32) * np.where(np.isfinite(scales), scales, np.nan)[..., None]
    got = dequantize(part, depth)
    assert got.dtype == np.float32
    assert np.array_equal(got, np.moveaxis(expected, -1, 0), equal_nan=True)
    lazy = dequantize(part.chunk(), depth)
    assert lazy.chunks is not None
    assert np.array_equal(lazy.compute(), got, equal_nan=True)


def test_a_box_across_a_zone_line_comes_in_two_lattices(sample: Sample) -> None:
    zones = open_mosaic(sample.mosaic.storage.url)
    parts = zones.region(5.9995, 0.001, 6.0005, 0.002, year=YEARS[0])
    assert list(parts) == [31, 32]
    across = zones.region(179.9995, 0.001, -179.9995, 0.002, year=YEARS[0])
    assert sorted(across) == [1, 60]
    for part in (*parts.values(), *across.values()):
        assert np.isfinite(part["scales"]).any()
        assert part.sizes["x"] < 20


def test_what_is_not_there(sample: Sample, tmp_path: object) -> None:
    with pytest.raises(BadInput, match="holds no mosaic"):
        open_mosaic(str(tmp_path))
    zones = open_mosaic(sample.mosaic.storage.url)
    with pytest.raises(BadInput, match="no year 2031"):
        zones.region(3, 50, 4, 51, year=2031)
    # The axis has a step for it, which nobody has filled.
    assert 2017 in zones[31]["time"]
    with pytest.raises(BadInput, match="no year 2017: the years that were made are 2018, 2019"):
        zones.region(3, 50, 4, 51, year=2017)
    with pytest.raises(BadInput, match="lies in zone 18: it has the zones 1, 31, 32, 60"):
        zones.region(-73, 40, -72, 41, year=2018)
    with pytest.raises(KeyError, match="no zone 33: the mosaic has the zones 1, 31, 32, 60"):
        zones[33]
    assert 33 not in zones
    part = zones.region(5.9995, 0.001, 5.9999, 0.002, year=YEARS[0])[31]
    with pytest.raises(BadInput, match=r"no depth 7: the mosaic has \[16, 32, 64, 128\]"):
        dequantize(part, 7)


def test_a_place_without_data_is_told_where_there_is_some(sample: Sample) -> None:
    zones = open_mosaic(sample.mosaic.storage.url)
    with pytest.raises(BadInput, match="nothing of 2018 in this box: what was made lies") as told:
        zones.region(3.0, 50.0, 3.01, 50.01, year=2018)
    box = re.search(r"within ([-\d.,]+) \(zone 1\), ([-\d.,]+) \(zone 31\)", str(told.value))
    assert box is not None
    west, south, east, north = map(float, box[2].split(","))
    # Two tiles of 1.28 km at the equator and the meridian of 6 degrees east.
    assert 5.98 <= west < 6.0 <= east <= 6.02
    assert (south, north) == (-0.01, 0.01)
    # Asking for a larger box than can be looked through gives what there is.
    assert list(zones.region(3.0, 50.0, 4.0, 51.0, year=2018)) == [31]


def test_where_a_store_cannot_be_listed_every_year_may_be_there(sample: Sample) -> None:
    mosaic = dataclasses.replace(sample.mosaic, storage=Storage("https://a.example/mosaic"))
    assert mosaic.years_made() == (2017, 2018, 2019)
    mosaic.check_made(2017)
    with pytest.raises(BadInput, match="no year 2031"):
        mosaic.check_made(2031)
