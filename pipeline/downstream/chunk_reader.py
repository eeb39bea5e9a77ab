"""A tile of a mosaic, inner chunk by inner chunk, in memory that does not grow with the tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.io.stored_object import StoredObject
from tessera_mosaic.pipeline.ledger.records import State, known_record
from tessera_mosaic.pipeline.mosaic.layout import Array
from tessera_mosaic.pipeline.mosaic.shards import MISSING, decode_chunk, decode_shard, read_index
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.lattice import Tile


@dataclass(frozen=True)
class EncodedChunk:
    """An inner chunk of embeddings as it lies in its shard.

    Parameters
    ----------
    row, col
        Its first row and column in the tile.
    array
        The array that it is of.
    data
        Its bytes.
    """

    row: int
    col: int
    array: Array
    data: bytes | memoryview

    def codes(self) -> NDArray[np.int8]:
        """Embeddings, int8 (dims, pixels), pixel after pixel, row after row."""
        values = decode_chunk(self.array, self.data)
        return values.reshape(len(values), -1)


class TileReader:
    """What a mosaic holds of a tile and year.

    Parameters
    ----------
    mosaic, tile, year
        The mosaic, the tile and the calendar year.
    depth
        Number of first values that are read, one of the nested depths; None for all values.
    """

    def __init__(self, mosaic: Mosaic, tile: Tile, year: int, depth: int | None = None) -> None:
        self._mosaic, self._tile, self._year = mosaic, tile, year
        bands = mosaic.layout.dims if depth is None else depth
        self._embeddings = next(of for of in mosaic.layout.embeddings if of.bands == bands)
        self._step = mosaic.step(year)

    @property
    def inner(self) -> int:
        """Side in pixels of the chunks."""
        return self._embeddings.inner

    def present(self) -> bool:
        """Whether there is something to read: not where the mosaic failed on it or lost it."""
        storage = self._mosaic.storage
        record = known_record(storage, self._year, self._tile)
        if record is not None and record.state is State.FAILED:
            return False
        arrays = (self._mosaic.layout.scales, self._embeddings)
        return all(storage.exists(array.key(self._tile, self._step)) for array in arrays)

    def source(self) -> str | None:
        """A name of what is read, which changes with its bytes; None where there is nothing.

        Raises
        ------
        StoreError
            If the mosaic failed on the tile, so that nobody takes a hole for empty ground.
        """
        key = self._embeddings.key(self._tile, self._step)
        record = known_record(self._mosaic.storage, self._year, self._tile)
        if record is not None and record.state is State.FAILED:
            why = record.error.kind if record.error else "unknown"
            raise StoreError(
                f"{self._mosaic.storage.url} failed on the tile ({why}): make it there first"
            )
        digests = [of.sha256 for of in record.objects if of.key == key] if record else []
        if digests:
            return f"{key} sha256 {digests[0]}"
        try:
            return f"{key} {self._mosaic.storage.size(key)} bytes"
        except FileNotFoundError:
            return None

    def scales(self) -> NDArray[np.float32]:
        """Scales of the tile, float32 (side, side).

        Raises
        ------
        StoreError
            If they are not there: a tile without would look as if nothing were there to see.
        """
        array = self._mosaic.layout.scales
        found: NDArray[np.float32] = self._whole(array)
        if not np.isfinite(found).any() and not self._mosaic.storage.exists(
            array.key(self._tile, self._step)
        ):
            raise self._lost(array.key(self._tile, self._step))
        return found

    def counts(self) -> dict[str, NDArray[np.uint16]]:
        """Observation counts of the tile, as far as they are known, uint16 (side, side) by name."""
        layout = self._mosaic.layout
        return {
            name: self._whole(array)
            for name, array in zip(layout.observed, layout.counts, strict=True)
        }

    def rows(self, needed: NDArray[np.bool_] | None = None) -> Iterator[list[EncodedChunk]]:
        """The chunks of embeddings that are not all fill, row after row of chunks.

        Parameters
        ----------
        needed : bool (chunks, chunks)
            Which chunks of the tile are read, by row and column; all of them without it.

        Raises
        ------
        StoreError
            If the shard is damaged, or not there.
        """
        array, storage = self._embeddings, self._mosaic.storage
        key = array.key(self._tile, self._step)
        try:
            size = storage.size(key)
        except FileNotFoundError:
            raise self._lost(key) from None
        index = read_index(storage, array, StoredObject(key, size, ""))
        wanted = index[..., 0] != MISSING
        if needed is not None:
            wanted &= needed
        for i in range(array.across):
            places = [
                (j, int(index[i, j, 0]), int(index[i, j, 1]))
                for j in np.flatnonzero(wanted[i]).tolist()
            ]
            yield list(self._chunks(key, i, places))

    def _chunks(
        self, key: str, i: int, places: list[tuple[int, int, int]]
    ) -> Iterator[EncodedChunk]:
        """A row of chunks, those that lie behind one another in one read."""
        array, storage = self._embeddings, self._mosaic.storage
        at = 0
        while at < len(places):
            stop, end = at + 1, places[at][1] + places[at][2]
            while stop < len(places) and places[stop][1] == end:
                end += places[stop][2]
                stop += 1
            start = places[at][1]
            data = memoryview(storage.read_range(key, start, end - start))
            for j, offset, length in places[at:stop]:
                part = data[offset - start : offset - start + length]
                yield EncodedChunk(i * array.inner, j * array.inner, array, part)
            at = stop

    def _lost(self, key: str) -> StoreError:
        return StoreError(f"{self._mosaic.storage.url} has lost {key}: make the tile there again")

    def _whole(self, array: Array) -> NDArray[Any]:
        try:
            data = self._mosaic.storage.read(array.key(self._tile, self._step))
        except FileNotFoundError:
            return np.full((array.side, array.side), array.fill, array.dtype)
        return decode_shard(array, data)
