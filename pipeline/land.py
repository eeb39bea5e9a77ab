"""Which tiles a user asks for: those of a region, a list, or of all land.

The land layer says for each cell of 256 px whether any of its ground lies within 12 km of land.
`tools/derive_land.py` says from what it is made.
"""

from __future__ import annotations

import argparse
import functools
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from pipeline.cells import CELL, SHAPE, read_mask
from pipeline.errors import BadInput
from pipeline.grid import (
    DEFAULT_MARGIN,
    DEFAULT_SIDE,
    Tile,
    Window,
    check_side,
    lonlat_bounds,
    parse_tile,
)
from pipeline.ownership import owned_tile_columns, tiles_touched, zones_touched
from pipeline.region import read_region, wanted_pixels

COAST = 12_000
"""Metres of sea around all land that count as land: users of earlier mosaics found coasts clipped
with 1 km, and later ones took some 11 km."""

MAX_MARGIN = 1024
"""Pixels: some 10 km, still within every zone's lattice."""

MOST_CORNERS_INSIDE = 50_000
"""Corners of a region inside which pixels are chosen: every worker gets them with the job."""

LAYER = Path(__file__).parent / "data" / "land.npz"

TILE_LIST = ".txt"
"""Ending of a file with one tile's name a line."""


@dataclass(frozen=True)
class Land:
    """Which cells of the zones have land.

    Parameters
    ----------
    name
        Where it comes from.
    packed
        By zone, the cells' bits row by row; a zone that is absent has no land.
    """

    name: str
    packed: Mapping[int, NDArray[np.uint8]]

    def cells(self, zone: int) -> NDArray[np.bool_]:
        """Cells of a zone that have land: bool (cell rows, cell columns)."""
        if zone not in self.packed:
            return np.zeros(SHAPE, bool)
        return np.unpackbits(self.packed[zone], axis=1, count=SHAPE[1]).astype(bool)

    def tiles(self, zone: int, side: int, rows: slice, cols: slice) -> NDArray[np.bool_]:
        """Tiles of a zone that have land, of some rows and columns of tiles: bool (rows, cols)."""
        first = rows.start * side // CELL, cols.start * side // CELL
        stop = -(-rows.stop * side // CELL), -(-cols.stop * side // CELL)
        cells = self.cells(zone)[first[0] : stop[0], first[1] : stop[1]]
        if side < CELL:
            step = CELL // side
            small = cells.repeat(step, axis=0).repeat(step, axis=1)
            top, left = rows.start - first[0] * step, cols.start - first[1] * step
            return small[top:, left:][: rows.stop - rows.start, : cols.stop - cols.start]
        step = side // CELL
        blocks = cells.reshape(rows.stop - rows.start, step, cols.stop - cols.start, step)
        return np.asarray(blocks.any(axis=(1, 3)))


@dataclass(frozen=True)
class Area:
    """The tiles that a user asks for. Picklable; it holds no list of tiles but the user's own.

    Parameters
    ----------
    region
        In degrees.
    side
        Of the tiles, in pixels.
    margin
        Pixels written beyond the zones' meridians.
    land
        Outside which no tile is made; None for no such limit.
    listed
        The tiles themselves, where the user named them.
    inside
        Whether of a tile only the pixels inside the region are wanted, not the whole tile.
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


def area_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which tiles and pixels."""
    parser.add_argument(
        "--region",
        required=True,
        help="W,S,E,N in degrees, a vector file, a country, a Sentinel-2 tile, a list of tiles "
        "(.txt), or global",
    )
    parser.add_argument(
        "--land",
        metavar="L",
        help="no tile outside it: coast (all land and 12 km of sea; default of global), "
        "everywhere (default of other regions), or a mask file",
    )
    parser.add_argument(
        "--pixels",
        choices=("all", "inside"),
        default="all",
        help="all of the tiles that touch the region (default), or only those inside it",
    )
    parser.add_argument(
        "--tile", type=int, default=DEFAULT_SIDE, help="side of a tile in px (%(default)s)"
    )
    parser.add_argument(
        "--margin", type=int, default=DEFAULT_MARGIN, help="px over the zone line (%(default)s)"
    )


def area_of(args: argparse.Namespace) -> Area:
    """The area that a command's options ask for."""
    return read_area(args.region, args.tile, args.margin, args.land, args.pixels == "inside")


def read_area(
    region: str,
    side: int = DEFAULT_SIDE,
    margin: int = DEFAULT_MARGIN,
    land: str | None = None,
    inside: bool = False,
) -> Area:
    """Read what a user asks for.

    Parameters
    ----------
    region
        What `read_region` reads, or a text file with one tile's name a line.
    side, margin
        In pixels.
    land
        What `read_land` reads; None for the coast of `global`, and for all of other regions.
    inside
        Whether only the pixels inside the region are wanted.

    Raises
    ------
    BadInput
        If one of them cannot be used, or no tile is left.
    """
    check_side(side)
    if not 0 <= margin <= MAX_MARGIN:
        raise BadInput(f"--margin {margin}: choose 0 to {MAX_MARGIN} px")
    if region.lower().endswith(TILE_LIST):
        if inside or land is not None:
            option = "--pixels inside" if inside else "--land"
            raise BadInput(f"{option}: the tiles of {region} are taken as they are, and whole")
        listed = read_tile_list(Path(region), side, margin)
        boxes = [shapely.box(*lonlat_bounds(tile.window)) for tile in listed]
        return Area(shapely.union_all(boxes), side, margin, None, listed)
    if land is None:
        land = "coast" if region.strip().lower() == "global" else "everywhere"
    area = Area(read_region(region), side, margin, read_land(land), inside=inside)
    corners = shapely.get_num_coordinates(area.region)
    if inside and corners > MOST_CORNERS_INSIDE:
        raise BadInput(
            f"--pixels inside: the region has {corners:,} corners and may have "
            f"{MOST_CORNERS_INSIDE:,}: simplify it, or take all pixels of its tiles"
        )
    if next(area.tiles(), None) is None:
        raise BadInput(
            f"region {region} has no tile"
            + (" between 80 S and 84 N" if area.land is None else f" on --land {land}")
        )
    return area


def read_land(text: str) -> Land | None:
    """Read a land layer.

    Parameters
    ----------
    text
        `coast` for the package's own: all land and 12 km around it; `everywhere` for no limit; or
        a user's own: a vector file of areas, or a GeoTIFF that is neither zero nor without data on
        land.

    Raises
    ------
    BadInput
        If it cannot be used.
    """
    if text == "everywhere":
        return None
    if text == "coast":
        with np.load(LAYER) as layer:
            return Land(text, {int(zone): layer[zone] for zone in layer.files})
    path = Path(text)
    if not path.exists():
        raise BadInput(f"--land {text}: there is no such file; 'coast' and 'everywhere' need none")
    packed = {zone: np.packbits(cells, axis=1) for zone, cells in read_mask(path) if cells.any()}
    if not packed:
        raise BadInput(f"--land {text} has no land")
    return Land(text, packed)


def write_layer(path: Path, cells: Mapping[int, NDArray[np.bool_]]) -> None:
    """Write a layer as the package ships it, the same bytes for the same cells."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for zone in sorted(cells):
            member = zipfile.ZipInfo(f"{zone:02d}.npy")
            member.compress_type = zipfile.ZIP_DEFLATED
            with packed.open(member, "w") as file:
                np.lib.format.write_array(file, np.packbits(cells[zone], axis=1))


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
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is no list of tiles: {error}") from None
    for line in lines:
        said = re.fullmatch(r"#\s*side\s+(\d+)", line, re.IGNORECASE)
        if said and int(said[1]) != side:
            raise BadInput(f"{path} has tiles of {said[1]} px: give --tile {said[1]}")
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
