"""UTM zones, the pixel lattice, tiles, and who owns a pixel.

Each of the 60 zones has one lattice of 10 m pixels in its *northern* UTM projection, both
hemispheres: the equator is northing 0, south of it northings are negative. The lattice's origin,
size and pixel edges never change, so that a tile's key means the same ground in every store.

The origin is chosen so that the equator lies on a tile line for every tile side, and so that the
rectangle holds all the ground between 80 S and 84 N that a zone owns, with its margin.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from pipeline.errors import BadInput

PIXEL = 10
"""Side of a pixel in metres."""

WEST_EDGE = 151_840
"""Easting of the lattice's west edge: 8.5 tiles of 4096 px west of the central meridian."""

NORTH_EDGE = 9_338_880
"""Northing of the lattice's north edge: 228 tiles of 4096 px north of the equator."""

WIDTH, HEIGHT = 17 * 4096, 446 * 4096
"""Size of every zone's lattice in pixels."""

SOUTH_LIMIT, NORTH_LIMIT = -80.0, 84.0
"""Latitudes that UTM covers, in degrees."""

CHUNK = 32
"""Side of the store's inner chunk in pixels; tiles and blocks are whole numbers of them."""

DEFAULT_SIDE = 2048
DEFAULT_MARGIN = 32

TILE_SIDES = tuple(32 << n for n in range(8))
"""Tile sides that divide the lattice: 32 to 4096 px."""


@dataclass(frozen=True, order=True)
class Window:
    """A rectangle of a zone's lattice, in pixels from its north-west corner.

    Parameters
    ----------
    zone
        UTM zone, 1 to 60.
    row, col
        Of the window's north-west pixel.
    height, width
        In pixels.
    """

    zone: int
    row: int
    col: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def west(self) -> int:
        """Easting of the west edge in metres."""
        return WEST_EDGE + self.col * PIXEL

    @property
    def north(self) -> int:
        """Northing of the north edge in metres, negative in the south."""
        return NORTH_EDGE - self.row * PIXEL

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """West, south, east and north edges in metres of the zone's northern projection."""
        east = self.west + self.width * PIXEL
        return self.west, self.north - self.height * PIXEL, east, self.north

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine a, b, c, d, e, f of the north-west corner."""
        return float(PIXEL), 0.0, float(self.west), 0.0, float(-PIXEL), float(self.north)

    @property
    def crs(self) -> str:
        """Of the zone, as `EPSG:326NN`."""
        return zone_crs(self.zone)

    def blocks(self, side: int) -> Iterator[Window]:
        """Cut into squares of `side` pixels, row by row; those at the far edges may be smaller."""
        for row in range(self.row, self.row + self.height, side):
            for col in range(self.col, self.col + self.width, side):
                yield Window(
                    self.zone,
                    row,
                    col,
                    min(side, self.row + self.height - row),
                    min(side, self.col + self.width - col),
                )

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Rows and columns of this window in an array that covers `outer`."""
        row, col = self.row - outer.row, self.col - outer.col
        return slice(row, row + self.height), slice(col, col + self.width)


@dataclass(frozen=True, order=True)
class Tile:
    """The unit of work, of retry and of record, and one shard of the store.

    Parameters
    ----------
    zone
        UTM zone, 1 to 60.
    row, col
        Counted in tiles from the lattice's north-west corner.
    side
        In pixels.
    """

    zone: int
    row: int
    col: int
    side: int = DEFAULT_SIDE

    @property
    def name(self) -> str:
        """The tile's name in records and messages, such as `utm31-r0905-c008`."""
        return f"{zone_group(self.zone)}-r{self.row:05d}-c{self.col:04d}"

    @property
    def window(self) -> Window:
        """The tile's pixels."""
        return Window(self.zone, self.row * self.side, self.col * self.side, self.side, self.side)


def parse_tile(name: str, side: int) -> Tile:
    """Read a tile's name back.

    Raises
    ------
    BadInput
        If the text is no name of a tile on the lattice.
    """
    match = re.fullmatch(r"utm(\d\d)-r(\d{5})-c(\d{4})", name)
    if match:
        zone, row, col = (int(part) for part in match.groups())
        if 1 <= zone <= 60 and row < HEIGHT // side and col < WIDTH // side:
            return Tile(zone, row, col, side)
    raise BadInput(f"{name!r} is no tile of side {side}: names look like utm31-r00905-c0008")


def check_side(side: int) -> int:
    """Return the tile side, or say which are allowed."""
    if side not in TILE_SIDES:
        raise BadInput(f"a tile of {side} px does not fit the lattice: choose from {TILE_SIDES}")
    return side


def zone_group(zone: int) -> str:
    """Name of a zone's group in the store."""
    return f"utm{zone:02d}"


def zone_crs(zone: int) -> str:
    """The zone's northern projection, which serves both hemispheres."""
    return f"EPSG:326{zone:02d}"


def zone_of(lon: NDArray[np.float64] | float) -> NDArray[np.int64]:
    """Zone that owns a longitude: plain 6 degree zones, without the Norway and Svalbard exceptions.

    Parameters
    ----------
    lon
        In degrees, -180 to 180; +180 belongs to zone 60.
    """
    return np.clip(np.floor((np.asarray(lon) + 180.0) / 6.0).astype(np.int64) + 1, 1, 60)


@functools.cache
def to_lonlat(zone: int) -> Transformer:
    """From the zone's eastings and northings to longitude and latitude."""
    return Transformer.from_crs(zone_crs(zone), "EPSG:4326", always_xy=True)


@functools.cache
def from_lonlat(zone: int) -> Transformer:
    """From longitude and latitude to the zone's eastings and northings."""
    return Transformer.from_crs("EPSG:4326", zone_crs(zone), always_xy=True)


def owned(window: Window, margin: int = DEFAULT_MARGIN) -> NDArray[np.bool_]:
    """Which pixels of a window are written to its zone.

    Parameters
    ----------
    window
        Of the lattice.
    margin
        In pixels.

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
    reader at the line always finds a neighbour.

    Parameters
    ----------
    zone
        UTM zone, 1 to 60.
    rows
        Of pixels, counted from the lattice's north edge.
    margin
        In pixels.

    Returns
    -------
    int64 (rows,), int64 (rows,)
        The first column that is written and the first that is not; equal where none is, beyond
        the latitudes that UTM covers.
    """
    northings = (NORTH_EDGE - (rows + 0.5) * PIXEL).astype(np.float64)
    low, high = zone_meridians(zone, northings)
    _, latitudes = to_lonlat(zone).transform(np.full(len(rows), 500_000.0), northings)
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
        Of tiles, counted from the lattice's north edge.
    side
        Of the tiles, in pixels.
    margin
        In pixels.

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
    rows, cols
        Of the tiles.
    side
        Of the tiles, in pixels.
    margins
        In pixels.

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
    west_lon = -180.0 + 6.0 * (zone - 1)
    _, lats = to_lonlat(zone).transform(np.full(len(northings), 500_000.0), northings)
    step = 1e-4
    for _ in range(3):
        _, at = transform(np.full(len(lats), west_lon), lats)
        _, above = transform(np.full(len(lats), west_lon), lats + step)
        lats = lats + (northings - at) * step / (above - at)
    west, _ = transform(np.full(len(lats), west_lon), lats)
    return west, 1_000_000.0 - west


def lonlat_bounds(window: Window) -> tuple[float, float, float, float]:
    """Degrees box west, south, east, north that holds a window.

    Where the window reaches across the antimeridian, east is beyond 180 or west below -180, so
    that west is always less than east.
    """
    west, south, east, north = window.bounds
    edge = np.linspace(0.0, 1.0, 22)
    x = np.concatenate([west + (east - west) * edge] * 2 + [np.full(22, west), np.full(22, east)])
    y = np.concatenate(
        [np.full(22, south), np.full(22, north)] + [south + (north - south) * edge] * 2
    )
    lon, lat = to_lonlat(window.zone).transform(x, y)
    centre = -183.0 + 6.0 * window.zone
    lon = centre + (lon - centre + 180.0) % 360.0 - 180.0
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def window_of_bounds(zone: int, bounds: tuple[float, float, float, float]) -> Window:
    """Smallest window that holds a rectangle given in metres, clipped to the lattice."""
    west, south, east, north = bounds
    left = int(np.clip(np.floor((west - WEST_EDGE) / PIXEL), 0, WIDTH))
    right = int(np.clip(np.ceil((east - WEST_EDGE) / PIXEL), 0, WIDTH))
    top = int(np.clip(np.floor((NORTH_EDGE - north) / PIXEL), 0, HEIGHT))
    bottom = int(np.clip(np.ceil((NORTH_EDGE - south) / PIXEL), 0, HEIGHT))
    return Window(zone, top, left, max(bottom - top, 0), max(right - left, 0))


def zones_touched(region: BaseGeometry) -> list[int]:
    """Zones that own ground of a region given in degrees."""
    touched = []
    for zone in range(1, 61):
        west = -180.0 + 6.0 * (zone - 1)
        strip = shapely.box(west, SOUTH_LIMIT, west + 6.0, NORTH_LIMIT)
        if shapely.intersects(region, strip) and not shapely.touches(region, strip):
            touched.append(zone)
    return touched


def region_window(zone: int, region: BaseGeometry) -> Window:
    """Smallest window of a zone that holds the part of a region which the zone owns.

    Parameters
    ----------
    region
        In degrees.
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
        In degrees.
    side
        Of the tiles, in pixels.
    margin
        In pixels.
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
        In degrees.
    side
        Of the tiles, in pixels.
    margin
        In pixels.
    among
        Says for rows and columns of tiles which of them may be chosen for the ground they own:
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
    size = side * PIXEL
    west, north = WEST_EDGE + columns[col] * size, NORTH_EDGE - rows[row] * size
    # A millimetre less, so that a region which ends at a tile's edge does not touch the tile.
    squares = shapely.box(west + 1e-3, north - size + 1e-3, west + size - 1e-3, north - 1e-3)
    shapely.prepare(ground)
    owners[row, col] = shapely.intersects(ground, squares)
    low, high = (limit[:, None] for limit in owned_tile_columns(zone, rows, side, margin))
    at_west = (owners & (columns == first)).any(axis=1, keepdims=True)
    at_east = (owners & (columns == stop - 1)).any(axis=1, keepdims=True)
    beside = at_west & (columns >= low) & (columns < first)
    beside |= at_east & (columns >= stop) & (columns < high)
    return np.argwhere(owners | beside) + np.array([top, left])


def project_region(zone: int, region: BaseGeometry) -> BaseGeometry:
    """The part of a region which a zone owns, in metres, with edges that follow the degrees.

    Parameters
    ----------
    region
        In degrees.
    """
    west = -180.0 + 6.0 * (zone - 1)
    part = shapely.intersection(region, shapely.box(west, SOUTH_LIMIT, west + 6.0, NORTH_LIMIT))
    if part.is_empty:
        return part
    return moved(shapely.segmentize(part, 0.1), from_lonlat(zone))


def moved(shapes: Any, transformer: Transformer) -> Any:
    """Shapes with every corner brought to another reference system; edges stay straight there."""

    def move(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transformer.transform(at[:, 0], at[:, 1]), axis=1)

    return shapely.transform(shapes, move)


def parse_box(text: str) -> BaseGeometry:
    """Read `west,south,east,north` in degrees; west beyond east means across the antimeridian.

    Raises
    ------
    BadInput
        If the text is no such box.
    """
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise BadInput(
            f"region {text!r} is no box: give west,south,east,north in degrees"
        ) from None
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90):
        raise BadInput(
            f"region {text!r} is out of range: longitudes are -180..180, latitudes -90..90, "
            "south is less than north"
        )
    if west == east:
        raise BadInput(f"region {text!r} has no width: west and east are the same")
    if west < east:
        return shapely.box(west, south, east, north)
    return shapely.union(
        shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)
    )


def proj_version() -> str:
    """Version of PROJ, which decides where a pixel's meridian lies."""
    return str(pyproj.__proj_version__)
