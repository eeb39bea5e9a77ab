"""An object as it was put into a store, and what can have become of its bytes since."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.storage import Storage

PIECE = 32 << 20
"""Bytes of an object that are read at once, so that memory does not grow with the object."""


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

    @classmethod
    def of(cls, key: str, data: bytes) -> StoredObject:
        """An object of some bytes."""
        return cls(key, len(data), hashlib.sha256(data).hexdigest())


class Damage(enum.StrEnum):
    """What became of an object that is not as it was put."""

    MISSING = "missing"
    """It is not there."""
    SIZE = "size"
    """It is longer or shorter."""
    UNREADABLE = "unreadable"
    """Its bytes do not decode."""
    CHECKSUM = "checksum"
    """Its bytes are others."""


class Damaged(Altered):
    """An object is not as it was put.

    Parameters
    ----------
    damage
        What became of it.
    message
        The same in words, with the object's key.
    """

    def __init__(self, damage: Damage, message: str) -> None:
        super().__init__(message)
        self.damage = damage


def check_object(storage: Storage, stored: StoredObject, piece: int = PIECE) -> None:
    """Read an object, and compare its size and its digest with those that are remembered.

    Parameters
    ----------
    storage
        The store that holds the object.
    stored
        The object as it was put.
    piece
        Number of bytes that are read at once.

    Raises
    ------
    Damaged
        If the object is not as it was put.
    """
    try:
        # One byte more than there should be tells whether the object ends where it should.
        at, digest = _digest(storage, stored.key, stored.size + 1, piece)
    except FileNotFoundError:
        raise Damaged(Damage.MISSING, f"{stored.key} is not there") from None
    if at != stored.size:
        raise Damaged(Damage.SIZE, f"{stored.key} does not end at {stored.size} bytes")
    if digest != stored.sha256:
        raise Damaged(Damage.CHECKSUM, f"{stored.key} has sha256 {digest}")


def object_as_it_stands(storage: Storage, key: str) -> StoredObject:
    """An object as it is now, whoever put it.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    return StoredObject(key, *_digest(storage, key, storage.size(key), PIECE))


def _digest(storage: Storage, key: str, most: int, piece: int) -> tuple[int, str]:
    """Number of an object's bytes, and their sha256, up to so many."""
    digest, at = hashlib.sha256(), 0
    while at < most and (part := storage.read_range(key, at, min(piece, most - at))):
        digest.update(part)
        at += len(part)
    return at, digest.hexdigest()
