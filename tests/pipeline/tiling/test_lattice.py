"""The lattice: its keys never move, and every pixel has one owner."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling import lattice, ownership
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window
from tessera_mosaic.pipeline.tiling.region import parse_box

zones = st.integers(1, 60)
sides = st.sampled_from(lattice.TILE_SIDES)


def test_the_lattice_is_fixed() -> None:
    # These numbers are in every store's keys; a change makes every store unreadable.
    assert (lattice.WEST_EDGE, lattice.NORTH_EDGE, lattice.WIDTH, lattice.HEIGHT) == (
        151_840,
        9_338_880,
        69_632,
        1_826_816,
    )
    assert Tile(31, 4, 5, 2048).window.bounds == (254_240, 9_236_480, 274_720, 9_256_960)


@given(sides)
def test_every_tile_side_divides_the_lattice_and_the_equator_is_a_tile_line(side: int) -> None:
    assert lattice.WIDTH % side == lattice.HEIGHT % side == 0
    assert lattice.NORTH_EDGE % (side * lattice.PIXEL) == 0


@pytest.mark.parametrize("zone", [1, 31, 60])
def test_the_lattice_holds_all_ground_of_a_zone_with_its_margin(zone: int) -> None:
    west = -180.0 + 6.0 * (zone - 1)
    lons = np.array([west, west + 3, west + 6] * 3)
    lats = np.repeat([lattice.SOUTH_LIMIT, 0.0, lattice.NORTH_LIMIT], 3)
    east, north = lattice.from_lonlat(zone).transform(lons, lats)
    left, bottom, right, top = Window(zone, 0, 0, lattice.HEIGHT, lattice.WIDTH).bounds
    reach = 1024 * lattice.PIXEL
    # The margin reaches over meridians only; the poles' sides end with the latitudes.
    assert (east - reach > left).all()
    assert (east + reach < right).all()
    assert (north > bottom).all()
    assert (north < top).all()


@given(zones, st.integers(0, 445), st.integers(0, 16), st.sampled_from([256, 1024, 2048, 4096]))
def test_names_of_tiles_are_read_back(zone: int, row: int, col: int, side: int) -> None:
    tile = Tile(zone, row, col, side)
    assert lattice.parse_tile(tile.name, side) == tile


@pytest.mark.parametrize(
    "name", ["utm61-r00001-c0001", "utm00-r00001-c0001", "utm31-r99999-c0001", "../x", "utm31"]
)
def test_what_is_no_tile_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="is no tile"):
        lattice.parse_tile(name, 2048)


@pytest.mark.parametrize("lat", [-79.995, -79.9, -35.0, 0.0, 47.3, 83.9, 83.995])
@pytest.mark.parametrize("zone", [1, 2, 33, 60])
def test_at_a_zone_line_each_pixel_has_one_owner(zone: int, lat: float) -> None:
    line = -180.0 + 6.0 * (zone - 1)
    east, north = lattice.from_lonlat(zone).transform(line, lat)
    window = lattice.window_of_bounds(zone, (east - 400, north - 400, east + 400, north + 400))
    x = window.west + (np.arange(window.width) + 0.5) * lattice.PIXEL
    y = window.north - (np.arange(window.height) + 0.5) * lattice.PIXEL
    lon, _ = lattice.to_lonlat(zone).transform(*np.meshgrid(x, y))
    expected = lattice.zone_of(lon) == zone
    assert (ownership.owned(window, margin=0) == expected).all()
    assert 0 < expected.sum() < expected.size


@given(zones, st.floats(-79, 83), st.integers(1, 200))
def test_the_margin_reaches_as_far_as_it_says(zone: int, lat: float, margin: int) -> None:
    line = -180.0 + 6.0 * (zone - 1)
    east, north = lattice.from_lonlat(zone).transform(line, lat)
    window = lattice.window_of_bounds(zone, (east - 3000, north - 5, east + 500, north + 5))
    bare, wide = ownership.owned(window, 0), ownership.owned(window, margin)
    assert ((wide.sum(axis=1) - bare.sum(axis=1)) == margin).all()


def test_meridians_are_exact() -> None:
    northings = np.linspace(-8_880_000, 9_328_000, 50)
    west, east = ownership.zone_meridians(31, northings)
    for eastings, lon in ((west, 0.0), (east, 6.0)):
        back, _ = lattice.to_lonlat(31).transform(eastings, northings)
        # A metre is at least 1e-5 degrees; a tenth of a millimetre at the equator 1e-9.
        np.testing.assert_allclose(back, lon, atol=1e-9)


@pytest.mark.parametrize("limit", [lattice.SOUTH_LIMIT, lattice.NORTH_LIMIT])
def test_rows_are_owned_up_to_the_latitudes_of_utm(limit: float) -> None:
    # Parallels bend towards the poles away from the middle of a zone, by more than a kilometre.
    west, at_line = lattice.from_lonlat(31).transform(0.0, limit)
    _, in_the_middle = lattice.from_lonlat(31).transform(3.0, limit)
    assert abs(at_line) - abs(in_the_middle) > 500
    bounds = (west + 10, at_line - 100, west + 110, at_line + 100)
    window = lattice.window_of_bounds(31, bounds)
    mine = ownership.owned(window, margin=0)
    y = window.north - (np.arange(window.height) + 0.5) * lattice.PIXEL
    assert (mine.all(axis=1) == (np.abs(y) < abs(at_line))).all()


@given(
    st.floats(-179, 178), st.floats(-79, 83), st.floats(0.001, 0.3), st.sampled_from([256, 2048])
)
def test_tiles_cover_a_region(west: float, south: float, size: float, side: int) -> None:
    region = shapely.box(west, south, west + size, south + size)
    tiles = list(ownership.tiles_of_region(region, side))
    assert len(tiles) == len(set(tiles))
    draw = np.random.default_rng(0)
    lons, lats = draw.uniform(west, west + size, 20), draw.uniform(south, south + size, 20)
    for lon, lat in zip(lons, lats, strict=True):
        zone = int(lattice.zone_of(lon))
        x, y = lattice.from_lonlat(zone).transform(lon, lat)
        row, col = int((lattice.NORTH_EDGE - y) // 10), int((x - lattice.WEST_EDGE) // 10)
        assert Tile(zone, row // side, col // side, side) in tiles


def test_a_box_across_the_antimeridian_has_two_parts() -> None:
    region = parse_box("179.9,-17,-179.9,-16.9")
    assert ownership.zones_touched(region) == [1, 60]
    found = {tile.zone for tile in ownership.tiles_of_region(region, 2048)}
    assert found == {1, 60}


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "a,b,c,d", "nan,0,1,1", "0,2,1,1", "0,0,0,1", "0,-91,1,1", "inf,0,1,1"]
)
def test_what_is_no_box_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_box(text)
    assert "\n" not in str(caught.value)


def test_degrees_around_a_window_at_the_antimeridian_stay_together() -> None:
    east, north = lattice.from_lonlat(1).transform(-180.0, 10.0)
    window = lattice.window_of_bounds(1, (east - 1000, north, east + 1000, north + 1000))
    west, south, east_lon, north_lat = lattice.lonlat_bounds(window)
    assert west < -180.0 < east_lon < -179.9
    assert 9.99 < south < north_lat < 10.02


def test_blocks_cover_a_window_once() -> None:
    window = Window(31, 64, 32, 100, 70)
    count = np.zeros(window.shape, int)
    assert window.count_blocks(32) == len(list(window.blocks(32)))
    for block in window.blocks(32):
        count[block.within(window)] += 1
    assert (count == 1).all()
