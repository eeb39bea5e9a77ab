"""Points and tables of points are regions, as far around as is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from pyproj import Geod

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.area import AreaRequest, read_area
from tessera_mosaic.pipeline.tiling.region import pixels_inside, read_region

GEOD = Geod(ellps="WGS84")


def area_of(region: shapely.Geometry) -> float:
    """Square metres."""
    return sum(abs(GEOD.geometry_area_perimeter(part)[0]) for part in shapely.get_parts(region))


@pytest.mark.parametrize("text", ["7.1,46.0", "-70.5,-53.1", " 24, 71.2 ", "0,0", "-.5,5e0"])
@pytest.mark.parametrize("buffer", [30.0, 500.0, 20_000.0])
def test_a_buffer_is_metres_on_the_ground(text: str, buffer: float) -> None:
    found = read_region(text, buffer)
    lon, lat = (float(part) for part in text.split(","))
    corners = shapely.get_coordinates(found)
    ones = np.ones(len(corners))
    _, _, metres = GEOD.inv(lon * ones, lat * ones, corners[:, 0], corners[:, 1])
    assert np.allclose(metres, buffer, rtol=1e-6)
    assert area_of(found) == pytest.approx(np.pi * buffer**2, rel=0.01)


@pytest.mark.parametrize("text", ["7.1,46.0", "6,0", "-179.9999,-17", "24.03,71.2"])
def test_a_point_alone_holds_a_pixel(text: str) -> None:
    area = read_area(AreaRequest(text, tile=256, pixels="inside"))
    wanted = [int(area.wanted(tile.window).sum()) for tile in area.tiles()]
    # At a zone's line the pixels beside it are written to both zones.
    assert 1 <= sum(wanted) <= 8
    assert sum(int(pixels_inside(area.region, tile.window).sum()) for tile in area.tiles()) >= 1


def test_a_point_at_the_antimeridian_has_two_sides() -> None:
    found = read_region("180,-17", 1000)
    assert found.bounds[0::2] == (-180, 180)
    assert area_of(found) == pytest.approx(np.pi * 1e6, rel=0.01)


def test_a_table_of_points_is_the_ground_around_all(tmp_path: Path) -> None:
    path = tmp_path / "plots.csv"
    path.write_text("﻿id,Lat, LON\na,46.0,7.1\n\nb,46.5,7.2\nc,46.0,7.101\n", "utf-8")
    found = read_region(str(path), 500)
    alone = [read_region(text, 500) for text in ("7.1,46.0", "7.2,46.5", "7.101,46.0")]
    assert found.equals(shapely.union_all(alone))
    assert read_area(AreaRequest(str(path))).region.area < found.area


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("lon,lat\n", "0 points"),
        ("x,y\n1,2\n", "needs the columns lon and lat, in degrees; it has x, y"),
        ("lon,lat,lon\n1,2,3\n", "needs the columns"),
        ("lon,lat\n7,46\n\n7,north\n", "line 4: '7,north' is no point"),
        ("lon,lat\n7\n", "line 2: '7' is no point"),
        ("lon,lat\n7,95\n", "line 2"),
        ("", "needs the columns lon and lat, in degrees; it has none"),
    ],
)
def test_a_table_with_what_is_no_point_is_refused(table: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "plots.csv"
    path.write_text(table)
    with pytest.raises(BadInput, match=says) as caught:
        read_region(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "buffer", "says"),
    [
        ("46.0,107.1", None, "did you mean 107.1,46?"),
        ("500,46", None, "is no point: give lon,lat"),
        ("nan,46", None, "is no point"),
        ("7.1,89.9", None, "latitudes that UTM covers"),
        ("7,46,8,47", 500, "buffer 500: only points have one"),
        ("France", 500, "only points have one"),
        ("7.1,46", 0, "buffer 0: choose metres above 0"),
        ("7.1,46", -5, "choose metres"),
        ("7.1,46", 1e9, "up to 100,000"),
        ("7.1,46", float("nan"), "choose metres"),
        ("tiles.txt", 500, "buffer 500: the tiles of tiles.txt are taken as they are"),
    ],
)
def test_what_is_no_point_is_refused(text: str, buffer: float | None, says: str) -> None:
    with pytest.raises(BadInput, match=says.replace("?", r"\?")):
        read_area(AreaRequest(text, buffer=buffer))


def test_states_and_provinces_are_said_to_be_in_no_layer_here() -> None:
    with pytest.raises(BadInput, match="its states and provinces have to come in a file"):
        read_region("Bavaria")
