"""Room for the rasters that are on their way into stacks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Workspace:
    """Bytes of which at most so many are held at once."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Wait for some bytes and hold them; more than there are count as all of them."""
        size = min(size, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._held + size <= self._most)
            self._held += size
        try:
            yield
        finally:
            with self._changed:
                self._held -= size
                self._changed.notify_all()
