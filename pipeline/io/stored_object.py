"""An object as it was put into a store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredObject:
    """An object of a store, as whoever put it remembers it.

    Parameters
    ----------
    key
        Its place in the store.
    size
        Its length in bytes.
    sha256
        The digest of its bytes, as 64 hex digits.
    """

    key: str
    size: int
    sha256: str
