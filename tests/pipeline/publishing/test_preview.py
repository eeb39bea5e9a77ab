"""The picture of the world shows every pixel in its place and in its colour."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
import zarr_cm.multiscales
import zarr_cm.proj
import zarr_cm.spatial

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.preview_pyramid import LEVELS
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.publishing.preview import halve
from tessera_mosaic.pipeline.tiling.lattice import to_lonlat
from tests.samples import TILES, YEARS, pixels, read_node

WEST, EAST = TILES[0], TILES[2]


def test_picture_follows_the_conventions(store: Storage) -> None:
    node = json.loads(store.read("global_rgb/zarr.json"))
    zarr_cm.multiscales.validate_group_metadata(node)
    zarr_cm.spatial.validate_group_metadata(node)
    zarr_cm.proj.validate_group_metadata(node)
    group = zarr.open_group(store.url, mode="r")
    shapes = [group[f"global_rgb/{level}/rgb"].shape for level in range(LEVELS)]
    assert shapes[0] == (1_800_000, 3_600_000, 4)
    assert shapes[-1] == (3515, 7031, 4)
    assert list(group["global_rgb/3/band"][:]) == [0, 1, 2, 3]
    for level, entry in enumerate(node["attributes"]["multiscales"]["layout"]):
        # One number for each axis of the array, which GDAL asks for.
        assert {len(numbers) for numbers in entry["transform"].values()} == {3}
        for path in (f"global_rgb/{level}", f"global_rgb/{level}/rgb"):
            own = json.loads(store.read(f"{path}/zarr.json"))
            zarr_cm.spatial.validate_node_metadata(own)
            zarr_cm.proj.validate_node_metadata(own)
            assert own["attributes"]["proj:code"] == "EPSG:4326"
            assert own["attributes"]["spatial:transform"] == entry["spatial:transform"]
            assert own["attributes"]["spatial:shape"] == list(shapes[level][:2])
    root = json.loads(store.read("zarr.json"))
    for path, consolidated in root["consolidated_metadata"]["metadata"].items():
        assert read_node(store, path) == consolidated


@pytest.mark.parametrize("tile", [WEST, EAST, TILES[4], TILES[7]], ids=lambda tile: tile.name)
def test_each_place_has_the_colour_of_its_pixel_in_the_newest_year(
    store: Storage, tile: object
) -> None:
    mosaic = read_mosaic(store)
    put = pixels(tile, YEARS[-1])
    level = zarr.open_group(store.url, mode="r")["global_rgb/0/rgb"]
    rng = np.random.default_rng(0)
    rows, cols = np.nonzero(np.isfinite(put.scales))
    checked = 0
    for n in rng.permutation(len(rows))[:200]:
        x = tile.window.west + cols[n] * 10 + 5
        lon, lat = to_lonlat(tile.zone).transform(x, tile.window.north - rows[n] * 10 - 5)
        at = int((90 - lat) / 1e-4), int((lon + 180) / 1e-4)
        # The pixel of the picture whose centre is nearest may be a neighbour's; only clear hits.
        centre = -180 + (at[1] + 0.5) * 1e-4, 90 - (at[0] + 0.5) * 1e-4
        if abs(centre[0] - lon) > 2e-5 or abs(centre[1] - lat) > 2e-5 or not in_zone(tile, lon):
            continue
        value = put.codes[rows[n], cols[n]] * np.float32(put.scales[rows[n], cols[n]])
        expected = mosaic.colours.paint(value[None])[0]
        assert tuple(level[at]) == (*expected, 255)
        checked += 1
    assert checked > 10


def in_zone(tile: object, lon: float) -> bool:
    return int((lon + 180) // 6) + 1 == tile.zone


def test_coarser_levels_are_means_of_finer_ones(store: Storage) -> None:
    group = zarr.open_group(store.url, mode="r")
    lon, lat = to_lonlat(31).transform(WEST.window.west, WEST.window.north)
    for level in range(1, LEVELS):
        step = 1e-4 * 2**level
        row, col = int((90 - lat) / step) - 8, int((lon + 180) / step) - 8
        coarse = group[f"global_rgb/{level}/rgb"][row : row + 24, col : col + 24]
        fine = group[f"global_rgb/{level - 1}/rgb"][2 * row : 2 * row + 48, 2 * col : 2 * col + 48]
        assert coarse[..., 3].any()
        assert np.array_equal(coarse, halve(fine))


def test_halving_leaves_out_what_is_not_there() -> None:
    image = np.zeros((2, 4, 4), np.uint8)
    image[0, 0] = (100, 50, 10, 255)
    image[:, 2:] = (10, 20, 30, 255)
    image[1, 3] = (20, 20, 30, 255)
    assert halve(image).tolist() == [[[100, 50, 10, 255], [12, 20, 30, 255]]]
