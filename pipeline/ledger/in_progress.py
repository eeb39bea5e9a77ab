"""Notes that tiles are being worked on: what a worker leaves that dies on one.

A worker that dies cannot say so, but the note of its tile stays. A tile with a note that nobody is
at work on is suspect: it is made last and apart from all others (`job.local_runner`), so that it
costs only itself if it kills again, and does no harm if it was innocent.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import fields, text, whole
from tessera_mosaic.pipeline.ledger.keys import note_key, notes_prefix
from tessera_mosaic.pipeline.tiling.lattice import Tile

DEATHS = 3
"""Workers of one launch that may die on a tile before it counts as poisoned. A runner that tries a
bundle four times gets past it."""


@dataclass(frozen=True)
class InProgress:
    """That a tile is being worked on.

    Parameters
    ----------
    launch
        Id of the launch that works on it.
    deaths
        Number of workers of that launch that died on it before. Those of others do not count: a
        job may be killed as often as one likes.
    """

    launch: str
    deaths: int = 0

    @property
    def poisoned(self) -> bool:
        """Whether the tile is given up, for this launch."""
        return self.deaths >= DEATHS


@contextmanager
def working_on(storage: Storage, year: int, tile: Tile, launch: str) -> Iterator[InProgress]:
    """Hold a note that a tile is being worked on.

    It is taken away when the block ends, also by an error; that of a poisoned tile stays, so that
    the next run knows it.
    """
    key = note_key(year, tile)
    before = read_note(storage, key)
    deaths = before.deaths + 1 if before is not None and before.launch == launch else 0
    note = InProgress(launch, deaths)
    storage.write(key, json.dumps(dataclasses.asdict(note)).encode())
    try:
        yield note
    finally:
        if not note.poisoned:
            storage.delete(key)


def read_note(storage: Storage, key: str) -> InProgress | None:
    """A note, or None where there is none."""
    try:
        known = fields(read_json(storage.read(key), 100), {"launch": text, "deaths": whole})
        return InProgress(**known)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return InProgress("")


def noted(storage: Storage, year: int) -> frozenset[str]:
    """Names of the tiles with a note."""
    keys = storage.list(notes_prefix(year))
    return frozenset(key.rpartition("/")[2].removesuffix(".json") for key in keys)


def clear_ended(storage: Storage, year: int, tiles: Iterable[Tile]) -> None:
    """Take away the notes of tiles that ended just before their worker died."""
    ended = {note_key(year, tile) for tile in tiles}
    for key, note in _notes(storage, year):
        if key in ended and not note.poisoned:
            storage.delete(key)


def clear_launch(storage: Storage, year: int, launch: str) -> None:
    """Take away the notes of a launch whose workers somebody stopped."""
    for key, note in _notes(storage, year):
        if note.launch == launch and not note.poisoned:
            storage.delete(key)


def _notes(storage: Storage, year: int) -> Iterator[tuple[str, InProgress]]:
    for key in list(storage.list(notes_prefix(year))):
        note = read_note(storage, key)
        if note is not None:
            yield key, note
