"""Directories of TIFF files: tags and their values, as they stand in a file's header."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.io.http import Received

PAGE = 16 * 1024
"""Bytes that are fetched at a time while a header is parsed."""

MORE = 3
"""How many pages are fetched for each that is there, where those are not enough."""

MAX_HEADER_BYTES = 2**24

TYPES = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 11: "f4", 12: "f8"}
TYPES |= {2: "S1", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
"""Field types that are read, as numpy names them."""

Fetch = Callable[[int, int], Received]
"""Gives the bytes at an offset, fewer where the file ends."""

Read = Callable[[int, int], bytes]
"""Gives the bytes at an offset, never fewer than asked for."""


def paged(fetch: Fetch) -> Read:
    """The bytes of a file, fetched in pages that are kept."""
    pages: dict[int, Received] = {}

    def get(start: int, length: int) -> bytes:
        if length > MAX_HEADER_BYTES:
            raise Corrupt(f"its header wants {length} bytes at once")
        wanted = range(start // PAGE, -(-(start + length) // PAGE))
        if lacking := [page for page in wanted if page not in pages]:
            # Who needs more than one page needs several: tables of blocks lie side by side.
            count = max(lacking[-1] + 1 - lacking[0], MORE * len(pages))
            data = fetch(lacking[0] * PAGE, count * PAGE)
            for number in range(count):
                pages[lacking[0] + number] = data[number * PAGE : (number + 1) * PAGE]
        skip = start % PAGE
        part = b"".join(pages[page] for page in wanted)[skip : skip + length]
        if len(part) < length:
            raise Corrupt("it ends within its header")
        return part

    return get


class Directories:
    """Byte order and version of a file, and its directories."""

    def __init__(self, read: Read) -> None:
        self._read = read
        head = read(0, 8)
        self.order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        version = struct.unpack(f"{self.order or '<'}H", head[2:4])[0]
        if not self.order or version not in (42, 43):
            raise Corrupt("it is no TIFF")
        self._big = version == 43
        self.first = self._word(read(8, 8) if self._big else head[4:])

    def directory(self, place: int) -> tuple[dict[int, NDArray[Any]], int]:
        """Tags of a directory, and the place of the next one."""
        start, count = self._span(place)
        entry = 20 if self._big else 12
        body = self._read(start, count * entry)
        tags: dict[int, NDArray[Any]] = {}
        for at in range(0, len(body), entry):
            tag, kind = struct.unpack(f"{self.order}HH", body[at : at + 4])
            if kind not in TYPES:
                continue
            rest = body[at + 4 : at + entry]
            number, value = self._word(rest[: len(rest) // 2]), rest[len(rest) // 2 :]
            dtype = np.dtype(self.order + TYPES[kind])
            size = number * dtype.itemsize
            if size > len(value):
                value = self._read(self._word(value), size)
            tags[tag] = np.frombuffer(value[:size], dtype)
        return tags, self.following(place)

    def following(self, place: int) -> int:
        """Place of the directory after one, 0 after the last."""
        start, count = self._span(place)
        entry, word = (20, 8) if self._big else (12, 4)
        return self._word(self._read(start + count * entry, word))

    def numbers(self, place: int) -> dict[int, int]:
        """Tags of a directory that are single whole numbers, which stand in itself."""
        start, count = self._span(place)
        entry = 20 if self._big else 12
        body = self._read(start, count * entry)
        found = {}
        for at in range(0, len(body), entry):
            tag, kind = struct.unpack(f"{self.order}HH", body[at : at + 4])
            rest = body[at + 4 : at + entry]
            number, value = self._word(rest[: len(rest) // 2]), rest[len(rest) // 2 :]
            if number == 1 and kind in (3, 4):
                found[tag] = int(np.frombuffer(value, self.order + TYPES[kind], 1)[0])
        return found

    def _span(self, place: int) -> tuple[int, int]:
        """Place of a directory's first entry, and the number of entries."""
        if self._big:
            return place + 8, self._word(self._read(place, 8))
        return place + 2, struct.unpack(f"{self.order}H", self._read(place, 2))[0]

    def _word(self, data: bytes) -> int:
        """An offset or a count, of 4 or 8 bytes."""
        return int.from_bytes(data, "little" if self.order == "<" else "big")


def one(tags: dict[int, NDArray[Any]], tag: int, default: int | None = None) -> int:
    """The only value of a tag."""
    values = tags.get(tag)
    if values is None or values.size == 0:
        if default is None:
            raise Corrupt(f"its header lacks tag {tag}")
        return default
    return int(values[0])
