"""The bytes of a shard, and reading them back.

A shard is its inner chunks behind one another in row order, and their index at the end.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.stored_object import PIECE, Damage, Damaged, StoredObject
from tessera_mosaic.pipeline.mosaic.layout import Array

# Workers have threads of their own; inside a chunk more would only contend.
numcodecs.blosc.use_threads = False

MISSING = np.uint64(2**64 - 1)
"""Offset and length in the index of an inner chunk that holds nothing but fill."""

INDEX_ENTRY = 16
"""Bytes of the index for each inner chunk: its offset and its length."""

CHECKSUM = 4
"""Bytes of the crc32c behind the index."""

BLOSC_SIZES = "<4x3I"
"""Where the header of a chunk has its sizes in bytes: raw, of a block of blosc, and compressed."""


@dataclass(frozen=True)
class Pixels:
    """What a mosaic holds of a window.

    Parameters
    ----------
    codes : int8 (height, width, dims)
        Embeddings in units of their pixel's scale.
    scales : float32 (height, width)
        Scale of each pixel; +inf where nothing is, NaN where water is.
    counts : uint16 (height, width) by name
        Number of observations of each pixel, by the names in `COUNTS`; without those that nobody
        knows.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    counts: dict[str, NDArray[np.uint16]]


def encode_index(index: NDArray[np.uint64]) -> bytes:
    """A shard's index as it stands at the object's end: little-endian, then its crc32c."""
    data = index.astype("<u8").tobytes()
    return data + google_crc32c.value(data).to_bytes(CHECKSUM, "little")


def index_size(array: Array) -> int:
    """Number of bytes at the end of an array's shard that hold its index."""
    return array.across**2 * INDEX_ENTRY + CHECKSUM


def decode_index(array: Array, tail: bytes) -> NDArray[np.uint64]:
    """Offsets and lengths of a shard's inner chunks, uint64 (across, across, 2).

    Raises
    ------
    Altered
        If the bytes are no index of this array.
    """
    if len(tail) != index_size(array):
        raise Altered(f"{array.name}: index of {len(tail)} bytes, not {index_size(array)}")
    data, checksum = tail[:-CHECKSUM], int.from_bytes(tail[-CHECKSUM:], "little")
    if google_crc32c.value(data) != checksum:
        raise Altered(f"{array.name}: the index does not match its checksum")
    return np.frombuffer(data, "<u8").reshape(array.across, array.across, 2)


def chunks(array: Array, shard: bytes) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Row, column and values of every inner chunk of a shard that is not all fill.

    Raises
    ------
    Altered
        If the bytes are no shard of this array.
    """
    size = index_size(array)
    index = decode_index(array, shard[-size:])
    body = memoryview(shard)[:-size]
    for i, j in np.argwhere(index[..., 0] != MISSING):
        start, length = (int(part) for part in index[i, j])
        yield int(i), int(j), decode_chunk(array, body[start : start + length])


def read_index(storage: Storage, array: Array, stored: StoredObject) -> NDArray[np.uint64]:
    """The index of a shard whose size is known. Raises as `decode_index` does."""
    size = index_size(array)
    return decode_index(array, storage.read_range(stored.key, stored.size - size, size))


def read_chunk(
    storage: Storage, array: Array, key: str, index: NDArray[np.uint64], i: int, j: int
) -> NDArray[Any]:
    """One inner chunk of a shard whose index is known."""
    start, length = (int(part) for part in index[i, j])
    if start == MISSING:
        return np.full(array.chunk_shape, array.fill, array.dtype)
    return decode_chunk(array, storage.read_range(key, start, length))


def stream_chunks(
    storage: Storage, array: Array, stored: StoredObject
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Read the inner chunks of a shard in a store, in memory that does not grow with the shard.

    The values stand under reserve until the last of them has come: only then is the checksum known.

    Raises
    ------
    Damaged
        If the object is not there, or its bytes are not those that were stored.
    """
    size = index_size(array)
    try:
        # One byte more than there should be tells whether the object ends where it should.
        tail = storage.read_range(stored.key, stored.size - size, size + 1)
    except FileNotFoundError:
        raise Damaged(Damage.MISSING, f"{stored.key} is not there") from None
    if len(tail) != size:
        raise Damaged(Damage.SIZE, f"{stored.key} does not end at {stored.size} bytes")
    try:
        index = decode_index(array, tail)
        places = np.argwhere(index[..., 0] != MISSING)
        starts, lengths = index[tuple(places.T)].astype(np.int64).reshape(-1, 2).T
        ends = np.cumsum(lengths)
        if not (np.array_equal(starts, ends - lengths) and ends[-1:].sum() == stored.size - size):
            raise Altered(f"{array.name}: the chunks do not lie behind one another")
        digest, at = hashlib.sha256(), 0
        while at < len(places):
            stop = max(at + 1, int(np.searchsorted(ends, starts[at] + PIECE, side="right")))
            piece = storage.read_range(
                stored.key, int(starts[at]), int(ends[stop - 1] - starts[at])
            )
            digest.update(piece)
            for n in range(at, stop):
                data = memoryview(piece)[starts[n] - starts[at] : ends[n] - starts[at]]
                yield int(places[n, 0]), int(places[n, 1]), decode_chunk(array, data)
            at = stop
        digest.update(tail)
    except Altered as error:
        raise Damaged(Damage.UNREADABLE, f"{stored.key}: {error}") from None
    if digest.hexdigest() != stored.sha256:
        raise Damaged(Damage.CHECKSUM, f"{stored.key} has sha256 {digest.hexdigest()}")


def decode_chunk(array: Array, data: bytes | memoryview) -> NDArray[Any]:
    """Values of an inner chunk.

    Raises
    ------
    Altered
        If the bytes are no chunk of this array.
    """
    try:
        return unpack(data, array.dtype, array.chunk_shape)
    except Altered as error:
        raise Altered(f"{array.name}: {error}") from None


def unpack(data: bytes | memoryview, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Values of a compressed chunk.

    Raises
    ------
    Altered
        If the bytes are no chunk of this type and shape.
    """
    expected = dtype.itemsize * math.prod(shape)
    try:
        # The decompressor trusts the sizes in the header, so they are checked before.
        raw, _, compressed = struct.unpack_from(BLOSC_SIZES, data)
        if (raw, compressed) != (expected, len(data)):
            raise Altered("a chunk has not the size of one")
        values: NDArray[Any] = np.empty(shape, dtype)
        numcodecs.blosc.decompress(data, values)
        return values
    except (RuntimeError, ValueError, struct.error) as error:
        raise Altered(f"a chunk cannot be decoded: {error}") from None


def decode_shard(array: Array, shard: bytes) -> NDArray[Any]:
    """Values of a whole shard (bands, side, side), or (side, side) where there are no bands."""
    n = array.inner
    bands = (array.bands,) if array.bands else ()
    values = np.full((*bands, array.side, array.side), array.fill, array.dtype)
    for i, j, chunk in chunks(array, shard):
        values[..., i * n : i * n + n, j * n : j * n + n] = chunk
    return values


def encode_shard(array: Array, values: NDArray[Any]) -> bytes:
    """A whole shard: its inner chunks in row order, without those that are all fill; its index.

    Parameters
    ----------
    array
        The array that it is of.
    values : (bands, side, side), or (side, side) where there are no bands
        The pixels of a tile.
    """
    n = array.inner
    index = np.full((array.across, array.across, 2), MISSING, np.uint64)
    body = bytearray()
    for i, j in np.ndindex(index.shape[:2]):
        chunk = values[..., i * n : i * n + n, j * n : j * n + n]
        empty = np.isnan(chunk) if math.isnan(array.fill) else chunk == array.fill
        if not empty.all():
            data = array.codec.encode(np.ascontiguousarray(chunk, array.dtype))
            index[i, j] = len(body), len(data)
            body += data
    return bytes(body) + encode_index(index)
