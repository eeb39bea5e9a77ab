"""How far a job is, on a terminal or in a log.

Each worker process keeps a tally and puts it into the store every few seconds; the launcher adds
the tallies up. So the same line is shown whether the workers are threads, processes or machines.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO

from pipeline.storage import Storage

log = logging.getLogger(__name__)

TALLY_SECONDS = 2.0
"""Between two puts of a worker's tally, and two looks of the launcher on a terminal."""

LOG_SECONDS = 60.0
"""Between two lines where standard error is no terminal."""


def tally_prefix(year: int, request: str) -> str:
    """Where the workers of one run put their tallies."""
    return f"records/{year}/progress/{request}/"


class Tally:
    """Counts of what one worker process has done in one run.

    Parameters
    ----------
    storage, year, request
        The store and the run to which the counts belong.
    name
        Tells apart the tallies of one process.
    """

    def __init__(self, storage: Storage, year: int, request: str, name: str = "made") -> None:
        self._storage = storage
        worker = f"{socket.gethostname()}-{os.getpid()}-{name}"
        self._key = f"{tally_prefix(year, request)}{worker}.json"
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._put_at = 0.0

    def add(self, **counts: float) -> None:
        """Add to the counts; now and then, put them where the launcher sees them."""
        with self._lock:
            self._counts.update(counts)
            due = time.monotonic() - self._put_at > TALLY_SECONDS
            if due:
                self._put_at = time.monotonic()
        if due:
            self.put()

    def put(self) -> None:
        """Put the counts into the store. Progress is never worth a tile, so errors are logged."""
        with self._lock:
            data = json.dumps(dict(self._counts)).encode()
        try:
            self._storage.write(self._key, data)
        except Exception as error:
            log.warning("progress could not be put into the store: %s", error)


def read_tallies(storage: Storage, year: int, request: str) -> Counter[str]:
    """Sum of the workers' counts."""
    total: Counter[str] = Counter()
    for key in list(storage.list(tally_prefix(year, request))):
        try:
            total.update(json.loads(storage.read(key)))
        except (FileNotFoundError, ValueError):
            continue
    return total


def clear_tallies(storage: Storage, year: int, request: str) -> None:
    """Forget the tallies of a run that has ended or is about to begin."""
    for key in list(storage.list(tally_prefix(year, request))):
        storage.delete(key)


@dataclass
class Monitor:
    """A thread of the launcher that shows progress while the job runs.

    Parameters
    ----------
    storage, year, request
        Whose tallies to add up.
    tiles, blocks
        That the run was asked for and that are not done yet.
    on_count
        Called with each sum of the tallies, so that a hopeless run can be stopped early.
    stream
        Where the line goes: rewritten in place on a terminal, one line a minute elsewhere.
    """

    storage: Storage
    year: int
    request: str
    tiles: int
    blocks: int
    on_count: Callable[[Counter[str]], None] | None = None
    stream: TextIO = field(default_factory=lambda: sys.stderr)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
        self._began = time.monotonic()

    def __enter__(self) -> Monitor:
        clear_tallies(self.storage, self.year, self.request)
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop.set()
        self._thread.join()
        if self.stream.isatty():
            self.stream.write("\r\x1b[2K")
        clear_tallies(self.storage, self.year, self.request)

    def _watch(self) -> None:
        live = self.stream.isatty()
        shown = time.monotonic()
        while not self._stop.wait(TALLY_SECONDS):
            counts = read_tallies(self.storage, self.year, self.request)
            if self.on_count is not None:
                self.on_count(counts)
            if live:
                self.stream.write("\r\x1b[2K" + self._line(counts))
                self.stream.flush()
            elif time.monotonic() - shown >= LOG_SECONDS:
                shown = time.monotonic()
                self.stream.write(self._line(counts) + "\n")
                self.stream.flush()

    def _line(self, counts: Counter[str]) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        return progress_line(counts, self.tiles, self.blocks, seconds)


def progress_line(counts: Counter[str], tiles: int, blocks: int, seconds: float) -> str:
    """One line on how far a job is.

    Parameters
    ----------
    counts
        Sum of the tallies: `tiles`, `failed`, `blocks`, `pixels`, `seconds_read`, ...
    tiles, blocks
        To be made in this run.
    seconds
        Since the run began.
    """
    share = counts["blocks"] / blocks if blocks else 1.0
    line = (
        f"tiles {counts['tiles']:.0f}/{tiles}  {counts['pixels'] / seconds:,.0f} px/s  "
        f"read {counts['seconds_read']:.0f} s  encode {counts['seconds_encode']:.0f} s  "
        f"failed {counts['failed']:.0f}"
    )
    if 0 < share < 1:
        line += f"  left {_clock(seconds * (1 - share) / share)}"
    return line


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    minutes, seconds_left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds_left:02d}" if hours else f"{minutes}:{seconds_left:02d}"
