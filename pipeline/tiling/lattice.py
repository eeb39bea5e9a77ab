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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from tessera_mosaic.pipeline.bounds import Bounds
from tessera_mosaic.pipeline.errors import BadInput

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

SIDE = Bounds(f"such a side does not fit the lattice: choose from {TILE_SIDES}", among=TILE_SIDES)


@dataclass(frozen=True, order=True)
class Window:
    """A rectangle of a zone's lattice, in pixels from its north-west corner.

    Parameters
    ----------
    zone
        UTM zone, 1 to 60.
    row, col
        Row and column of the window's north-west pixel.
    height, width
        Size in pixels.
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
        """Projection of the zone, as `EPSG:326NN`."""
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

    def count_blocks(self, side: int) -> int:
        """Number of squares that `blocks` cuts into."""
        return -(-self.height // side) * -(-self.width // side)

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Rows and columns of this window in an array that covers `outer`."""
        row, col = self.row - outer.row, self.col - outer.col
        return slice(row, row + self.height), slice(col, col + self.width)


@dataclass(frozen=True, order=True, slots=True)
class Tile:
    """The unit of work, of retry and of record, and one shard of the store.

    Parameters
    ----------
    zone
        UTM zone, 1 to 60.
    row, col
        Row and column, counted in tiles from the lattice's north-west corner.
    side
        Side in pixels.
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
    SIDE.check(side, "tile")
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
        Longitude in degrees, -180 to 180; +180 belongs to zone 60.
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


def pixels_at(
    lon: NDArray[np.float64], lat: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Zones, rows and columns of the pixels that hold places, each int64 (places,).

    Parameters
    ----------
    lon, lat : float64 (places,)
        Degrees.

    Examples
    --------
    >>> [int(each[0]) for each in pixels_at(np.array([2.9999]), np.array([50.84]))]
    [31, 370684, 34815]
    """
    zones = zone_of(lon)
    rows, cols = np.zeros(len(lon), np.int64), np.zeros(len(lon), np.int64)
    for zone in np.unique(zones):
        of = zones == zone
        east, north = from_lonlat(int(zone)).transform(lon[of], lat[of])
        cols[of] = np.floor((east - WEST_EDGE) / PIXEL)
        rows[of] = np.floor((NORTH_EDGE - north) / PIXEL)
    return zones, np.clip(rows, 0, HEIGHT - 1), np.clip(cols, 0, WIDTH - 1)


def tiles_on(window: Window, side: int) -> Iterator[Tile]:
    """Tiles of a side that a window touches, row by row.

    Examples
    --------
    >>> [tile.name for tile in tiles_on(Window(31, 4000, 2000, 10, 100), 2048)]
    ['utm31-r00001-c0000', 'utm31-r00001-c0001']
    """
    for row in range(window.row // side, -(-(window.row + window.height) // side)):
        for col in range(window.col // side, -(-(window.col + window.width) // side)):
            yield Tile(window.zone, row, col, side)


def moved(shapes: Any, transformer: Transformer) -> Any:
    """Shapes with every corner brought to another reference system; edges stay straight there."""

    def move(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transformer.transform(at[:, 0], at[:, 1]), axis=1)

    return shapely.transform(shapes, move)


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
