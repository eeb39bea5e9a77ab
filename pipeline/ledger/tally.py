"""Counts of what each worker process has done in a launch."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import named, number
from tessera_mosaic.pipeline.ledger.keys import TALLY, launch_prefix, tally_key
from tessera_mosaic.pipeline.ledger.records import READ_THREADS

log = logging.getLogger(__name__)

TALLY_SECONDS = 2.0
"""Seconds between two puts of a worker's tally, and between two looks of the launcher, in the first
minutes."""

MOST_TALLY_SECONDS = 60.0
"""The same once they have been at work for an hour."""


MOST_COUNTS = 10_000
"""Most counts of one worker."""


def pause(at_work: float, least: float = TALLY_SECONDS) -> float:
    """Seconds until the next put of a worker, or the next look of a launcher.

    News are never older than a 60th of the time that the work has taken, and a fleet that works for
    days puts no more than a tally a minute each.

    Parameters
    ----------
    at_work
        Seconds since the worker or launcher began.
    least
        Seconds to wait at least.
    """
    return min(max(at_work / 60, least), MOST_TALLY_SECONDS)


class Tally:
    """Counts of what one worker process has done in one launch.

    Parameters
    ----------
    storage, year, launch
        The store, the calendar year and the id of the launch that the counts belong to.
    name
        A name for counts that are the same whoever counts them, of which the last put stands.
        Without one they get a name of their own, because processes in containers cannot be told
        apart by host and number.
    seconds
        Seconds between two puts in the first minutes.
    clock
        Gives the seconds since some moment in the past.
    """

    def __init__(
        self,
        storage: Storage,
        year: int,
        launch: str,
        name: str = "",
        seconds: float = TALLY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._storage, self._seconds = storage, seconds
        self._key = tally_key(year, launch, name or uuid.uuid4().hex)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._began = self._put_at = clock()

    def add(self, **counts: float) -> None:
        """Add to the counts; now and then, put them where the launcher sees them."""
        with self._lock:
            self._counts.update(counts)
            now = self._clock()
            due = now - self._put_at > pause(now - self._began, self._seconds)
        if due:
            self.put()

    def counts(self) -> Counter[str]:
        """The counts so far."""
        with self._lock:
            return Counter(self._counts)

    def put(self) -> None:
        """Put the counts into the store. Progress is never worth a tile, so errors are logged."""
        with self._lock:
            data = json.dumps(dict(self._counts)).encode()
            self._put_at = self._clock()
        try:
            self._storage.write(self._key, data)
        except Exception as error:
            log.warning("progress could not be put into the store: %s", error)


def read_tallies(storage: Storage, year: int, launch: str) -> Counter[str]:
    """Sum of the workers' counts, which are read side by side."""
    total: Counter[str] = Counter()
    keys = [key for key in storage.list(launch_prefix(year, launch)) if key.endswith(TALLY)]
    with ThreadPoolExecutor(READ_THREADS) as pool:
        for counts in pool.map(lambda key: _read_tally(storage, key), keys):
            total.update(counts)
    return total


def _read_tally(storage: Storage, key: str) -> dict[str, float]:
    try:
        return named(read_json(storage.read_document(key), MOST_COUNTS), number, MOST_COUNTS)
    except (FileNotFoundError, ValueError, Altered):
        return {}
