"""The short records of a zone in one object, kept up to date while a run goes on.

Workers put what they finish into a journal, a small object every half minute; whoever compacts
brings the journal's rows into the zones' summaries and removes it. So thousands of tiles are
looked up with one read a zone and without listing anything, after a run that was killed too.

    records/<year>/summary/utmNN.json                the short records of a zone
    records/<year>/journal/utmNN/<worker>-<n>.json   those that are not in the summary yet
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pipeline import records
from pipeline.errors import Altered
from pipeline.grid import Tile, zone_group
from pipeline.locks import locked
from pipeline.records import FINISHED, State
from pipeline.seal import seal, unseal
from pipeline.storage import Storage

log = logging.getLogger(__name__)

JOURNAL_SECONDS, JOURNAL_ROWS = 30.0, 500
"""Between two objects that a worker puts into the journal, and tiles in one, at most."""

COMPACT_PUTS = 240
"""Objects of the journal after which, on average, a worker compacts a zone: the launcher does so
more often, if there is one while the job runs."""

LOOK_UP = 2000
"""Records that are asked for one by one where a summary leaves tiles open: some seconds' worth."""

Row = dict[str, Any]
"""What `Record.short` gives."""


def summary_key(year: int, zone: int) -> str:
    """Key of the short records of a zone."""
    return f"records/{year}/summary/{zone_group(zone)}.json"


def journal_prefix(year: int, zone: int) -> str:
    """Where the rows of a zone wait for the summary."""
    return f"records/{year}/journal/{zone_group(zone)}/"


def read_summary(storage: Storage, year: int, zone: int) -> dict[str, Row]:
    """Short records of a zone by tile name, as they were last compacted.

    A damaged summary counts as empty, which is logged: the tiles' own records hold the same, and
    the next run brings them into it again.
    """
    key = summary_key(year, zone)
    try:
        return unseal(storage.read(key))
    except FileNotFoundError:
        return {}
    except Altered as error:
        log.warning("%s: %s; the tiles' own records are asked instead", key, error)
        return {}


def write_summary(storage: Storage, year: int, zone: int, rows: dict[str, Row]) -> None:
    """Write the short records of a zone, in the order of the tiles' names."""
    storage.write(summary_key(year, zone), seal({name: rows[name] for name in sorted(rows)}))


def compact(storage: Storage, year: int, zone: int) -> None:
    """Bring a zone's journal into its summary. Safe to call from several places at once."""
    if not any(True for _ in storage.list(journal_prefix(year, zone))):
        return
    with locked(storage, f"summary-{year}-{zone_group(zone)}"):
        keys = list(storage.list(journal_prefix(year, zone)))
        known = read_summary(storage, year, zone)
        # Two workers may have ended the same tile: what was written last stands.
        rows = sorted(_journal_rows(storage, keys), key=lambda row: row["written"])
        known.update({row["tile"]: row for row in rows})
        write_summary(storage, year, zone, known)
        for key in keys:
            storage.delete(key)


def _journal_rows(storage: Storage, keys: Iterable[str]) -> Iterator[Row]:
    """Short records of some journal objects, without those that are damaged."""
    for key in keys:
        try:
            yield from unseal(storage.read(key)).values()
        except Altered as error:
            log.warning("%s: %s; the next run reads its tiles' own records", key, error)


class Journal:
    """What one worker process has finished and the summaries do not have yet.

    Parameters
    ----------
    storage, year
        The store and the year.
    """

    def __init__(self, storage: Storage, year: int) -> None:
        self._storage, self._year = storage, year
        self._worker = uuid.uuid4().hex[:12]
        self._numbers = itertools.count()
        self._rows: dict[int, dict[str, Row]] = {}
        self._put_at = time.monotonic()
        self._lock = threading.Lock()

    def add(self, zone: int, row: Row) -> None:
        """Add a tile's short record; now and then, put what has gathered."""
        with self._lock:
            self._rows.setdefault(zone, {})[row["tile"]] = row
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
            key = f"{journal_prefix(self._year, zone)}{self._worker}-{next(self._numbers)}.json"
            try:
                self._storage.write(key, seal(entries))
                if random.random() < 1 / COMPACT_PUTS:
                    compact(self._storage, self._year, zone)
            except Exception as error:
                log.warning("the journal could not be put into the store: %s", error)


def forget(storage: Storage, year: int, tiles: Iterable[Tile]) -> None:
    """Take tiles out of the summaries, so that their own records are asked.

    Done before finished tiles are made again: if that is interrupted, they are not done.
    """
    for zone, members in itertools.groupby(sorted(tiles), lambda tile: tile.zone):
        with locked(storage, f"summary-{year}-{zone_group(zone)}"):
            known = read_summary(storage, year, zone)
            for tile in members:
                known.pop(tile.name, None)
            write_summary(storage, year, zone, known)


class Found(NamedTuple):
    """A tile, its short record or None where there is none, and whether its own was asked."""

    tile: Tile
    row: Row | None
    asked: bool

    @property
    def finished(self) -> bool:
        """Whether the tile is done, or known to have nothing to see."""
        return self.row is not None and State(self.row["state"]) in FINISHED


def short_records(
    storage: Storage, year: int, tiles: Iterable[Tile], most: int | None = None
) -> Iterator[Found]:
    """Short records of many tiles.

    The zones' summaries answer for finished tiles. For the others, which a run may have made
    since, the tile's own record is asked.

    Parameters
    ----------
    storage, year, tiles
        Of which store, year and tiles; a zone's tiles one after another.
    most
        Records that are asked for; None for as many as there are. Tiles beyond that are as in the
        summary.
    """
    unsure: list[Found] = []
    for zone, members in itertools.groupby(tiles, lambda tile: tile.zone):
        known = read_summary(storage, year, zone)
        for tile in members:
            found = Found(tile, known.get(tile.name), asked=False)
            if found.finished:
                yield found
            else:
                unsure.append(found)
    most = len(unsure) if most is None else most
    for tile, record in records.read_records(storage, year, (of.tile for of in unsure[:most])):
        yield Found(tile, None if record is None else record.short(), asked=True)
    yield from unsure[most:]
