"""What was published, and how that is known again: digests in small sealed objects.

    published/list.json                size and sha256 of every published object but the picture's
    published/picture/PLACE.json       sha256 of the picture's chunks of one piece of the world
    published/registry/utmNN.parquet   the registry's rows of a zone
    published/painting/utmNN.json      tiles of a zone that are being painted, until they are listed

A zone's rows count as published once the manifest has them. It is written after all that it names,
so a `publish` that was killed does again what it had not listed.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.sealed import seal, unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import fields, listed, member, named, text, whole
from tessera_mosaic.pipeline.ledger.keys import MANIFEST, PUBLISHED, painting_key
from tessera_mosaic.pipeline.mosaic.preview_pyramid import GROUP, LEVELS

MOST_PUBLISHED = 4_000_000
"""Most objects, and most tiles of a zone, that one list of what was published may name."""

THREADS = 16
"""Small objects read or put at once."""

AFRESH = f"remove {MANIFEST} and run `publish`, which then makes all of it afresh"


@dataclass(frozen=True)
class Digest:
    """How a published object is known again.

    Parameters
    ----------
    size
        Its length in bytes.
    sha256
        The digest of its bytes, as 64 hex digits.
    """

    size: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The digest of some bytes."""
        return cls(len(data), hashlib.sha256(data).hexdigest())


Manifest = dict[str, Digest]
"""The digests of all that was published, but of the picture's chunks, by key."""


def read_manifest(storage: Storage) -> Manifest:
    """What was published; empty where nothing was.

    Raises
    ------
    Altered
        If the manifest cannot be read.
    """
    try:
        entries = unseal(storage.read(MANIFEST))
        of: dict[str, Callable[[Any], Any]] = {"size": whole, "sha256": text}
        return named(entries, lambda entry: Digest(**fields(entry, of, *of)), MOST_PUBLISHED)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Altered(f"it is no list of what was published: {error}") from None


def write_manifest(storage: Storage, manifest: Manifest) -> None:
    """Write what was published, in the order of the keys."""
    listed = {key: vars(digest) for key, digest in sorted(manifest.items())}
    put_if_other(storage, MANIFEST, seal(listed))


def read_listed(storage: Storage, key: str, manifest: Manifest) -> bytes | None:
    """An object as it was published; None where it is not listed, or no longer the same."""
    with contextlib.suppress(FileNotFoundError):
        data = storage.read(key) if key in manifest else b""
        return data if Digest.of(data) == manifest.get(key) else None
    return None


def put_if_other(storage: Storage, key: str, data: bytes) -> None:
    """Put an object unless it is there already, byte for byte."""
    try:
        whole = storage.read(key) == data
    except FileNotFoundError:
        whole = False
    if not whole:
        storage.write(key, data)


def put_all(storage: Storage, objects: Iterable[tuple[str, bytes]]) -> None:
    """Put objects by key, side by side, each unless it is there already."""
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(lambda entry: put_if_other(storage, *entry), objects):
            pass


def wipe(storage: Storage) -> None:
    """Remove all that is known of what was published, and the picture, painted by whomever."""
    folders = [PUBLISHED, *(f"{GROUP}/{level}/rgb/c/" for level in range(LEVELS))]
    keys = [key for folder in folders for key in storage.list(folder)]
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(storage.delete, keys):
            pass


def note_painting(storage: Storage, zone: int, names: Iterable[str]) -> None:
    """Write down which tiles of a zone are about to be painted."""
    storage.write(painting_key(zone), seal({"tiles": sorted(names)}))


def painted(storage: Storage, zone: int) -> None:
    """Take away the note that tiles of a zone are being painted."""
    storage.delete(painting_key(zone))


def being_painted(storage: Storage, zones: Iterable[int]) -> Mapping[int, frozenset[str]]:
    """Names of tiles, by zone, that a `publish` which was killed may have painted."""

    def names(zone: int) -> frozenset[str]:
        try:
            noted = unseal(storage.read(painting_key(zone)))
            return frozenset(member(noted, "tiles", lambda of: listed(of, text, MOST_PUBLISHED)))
        except FileNotFoundError:
            return frozenset()
        except ValueError as error:
            raise Altered(f"{painting_key(zone)}: {error}; {AFRESH}") from None
        except Altered as error:
            raise Altered(f"{painting_key(zone)}: {error}; {AFRESH}") from None

    zones = list(zones)
    with ThreadPoolExecutor(THREADS) as pool:
        found = zip(zones, pool.map(names, zones), strict=True)
        return {zone: tiles for zone, tiles in found if tiles}
