"""A year of a region of a mosaic: which it is, and its pixels block by block."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np

from tessera_mosaic.pipeline.downstream.chunk_reader import TileReader
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.mosaic.any_mosaic import (
    AnyMosaic,
    has_shards,
    open_any,
    part_of,
    tiles_with_shards,
)
from tessera_mosaic.pipeline.mosaic.foreign import Extent, ForeignMosaic
from tessera_mosaic.pipeline.mosaic.region_windows import (
    check_something,
    made_windows,
    newest_year,
    nothing_of,
    windows_of,
)
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, WIDTH, Tile, Window, tiles_on, zone_group
from tessera_mosaic.pipeline.tiling.region import read_region

BLOCK = 512
"""Side in pixels of the blocks that are read at once: 35 MB of a mosaic of 128 dimensions."""

AHEAD = 3
"""Blocks that are read while one is worked on."""

MOST_LOOKED_AT = 256
"""Tiles that are looked through for where embedded pixels begin and end."""

MOST_WHOLE = 2**28
"""Pixels of a whole mosaic of somebody else's, beyond which a region has to be named."""


@dataclass(frozen=True)
class Selection:
    """A year of a region of a mosaic.

    Parameters
    ----------
    mosaic
        The mosaic.
    year
        Calendar year.
    windows
        The region's pixels, a window a zone.
    """

    mosaic: AnyMosaic
    year: int
    windows: tuple[Window, ...]

    @cached_property
    def tiles(self) -> frozenset[Tile]:
        """Tiles of the windows of which there is something.

        Raises
        ------
        BadInput
            If there is none.
        """
        side = self.mosaic.layout.side
        asked = (tile for window in self.windows for tile in tiles_on(window, side))
        found = frozenset(tiles_with_shards(self.mosaic, self.year, asked))
        if not found:
            raise nothing_of(self.mosaic, self.year)
        return found

    @property
    def blocks(self) -> int:
        """Number of blocks in which the windows are read."""
        return sum(window.count_blocks(BLOCK) for window in self.windows)

    def steps(self, tell: Callable[[int, int], None]) -> Callable[[], None]:
        """What is to be called after each block, so that somebody is told how many are done."""
        numbers = count(1)
        return lambda: tell(next(numbers), self.blocks)

    def path_of(self, window: Window, out: str | Path) -> Path:
        """Where a zone's file goes: named after the zone, too, where there are several."""
        path = Path(out)
        if len(self.windows) == 1:
            return path
        return path.with_name(f"{path.stem}-{zone_group(window.zone)}{path.suffix}")

    def read(self, window: Window) -> Iterator[tuple[Window, Pixels | None]]:
        """The blocks of a window, row by row, with what the mosaic holds of each.

        A block on which no shard lies comes without pixels. Memory does not grow with the window.

        Raises
        ------
        StoreError
            If the mosaic cannot be read.
        """
        side, tiles = self.mosaic.layout.side, self.tiles

        def pixels(block: Window) -> Pixels | None:
            if tiles.isdisjoint(tiles_on(block, side)):
                return None
            return part_of(self.mosaic, block, self.year)

        waiting: deque[tuple[Window, Future[Pixels | None]]] = deque()
        with ThreadPoolExecutor(AHEAD, thread_name_prefix="blocks") as pool:
            try:
                for block in window.blocks(BLOCK):
                    waiting.append((block, pool.submit(pixels, block)))
                    if len(waiting) > AHEAD:
                        first, read = waiting.popleft()
                        yield first, read.result()
                while waiting:
                    first, read = waiting.popleft()
                    yield first, read.result()
            finally:
                for _, read in waiting:
                    read.cancel()


def select(
    store: str, region: str | None, year: int | None, buffer: float | None = None
) -> Selection:
    """Find the pixels of a region in a mosaic.

    Parameters
    ----------
    store
        Path or URL of the mosaic.
    region
        Part of the Earth, as `read_region` takes it; None for all that was embedded.
    year
        Calendar year; None for the newest of which there is something in the region.
    buffer
        Metres around points.

    Raises
    ------
    BadInput
        If there is no mosaic, no such region or year, or nothing of it was made.
    """
    mosaic = open_any(store)
    if year is not None:
        mosaic.check_made(year)
    if region is None:
        if buffer is not None:
            raise BadInput("only points have one, and no region is named", "buffer", buffer)
        windows = _extents(mosaic) if isinstance(mosaic, ForeignMosaic) else []
    else:
        windows = windows_of(mosaic, read_region(region, buffer))
    if year is None:
        year = newest_year(mosaic, windows)
    if region is None and not windows:
        windows = _all_made(mosaic, year)
    check_something(mosaic, windows, year)
    some = (window for window in windows if has_shards(mosaic, [window], year))
    return Selection(mosaic, year, tuple(some))


def _extents(mosaic: ForeignMosaic) -> list[Window]:
    """Windows of all that a mosaic has room for that somebody else published."""
    windows = [_within_lattice(extent) for extent in mosaic.extents]
    if sum(window.height * window.width for window in windows) > MOST_WHOLE:
        raise BadInput("name one: all of this mosaic is too much", "region")
    return windows


def _all_made(mosaic: AnyMosaic, year: int) -> list[Window]:
    """Windows around all pixels that a mosaic of ours has of a year."""
    found = made_windows(mosaic, year)
    if not found:
        raise BadInput("name one: the store cannot be listed, or has nothing", "region")
    tight = [_embedded_part(mosaic, year, window) for window in found.values()]
    return [window for window in tight if window.height and window.width] or [*found.values()]


def _embedded_part(mosaic: AnyMosaic, year: int, window: Window) -> Window:
    """The window around the embedded pixels of a window; the same where that is much to read."""
    if isinstance(mosaic, ForeignMosaic):
        return window
    tiles = list(tiles_on(window, mosaic.layout.side))
    if len(tiles) > MOST_LOOKED_AT:
        return window
    rows, cols = np.zeros(window.height, bool), np.zeros(window.width, bool)
    for tile in tiles:
        known = np.isfinite(TileReader(mosaic, tile, year).scales())
        down, across = tile.window.within(window)
        rows[down] |= known.any(axis=1)
        cols[across] |= known.any(axis=0)
    if not rows.any():
        return Window(window.zone, window.row, window.col, 0, 0)
    (top, bottom), (left, right) = np.flatnonzero(rows)[[0, -1]], np.flatnonzero(cols)[[0, -1]]
    size = int(bottom - top) + 1, int(right - left) + 1
    return Window(window.zone, window.row + int(top), window.col + int(left), *size)


def _within_lattice(extent: Extent) -> Window:
    """The part of a zone's grid that lies on the lattice."""
    top, left = max(extent.row, 0), max(extent.col, 0)
    bottom, right = extent.row + extent.height, extent.col + extent.width
    return Window(extent.zone, top, left, min(bottom, HEIGHT) - top, min(right, WIDTH) - left)
