"""All land is in the tiles, once, and each tile is on land."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyproj import Geod, Proj

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling import land, lattice, ownership
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
