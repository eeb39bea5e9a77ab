"""Labels lie on the lattice where they lie on the ground."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine

from benchmarks.server import serving
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


def test_nothing_beside_a_file_of_labels_is_opened(tmp_path: Path) -> None:
    classes = np.arange(1, 301 * 300 + 1, dtype=np.int32).reshape(301, 300) % 5
    path = write_raster(tmp_path / "labels.tif", classes)
    expected = read_labels(path)
    with serving(tmp_path) as server:
        other = f"/vsicurl/{server.url}/labels.tif"
        vrt = (
            '<VRTDataset rasterXSize="300" rasterYSize="301"><VRTRasterBand dataType="Byte" '
            f'band="1"><SimpleSource><SourceFilename>{other}</SourceFilename></SimpleSource>'
            "</VRTRasterBand></VRTDataset>"
        )
        moved = (
            "<PAMDataset><SRS>EPSG:32632</SRS><GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform>"
            f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{other}</MDI></Metadata>'
            '<PAMRasterBand band="1"><NoDataValue>3</NoDataValue></PAMRasterBand></PAMDataset>'
        )
        for suffix, text in {
            ".tif.msk": vrt,
            ".tif.ovr": vrt,
            ".tif.msk.ovr": vrt,
            ".tif.aux.xml": moved,
            ".aux": moved,
            ".tfw": "1\n0\n0\n-1\n0\n0\n",
            ".tab": "!table",
            ".prj": "EPSG:32632",
            ".IMD": "BEGIN_GROUP = x",
            "_RPC.TXT": "LINE_OFF: 1",
        }.items():
            (tmp_path / f"labels{suffix}").write_text(text)
        found = read_labels(path)
        assert not server.counts["requests"]
    assert np.array_equal(found.classes, expected.classes)
    assert (found.crs, found.transform) == (expected.crs, expected.transform)


def test_no_grid_that_a_reference_system_names_is_opened(tmp_path: Path) -> None:
    grid = tmp_path / "grid.gsb"
    text = CRS.from_string(f"+proj=longlat +ellps=bessel +nadgrids={grid} +type=crs").to_wkt()
    path = write_raster(tmp_path / "labels.tif", np.ones((4, 4), np.uint8), crs=text)
    with pytest.raises(BadInput, match="names files in its reference system"):
        read_labels(path)
    usual = write_raster(tmp_path / "usual.tif", np.ones((4, 4), np.uint8), crs="EPSG:3857")
    assert read_labels(usual).crs == CRS.from_epsg(3857)


def test_what_is_no_regular_file_holds_no_labels(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    for path in (tmp_path / "pipe.tif", Path("/dev/zero"), tmp_path):
        with pytest.raises(BadInput, match=r"is no file|cannot be opened"):
            read_labels(path)
    with pytest.raises(BadInput, match="does not exist"):
        read_labels(tmp_path / "none.tif")


@pytest.mark.parametrize(
    ("height", "width", "more", "says"),
    [
        (1 << 14, 1 << 14, {"tiled": True}, "cut it"),
        (1, (1 << 17) + 1, {}, "cut it"),
        (11_000, 11_000, {"blockysize": 11_000, "dtype": "int32"}, "write it in tiles"),
    ],
)
def test_labels_that_swell_are_refused_before_they_do(
    tmp_path: Path, height: int, width: int, more: dict[str, Any], says: str
) -> None:
    path, before = tmp_path / "labels.tif", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    options = {"dtype": "uint8", "crs": "EPSG:32631", "transform": Affine.scale(10), **more}
    options |= {"sparse_ok": True, "compress": "deflate"}
    with rasterio.open(path, "w", "GTiff", width, height, 1, **options):
        pass
    with pytest.raises(BadInput, match=says):
        read_labels(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18


def test_fields_that_are_given_as_classes_are_refused(tmp_path: Path) -> None:
    values = np.arange(1, 1102, dtype=np.int32).reshape(3, 367)
    with pytest.raises(BadInput, match="has 1,101 classes, more than 1,000"):
        read_labels(write_raster(tmp_path / "labels.tif", values))


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
