"""A cache of blocks, as they stand in their files, that takes no memory from the encoder."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import IO

MOST_BYTES = 4 * 2**30
"""Largest size of the file. It never takes more than a quarter of what is free."""


@dataclass(eq=False)
class _Place:
    """Where some bytes lie in the file."""

    start: int
    size: int
    written: bool = False

    @property
    def stop(self) -> int:
        return self.start + self.size


class BlockCache:
    """Bytes by key, the oldest overwritten by the newest. Safe to use from many threads.

    They lie one after the other in a nameless temporary file, whose end leads to its start. The
    operating system keeps what it can in memory and gives that back when others need it.

    Parameters
    ----------
    most
        Bytes that the file may take.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        # Unnamed: nothing is left behind, however the process ends.
        self._file: IO[bytes] | None = None
        self._size = 0
        # Without room for it, go on without a cache.
        with contextlib.suppress(OSError):
            self._file = tempfile.TemporaryFile(prefix="tessera-mosaic-")  # noqa: SIM115
            self._size = min(most, shutil.disk_usage(tempfile.gettempdir()).free // 4)
        self._places: OrderedDict[Hashable, _Place] = OrderedDict()
        self._end = 0
        self._lock = threading.Lock()

    def put(self, key: Hashable, data: bytes | memoryview) -> None:
        """Keep some bytes, unless they are more than the whole cache takes."""
        with self._lock:
            start = None if key in self._places else self._make_room(len(data))
            if start is None or self._file is None:
                return
            place = self._places[key] = _Place(start, len(data))
        # Outside of the lock, which readers need as well.
        try:
            written = os.pwrite(self._file.fileno(), data, start)
        except OSError:
            written = 0
        with self._lock:
            place.written = True
            if written < len(data):
                # The disk is full: go on without a cache.
                self._places.clear()
                self._size = 0

    def get(self, key: Hashable) -> bytes | None:
        """Bytes that were kept and have not been overwritten since."""
        place = self._places.get(key)
        if place is None or not place.written or self._file is None:
            return None
        data = os.pread(self._file.fileno(), place.size, place.start)
        # It may have been overwritten while it was read.
        return data if self._places.get(key) is place else None

    def close(self) -> None:
        """Give the space back."""
        if self._file is not None:
            self._file.close()

    def _make_room(self, size: int) -> int | None:
        """Forget the oldest for what is new: where it goes, or None for nowhere."""
        if size > self._size:
            return None
        start, end = self._end, self._end
        old: list[Hashable] = []
        if start + size > self._size:
            # What lies beyond the end is the oldest there is.
            start = 0
        for key, place in self._places.items():
            if place.start >= end > start or (place.start < start + size and start < place.stop):
                if not place.written:
                    # The file has come round to what is still being written.
                    return None
                old.append(key)
            else:
                break
        for key in old:
            del self._places[key]
        self._end = start + size
        return start
