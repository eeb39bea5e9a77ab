"""A store that tells what is asked of it, and does what a test wants just before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tessera_mosaic.pipeline.io.storage import MOST_READ, Storage


def _nothing(method: str, key: str) -> None:
    pass


@dataclass(frozen=True)
class WatchedStorage(Storage):
    """A store whose reads, writes, deletions and listings are told before they happen.

    Parameters
    ----------
    told
        Called with the name of the method and the key. What it raises, the store raises.
    """

    told: Callable[[str, str], None] = _nothing

    def read(self, key: str, most: int = MOST_READ) -> bytes:
        self.told("read", key)
        return super().read(key, most)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        self.told("read_range", key)
        return super().read_range(key, start, length)

    def write(self, key: str, data: bytes) -> None:
        self.told("write", key)
        super().write(key, data)

    def create(self, key: str, data: bytes) -> bool:
        self.told("create", key)
        return super().create(key, data)

    def delete(self, key: str) -> None:
        self.told("delete", key)
        super().delete(key)

    def list(self, prefix: str) -> Iterator[str]:
        self.told("list", prefix)
        return super().list(prefix)
