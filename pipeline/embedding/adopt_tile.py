"""The maker that adopts embeddings: from grids that were made elsewhere to the shard of a tile.

Where the pixels of a grid are those of the lattice, their bytes are taken as they are. Where cells
overlap, a pixel comes from the cell that owns its centre, whatever the others hold there.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from tessera_mosaic.pipeline.embedding.adopted_grids import Grid, open_array
from tessera_mosaic.pipeline.errors import BadInput, Corrupt, Gone
from tessera_mosaic.pipeline.io.regular_files import ALONE
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import Record, State, TileResult
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.tiling.lattice import (
    NORTH_EDGE,
    PIXEL,
    WEST_EDGE,
    Tile,
    Window,
    to_lonlat,
)
from tessera_mosaic.pipeline.tiling.region import wanted_pixels

BLOCK = 256
"""Side in pixels of the blocks in which a tile is adopted."""

CELLS = 10
"""Published cells along a degree."""

OPEN_GRIDS = 64
"""Grids whose arrays a process keeps open."""

WATER = 0
"""Value of a landmask's pixels that are water."""

Sources = tuple[tuple[str, str], ...]
"""Name and digest of each file that a tile is made from, in order."""


@dataclass(frozen=True)
class AdoptMaker:
    """Makes the shards of a mosaic of embeddings that were made elsewhere.

    Parameters
    ----------
    grids
        All grids that are adopted, by name.
    on_tiles
        For each tile, by its zone, row and column, the numbers of the grids that lie on it.
    year
        Calendar year of the embeddings.
    nearest
        Whether pixels of the lattice take the nearest of a grid, rather than their own.
    margin
        Number of pixels that are written beyond a zone's meridians.
    fingerprint
        Digest of all that decides what a product becomes.
    """

    grids: tuple[Grid, ...]
    on_tiles: dict[tuple[int, int, int], tuple[int, ...]]
    year: int
    nearest: bool
    margin: int
    fingerprint: str

    def steps(self, tile: Tile) -> int:
        """Number of blocks in which a tile is made."""
        return tile.window.count_blocks(BLOCK)

    def of_tile(self, tile: Tile) -> list[Grid]:
        """The grids that lie on a tile, by name."""
        return [self.grids[n] for n in self.on_tiles.get((tile.zone, tile.row, tile.col), ())]

    def open(self, storage: Storage, threads: int) -> TileAdopter:
        """Open the mosaic in a worker process."""
        return TileAdopter(self, storage, threads)


class TileAdopter:
    """Adopts tiles in one worker process.

    Parameters
    ----------
    maker
        What is made.
    storage
        The store that holds the mosaic.
    threads
        Number of cores that the process may use.
    """

    def __init__(self, maker: AdoptMaker, storage: Storage, threads: int) -> None:
        self._maker, self._storage, self._threads = maker, storage, threads
        self._mosaic = read_mosaic(storage)
        self._digests = Digests()
        self._open = functools.lru_cache(OPEN_GRIDS)(OpenGrid)

    def make(
        self, tile: Tile, before: Record | None, meter: Meter, writing: Callable[[], None]
    ) -> TileResult | None:
        """Put the pixels of a tile's grids to their places, and write its shard."""
        maker, layout = self._maker, self._mosaic.layout
        grids = maker.of_tile(tile)
        with meter("find"):
            sources = self._digests.of(grids)
        if before is not None and before.sources == sources:
            return None
        mine = wanted_pixels(tile.window, maker.margin)
        adopted = Adopted(layout.observed)
        spooling = f"spooling for {self._storage.url}"
        with store_errors(spooling):
            writer = self._mosaic.writer(tile, maker.year, self._threads)
        with writer as shard:
            for block in tile.window.blocks(min(BLOCK, tile.side)):
                meter.check_stop()
                keep = mine[block.within(tile.window)]
                with meter("read"):
                    part = self._read(block, grids, keep)
                with meter("write"), store_errors(spooling):
                    shard.put(block, part.codes, part.scales, part.counts)
                meter.add(blocks=1, **adopted.add(part))
            with meter("write"), store_errors(self._storage.url):
                writing()
                objects = shard.close() if adopted.told else ()
        return TileResult(
            State.DONE if adopted.told else State.EMPTY,
            sources=sources,
            observations=adopted.observations,
            pixels={
                "owned": int(mine.sum()),
                "embedded": adopted.embedded,
                "refused": adopted.refused,
            },
            objects=tuple(objects),
        )

    def keys(self, tile: Tile) -> Iterable[str]:
        """Keys of the shards of a tile."""
        return self._mosaic.keys(tile, self._maker.year)

    def renew(self) -> None:
        """Files need no credential."""

    def _read(self, block: Window, grids: Sequence[Grid], keep: NDArray[np.bool_]) -> Block:
        """A block's pixels, each from its grid."""
        layout = self._mosaic.layout
        part = Block.empty(block, layout.dims, layout.observed)
        cells = None
        for grid in grids:
            opened = self._open(grid)
            found = opened.pixels(block, self._maker.nearest)
            if found is None:
                continue
            rows, cols, here = found
            if grid.cell is not None:
                cells = cells_of(block) if cells is None else cells
                here &= (cells[0] == grid.cell[0]) & (cells[1] == grid.cell[1])
            here &= keep & ~part.taken
            if here.any():
                part.take(here, opened, rows[here], cols[here])
        return part


@dataclass
class Block:
    """What a block of a tile is made of so far.

    Parameters
    ----------
    codes, scales, counts
        As in `mosaic.shards.Pixels`.
    taken : bool (height, width)
        Pixels that a grid has given something for.
    refused
        Number of pixels whose scale is neither within 0 and 1 nor a sentinel.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    counts: dict[str, NDArray[np.uint16]]
    taken: NDArray[np.bool_]
    refused: int = 0

    @classmethod
    def empty(cls, block: Window, dims: int, observed: Iterable[str]) -> Block:
        """A block without pixels."""
        return cls(
            np.zeros((*block.shape, dims), np.int8),
            np.full(block.shape, np.inf, np.float32),
            {name: np.zeros(block.shape, np.uint16) for name in observed},
            np.zeros(block.shape, bool),
        )

    def take(
        self,
        here: NDArray[np.bool_],
        grid: OpenGrid,
        rows: NDArray[np.int64],
        cols: NDArray[np.int64],
    ) -> None:
        """Take some pixels of the block from rows and columns of a grid."""
        scales = grid.scales[rows, cols]
        refused = ~np.isnan(scales) & ~np.isposinf(scales) & ~((scales > 0) & (scales < 1))
        self.refused += int(refused.sum())
        scales = np.where(refused, np.float32(np.inf), scales)
        if grid.land is not None:
            # A cell says by its landmask alone what is water.
            water = grid.land[rows, cols] == WATER
            none = np.where(np.isnan(scales), np.float32(np.inf), scales)
            scales = np.where(water, np.float32(np.nan), none)
        self.scales[here] = scales
        self.codes[here] = np.where(
            np.isfinite(scales)[:, None], grid.codes[rows, cols], np.int8(0)
        )
        for name, counts in self.counts.items():
            counts[here] = grid.counts[name][rows, cols]
        taken = np.zeros_like(self.taken)
        taken[here] = ~np.isposinf(scales)
        self.taken |= taken


@dataclass
class Adopted:
    """What a tile's blocks add up to."""

    observed: tuple[str, ...]
    embedded: int = 0
    refused: int = 0
    told: int = 0

    def __post_init__(self) -> None:
        self.observations = {name: {"sum": 0, "max": 0} for name in self.observed}

    def add(self, part: Block) -> dict[str, int]:
        """Add one block; its share of the tile's measures."""
        embedded = int(np.isfinite(part.scales).sum())
        self.embedded += embedded
        self.refused += part.refused
        self.told += int(part.taken.sum())
        measures = {"pixels_embedded": embedded}
        for name, count in part.counts.items():
            known, seen = self.observations[name], int(count.sum())
            known["sum"] += seen
            known["max"] = max(known["max"], int(count.max(initial=0)))
            measures[f"observations_{name}"] = seen
        return measures


class OpenGrid:
    """The arrays of a grid, of which pages are read as they are used.

    Parameters
    ----------
    grid
        The grid.

    Raises
    ------
    Gone, Corrupt
        If a file is no longer there, or no longer what it was when the job was prepared.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        try:
            self.codes, self.scales = open_array(grid.codes), open_array(grid.scales)
            self.counts = {name: open_array(path) for name, path in grid.counts}
            self.land = None if grid.land is None else _read_mask(grid.land)
        except (BadInput, rasterio.errors.RasterioError) as error:
            lost = any(not Path(path).exists() for _, path in grid.files())
            raise (Gone if lost else Corrupt)(str(error)) from None
        planes = [self.scales, *self.counts.values(), *([] if self.land is None else [self.land])]
        if self.codes.shape != grid.shape or any(p.shape != grid.shape[:2] for p in planes):
            raise Corrupt(f"{grid.name} has another shape than when it was first opened")

    def pixels(
        self, block: Window, nearest: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]] | None:
        """Where the grid has the pixels of a block of the lattice.

        Returns
        -------
        Row and column of the grid for each pixel, int64 (height, width), and whether the grid has
        the pixel, bool (height, width); None where it has none.
        """
        height, width, _ = self.grid.shape
        if nearest:
            rows, cols = self._nearest(block)
        else:
            window = self._window
            if window.zone != block.zone:
                return None
            rows = block.row - window.row + np.arange(block.height)
            cols = block.col - window.col + np.arange(block.width)
            if rows[0] >= height or rows[-1] < 0 or cols[0] >= width or cols[-1] < 0:
                return None
            rows, cols = np.broadcast_arrays(rows[:, None], cols)
        inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
        return (rows, cols, inside) if inside.any() else None

    @functools.cached_property
    def _window(self) -> Window:
        return self.grid.window()

    def _nearest(self, block: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of the grid's pixel that holds the centre of each pixel of a block."""
        x, y = _between(block.crs, self.grid.crs).transform(*centres(block))
        back = ~Affine(*self.grid.transform)
        cols, rows = back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f
        beyond = ~(np.isfinite(rows) & np.isfinite(cols))
        # Far from any grid, where whole numbers of 64 bits end.
        rows, cols = (np.clip(np.where(beyond, -1, of), -1, 2**31) for of in (rows, cols))
        return np.floor(rows).astype(np.int64), np.floor(cols).astype(np.int64)


@functools.lru_cache(OPEN_GRIDS)
def _between(crs: str, other: str) -> Transformer:
    return Transformer.from_crs(crs, other, always_xy=True)


def _read_mask(path: str) -> NDArray[Any]:
    with rasterio.Env(**ALONE), rasterio.open(path, driver="GTiff") as file:
        mask: NDArray[Any] = file.read(1)
    return mask


def centres(block: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eastings and northings of the centres of a block's pixels, float64 (height, width)."""
    east = WEST_EDGE + (block.col + np.arange(block.width) + 0.5) * PIXEL
    north = NORTH_EDGE - (block.row + np.arange(block.height) + 0.5) * PIXEL
    wide, high = np.meshgrid(east, north)
    return wide, high


def cells_of(block: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Column and row of the 0.1 degree cell that owns each pixel, int64 (height, width).

    A pixel beyond the zone's meridians is of the last cell of the zone beside it: its own cell lies
    on another lattice.
    """
    lon, lat = to_lonlat(block.zone).transform(*centres(block))
    west = -180 + 6 * (block.zone - 1)
    # Zone 1 and zone 60 look over the antimeridian.
    lon = west + 3 + (np.asarray(lon) - west - 3 + 180.0) % 360.0 - 180.0
    first, last = west * CELLS, (west + 6) * CELLS - 1
    cols = np.clip(np.floor(lon * CELLS), first, last).astype(np.int64)
    return cols, np.floor(np.asarray(lat) * CELLS).astype(np.int64)


class Digests:
    """Digests of files, each of which is read once. Safe to use from many threads."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()

    def of(self, grids: Iterable[Grid]) -> Sources:
        """Name and sha256 of each file of some grids.

        Raises
        ------
        Gone
            If a file is not there any more.
        """
        return tuple((name, self._digest(path)) for grid in grids for name, path in grid.files())

    def _digest(self, path: str) -> str:
        with self._lock:
            if path not in self._known:
                try:
                    with open(path, "rb") as file:
                        self._known[path] = hashlib.file_digest(file, "sha256").hexdigest()
                except OSError as error:
                    raise Gone(f"{path} cannot be read: {error.strerror}") from None
            return self._known[path]
