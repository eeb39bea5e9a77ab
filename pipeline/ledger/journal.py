"""What workers have finished and the summaries do not have yet."""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
import uuid
from collections.abc import Iterable, Iterator

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import journal_key, journal_prefix, summary_lock
from tessera_mosaic.pipeline.ledger.summary import (
    decode_summary,
    encode_summary,
    read_summary,
    write_summary,
)
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary

log = logging.getLogger(__name__)

JOURNAL_SECONDS = 30.0
"""Seconds between two objects that a worker puts into the journal, at most."""

JOURNAL_ROWS = 500
"""Tiles in one object of the journal, at most."""

COMPACT_PUTS = 240
"""Objects of the journal after which, on average, a worker compacts a zone: the launcher does so
more often, if there is one while the job runs."""


def compact(storage: Storage, year: int, zone: int) -> None:
    """Bring a zone's journal into its summary. Safe to call from several places at once."""
    if not any(True for _ in storage.list(journal_prefix(year, zone))):
        return
    with locked(storage, summary_lock(year, zone)):
        keys = list(storage.list(journal_prefix(year, zone)))
        known = read_summary(storage, year, zone)
        # Two workers may have ended the same tile: what was written last stands.
        rows = sorted(_journal_rows(storage, keys), key=lambda row: row.written)
        known.update({row.tile: row for row in rows})
        write_summary(storage, year, zone, known)
        for key in keys:
            storage.delete(key)


def _journal_rows(storage: Storage, keys: Iterable[str]) -> Iterator[TileSummary]:
    """What some objects of the journal hold, without those that are damaged."""
    for key in keys:
        try:
            yield from decode_summary(storage.read(key)).values()
        except Altered as error:
            log.warning("%s: %s; the next run reads its tiles' own records", key, error)


class Journal:
    """What one worker process has finished and the summaries do not have yet.

    Parameters
    ----------
    storage, year
        The store and the calendar year of the tiles.
    compact_puts
        Number of objects put into the journal after which, on average, a zone is compacted.
    """

    def __init__(self, storage: Storage, year: int, compact_puts: float = COMPACT_PUTS) -> None:
        self._storage, self._year, self._compact_puts = storage, year, compact_puts
        self._worker = uuid.uuid4().hex[:12]
        self._numbers = itertools.count()
        self._rows: dict[int, dict[str, TileSummary]] = {}
        self._put_at = time.monotonic()
        self._lock = threading.Lock()

    def add(self, zone: int, row: TileSummary) -> None:
        """Add a tile's record in short; now and then, put what has gathered."""
        with self._lock:
            self._rows.setdefault(zone, {})[row.tile] = row
            late = time.monotonic() - self._put_at > JOURNAL_SECONDS
            full = sum(map(len, self._rows.values())) >= JOURNAL_ROWS
        if late or full:
            self.put()

    def put(self) -> None:
        """Put what has gathered. The tiles' records hold the same, so errors are only logged."""
        with self._lock:
            rows, self._rows = self._rows, {}
            self._put_at = time.monotonic()
        for zone, entries in rows.items():
            key = journal_key(self._year, zone, self._worker, next(self._numbers))
            try:
                self._storage.write(key, encode_summary(entries))
                # Where a store does not exclude, workers edit nothing that they share.
                excludes = self._storage.excludes is not False
                if excludes and random.random() < 1 / self._compact_puts:
                    compact(self._storage, self._year, zone)
            except Exception as error:
                log.warning("the journal could not be put into the store: %s", error)
