"""Which tiles a user asks for: those of a region, a list, or of all land.

The land layer says for each cell of 256 px whether any of its ground lies within 12 km of land.
`tools/derive_land.py` says from what it is made.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.bounds import Bounds, check_bounds
from tessera_mosaic.pipeline.errors import BadInput, choose
from tessera_mosaic.pipeline.tiling.land import Land, read_land
from tessera_mosaic.pipeline.tiling.lattice import (
    DEFAULT_MARGIN,
    DEFAULT_SIDE,
    SIDE,
    Tile,
    Window,
    lonlat_bounds,
    parse_tile,
)
from tessera_mosaic.pipeline.tiling.ownership import (
    owned_tile_columns,
    tiles_touched,
    zones_touched,
)
from tessera_mosaic.pipeline.tiling.points import BUFFER
from tessera_mosaic.pipeline.tiling.region import read_region, wanted_pixels

MAX_MARGIN = 1024
"""Largest margin in pixels: some 10 km, still within every zone's lattice."""

MARGIN = Bounds(f"choose 0 to {MAX_MARGIN} px", least=0, most=MAX_MARGIN)

MOST_CORNERS_INSIDE = 50_000
"""Corners of a region inside which pixels are chosen: every worker gets them with the job."""

TILE_LIST = ".txt"
"""Ending of a file with one tile's name a line."""


class WantedPixels(StrEnum):
    """Which pixels of an area's tiles are wanted."""

    ALL = "all"
    """All pixels of the tiles that touch the region."""

    INSIDE = "inside"
    """Only the pixels whose centres lie inside the region."""


@dataclass(frozen=True)
class AreaRequest:
    """Which tiles and pixels are asked for.

    Parameters
    ----------
    region
        Part of the Earth: `west,south,east,north` or a point `lon,lat` in degrees, a vector file,
        a CSV file of points, countries or Sentinel-2 tiles by name, `global`, or a text file (.txt)
        with the name of one tile a line.
    tile
        Side of the tiles in pixels: 32, 64, 128, 256, 512, 1024, 2048 or 4096.
    margin
        Number of pixels that are written beyond a zone's meridians, 0 to 1024.
    pixels
        Pixels that are wanted: `all` of the tiles that touch the region, or only those `inside`
        it.
    land
        Land outside of which no tile is made: `coast` for all land and 12 km of sea, `everywhere`,
        or the path of a map. By default `coast` for the region `global`, `everywhere` for others.
    buffer
        Metres around points, up to 100,000; by default as many as hold a pixel.

    Raises
    ------
    BadInput
        If a number does not fit the lattice, or the tiles of a list are asked for in part.

    Examples
    --------
    >>> area = tm.AreaRequest("7.0,46.0,7.1,46.1", pixels="inside")
    >>> area.tile, area.inside
    (2048, True)
    """

    region: str
    tile: int = field(default=DEFAULT_SIDE, metadata=SIDE.metadata)
    margin: int = field(default=DEFAULT_MARGIN, metadata=MARGIN.metadata)
    pixels: WantedPixels = WantedPixels.ALL
    land: str | None = None
    buffer: float | None = field(default=None, metadata=BUFFER.metadata)

    def __post_init__(self) -> None:
        choose(self, pixels=WantedPixels)
        check_bounds(self)
        asked = {"pixels": self.inside, "land": self.land, "buffer": self.buffer}
        if self.is_list and any(asked.values()):
            parameter = next(name for name, value in asked.items() if value)
            raise BadInput(
                f"the tiles of {self.region} are taken as they are, and whole",
                parameter,
                getattr(self, parameter),
            )

    @property
    def is_list(self) -> bool:
        """Whether the tiles themselves are named, in a file."""
        return self.region.lower().endswith(TILE_LIST)

    @property
    def inside(self) -> bool:
        """Whether only the pixels inside the region are wanted."""
        return self.pixels is WantedPixels.INSIDE


@dataclass(frozen=True)
class Area:
    """The tiles that a user asks for. Picklable; it holds no list of tiles but the user's own.

    Parameters
    ----------
    region
        Polygon or MultiPolygon in degrees.
    side
        Side of the tiles in pixels.
    margin
        Pixels that are written beyond the meridians of their zone.
    land
        Land outside of which no tile is made; None for no such limit.
    listed
        The tiles themselves, where the user named them; None otherwise.
    inside
        Whether only the pixels inside the region are wanted, not the whole of its tiles.
    """

    region: BaseGeometry
    side: int = DEFAULT_SIDE
    margin: int = DEFAULT_MARGIN
    land: Land | None = None
    listed: tuple[Tile, ...] | None = None
    inside: bool = False

    @property
    def zones(self) -> list[int]:
        """Zones that have tiles of the area, or may have."""
        if self.listed is not None:
            return sorted({tile.zone for tile in self.listed})
        return zones_touched(self.region)

    def index(self, zone: int) -> NDArray[np.int64]:
        """Rows and columns of the area's tiles of a zone, row by row: int64 (tiles, 2)."""
        if self.listed is not None:
            mine = [(tile.row, tile.col) for tile in self.listed if tile.zone == zone]
            return np.array(mine, np.int64).reshape(-1, 2)
        if self.land is None:
            return tiles_touched(zone, self.region, self.side, self.margin)
        among = functools.partial(self.land.tiles, zone, self.side)
        return tiles_touched(zone, self.region, self.side, self.margin, among)

    def tiles(self, zones: Iterable[int] | None = None) -> Iterator[Tile]:
        """The area's tiles, all or those of some zones: zone by zone, row by row."""
        for zone in self.zones if zones is None else zones:
            for row, col in self.index(zone).tolist():
                yield Tile(zone, row, col, self.side)

    def wanted(self, window: Window) -> NDArray[np.bool_]:
        """Pixels of a window to embed: bool (height, width)."""
        return wanted_pixels(window, self.margin, self.region if self.inside else None)


def read_area(request: AreaRequest) -> Area:
    """Read what is asked for.

    Raises
    ------
    BadInput
        If the region, the list of tiles or the map of land cannot be used, or no tile is left.
    """
    region, side, margin = request.region, request.tile, request.margin
    if request.is_list:
        listed = read_tile_list(Path(region), side, margin)
        boxes = [shapely.box(*lonlat_bounds(tile.window)) for tile in listed]
        return Area(shapely.union_all(boxes), side, margin, None, listed)
    land = request.land
    if land is None:
        land = "coast" if region.strip().lower() == "global" else "everywhere"
    ground = read_region(region, request.buffer)
    area = Area(ground, side, margin, read_land(land), inside=request.inside)
    corners = shapely.get_num_coordinates(area.region)
    if area.inside and corners > MOST_CORNERS_INSIDE:
        raise BadInput(
            f"the region has {corners:,} corners and may have {MOST_CORNERS_INSIDE:,}: simplify "
            "it, or take all pixels of its tiles",
            "pixels",
            request.pixels,
        )
    if next(area.tiles(), None) is None:
        if area.land is None:
            raise BadInput(f"region {region} has no tile between 80 S and 84 N")
        raise BadInput(f"region {region} has no tile there", "land", land)
    return area


MOST_BYTES = 64 * 2**20
"""Most bytes of a list of tiles: twice those of all land."""


def read_tile_list(path: Path, side: int, margin: int) -> tuple[Tile, ...]:
    """Read a file with one tile's name a line.

    Empty lines, and lines that begin with #, are skipped. But `# side 2048` says of which side
    the tiles are, which their names do not.

    Raises
    ------
    BadInput
        If a line names no tile of this side, or one of which nothing is written to its zone, or
        none does.
    """
    if path.exists() and (not path.is_file() or path.stat().st_size > MOST_BYTES):
        raise BadInput(f"{path} is no list of tiles: it is no file, or too large")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is no list of tiles: {error}") from None
    for line in lines:
        said = re.fullmatch(r"#\s*side\s+(\d+)", line, re.IGNORECASE)
        if said and int(said[1]) != side:
            raise BadInput(f"the tiles of {path} have {said[1]} px: give that", "tile", side)
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise BadInput(f"{path} names no tile")
    tiles = sorted({parse_tile(name, side) for name in names})
    first, stop = owned_tile_columns(31, np.array([tile.row for tile in tiles]), side, margin)
    for tile, low, high in zip(tiles, first, stop, strict=True):
        if not low <= tile.col < high:
            raise BadInput(
                f"{path}: {tile.name} lies beyond its zone and its margin of {margin} px, where "
                "nothing is made"
            )
    return tuple(tiles)
