"""Labels lie on the lattice where they lie on the ground."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.transform import Affine

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.imagery.label_raster import read_labels
from tessera_mosaic.pipeline.tiling.lattice import Tile, window_of_bounds
from tests.rasters import write_raster


def test_labels_come_to_the_lattice_where_they_lie(tmp_path: Path) -> None:
    classes = np.zeros((6, 8), np.uint16)
    classes[1:3, 2:5] = 7
    classes[4:, 2:4] = 7
    classes[1, 5] = 9
    labels = read_labels(write_raster(tmp_path / "labels.tif", classes))
    window = window_of_bounds(31, (501_380, 5_629_620, 501_420, 5_629_670))
    found, fields = labels.on(window)
    assert np.array_equal(found, classes[1:6, 2:6])
    assert len(set(fields[found == 7].tolist())) == 2
    assert (fields[found == 0] == 0).all()
    side = 32
    rows, cols = np.nonzero(found)
    places = zip((rows + window.row) // side, (cols + window.col) // side, strict=True)
    corners = set(places)
    assert labels.tiles(side) == [Tile(31, *corner, side) for corner in sorted(corners)]


def test_ground_between_labels_that_lie_far_apart_is_not_looked_at(tmp_path: Path) -> None:
    classes = np.zeros((8, 3000), np.uint8)
    classes[2, 3] = classes[5, 2990] = 1
    labels = read_labels(write_raster(tmp_path / "labels.tif", classes))
    tiles = labels.tiles(64)
    assert len(tiles) == 2
    assert [labels.on(tile.window)[0].sum() for tile in tiles] == [1, 1]


def test_labels_across_the_antimeridian_lie_in_two_zones(tmp_path: Path) -> None:
    line = {"crs": "EPSG:32660", "transform": Affine(10, 0, 833_900, 0, -10, 100_000)}
    labels = read_labels(write_raster(tmp_path / "labels.tif", np.ones((20, 20), np.uint8), **line))
    tiles = labels.tiles(64)
    assert {tile.zone for tile in tiles} == {1, 60}
    # At the line, where two lattices meet, a column may come twice or not at all.
    assert 380 <= sum(labels.on(tile.window)[0].sum() for tile in tiles) <= 420


@pytest.mark.parametrize(
    ("values", "more", "says"),
    [
        (np.ones((3, 3), np.float32), {}, "whole numbers"),
        (np.ones((3, 3), np.uint8), {"crs": None}, "no reference system"),
        (np.full((3, 3), -1, np.int16), {}, "whole numbers from 0"),
        (np.zeros((3, 3), np.uint8), {}, "no labelled pixel"),
    ],
)
def test_rasters_that_are_no_labels_are_refused(
    tmp_path: Path, values: np.ndarray, more: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        read_labels(write_raster(tmp_path / "labels.tif", values, **more))


def test_fields_have_to_lie_on_the_labels_grid(tmp_path: Path) -> None:
    labels = write_raster(tmp_path / "labels.tif", np.ones((3, 3), np.uint8))
    fields = write_raster(tmp_path / "fields.tif", np.ones((3, 4), np.uint8))
    with pytest.raises(BadInput, match="not on the grid"):
        read_labels(labels, fields)
