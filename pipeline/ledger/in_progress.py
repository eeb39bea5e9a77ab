"""Notes that tiles are being worked on: what a worker leaves that dies on one.

A worker that dies cannot say so, but the note of its tile stays. A tile with a note that nobody is
at work on is suspect: it is made last and apart from all others (`job.local_runner`), so that it
costs only itself if it kills again, and does no harm if it was innocent.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import fields, text, whole
from tessera_mosaic.pipeline.ledger.keys import note_key, notes_prefix
from tessera_mosaic.pipeline.tiling.lattice import Tile

log = logging.getLogger(__name__)

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
    by
        What tells this note from any other: an answer to who puts it may be lost.
    suspect
        Whether there was a note already when this one was put.
    """

    launch: str
    deaths: int = 0
    by: str = field(default="", compare=False)
    suspect: bool = field(default=False, compare=False)

    @property
    def poisoned(self) -> bool:
        """Whether the tile is given up, for this launch."""
        return self.deaths >= DEATHS

    def encoded(self) -> bytes:
        """The note as it is stored."""
        told = {"launch": self.launch, "deaths": self.deaths, "by": self.by}
        return json.dumps(told).encode()


@contextmanager
def working_on(storage: Storage, year: int, tile: Tile, launch: str) -> Iterator[InProgress]:
    """Hold a note that a tile is being worked on.

    It is taken away when the block ends, also by an error; that of a poisoned tile stays, so that
    the next run knows it.
    """
    key = note_key(year, tile)
    note, before = InProgress(launch, by=uuid.uuid4().hex), None
    # One request puts the note and tells whether there is one: hardly any tile has any.
    if storage.excludes is False or not storage.create(key, note.encoded()):
        before = read_note(storage, key)
    if before is not None and before.by != note.by:
        deaths = before.deaths + 1 if before.launch == launch else 0
        note = dataclasses.replace(note, deaths=deaths, suspect=True)
    if storage.excludes is False or note.suspect:
        storage.write(key, note.encoded())
    try:
        yield note
    finally:
        if not note.poisoned:
            try:
                storage.delete(key)
            except StoreError as error:
                # What was made counts by its record; who ends the job looks for such notes.
                log.warning("%s could not be taken away: %s", key, error)


def read_note(storage: Storage, key: str) -> InProgress | None:
    """A note, or None where there is none."""
    try:
        known = fields(
            read_json(storage.read_document(key), 100),
            {"launch": text, "deaths": whole, "by": text},
        )
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
