"""What a user's own map says of land."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.transform import from_bounds

from benchmarks.server import serving
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling import land_cells, lattice
from tessera_mosaic.pipeline.tiling.area import Area
from tessera_mosaic.pipeline.tiling.land import read_land
from tessera_mosaic.pipeline.tiling.region import read_region


def raster(path: Path, crs: str | None, bounds: tuple[float, ...], bands: int = 1) -> str:
    data = np.zeros((bands, 40, 40), np.uint8)
    data[:, 10, 30] = 1
    options = {"driver": "GTiff", "count": bands, "height": 40, "width": 40, "dtype": "uint8"}
    with rasterio.open(
        path, "w", crs=crs, transform=from_bounds(*bounds, 40, 40), **options
    ) as file:
        file.write(data)
    return str(path)


@pytest.mark.parametrize(
    ("crs", "bounds"),
    [
        ("EPSG:4326", (2.0, 50.0, 4.0, 51.0)),
        ("EPSG:32631", (400_000.0, 5_600_000.0, 600_000.0, 5_700_000.0)),
    ],
)
def test_a_users_raster_says_what_is_land(
    crs: str, bounds: tuple[float, ...], tmp_path: Path
) -> None:
    layer = read_land(raster(tmp_path / "mask.tif", crs, bounds))
    tiles = list(Area(read_region("1,49,5,52"), side=256, land=layer).tiles())
    assert 1 <= len(tiles) <= 12
    west, south, east, north = bounds
    x, y = west + (east - west) * 30.5 / 40, north - (north - south) * 10.5 / 40
    to_zone = Transformer.from_crs(crs, "EPSG:32631", always_xy=True)
    windows = shapely.union_all([shapely.box(*tile.window.bounds) for tile in tiles])
    assert windows.contains(shapely.Point(*to_zone.transform(x, y)))


def test_a_users_vector_file_says_what_is_land(tmp_path: Path) -> None:
    path = tmp_path / "mask.geojson"
    path.write_text(shapely.to_geojson(shapely.box(5.99, 50.0, 6.01, 50.01)))
    tiles = list(Area(read_region("global"), land=read_land(str(path))).tiles())
    assert {tile.zone for tile in tiles} == {31, 32}
    assert len(tiles) <= 4


@pytest.mark.parametrize(
    ("name", "crs", "bands", "says"),
    [("a.tif", None, 1, "reference system"), ("a.tif", "EPSG:4326", 2, "one band")],
)
def test_a_raster_that_is_no_mask_is_refused(
    name: str, crs: str | None, bands: int, says: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=says):
        read_land(raster(tmp_path / name, crs, (2, 50, 4, 51), bands))


@pytest.mark.parametrize(("zone", "west"), [(1, -180), (60, 168)])
def test_a_raster_has_land_at_the_antimeridian_only_where_it_says(
    zone: int, west: int, tmp_path: Path
) -> None:
    data = np.zeros((20, 12), np.uint8)
    data[8, 0 if zone == 1 else -1] = 1  # a square degree at 11 S, beside the antimeridian
    data[16, -3:] = data[16, :3] = 1
    data[16, 0 if zone == 1 else -1] = 0  # land further away at 19 S, but none beside it
    path = tmp_path / "mask.tif"
    place = from_bounds(west, -22, west + 12, -2, 12, 20)
    options = {"driver": "GTiff", "count": 1, "height": 20, "width": 12, "dtype": "uint8"}
    with rasterio.open(path, "w", crs="EPSG:4326", transform=place, **options) as file:
        file.write(data, 1)
    layer = read_land(str(path))
    assert layer is not None
    rows, columns = np.nonzero(layer.cells(zone))
    x = lattice.WEST_EDGE + (columns + 0.5) * land_cells.CELL * lattice.PIXEL
    y = lattice.NORTH_EDGE - (rows + 0.5) * land_cells.CELL * lattice.PIXEL
    lon, lat = lattice.to_lonlat(zone).transform(x, y)
    near = np.abs(np.abs(lon) - 180) < 0.9
    assert near.any()
    assert (np.abs(lat[near] + 10.5) < 0.6).all()


@pytest.mark.parametrize(
    ("kind", "nothing", "declared"),
    [
        ("uint8", 255, 255),
        ("int16", -9999, -9999),
        ("float32", np.nan, np.nan),
        ("float32", np.nan, None),
    ],
)
@pytest.mark.parametrize("west", [2, -180])
def test_where_a_raster_has_no_data_is_no_land(
    west: int, kind: str, nothing: float, declared: float | None, tmp_path: Path
) -> None:
    data = np.full((40, 40), nothing, kind)
    data[:, :20], data[10, 30] = 0, 1
    place = from_bounds(west, 50, west + 2, 51, 40, 40)
    options = {"driver": "GTiff", "count": 1, "height": 40, "width": 40, "dtype": kind}
    path = tmp_path / "mask.tif"
    with rasterio.open(
        path, "w", crs="EPSG:4326", transform=place, nodata=declared, **options
    ) as file:
        file.write(data, 1)
    layer = read_land(str(path))
    assert layer is not None
    assert 1 <= sum(layer.cells(zone).sum() for zone in layer.packed) <= 8


def test_a_raster_of_longitudes_to_360_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="reaches from 0 to 360, which are no longitudes -180"):
        read_land(raster(tmp_path / "mask.tif", "EPSG:4326", (0, -60, 360, 60)))
    assert read_land(raster(tmp_path / "mask.tif", "EPSG:4326", (-184.5, -60, 175.5, 60)))


def test_a_mask_opens_no_other_file(tmp_path: Path) -> None:
    good = raster(tmp_path / "good.tif", "EPSG:4326", (2, 50, 4, 51))
    with serving(tmp_path) as server:
        for source in (good, f"/vsicurl/{server.url}/good.tif"):
            vrt = (
                '<VRTDataset rasterXSize="40" rasterYSize="40"><SRS>EPSG:4326</SRS>'
                '<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>'
                f"{source}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
            )
            for head in ("", "II*\0"):
                (tmp_path / "mask.tif").write_text(head + vrt)
                with pytest.raises(BadInput, match="no raster that can be read"):
                    read_land(str(tmp_path / "mask.tif"))
            (tmp_path / "mask.vrt").write_text(vrt)
            with pytest.raises(BadInput, match=r"use one of .*\.tif"):
                read_land(str(tmp_path / "mask.vrt"))
        assert not server.counts


def test_a_mask_has_only_so_many_pixels(tmp_path: Path) -> None:
    path = Path(raster(tmp_path / "a.tif", "EPSG:4326", (2, 50, 4, 51)))
    with pytest.raises(BadInput, match="40 x 40 pixels, more than 1,000"):
        list(land_cells.read_mask(path, most_pixels=1000))
    assert list(land_cells.read_mask(path))


@pytest.mark.parametrize("data", [b"", b"II*\x00" + b"\xff" * 64])
def test_a_file_that_is_no_mask_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "mask.tif").write_bytes(data)
    with pytest.raises(BadInput, match="no raster that can be read"):
        read_land(str(tmp_path / "mask.tif"))
    with pytest.raises(BadInput, match="no such file"):
        read_land(str(tmp_path / "none.tif"))
