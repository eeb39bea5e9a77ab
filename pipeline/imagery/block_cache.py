"""A cache of decoded blocks that lives on disk, so that it takes no memory from the encoder."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 4 * 2**30
"""Largest size of the file. It never takes more than a quarter of what is free."""


class BlockCache:
    """Arrays by key, the oldest overwritten by the newest. Safe to use from many threads.

    They lie one after the other in a nameless temporary file, whose end leads to its start. The
    operating system keeps what it can in memory and gives that back when others need it.

    Parameters
    ----------
    most
        Bytes that the file may take.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        # Unnamed: nothing is left behind, however the process ends.
        self._file = tempfile.TemporaryFile(prefix="tessera-mosaic-")  # noqa: SIM115
        self._size = min(most, shutil.disk_usage(tempfile.gettempdir()).free // 4)
        self._places: OrderedDict[Hashable, tuple[int, int, Any, Any]] = OrderedDict()
        self._end = 0
        self._lock = threading.Lock()

    def put(self, key: Hashable, array: NDArray[Any]) -> None:
        """Keep an array, unless it is larger than the whole cache."""
        data = np.ascontiguousarray(array)
        with self._lock:
            if key in self._places or data.nbytes > self._size:
                return
            if self._end + data.nbytes > self._size:
                # What lies beyond the end is the oldest there is.
                while self._places and self._oldest()[0] >= self._end:
                    self._places.popitem(last=False)
                self._end = 0
            stop = self._end + data.nbytes
            while self._places and self._end <= self._oldest()[0] < stop:
                self._places.popitem(last=False)
            try:
                written = os.pwrite(self._file.fileno(), data.data, self._end)
            except OSError:
                written = 0
            if written < data.nbytes:
                # The disk is full: go on without a cache.
                self._places.clear()
                self._size = 0
                return
            self._places[key] = (self._end, data.nbytes, data.dtype, data.shape)
            self._end = stop

    def get(self, key: Hashable) -> NDArray[Any] | None:
        """An array that was kept and has not been overwritten since."""
        place = self._places.get(key)
        if place is None:
            return None
        start, size, dtype, shape = place
        data = os.pread(self._file.fileno(), size, start)
        # It may have been overwritten while it was read.
        if self._places.get(key) is not place:
            return None
        return np.frombuffer(data, dtype).reshape(shape)

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def _oldest(self) -> tuple[int, int, Any, Any]:
        return next(iter(self._places.values()))
