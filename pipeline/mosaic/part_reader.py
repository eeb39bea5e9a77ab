"""Parts of a mosaic: pixels that lie scattered, or a window; each inner chunk is read once.

Of a shard the index is read first, then the chunks that are wanted; those that lie close behind one
another in one request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.mosaic.layout import Array, Layout
from tessera_mosaic.pipeline.mosaic.shards import (
    MISSING,
    Pixels,
    decode_chunk,
    decode_index,
    index_size,
)
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window

GAP = 1 << 16
"""Bytes between two chunks that are rather read than another request is sent for."""

MOST_AT_ONCE = 8 << 20
"""Bytes that are asked for in one request, unless a chunk alone is larger."""

READERS = 8
"""Requests to a store elsewhere that are sent at once."""

Place = tuple[int, int]
"""Row and column of an inner chunk in its shard."""


def read_at(
    mosaic: Mosaic, zone: int, rows: NDArray[np.int64], cols: NDArray[np.int64], year: int
) -> Pixels:
    """Pixels of a zone at full depth, in the order in which they are named.

    Parameters
    ----------
    mosaic
        The mosaic.
    zone
        UTM zone of the pixels.
    rows, cols : (pixels,)
        Row and column of each on the zone's lattice.
    year
        Calendar year.

    Returns
    -------
    Pixels
        Codes int8 (pixels, dims), scales float32 (pixels,), and the counts uint16 (pixels,).

    Raises
    ------
    StoreError
        If an object is damaged.
    """
    rows, cols = np.asarray(rows, np.int64), np.asarray(cols, np.int64)
    step, side = mosaic.step(year), mosaic.layout.side
    pixels = nothing((len(rows),), mosaic.layout)
    for at in by_square(rows, cols, side):
        tile = Tile(zone, int(rows[at[0]]) // side, int(cols[at[0]]) // side, side)
        down, across = rows[at] % side, cols[at] % side
        for array, values in arrays_of(mosaic.layout, pixels):
            n = array.inner
            wanted = {
                (int(down[of[0]]) // n, int(across[of[0]]) // n): of
                for of in by_square(down, across, n)
            }
            for place, chunk in read_chunks(mosaic, array, tile, step, wanted):
                of = wanted[place]
                values[at[of]] = np.moveaxis(chunk[..., down[of] % n, across[of] % n], -1, 0)
    return pixels


def read_part(mosaic: Mosaic, window: Window, year: int) -> Pixels:
    """A window of a zone at full depth, of which no more than its chunks are read.

    Raises
    ------
    StoreError
        If an object is damaged.
    """
    step, side = mosaic.step(year), mosaic.layout.side
    pixels = nothing(window.shape, mosaic.layout)
    bottom, right = window.row + window.height, window.col + window.width
    for row in range(window.row // side, -(-bottom // side)):
        for col in range(window.col // side, -(-right // side)):
            tile = Tile(window.zone, row, col, side)
            for array, values in arrays_of(mosaic.layout, pixels):
                n = array.inner
                top, left = tile.window.row, tile.window.col
                places = [
                    (i, j)
                    for i in range(array.across)
                    for j in range(array.across)
                    if top + i * n < bottom
                    and top + i * n + n > window.row
                    and left + j * n < right
                    and left + j * n + n > window.col
                ]
                for (i, j), chunk in read_chunks(mosaic, array, tile, step, places):
                    down, across = top + i * n - window.row, left + j * n - window.col
                    ours = slice(max(down, 0), down + n), slice(max(across, 0), across + n)
                    part = values[ours]
                    from_row, from_col = max(-down, 0), max(-across, 0)
                    part[:] = np.moveaxis(
                        chunk[
                            ...,
                            from_row : from_row + part.shape[0],
                            from_col : from_col + part.shape[1],
                        ],
                        (-2, -1),
                        (0, 1),
                    )
    return pixels


def nothing(shape: tuple[int, ...], layout: Layout) -> Pixels:
    """So many pixels of which nothing is there."""
    return Pixels(
        np.zeros((*shape, layout.dims), np.int8),
        np.full(shape, np.inf, np.float32),
        {name: np.zeros(shape, np.uint16) for name in layout.observed},
    )


def arrays_of(layout: Layout, pixels: Pixels) -> Iterator[tuple[Array, NDArray[Any]]]:
    """The arrays of a mosaic at full depth, with the values of some pixels that they hold."""
    yield layout.scales, pixels.scales
    yield layout.embeddings[-1], pixels.codes
    for name, array in zip(layout.observed, layout.counts, strict=True):
        yield array, pixels.counts[name]


def by_square(
    rows: NDArray[np.int64], cols: NDArray[np.int64], side: int
) -> Iterator[NDArray[np.int64]]:
    """Numbers of the pixels that lie in each square of so many pixels, square by square."""
    if not len(rows):
        return
    down, across = rows // side, cols // side
    order = np.lexsort((across, down))
    new = (np.diff(down[order]) != 0) | (np.diff(across[order]) != 0)
    yield from np.split(order, np.flatnonzero(new) + 1)


def read_chunks(
    mosaic: Mosaic, array: Array, tile: Tile, step: int, places: Iterable[Place]
) -> Iterator[tuple[Place, NDArray[Any]]]:
    """Inner chunks of a shard, but for those that are all fill.

    Raises
    ------
    StoreError
        If the shard is damaged.
    """
    storage, key, tail = mosaic.storage, array.key(tile, step), index_size(array)
    try:
        size = storage.size(key)
        index = decode_index(array, storage.read_range(key, size - tail, tail))
    except FileNotFoundError:
        return
    except StoreError as error:
        raise StoreError(f"tile {tile.name}: {error}") from None
    found = sorted(
        (int(index[place][0]), int(index[place][1]), place)
        for place in places
        if index[place][0] != MISSING
    )

    def read(run: list[tuple[int, int, Place]]) -> list[tuple[Place, NDArray[Any]]]:
        start = run[0][0]
        data = memoryview(storage.read_range(key, start, run[-1][0] + run[-1][1] - start))
        try:
            return [
                (place, decode_chunk(array, data[begin - start : begin - start + length]))
                for begin, length, place in run
            ]
        except StoreError as error:
            raise StoreError(f"tile {tile.name}: {error}") from None

    runs = list(_runs(found))
    if storage.folder is not None or len(runs) < 2:
        for run in runs:
            yield from read(run)
        return
    with ThreadPoolExecutor(READERS, thread_name_prefix="chunks") as pool:
        for chunks in pool.map(read, runs):
            yield from chunks


def _runs(found: list[tuple[int, int, Place]]) -> Iterator[list[tuple[int, int, Place]]]:
    """Chunks by offset and length, put together where they lie close behind one another."""
    run: list[tuple[int, int, Place]] = []
    for each in found:
        if run:
            start, end = run[0][0], run[-1][0] + run[-1][1]
            if each[0] - end > GAP or each[0] + each[1] - start > MOST_AT_ONCE:
                yield run
                run = []
        run.append(each)
    if run:
        yield run
