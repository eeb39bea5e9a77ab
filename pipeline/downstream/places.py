"""Points and polygons with what is known of them, and the pixels of the lattice that they are.

A point is the pixel that holds it, in the zone of its longitude. A polygon is the pixels whose
centres lie inside it, each in the zone that owns the pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.features import rasterize

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.lattice import (
    NORTH_EDGE,
    NORTH_LIMIT,
    PIXEL,
    SOUTH_LIMIT,
    WEST_EDGE,
    from_lonlat,
    moved,
    pixels_at,
    to_lonlat,
    window_of_bounds,
    zone_of,
)
from tessera_mosaic.pipeline.tiling.polygons import cut_at_antimeridian

MOST_PIXELS = 20_000_000
"""Pixels that the places of a file may have together: 320 MB of numbers."""

PIECE = 4096
"""Side in pixels of the pieces in which a polygon's window is looked at."""

LONGEST_EDGE = 10_000.0
"""Length, in the units of a projection, of edges that stay straight when they are projected anew.
Over 10 km two projections of the same ground bend from one another by some decimetres."""

POINT, POLYGON, MULTIPOLYGON = 0, 3, 6
"""Numbers of the kinds of shapes that places have, as shapely counts them."""


@dataclass(frozen=True)
class Places:
    """Points and polygons of a file, in its order.

    Parameters
    ----------
    name
        What a message calls them, with the path of the file.
    shapes : object (places,)
        Points and polygons in degrees, longitude first; None where a place cannot be used.
    problems
        Why a place cannot be used; empty where it can.
    columns
        What the file says of each place, by name of the column; None where it says nothing.
    """

    name: str
    shapes: NDArray[np.object_]
    problems: tuple[str, ...]
    columns: dict[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def points(self) -> NDArray[np.bool_]:
        """Which places are points: bool (places,)."""
        return np.asarray(shapely.get_type_id(self.shapes) == POINT, bool)

    @property
    def sound(self) -> NDArray[np.bool_]:
        """Which places can be used: bool (places,)."""
        return np.array([not problem for problem in self.problems], bool)

    def column(self, name: str, parameter: str = "") -> list[Any]:
        """The values of a column.

        Parameters
        ----------
        name
            Name of the column, in any case.
        parameter
            Name of the parameter that asked for it, for the message.

        Raises
        ------
        BadInput
            If there is no such column, with the names of those that there are.
        """
        known = {each.casefold(): each for each in self.columns}
        if name.casefold() not in known:
            have = ", ".join(self.columns) or "none"
            raise BadInput(f"{self.name} has no such column; it has {have}", parameter, name)
        return self.columns[known[name.casefold()]]


@dataclass(frozen=True)
class PlacePixels:
    """Pixels of places, place by place, and of each place zone by zone.

    Parameters
    ----------
    place : int32 (pixels,)
        Number of the place, counted from 0 in the order of the file.
    zone, row, col : int32 (pixels,)
        UTM zone of the pixel, and its row and column of the zone's lattice.
    """

    place: NDArray[np.int32]
    zone: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.place)

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Longitudes and latitudes of the pixels' centres in degrees."""
        lon, lat = np.empty(len(self)), np.empty(len(self))
        east = WEST_EDGE + (self.col + 0.5) * PIXEL
        north = NORTH_EDGE - (self.row + 0.5) * PIXEL
        for zone in np.unique(self.zone):
            of = self.zone == zone
            lon[of], lat[of] = to_lonlat(int(zone)).transform(east[of], north[of])
        return lon, lat


def pixels_of(places: Places, most: int = MOST_PIXELS) -> PlacePixels:
    """The pixels of all places.

    A place that cannot be used, and a polygon that holds no pixel's centre, has none.

    Parameters
    ----------
    places
        The places.
    most
        Largest number of pixels.

    Raises
    ------
    BadInput
        If there are more.
    """
    points = np.flatnonzero(places.points)
    found = [_of_points(points, places.shapes[points])]
    count = len(points)
    areas = np.flatnonzero(places.sound & ~places.points)
    for part in _of_polygons(areas, places.shapes[areas]):
        found.append(part)
        count += len(part)
        if count > most:
            raise BadInput(
                f"{places.name} has more than {most:,} pixels: give fewer polygons, or smaller ones"
            )
    joined = {
        name: np.concatenate([getattr(part, name) for part in found])
        for name in ("place", "zone", "row", "col")
    }
    order = np.lexsort((joined["col"], joined["row"], joined["zone"], joined["place"]))
    return PlacePixels(**{name: values[order] for name, values in joined.items()})


def _of_points(numbers: NDArray[np.int64], points: NDArray[np.object_]) -> PlacePixels:
    """The pixel of each point."""
    at = shapely.get_coordinates(points)
    return _pixels(numbers, *pixels_at(at[:, 0], at[:, 1]))


def _of_polygons(
    numbers: NDArray[np.int64], polygons: NDArray[np.object_]
) -> Iterator[PlacePixels]:
    """The pixels of polygons, zone by zone."""
    parts, of = shapely.get_parts(polygons, return_index=True)
    if not len(parts):
        return
    west, _, east, _ = shapely.bounds(parts).T
    first, last = zone_of(west), zone_of(east)
    for zone in range(int(first.min()), int(last.max()) + 1):
        here = np.flatnonzero((first <= zone) & (zone <= last))
        if not len(here):
            continue
        shapes, crossing = parts[here], first[here] != last[here]
        strip = shapely.box(6.0 * zone - 186.0, SOUTH_LIMIT, 6.0 * zone - 180.0, NORTH_LIMIT)
        shapes[crossing] = shapely.intersection(shapes[crossing], strip)
        some = shapely.area(shapes) > 0
        ground = moved(shapely.segmentize(shapes[some], 0.01), from_lonlat(zone))
        for number, shape in zip(numbers[of[here[some]]], ground, strict=True):
            yield from _inside(int(number), zone, shape)


def _inside(number: int, zone: int, ground: Any) -> Iterator[PlacePixels]:
    """The pixels of a zone whose centres lie inside a polygon in metres."""
    for window in window_of_bounds(zone, ground.bounds).blocks(PIECE):
        burnt = rasterize(
            [(ground, 1)], out_shape=window.shape, transform=window.transform, dtype="uint8"
        )
        rows, cols = np.nonzero(burnt)
        yield _pixels(np.full(len(rows), number), zone, window.row + rows, window.col + cols)


def _pixels(place: Any, zone: Any, row: NDArray[Any], col: NDArray[Any]) -> PlacePixels:
    zones = np.broadcast_to(np.asarray(zone, np.int32), row.shape)
    return PlacePixels(place.astype(np.int32), zones, row.astype(np.int32), col.astype(np.int32))


def places_of(
    shapes: NDArray[np.object_], crs: CRS, name: str, columns: dict[str, list[Any]] | None = None
) -> Places:
    """Shapes in any reference system as places in degrees.

    Parameters
    ----------
    shapes : object (places,)
        Shapes of any kind; None where a place has none.
    crs
        Reference system of the shapes.
    name
        What a message calls the places, with the path of the file.
    columns
        What is said of each place.

    Raises
    ------
    BadInput
        If there are no places, or none can be used, with the reason of the first.
    """
    if not len(shapes):
        raise BadInput(f"{name} has no places")
    shapes = shapely.force_2d(shapes)
    single = shapely.get_type_id(shapes) == shapely.GeometryType.MULTIPOINT
    single &= shapely.get_num_geometries(shapes) == 1
    shapes[single] = shapely.get_geometry(shapes[single], 0)
    problems = np.full(len(shapes), "", object)

    def refuse(which: NDArray[np.bool_], why: str) -> None:
        problems[which & (problems == "")] = why

    refuse(shapely.is_missing(shapes) | shapely.is_empty(shapes), "it has no geometry")
    kinds = shapely.get_type_id(shapes)
    refuse(
        ~np.isin(kinds, (POINT, POLYGON, MULTIPOLYGON)), "a place is a single point or a polygon"
    )
    at, of = shapely.get_coordinates(shapes, return_index=True)
    infinite = np.zeros(len(shapes), bool)
    infinite[of[~np.isfinite(at).all(axis=1)]] = True
    refuse(infinite, "a coordinate is not a number")
    sound = problems == ""
    for broken in np.flatnonzero(sound)[~shapely.is_valid(shapes[sound])]:
        problems[broken] = f"broken geometry ({shapely.is_valid_reason(shapes[broken])}): mend it"
    areas = np.isin(kinds, (POLYGON, MULTIPOLYGON))
    refuse(areas & ~(shapely.area(shapes) > 0), "it has no area")
    sound = problems == ""
    degrees = np.full(len(shapes), None, object)
    degrees[sound] = _degrees(shapes[sound], crs)
    refuse(shapely.is_missing(degrees), "it reaches beyond what its reference system describes")
    west, south, east, north = shapely.bounds(degrees).T
    refuse(
        (west < -180) | (east > 180) | (south < -90) | (north > 90),
        "it is not within longitudes -180..180 and latitudes -90..90: declare its system",
    )
    if not crs.is_projected:
        refuse(_stepping(degrees), "an edge goes over 180: cut it there")
    refuse((north <= SOUTH_LIMIT) | (south >= NORTH_LIMIT), "it lies beyond 80 S or 84 N")
    degrees[problems != ""] = None
    if (problems != "").all():
        raise BadInput(f"{name} has no place that can be used; of its first: {problems[0]}")
    return Places(name, degrees, tuple(problems.tolist()), columns or {})


def _degrees(shapes: NDArray[np.object_], crs: CRS) -> NDArray[np.object_]:
    """Shapes in degrees, cut at the antimeridian; None beyond what the system can describe."""
    if crs.equals(CRS("OGC:CRS84"), ignore_axis_order=True):
        return shapes
    transformer = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    if crs.is_projected:
        shapes = shapely.segmentize(shapes, LONGEST_EDGE)
    at, of = shapely.get_coordinates(shapes, return_index=True)
    lonlat = np.stack(transformer.transform(at[:, 0], at[:, 1]), axis=1)
    beyond = np.unique(of[~np.isfinite(lonlat).all(axis=1)])
    lonlat[~np.isfinite(lonlat)] = 0.0
    found: NDArray[np.object_] = shapely.set_coordinates(shapes.copy(), lonlat)
    if crs.is_projected:
        for one in np.flatnonzero(_stepping(found)):
            parts = [cut_at_antimeridian(part) for part in shapely.get_parts(found[one])]
            found[one] = shapely.multipolygons(np.concatenate(parts))
    found[beyond] = None
    return found


def _stepping(shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which shapes in degrees have an edge that is longer than half the globe."""
    parts, whole = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    at, ring = shapely.get_coordinates(rings, return_index=True)
    long = (ring[:-1] == ring[1:]) & (np.abs(np.diff(at[:, 0])) > 180) if len(at) else at[:, 0] > 0
    found = np.zeros(len(shapes), bool)
    found[whole[part[ring[:-1][long]]]] = True
    return found
