"""All land is in the tiles, once, and each tile is on land."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyproj import Geod, Proj, Transformer
from rasterio.transform import from_bounds

from benchmarks.server import serving
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling import land, land_cells, lattice, ownership
from tessera_mosaic.pipeline.tiling.area import Area, AreaRequest, read_area
from tessera_mosaic.pipeline.tiling.land import read_land
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window
from tessera_mosaic.pipeline.tiling.region import read_region

GEOD = Geod(ellps="WGS84")


@functools.cache
def coast() -> land.Land:
    layer = read_land("coast")
    assert layer is not None
    return layer


@pytest.mark.parametrize(
    ("name", "lon", "lat"),
    [
        ("London", -0.13, 51.51),
        ("Funafuti", 179.2, -8.52),
        ("Fakaofo, Tokelau", -171.23, -9.38),
        ("Taveuni, east of 180", -179.96, -16.80),
        ("Tristan da Cunha", -12.28, -37.11),
        ("Scott Island", -179.92, -67.38),
        ("Ulithi", 139.79, 10.0),
        ("Rockall", -13.69, 57.60),
        ("L'Esperance Rock", -178.9, -31.35),
        ("Kolbeinsey", -18.68, 67.15),
        ("Minerva Reefs", -179.0, -23.65),
        ("Dry Tortugas", -82.87, 24.63),
        ("Snake Island", 30.2, 45.25),
        ("Columbretes", 0.68, 39.9),
        ("Jarak, Strait of Malacca", 100.1, 3.98),
        ("Manuk, Banda Sea", 130.3, -5.53),
        ("Michaelmas Cay, Coral Sea", 145.98, -16.6),
        ("El Ikhwa, Red Sea", 34.85, 26.31),
        ("Hvalbakur", -13.28, 64.6),
        ("Lake Victoria", 33.0, -1.0),
        ("Cape Morris Jesup", -33.0, 83.6),
        ("Union Glacier", -83.3, -79.77),
        ("10 km off Cabo da Roca", -9.615, 38.78),
    ],
)
def test_land_and_its_coast_have_tiles(name: str, lon: float, lat: float) -> None:
    point = shapely.box(lon - 1e-6, lat - 1e-6, lon + 1e-6, lat + 1e-6)
    assert list(Area(point, land=coast()).tiles()), name


@pytest.mark.parametrize(("lon", "lat"), [(-30.0, 30.0), (90.0, -30.0), (-9.8, 38.78), (0.0, 0.0)])
def test_the_open_sea_has_none(lon: float, lat: float) -> None:
    point = shapely.box(lon, lat, lon + 1e-3, lat + 1e-3)
    assert not list(Area(point, side=256, land=coast()).tiles())
    box = f"{lon},{lat},{lon + 1e-3},{lat + 1e-3}"
    with pytest.raises(BadInput, match=r"^land coast: region .* has no tile there"):
        read_area(AreaRequest(box, tile=256, land="coast"))
    # What a user draws is taken as it is, sea or not.
    assert list(read_area(AreaRequest(box, tile=256)).tiles())


BOXES = {
    "a zone line in Picardy": (5.97, 49.98, 6.03, 50.02),
    "the equator and a zone line in Gabon": (11.98, -0.02, 12.02, 0.02),
    "Norway, where others make an exception": (5.95, 60.68, 6.05, 60.72),
    "Svalbard, likewise": (17.9, 78.48, 18.1, 78.52),
    "the antimeridian in Taveuni": (179.98, -16.82, -179.98, -16.78),
    "the antimeridian in Chukotka": (179.95, 68.48, -179.95, 68.52),
    "north Greenland, at the last latitudes": (-30.1, 83.35, -29.9, 83.4),
    "Antarctica, at the last latitudes": (-84.1, -80.0, -83.9, -79.97),
}


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("side", [256, 2048])
def test_every_pixel_of_a_land_area_is_counted_once(name: str, side: int) -> None:
    west, south, east, north = BOXES[name]
    box = read_region(f"{west},{south},{east},{north}")
    ground = 0.0
    for zone in ownership.zones_touched(box):
        index = {tuple(found) for found in Area(box, side, 0, coast()).index(zone).tolist()}
        window = ownership.region_window(zone, box.buffer(0.01))
        counted = np.zeros(window.shape, int)
        for part in pieces(window, side):
            times = (part.row // side, part.col // side) in index
            counted[part.within(window)] += times * ownership.owned(part, margin=0)
        lon, lat, area = centres(window)
        inside = shapely.contains_xy(box, lon, lat)
        # Whose a pixel is follows here from its own longitude, pixel by pixel.
        assert (counted[inside] == (lattice.zone_of(lon) == zone)[inside]).all()
        ground += area[inside & (counted == 1)].sum()
    whole = sum(abs(GEOD.geometry_area_perimeter(dense)[0]) for dense in straight_parallels(box))
    assert ground == pytest.approx(whole, rel=1e-3)


def pieces(window: Window, side: int) -> Iterator[Window]:
    """A window cut at the lines of the tiles."""
    for row in range(window.row // side, (window.row + window.height - 1) // side + 1):
        for col in range(window.col // side, (window.col + window.width - 1) // side + 1):
            top, left = max(window.row, row * side), max(window.col, col * side)
            bottom = min(window.row + window.height, (row + 1) * side)
            right = min(window.col + window.width, (col + 1) * side)
            yield Window(window.zone, top, left, bottom - top, right - left)


def centres(window: Window) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Longitude and latitude of a window's pixels, and the square metres of ground they cover."""
    row, col = np.indices(window.shape)
    x = window.west + (col + 0.5) * lattice.PIXEL
    y = window.north - (row + 0.5) * lattice.PIXEL
    lon, lat = lattice.to_lonlat(window.zone).transform(x, y)
    scale = Proj(lattice.zone_crs(window.zone)).get_factors(lon, lat).areal_scale
    return lon, lat, lattice.PIXEL**2 / scale


def straight_parallels(box: shapely.Geometry) -> np.ndarray:
    return shapely.segmentize(shapely.get_parts(box), 0.001)


@settings(deadline=None, max_examples=30)
@example(1, -41, 256)
@given(st.integers(1, 60), st.integers(-78, 82), st.sampled_from([256, 1024, 2048]))
def test_the_margin_beside_every_tile_at_a_zone_line_is_in_a_tile(
    zone: int, lat: int, side: int
) -> None:
    line = -180.0 + 6.0 * (zone - 1)
    box = shapely.box(line, lat, line + 0.3, lat + 0.2)
    index = {tuple(found) for found in ownership.tiles_touched(zone, box, side, 32).tolist()}
    owners = {tuple(found) for found in ownership.tiles_touched(zone, box, side, 0).tolist()}
    assert owners <= index
    for row, col in owners:
        rows = np.arange(row * side, (row + 1) * side)
        with_margin, _ = ownership.owned_columns(zone, rows, 32)
        without, _ = ownership.owned_columns(zone, rows, 0)
        if col == without.min() // side:
            assert (row, with_margin.min() // side) in index
    assert all(
        ownership.owned(Tile(zone, *found, side).window, 32).any() for found in index - owners
    )


def test_pixels_of_tiles_are_what_they_own() -> None:
    tiles = [(0, 8), (0, 9), (20, 7), (227, 0), (228, 0), (228, 16), (300, 8), (444, 9)]
    rows, cols = np.array(tiles).T
    bare, with_margin = ownership.owned_pixels(rows, cols, 4096, (0, 32))
    for row, col, pixels, more in zip(rows, cols, bare, with_margin, strict=True):
        window = Tile(17, int(row), int(col), 4096).window
        assert pixels == ownership.owned(window, margin=0).sum()
        assert more == ownership.owned(window, margin=32).sum()


@settings(deadline=None)
@given(st.integers(1, 60), st.sampled_from([32, 64, 128, 512, 1024, 2048]))
def test_a_tile_has_land_if_a_tile_within_it_has(zone: int, side: int) -> None:
    rows, cols = slice(96, 104), slice(8, 9)
    whole = coast().tiles(zone, 4096, rows, cols)
    step = 4096 // side
    fine = coast().tiles(zone, side, slice(96 * step, 104 * step), slice(8 * step, 9 * step))
    assert (fine.reshape(8, step, 1, step).any(axis=(1, 3)) == whole).all()


def test_an_area_travels_and_a_worker_can_take_one_zone() -> None:
    area = pickle.loads(pickle.dumps(read_area(AreaRequest("Fiji"))))  # noqa: S301
    assert area.zones == [1, 60]
    assert list(area.tiles()) == [*area.tiles([1]), *area.tiles([60])]
    assert {tile.zone for tile in area.tiles([60])} == {60}


def test_a_list_of_tiles_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "again.txt"
    path.write_text("# failed yesterday\nutm31-r00195-c0008\n\nutm30-r00001-c0016\n")
    area = read_area(AreaRequest(str(path)))
    assert list(area.tiles()) == [Tile(30, 1, 16), Tile(31, 195, 8)]
    assert area.zones == [30, 31]


def test_a_list_of_tiles_may_say_of_which_side_they_are(tmp_path: Path) -> None:
    path = tmp_path / "again.txt"
    path.write_bytes(b"\xef\xbb\xbf# side 4096\r\n  # a note\r\nutm31-r00195-c0008\r\n")
    assert list(read_area(AreaRequest(str(path), tile=4096)).tiles()) == [Tile(31, 195, 8, 4096)]
    with pytest.raises(BadInput, match=r"^tile 2048: the tiles of .* have 4096 px"):
        read_area(AreaRequest(str(path)))


@pytest.mark.parametrize(
    "option", [{"land": "coast"}, {"land": "everywhere"}, {"pixels": "inside"}]
)
def test_a_list_of_tiles_takes_no_other_limit(option: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "again.txt").write_text("utm31-r00195-c0008\n")
    with pytest.raises(BadInput, match="taken as they are"):
        read_area(AreaRequest(str(tmp_path / "again.txt"), **option))


def test_a_region_inside_which_pixels_are_chosen_is_small(tmp_path: Path) -> None:
    angles = np.linspace(0, 2 * np.pi, 60_000)
    circle = shapely.Polygon(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    (tmp_path / "circle.geojson").write_text(shapely.to_geojson(circle))
    assert read_area(AreaRequest(str(tmp_path / "circle.geojson"))).zones == [30, 31]
    with pytest.raises(BadInput, match=r"60,00\d corners and may have 50,000"):
        read_area(AreaRequest(str(tmp_path / "circle.geojson"), pixels="inside"))


@pytest.mark.parametrize("name", ["utm31-r00195-c0000", "utm01-r00000-c0000", "utm60-r00891-c0016"])
def test_a_list_names_no_tile_beyond_its_zone(name: str, tmp_path: Path) -> None:
    (tmp_path / "tiles.txt").write_text(f"utm31-r00195-c0008\n{name}\n")
    with pytest.raises(BadInput, match=f"{name} lies beyond its zone"):
        read_area(AreaRequest(str(tmp_path / "tiles.txt")))


@pytest.mark.parametrize("text", ["", "# nothing\n", "utm31\n", "utm31-r09999-c0000\n", "\udcff"])
def test_a_list_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tiles.txt"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadInput):
        read_area(AreaRequest(str(path)))


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


def test_a_mask_has_only_so_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(land_cells, "MAX_PIXELS", 1000)
    with pytest.raises(BadInput, match="40 x 40 pixels, more than 1,000"):
        read_land(raster(tmp_path / "a.tif", "EPSG:4326", (2, 50, 4, 51)))


@pytest.mark.parametrize("data", [b"", b"II*\x00" + b"\xff" * 64])
def test_a_file_that_is_no_mask_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "mask.tif").write_bytes(data)
    with pytest.raises(BadInput, match="no raster that can be read"):
        read_land(str(tmp_path / "mask.tif"))
    with pytest.raises(BadInput, match="no such file"):
        read_land(str(tmp_path / "none.tif"))
