"""Who owns a pixel, and which tiles a region touches.

A pixel is written to the zone of its longitude, and for `margin` pixels beyond the zone's
meridians too, so that a reader at the line always finds a neighbour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.tiling.boxes import TURNS
from tessera_mosaic.pipeline.tiling.lattice import (
    DEFAULT_MARGIN,
    NORTH_EDGE,
    NORTH_LIMIT,
    PIXEL,
    SOUTH_LIMIT,
    WEST_EDGE,
    WIDTH,
    Tile,
    Window,
    check_side,
    from_lonlat,
    moved,
    to_lonlat,
    window_of_bounds,
)

NEAR = 100.0
"""Metres by which an edge may lie elsewhere if it is drawn in steps of a tenth of a degree."""


def owned(window: Window, margin: int = DEFAULT_MARGIN) -> NDArray[np.bool_]:
    """Which pixels of a window are written to its zone.

    Parameters
    ----------
    window
        Rectangle of the lattice.
    margin
        Pixels that are written beyond the meridians of their zone.

    Returns
    -------
    bool (height, width)
    """
    first, stop = owned_columns(
        window.zone, np.arange(window.row, window.row + window.height), margin
    )
    columns = np.arange(window.col, window.col + window.width)
    return (columns >= first[:, None]) & (columns < stop[:, None])


def owned_columns(
    zone: int, rows: NDArray[np.int64], margin: int = DEFAULT_MARGIN
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which pixels of the lattice's rows are written to a zone.

    A pixel belongs to the zone of its centre's longitude. The zone also writes the pixels whose
    centres lie at most `margin` pixels beyond its meridians, measured along the row, so that a
    reader at the line always finds a neighbour. Rows are written whole: those of which any part
    lies between 80 S and 84 N. Parallels bend, so near these the middle of a row may lie beyond.

    Parameters
    ----------
    zone
        UTM zone, 1 to 60.
    rows
        Rows of pixels, counted from the lattice's north edge.
    margin
        Pixels that are written beyond the meridians of their zone.

    Returns
    -------
    int64 (rows,), int64 (rows,)
        The first column that is written and the first that is not; equal where none is, beyond
        the latitudes that UTM covers.
    """
    northings = (NORTH_EDGE - (rows + 0.5) * PIXEL).astype(np.float64)
    low, high = zone_meridians(zone, northings)
    # On its meridians a zone's row comes nearest to the equator.
    _, latitudes = to_lonlat(zone).transform(low, northings)
    covered = (latitudes >= SOUTH_LIMIT) & (latitudes < NORTH_LIMIT)
    first = np.ceil((low - WEST_EDGE) / PIXEL - 0.5).astype(np.int64) - margin
    stop = np.ceil((high - WEST_EDGE) / PIXEL - 0.5).astype(np.int64) + margin
    return np.where(covered, first, 0), np.where(covered, stop, 0)


def owned_tile_columns(
    zone: int, rows: NDArray[np.int64], side: int, margin: int = DEFAULT_MARGIN
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which tiles hold a pixel that is written to a zone.

    Parameters
    ----------
    zone
        UTM zone, 1 to 60.
    rows
        Rows of tiles, counted from the lattice's north edge.
    side
        Side of the tiles in pixels.
    margin
        Pixels that are written beyond the meridians of their zone.

    Returns
    -------
    int64 (rows,), int64 (rows,)
        The first column of tiles and the first beyond; equal where there is none.
    """
    # A zone is widest at the equator, which is a tile line: one pixel row decides for each tile.
    widest = np.where(rows * side < NORTH_EDGE // PIXEL, (rows + 1) * side - 1, rows * side)
    first, stop = owned_columns(zone, widest, margin)
    return first // side, -(-stop // side)


def owned_pixels(
    rows: NDArray[np.int64], cols: NDArray[np.int64], side: int, margins: Sequence[int]
) -> NDArray[np.int64]:
    """Number of pixels of tiles that are written to their zone, the same in every zone.

    Parameters
    ----------
    rows, cols : int64 (tiles,)
        Row and column of each tile.
    side
        Side of the tiles in pixels.
    margins
        Margins in pixels, for each of which the pixels are counted.

    Returns
    -------
    int64 (margins, tiles)
    """
    counts = np.full((len(margins), len(rows)), side * side, np.int64)
    different, which = np.unique(rows, return_inverse=True)
    # Zones are one projection turned about the axis: any of them will do.
    first, stop = owned_columns(31, (different[:, None] * side + np.arange(side)).ravel(), 0)
    first, stop = first.reshape(-1, side), stop.reshape(-1, side)
    west = cols * side
    cut = (first.max(axis=1)[which] > west) | (stop.min(axis=1)[which] < west + side)
    for tile in np.flatnonzero(cut):
        low, high = first[which[tile]] - west[tile], stop[which[tile]] - west[tile]
        for count, margin in zip(counts, margins, strict=True):
            inside = np.clip(high + margin, 0, side) - np.clip(low - margin, 0, side)
            count[tile] = inside[high > low].sum()
    return counts


def zone_meridians(
    zone: int, northings: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eastings at which the zone's western and eastern meridians cross the given northings.

    Solved to well under a millimetre: along a meridian the northing grows with latitude, and
    three Newton steps from the central meridian's latitude converge.
    """
    # UTM is symmetric about the central meridian, so one side gives both.
    transform = from_lonlat(zone).transform
    west_lon = _west(zone)
    _, lats = to_lonlat(zone).transform(np.full(len(northings), 500_000.0), northings)
    step = 1e-4
    for _ in range(3):
        _, at = transform(np.full(len(lats), west_lon), lats)
        _, above = transform(np.full(len(lats), west_lon), lats + step)
        lats = lats + (northings - at) * step / (above - at)
    west, _ = transform(np.full(len(lats), west_lon), lats)
    return west, 1_000_000.0 - west


def _west(zone: int) -> float:
    """Longitude at which a zone begins."""
    return -180.0 + 6.0 * (zone - 1)


def _strip(zone: int) -> BaseGeometry:
    """The ground of a zone, in degrees."""
    return shapely.box(_west(zone), SOUTH_LIMIT, _west(zone) + 6.0, NORTH_LIMIT)


def zones_touched(region: BaseGeometry) -> list[int]:
    """Zones that own ground of a region given in degrees."""
    touched = []
    for zone in range(1, 61):
        strip = _strip(zone)
        if shapely.intersects(region, strip) and not shapely.touches(region, strip):
            touched.append(zone)
    return touched


def region_window(zone: int, region: BaseGeometry) -> Window:
    """Smallest window of a zone that holds the part of a region which the zone owns.

    Parameters
    ----------
    region
        Polygon or MultiPolygon in degrees.
    """
    projected = project_region(zone, region)
    if projected.is_empty:
        return Window(zone, 0, 0, 0, 0)
    return window_of_bounds(zone, projected.bounds)


def tiles_of_region(
    region: BaseGeometry, side: int, margin: int = DEFAULT_MARGIN
) -> Iterator[Tile]:
    """Tiles whose ground touches a region, zone by zone, row by row.

    Parameters
    ----------
    region
        Polygon or MultiPolygon in degrees.
    side
        Side of the tiles in pixels.
    margin
        Pixels that are written beyond the meridians of their zone.
    """
    check_side(side)
    for zone in zones_touched(region):
        for row, col in tiles_touched(zone, region, side, margin).tolist():
            yield Tile(zone, row, col, side)


def tiles_touched(
    zone: int,
    region: BaseGeometry,
    side: int,
    margin: int = DEFAULT_MARGIN,
    among: Callable[[slice, slice], NDArray[np.bool_]] | None = None,
) -> NDArray[np.int64]:
    """Which tiles of a zone own ground of a region, or hold the margin beside such a tile.

    Parameters
    ----------
    zone
        UTM zone, 1 to 60.
    region
        Polygon or MultiPolygon in degrees.
    side
        Side of the tiles in pixels.
    margin
        Pixels that are written beyond the meridians of their zone.
    among
        Gives for rows and columns of tiles which of them may be chosen for the ground they own:
        bool (rows, columns). All may by default.

    Returns
    -------
    int64 (tiles, 2)
        Row and column of each, row by row.
    """
    ground = project_region(zone, region)
    if ground.is_empty:
        return np.empty((0, 2), np.int64)
    window = window_of_bounds(zone, ground.bounds)
    top, bottom = window.row // side, -(-(window.row + window.height) // side)
    # One tile more on each side: within a row of tiles a meridian moves by less than a tile.
    left = max((window.col - margin) // side - 1, 0)
    right = min(-(-(window.col + window.width + margin) // side) + 1, WIDTH // side)
    rows, columns = np.arange(top, bottom), np.arange(left, right)
    first, stop = (limit[:, None] for limit in owned_tile_columns(zone, rows, side, margin=0))
    owners = (columns >= first) & (columns < stop)
    if among is not None:
        owners &= among(slice(top, bottom), slice(left, right))
    row, col = np.nonzero(owners)
    # A millimetre less, so that a region which ends at a tile's edge does not touch the tile.
    squares = _squares(rows[row], columns[col], side, -1e-3)
    shapely.prepare(ground)
    owners[row, col] = shapely.intersects(ground, squares)
    low, high = (limit[:, None] for limit in owned_tile_columns(zone, rows, side, margin))
    at_west = (owners & (columns == first)).any(axis=1, keepdims=True)
    at_east = (owners & (columns == stop - 1)).any(axis=1, keepdims=True)
    beside = at_west & (columns >= low) & (columns < first)
    beside |= at_east & (columns >= stop) & (columns < high)
    return np.argwhere(owners | beside) + np.array([top, left])


def tiles_within(
    zone: int, region: BaseGeometry, tiles: NDArray[np.int64], side: int
) -> NDArray[np.bool_]:
    """Which tiles of a zone lie in a region whole, with all their ground in all zones.

    Parameters
    ----------
    zone
        UTM zone, 1 to 60.
    region
        Polygon or MultiPolygon in degrees.
    tiles : int64 (tiles, 2)
        Row and column of each.
    side
        Side of the tiles in pixels.

    Returns
    -------
    bool (tiles,)
        False for a tile that comes within `NEAR` of the region's edge.
    """
    west = _west(zone)
    strips = [shapely.box(west - 6 + turn, -90.0, west + 12 + turn, 90.0) for turn in TURNS]
    parts = [
        translate(part, -turn)
        for part, turn in zip(shapely.intersection(region, strips), TURNS, strict=True)
    ]
    around = shapely.union_all([part for part in parts if part.area > 0])
    ground = moved(shapely.segmentize(around, 0.1), from_lonlat(zone))
    shapely.prepare(ground)
    squares = _squares(tiles[:, 0], tiles[:, 1], side, NEAR)
    return np.asarray(shapely.contains_properly(ground, squares), bool)


def _squares(
    rows: NDArray[np.int64], cols: NDArray[np.int64], side: int, more: float
) -> NDArray[np.object_]:
    """Tiles as polygons in metres, `more` metres wider on each side: (tiles,)."""
    size = side * PIXEL
    west, north = WEST_EDGE + cols * size, NORTH_EDGE - rows * size
    squares: NDArray[np.object_] = shapely.box(
        west - more, north - size - more, west + size + more, north + more
    )
    return squares


def project_region(zone: int, region: BaseGeometry) -> BaseGeometry:
    """The part of a region which a zone owns, in metres, with edges that follow the degrees.

    Parameters
    ----------
    region
        Polygon or MultiPolygon in degrees.
    """
    part = shapely.intersection(region, _strip(zone))
    if part.is_empty:
        return part
    return moved(shapely.segmentize(part, 0.1), from_lonlat(zone))
