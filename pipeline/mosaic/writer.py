"""Write the shards of a tile-year, block by block.

A block's pixels are compressed into inner chunks as it arrives and spooled to temporary files, so
that a worker never holds a shard. When the tile is complete each array's chunks are put in row
order, so the bytes do not depend on how the tile was cut into blocks, nor on the order in which
they came.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import BadEmbedding
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.stored_object import StoredObject
from tessera_mosaic.pipeline.mosaic.layout import Array, Layout, count_array
from tessera_mosaic.pipeline.mosaic.shards import MISSING, encode_index
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window


class ShardWriter:
    """Writes the shards of one tile and year.

    Nothing reaches the store before `close`. Use it in a `with` block, which drops what was
    gathered if the block is left by an error.

    Parameters
    ----------
    storage, layout
        The store of the mosaic, and how it is cut.
    tile
        The tile.
    step
        Place of the year on the time axis.
    threads
        Number of threads that compress the chunks of a block side by side.
    least
        Least code that is taken: an encoder of ours gives none below -127.
    """

    def __init__(
        self,
        storage: Storage,
        layout: Layout,
        tile: Tile,
        step: int,
        threads: int = 1,
        least: int = -127,
    ) -> None:
        self._least = least
        self._storage, self._layout, self._tile, self._step = storage, layout, tile, step
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="compress")
        self._spools = {array.name: _Spool(array) for array in layout.arrays}

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def put(
        self,
        window: Window,
        codes: NDArray[np.int8],
        scales: NDArray[np.float32],
        counts: dict[str, NDArray[np.uint16]],
    ) -> None:
        """Take a block of the tile; pixels that lie in no block keep the array's fill.

        Parameters
        ----------
        window
            The block, within the tile; each pixel is put once.
        codes : int8 (height, width, dims)
            Embeddings in units of their pixel's scale; where a scale is not finite, 0 is stored.
        scales : float32 (height, width)
            Scale of each pixel, or a sentinel.
        counts : uint16 (height, width) by name
            Number of observations of each pixel, of the sensors of which the layout has them.

        Raises
        ------
        BadEmbedding
            If a finite scale is not in (0, 1), or a code is less than the least.
        """
        rows, cols = window.within(self._tile.window)
        finite = np.isfinite(scales)
        if not ((scales[finite] > 0) & (scales[finite] < 1)).all() or np.isneginf(scales).any():
            raise BadEmbedding(
                f"tile {self._tile.name}: a scale is neither in (0, 1) nor a sentinel"
            )
        if (codes < self._least).any():
            raise BadEmbedding(f"tile {self._tile.name}: a code is -128, beyond -127..127")
        kept = codes if finite.all() else np.where(finite[..., None], codes, np.int8(0))
        bands_first = kept.transpose(2, 0, 1)
        planes = {count_array(name): counts[name] for name in self._layout.observed} | {
            "scales": scales
        }
        codes_of = {array.name: bands_first[: array.bands] for array in self._layout.embeddings}
        ready = [
            whole
            for name, values in (planes | codes_of).items()
            for whole in self._spools[name].complete(rows.start, cols.start, values)
        ]
        encoded = self._pool.map(lambda whole: whole[0].encode(whole[3]), ready)
        for (spool, i, j, _), data in zip(ready, encoded, strict=True):
            spool.append(i, j, data)

    def close(self) -> tuple[StoredObject, ...]:
        """Put the shards, each whole, in the layout's order, and return what was put.

        Every array gets its object, even one that holds nothing but fill, so that a missing
        object always means a loss.
        """
        stored = tuple(
            self._spools[array.name].put_object(self._storage, array.key(self._tile, self._step))
            for array in self._layout.arrays
        )
        self.abort()
        return stored

    def abort(self) -> None:
        """Drop what was gathered."""
        for spool in self._spools.values():
            spool.file.close()
        self._pool.shutdown()


class _Spool:
    """One array's encoded inner chunks, in the order in which they became complete."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.places = np.full((array.across, array.across, 2), MISSING, np.uint64)
        self.done = np.zeros((array.across, array.across), np.bool_)
        self.open: dict[tuple[int, int], tuple[NDArray[Any], int]] = {}

    def complete(
        self, row: int, col: int, values: NDArray[Any]
    ) -> Iterator[tuple[_Spool, int, int, NDArray[Any]]]:
        """Take pixels whose north-west corner is at a row and column of the tile.

        Yields this spool and the row, column and values of every inner chunk that is now whole.
        """
        n = self.array.inner
        height, width = values.shape[-2:]
        for i in range(row // n, -(-(row + height) // n)):
            for j in range(col // n, -(-(col + width) // n)):
                top, bottom = max(row, i * n), min(row + height, i * n + n)
                left, right = max(col, j * n), min(col + width, j * n + n)
                part = values[..., top - row : bottom - row, left - col : right - col]
                whole = self._join(i, j, top - i * n, left - j * n, part)
                if whole is not None:
                    yield self, i, j, whole

    def _join(self, i: int, j: int, top: int, left: int, part: NDArray[Any]) -> NDArray[Any] | None:
        """Put part of an inner chunk to the parts that came before; the chunk once it is whole."""
        n = self.array.inner
        height, width = part.shape[-2:]
        if self.done[i, j]:
            raise ValueError(f"{self.array.name}: chunk {i}, {j} of the tile is put twice")
        chunk, pixels = self.open.pop((i, j), (None, 0))
        if (height, width) == (n, n):
            self.done[i, j] = True
            return part
        if chunk is None:
            chunk = np.full(self.array.chunk_shape, self.array.fill, self.array.dtype)
        chunk[..., top : top + height, left : left + width] = part
        pixels += height * width
        if pixels < n * n:
            self.open[i, j] = chunk, pixels
            return None
        self.done[i, j] = True
        return chunk

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """An inner chunk compressed, or nothing where it is all fill."""
        if not (chunk != self.array.fill).any():
            return b""
        return bytes(self.array.codec.encode(np.ascontiguousarray(chunk, self.array.dtype)))

    def append(self, i: int, j: int, data: bytes) -> None:
        """Keep an encoded chunk."""
        if data:
            self.places[i, j] = self.file.tell(), len(data)
            self.file.write(data)

    def put_object(self, storage: Storage, key: str) -> StoredObject:
        """Put the array's shard: its chunks in row order, then their index."""
        for i, j in sorted(self.open):
            self.append(i, j, self.encode(self.open[i, j][0]))
        self.open.clear()
        digest = hashlib.sha256()
        index = np.full_like(self.places, MISSING)
        offset = 0
        with storage.replacing(key) as file:
            for i, j in np.ndindex(self.done.shape):
                start, length = self.places[i, j]
                if start == MISSING:
                    continue
                self.file.seek(int(start))
                data = self.file.read(int(length))
                index[i, j] = offset, length
                offset += len(data)
                digest.update(data)
                file.write(data)
            tail = encode_index(index)
            digest.update(tail)
            file.write(tail)
        return StoredObject(key, offset + len(tail), digest.hexdigest())
