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
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.sealed import seal, unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import MANIFEST, PUBLISHED, painting_key
from tessera_mosaic.pipeline.mosaic.preview_pyramid import GROUP, LEVELS

THREADS = 16
"""Small objects read or put at once."""

AFRESH = f"remove {MANIFEST} and run `publish`, which then makes all of it afresh"


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
        return unseal(storage.read(MANIFEST))
    except FileNotFoundError:
        return {}


def write_list(storage: Storage, listed: dict[str, Entry]) -> None:
    """Write the list."""
    put_if_other(storage, MANIFEST, seal(dict(sorted(listed.items()))))


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


def wipe(storage: Storage) -> None:
    """Remove all that is known of what was published, and the picture, painted by whomever."""
    folders = [PUBLISHED, *(f"{GROUP}/{level}/rgb/c/" for level in range(LEVELS))]
    keys = [key for folder in folders for key in storage.list(folder)]
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(storage.delete, keys):
            pass


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
