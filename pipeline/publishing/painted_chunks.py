"""The chunks of the picture of the world, and the digests that tell whether they are sound."""

from __future__ import annotations

import hashlib
import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.sealed import seal, unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import named, text
from tessera_mosaic.pipeline.ledger.keys import PICTURE, picture_key
from tessera_mosaic.pipeline.mosaic.layout import PLAIN
from tessera_mosaic.pipeline.mosaic.preview_pyramid import RGB, SIDE, chunk_key
from tessera_mosaic.pipeline.mosaic.shards import unpack
from tessera_mosaic.pipeline.publishing.manifest import (
    AFRESH,
    MOST_PUBLISHED,
    Digest,
    Manifest,
    put_if_other,
)

PAGE_LEVEL = 4
"""Level of whose chunks each has one page, of all chunks that it and finer levels have there."""

SHAPE = SIDE, SIDE, 4
"""Shape of a chunk of the picture."""


class Place(NamedTuple):
    """Which chunk of the picture: its level, and its row and column among the level's chunks."""

    level: int
    row: int
    col: int


def is_page(key: str) -> bool:
    """Whether a published object is a page of the digests of the picture's chunks."""
    return key.startswith(PICTURE)


def read_page(storage: Storage, key: str) -> dict[str, str]:
    """The digests of one page by the keys of the chunks; empty where there is no such page.

    Raises
    ------
    Altered
        If the page is damaged.
    """
    try:
        return named(unseal(storage.read(key)), text, MOST_PUBLISHED)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Altered(f"{key}: {error}; {AFRESH}") from None
    except Altered as error:
        raise Altered(f"{key}: {error}; {AFRESH}") from None


class PaintedChunks:
    """The picture's chunks with their digests; several threads may use them.

    Parameters
    ----------
    storage
        The store of the mosaic.
    unsure
        Whether a `publish` that was killed may have left chunks that are newer than their digests.
    """

    def __init__(self, storage: Storage, unsure: bool = False) -> None:
        self._storage, self._unsure = storage, unsure
        self._pages: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        self.painted: set[Place] = set()

    def read(self, place: Place) -> NDArray[np.uint8]:
        """A chunk, uint8 (512, 512, 4); zeros where nothing was painted.

        Raises
        ------
        Altered
            If it is not as it was painted.
        """
        key = chunk_key(*place)
        with self._lock:
            sha256 = self._page(place).get(key)
        if sha256 is None:
            return np.zeros(SHAPE, RGB)
        try:
            data = self._storage.read(key)
        except FileNotFoundError:
            if self._unsure:
                return np.zeros(SHAPE, RGB)
            raise Altered(f"{key} is not there; {AFRESH}") from None
        if not self._unsure and hashlib.sha256(data).hexdigest() != sha256:
            raise Altered(f"{key} is not as it was painted; {AFRESH}")
        try:
            return unpack(data, RGB, SHAPE).copy()
        except Altered as error:
            raise Altered(f"{key}: {error}; {AFRESH}") from None

    def put(self, place: Place, chunk: NDArray[np.uint8]) -> None:
        """Put a chunk, or remove it where there is nothing in it."""
        key = chunk_key(*place)
        data = bytes(PLAIN.codec.encode(chunk)) if chunk.any() else b""
        if data:
            self._storage.write(key, data)
        else:
            self._storage.delete(key)
        with self._lock:
            page = self._page(place)
            page.pop(key, None)
            if data:
                page[key] = hashlib.sha256(data).hexdigest()
            if place.level == 0:
                self.painted.add(place)

    def write_pages(self) -> Manifest:
        """Put the pages of the chunks that were asked for; their digests for the manifest."""
        put: Manifest = {}
        for key, page in self._pages.items():
            data = seal(dict(sorted(page.items())))
            put_if_other(self._storage, key, data)
            put[key] = Digest.of(data)
        return put

    def _page(self, place: Place) -> dict[str, str]:
        key = page_key(place)
        if key not in self._pages:
            self._pages[key] = read_page(self._storage, key)
        return self._pages[key]


def page_key(place: Place) -> str:
    """Key of the page that lists a chunk."""
    if place.level > PAGE_LEVEL:
        return picture_key("coarse")
    up = PAGE_LEVEL - place.level
    return picture_key(f"{place.row >> up}-{place.col >> up}")
