"""The maker of blocks: from a tile's embeddings to a file of the vectors of its blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.block_vectors import (
    BlockVector,
    block_vector,
    blocks_state,
    encode_blocks,
)
from tessera_mosaic.pipeline.downstream.foreign_tile import Chunk, read_rows, reader_of
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.io.stored_object import StoredObject
from tessera_mosaic.pipeline.ledger.keys import blocks_key
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import Record, State, TileResult
from tessera_mosaic.pipeline.mosaic.any_mosaic import open_any
from tessera_mosaic.pipeline.tiling.lattice import CHUNK, Tile
from tessera_mosaic.pipeline.tiling.region import wanted_pixels


@dataclass(frozen=True)
class BlockMaker:
    """Makes the files of blocks of a year.

    Parameters
    ----------
    store
        Path or URL of the mosaic.
    year
        Calendar year.
    fingerprint
        Digest of all that decides the bytes of a file.
    """

    store: str
    year: int
    fingerprint: str

    def steps(self, tile: Tile) -> int:
        """Number of rows of blocks of a tile."""
        return tile.side // CHUNK

    def open(self, storage: Storage, threads: int) -> TileBlocks:
        """Open the mosaic in a worker process."""
        return TileBlocks(self, storage)


class TileBlocks:
    """Makes files of blocks in one worker process.

    Parameters
    ----------
    maker
        What is made.
    storage
        Where the files go.
    """

    def __init__(self, maker: BlockMaker, storage: Storage) -> None:
        self._maker, self._storage = maker, storage
        self._mosaic = open_any(maker.store, storage.patience)
        self._state = blocks_state(self._mosaic, maker.year)

    def make(
        self, tile: Tile, before: Record | None, meter: Meter, writing: Callable[[], None]
    ) -> TileResult | None:
        """Read a tile's embeddings and write the vectors of its blocks."""
        maker = self._maker
        reader = reader_of(self._mosaic, tile, maker.year)
        with meter("find"), store_errors(maker.store):
            source = reader.source()
        read = () if source is None else (source,)
        if before is not None and before.scenes() == set(read):
            return None
        mine = wanted_pixels(tile.window, 0, None)
        pixels = {"owned": int(mine.sum()), "embedded": 0}
        blocks: list[BlockVector] = []
        if source is not None:
            with meter("read"), store_errors(maker.store):
                scales, counts = reader.scales(), reader.counts()
            mine &= np.isfinite(scales)
            rows: Iterator[Sequence[Chunk]] = reader.rows()
            for found in read_rows(rows, meter, maker.store):
                with meter("encode"):
                    blocks += (
                        _block(tile, chunk, mine, scales, counts)
                        for chunk in found
                        if mine[_place(chunk)].any()
                    )
                meter.add(blocks=1)
            pixels["embedded"] = sum(block.pixels for block in blocks)
        with store_errors(self._storage.url):
            writing()
            if not blocks:
                return TileResult(State.EMPTY, scenes_used=read, pixels=pixels)
            with meter("write"):
                key, data = blocks_key(tile, maker.year), encode_blocks(tile, blocks, self._state)
                self._storage.write(key, data)
        objects = (StoredObject.of(key, data),)
        return TileResult(State.DONE, scenes_used=read, pixels=pixels, objects=objects)

    def keys(self, tile: Tile) -> Iterable[str]:
        """Key of the file of a tile."""
        return (blocks_key(tile, self._maker.year),)

    def renew(self) -> None:
        """Credentials are the store's own, and renewed by its client."""


def _place(chunk: Chunk) -> tuple[slice, slice]:
    return np.s_[chunk.row : chunk.row + CHUNK, chunk.col : chunk.col + CHUNK]


def _block(
    tile: Tile,
    chunk: Chunk,
    mine: NDArray[np.bool_],
    scales: NDArray[np.float32],
    counts: dict[str, NDArray[np.uint16]],
) -> BlockVector:
    """The vector of a chunk's pixels that count, of which there is one."""
    here = _place(chunk)
    which = mine[here].ravel()
    return block_vector(
        tile.window.row + chunk.row,
        tile.window.col + chunk.col,
        chunk.codes()[:, which],
        scales[here].ravel()[which],
        {name: of[here].ravel()[which] for name, of in counts.items()},
    )
