"""Which tiles the snapshots of Icechunk repositories refer to, noted in the mosaic's own store.

A snapshot holds references to shards, not the shards. Made again in its place, a tile can no longer
be read by older snapshots, so whoever makes it again is told first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.sealed import seal, unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import listed, member, text
from tessera_mosaic.pipeline.ledger.keys import snapshots_key
from tessera_mosaic.pipeline.tiling.lattice import Tile

log = logging.getLogger(__name__)

MOST_NAMED = 4_000_000
"""Most tiles of a zone, and most repositories, that one note may name."""


@dataclass(frozen=True)
class SnapshotNote:
    """What snapshots refer to of a zone and year.

    Parameters
    ----------
    repositories
        Paths or URLs of the repositories.
    tiles
        Names of the tiles.
    """

    repositories: frozenset[str] = frozenset()
    tiles: frozenset[str] = frozenset()


def read_note(storage: Storage, year: int, zone: int) -> SnapshotNote:
    """What snapshots refer to of a zone and year; nothing where there is no note.

    Raises
    ------
    Altered
        If the note is damaged.
    """
    key = snapshots_key(year, zone)
    try:
        told = unseal(storage.read(key))
        named = (
            frozenset(member(told, field, lambda value: listed(value, text, MOST_NAMED)))
            for field in ("repositories", "tiles")
        )
        return SnapshotNote(*named)
    except FileNotFoundError:
        return SnapshotNote()
    except (Altered, ValueError) as error:
        raise Altered(f"{key}: {error}; remove it, and publish to Icechunk again") from None


def add_to_note(
    storage: Storage, year: int, zone: int, repository: str, tiles: Iterable[str]
) -> None:
    """Note that a repository is about to refer to tiles of a zone and year."""
    known = read_note(storage, year, zone)
    note = SnapshotNote(known.repositories | {repository}, known.tiles | set(tiles))
    if note != known:
        fields = {name: sorted(names) for name, names in vars(note).items()}
        storage.write(snapshots_key(year, zone), seal(fields))


def warn_of_snapshots(storage: Storage, year: int, again: Iterable[Tile]) -> None:
    """Say which tiles that may be made again older snapshots will then be unable to read."""
    by_zone: dict[int, set[str]] = {}
    for tile in again:
        by_zone.setdefault(tile.zone, set()).add(tile.name)
    named: set[str] = set()
    repositories: set[str] = set()
    for zone, names in by_zone.items():
        note = read_note(storage, year, zone)
        if found := note.tiles & names:
            named |= found
            repositories |= note.repositories
    if named:
        log.warning(
            "%s%s of %s may be made again, and snapshots of %s refer to it: what is made again "
            "they can no longer read; `publish --icechunk` then adds a snapshot that can",
            min(named),
            f" and {len(named) - 1} more tiles" if len(named) > 1 else "",
            year,
            ", ".join(sorted(repositories)),
        )
