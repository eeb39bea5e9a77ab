"""A tile of a mosaic that somebody else published, as `chunk_reader` tells one of ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.chunk_reader import EncodedChunk, TileReader
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic
from tessera_mosaic.pipeline.mosaic.foreign import ForeignMosaic
from tessera_mosaic.pipeline.tiling.lattice import CHUNK, Tile, Window

STRIP = 256
"""Rows of a tile that are read at once: their chunks lie otherwise than ours."""


@dataclass(frozen=True)
class PlainChunk:
    """A square of a tile whose embeddings were read already.

    Parameters
    ----------
    row, col
        Its first row and column in the tile.
    values : int8 (dims, side, side)
        Its embeddings.
    """

    row: int
    col: int
    values: NDArray[np.int8]

    def codes(self) -> NDArray[np.int8]:
        """Embeddings, int8 (dims, pixels), pixel after pixel, row after row."""
        return np.ascontiguousarray(self.values).reshape(len(self.values), -1)


Chunk = EncodedChunk | PlainChunk
"""A square of a tile, whose embeddings are told when they are asked for."""


class ForeignTileReader:
    """What a published mosaic holds of a tile and year.

    Parameters
    ----------
    mosaic, tile, year
        The mosaic, the tile and the calendar year.
    """

    def __init__(self, mosaic: ForeignMosaic, tile: Tile, year: int) -> None:
        self._mosaic, self._tile, self._year = mosaic, tile, year

    def present(self) -> bool:
        """Whether there is something to read."""
        return self.source() is not None

    def source(self) -> str | None:
        """A name of what is read, with the sizes of its shards; None where there is nothing."""
        found = self._mosaic.shards(self._tile, self._year)
        told = ", ".join(f"{key} {size} bytes" for key, size in found.items())
        return f"{self._mosaic.storage.url}: {told}" if found else None

    def scales(self) -> NDArray[np.float32]:
        """Scales of the tile, float32 (side, side)."""
        return self._mosaic.scales(self._tile.window, self._year)

    def counts(self) -> dict[str, NDArray[np.uint16]]:
        """Observation counts of the tile, as far as they are known, uint16 (side, side) by name."""
        return self._mosaic.counts(self._tile.window, self._year)

    @property
    def inner(self) -> int:
        """Side in pixels of the squares."""
        return CHUNK

    def rows(self, needed: NDArray[np.bool_] | None = None) -> Iterator[list[Chunk]]:
        """The squares of the tile, row after row of them.

        Parameters
        ----------
        needed : bool (squares, squares)
            Which squares are told, by row and column; all of them without it.
        """
        whole = self._tile.window
        across = whole.width // CHUNK
        wanted = np.ones((across, across), bool) if needed is None else needed
        for top in range(0, whole.height, STRIP):
            height = min(STRIP, whole.height - top)
            if not wanted[top // CHUNK : (top + height) // CHUNK].any():
                continue
            strip = Window(whole.zone, whole.row + top, whole.col, height, whole.width)
            codes = self._mosaic.codes(strip, self._year)
            for row in range(0, height, CHUNK):
                yield [
                    PlainChunk(top + row, col, codes[:, row : row + CHUNK, col : col + CHUNK])
                    for col in range(0, whole.width, CHUNK)
                    if wanted[(top + row) // CHUNK, col // CHUNK]
                ]


Reader = TileReader | ForeignTileReader
"""What reads a tile and year."""

Row = TypeVar("Row")


def read_rows(rows: Iterator[Row], meter: Meter, store: str) -> Iterator[Row]:
    """Rows of chunks of a tile, the time that reading takes put down; a job stops between two.

    Parameters
    ----------
    rows
        What a reader of the tile gives, row by row.
    meter
        Measures of the tile.
    store
        Path or URL of the mosaic, for messages.

    Raises
    ------
    Stopped
        If the job is to stop.
    StoreError
        If the mosaic cannot be read.
    """
    while True:
        meter.check_stop()
        with meter("read"), store_errors(store):
            row = next(rows, None)
        if row is None:
            return
        yield row


def reader_of(mosaic: AnyMosaic, tile: Tile, year: int, depth: int | None = None) -> Reader:
    """A reader of a tile and year of any mosaic, at a nested depth where it has that."""
    if isinstance(mosaic, ForeignMosaic):
        return ForeignTileReader(mosaic, tile, year)
    return TileReader(mosaic, tile, year, depth)
