"""What `publish` has written, and how it knows that again: digests in small sealed objects.

    published/list.json                size and sha256 of every published object but the picture's
    published/picture/<place>.json     sha256 of the picture's chunks of one piece of the world
    published/registry/utmNN.parquet   the registry's rows of a zone
    published/painting/utmNN.json      tiles of a zone that are being painted, until they are listed

A zone's rows count as published once the list has them. It is written after all that it names, so
a `publish` that was killed does again what it had not listed.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Altered
from pipeline.grid import zone_group
from pipeline.mosaic.layout import compressor
from pipeline.mosaic.pyramid import GROUP, LEVELS, RGB, SIDE, chunk_key
from pipeline.mosaic.shards import unpack
from pipeline.seal import seal, unseal
from pipeline.storage import Storage

LIST = "published/list.json"
"""Key of the sealed list of all published objects, with size and sha256."""

PAGES = "published/picture/"
"""Where the ledger's pages lie."""

PAGE_LEVEL = 4
"""Level of whose chunks each has one page, of all chunks that it and finer levels have there."""

THREADS = 16
"""Small objects read or put at once."""

AFRESH = f"remove {LIST} and run `publish`, which then makes all of it afresh"

SHAPE = SIDE, SIDE, 4
"""Of a chunk of the picture."""

Place = tuple[int, int, int]
"""Level, row and column of a chunk of the picture."""

Entry = dict[str, Any]
"""Size and sha256 of an object."""


def entry(data: bytes) -> Entry:
    """What the list has of an object."""
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def read_list(storage: Storage) -> dict[str, Entry]:
    """Size and sha256 of each published object; none where nothing was published.

    Raises
    ------
    Altered
        If the list cannot be read.
    """
    try:
        return unseal(storage.read(LIST))
    except FileNotFoundError:
        return {}


def write_list(storage: Storage, listed: dict[str, Entry]) -> None:
    """Write the list."""
    put_if_other(storage, LIST, seal(dict(sorted(listed.items()))))


def read_listed(storage: Storage, key: str, listed: dict[str, Entry]) -> bytes | None:
    """An object as it was published; None where it is not listed, or no longer the same."""
    with contextlib.suppress(FileNotFoundError):
        data = storage.read(key) if key in listed else b""
        return data if entry(data) == listed.get(key) else None
    return None


def put_if_other(storage: Storage, key: str, data: bytes) -> None:
    """Put an object unless it is there already, byte for byte."""
    try:
        whole = storage.read(key) == data
    except FileNotFoundError:
        whole = False
    if not whole:
        storage.write(key, data)


def is_of_picture(key: str) -> bool:
    """Whether an object of the list is a page of the ledger."""
    return key.startswith(PAGES)


def wipe(storage: Storage) -> None:
    """Remove all that is known of what was published, and the picture, painted by whomever."""
    folders = ["published/", *(f"{GROUP}/{level}/rgb/c/" for level in range(LEVELS))]
    keys = [key for folder in folders for key in storage.list(folder)]
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(storage.delete, keys):
            pass


def painting_key(zone: int) -> str:
    """Key of the note that says which tiles of a zone are being painted."""
    return f"published/painting/{zone_group(zone)}.json"


def being_painted(storage: Storage, zones: Iterable[int]) -> dict[int, set[str]]:
    """Names of tiles, by zone, that a `publish` which was killed may have painted."""

    def names(zone: int) -> set[str]:
        try:
            return set(unseal(storage.read(painting_key(zone)))["tiles"])
        except FileNotFoundError:
            return set()
        except Altered as error:
            raise Altered(f"{painting_key(zone)}: {error}; {AFRESH}") from None

    zones = list(zones)
    with ThreadPoolExecutor(THREADS) as pool:
        found = zip(zones, pool.map(names, zones), strict=True)
        return {zone: tiles for zone, tiles in found if tiles}


class Ledger:
    """The picture's chunks with their digests; several threads may use it.

    Parameters
    ----------
    storage
        Of the mosaic.
    unsure
        Whether a `publish` that was killed may have left chunks newer than their digests.
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
        data = bytes(compressor().encode(chunk)) if chunk.any() else b""
        if data:
            self._storage.write(key, data)
        else:
            self._storage.delete(key)
        with self._lock:
            page = self._page(place)
            page.pop(key, None)
            if data:
                page[key] = hashlib.sha256(data).hexdigest()
            if place[0] == 0:
                self.painted.add(place)

    def write(self) -> dict[str, Entry]:
        """Put the pages; their entries in the list."""
        entries = {}
        for key, page in self._pages.items():
            data = seal(dict(sorted(page.items())))
            put_if_other(self._storage, key, data)
            entries[key] = entry(data)
        return entries

    def _page(self, place: Place) -> dict[str, str]:
        key = page_key(place)
        if key not in self._pages:
            try:
                self._pages[key] = unseal(self._storage.read(key))
            except FileNotFoundError:
                self._pages[key] = {}
            except Altered as error:
                raise Altered(f"{key}: {error}; {AFRESH}") from None
        return self._pages[key]


def page_key(place: Place) -> str:
    """Key of the page that lists a chunk."""
    level, row, col = place
    if level > PAGE_LEVEL:
        return f"{PAGES}coarse.json"
    up = PAGE_LEVEL - level
    return f"{PAGES}{row >> up}-{col >> up}.json"
