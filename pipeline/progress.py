"""How far a job is, on a terminal or in a log.

Each worker process keeps a tally and puts it into the store every few seconds; the launcher adds
the tallies up. So the same line is shown whether the workers are threads, processes or machines.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import sys
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TextIO

from pipeline.cli import ERASE
from pipeline.presence import launch_prefix
from pipeline.records import READ_THREADS
from pipeline.storage import Storage

log = logging.getLogger(__name__)

TALLY_SECONDS = 2.0
"""Between two puts of a worker's tally, and two looks of the launcher, at first."""

MOST_TALLY_SECONDS = 60.0
"""The same once they have been at work for an hour."""

GAP = "  "
"""Between the parts of the line."""

ENOUGH_TILES = 10
"""Tiles that have to be made before the share of failed ones says anything."""

SUSPICIOUS_TILES = 3
"""Tiles that a process has to make before it looks whether others fail as it does."""

LOG_SECONDS = 60.0
"""Between two lines where standard error is no terminal."""

RECENT_SECONDS = 300.0
"""Over which rates are taken, time left, and the shares of where the time goes."""

SPENDING = {
    "finding": "find",
    "reading": "wait",
    "encoding": "encode",
    "writing": "write",
    "pausing": "pause",
}
"""Words for the stages of a tile's own thread: it reads when it waits for what is read ahead."""

TALLY = ".json"
"""Ends the keys of tallies."""


def pause(at_work: float) -> float:
    """Seconds between two puts or looks of one that has been at work so long.

    So news are never older than a 60th of the time that the work has taken, and a fleet that works
    for days puts no more than a tally a minute each.
    """
    return min(max(at_work / 60, TALLY_SECONDS), MOST_TALLY_SECONDS)


class Tally:
    """Counts of what one worker process has done in one launch.

    Parameters
    ----------
    storage, year, launch
        The store and the launch to which the counts belong.
    name
        Of counts that are the same whoever counts them: the last put stands. Others have a name of
        their own, because processes in containers cannot be told apart by host and number.
    """

    def __init__(self, storage: Storage, year: int, launch: str, name: str = "") -> None:
        self._storage = storage
        self._key = f"{launch_prefix(year, launch)}{name or uuid.uuid4().hex}{TALLY}"
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._began = self._put_at = time.monotonic()

    def add(self, **counts: float) -> None:
        """Add to the counts; now and then, put them where the launcher sees them."""
        with self._lock:
            self._counts.update(counts)
            now = time.monotonic()
            due = now - self._put_at > pause(now - self._began)
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
            self._put_at = time.monotonic()
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
        counts: dict[str, float] = json.loads(storage.read(key))
    except (FileNotFoundError, ValueError):
        return {}
    return counts


class Stop:
    """Whether no more tiles are to be begun, because too many of those made so far failed.

    The workers decide that themselves, since a launcher that only hands over the graph is gone
    while they work. One of whose own tiles too many failed adds up those of all; the others ask
    only whether somebody has said so.

    Parameters
    ----------
    storage, year, launch
        The store and the launch.
    share
        Of the tiles made that may fail.
    """

    def __init__(self, storage: Storage, year: int, launch: str, share: float = 1.0) -> None:
        self._storage, self._year, self._launch = storage, year, launch
        self._share = share
        self._key = f"{launch_prefix(year, launch)}stop"
        self._began = time.monotonic()
        self._asked_at = self._weighed_at = -math.inf
        self._said = False

    def say(self) -> None:
        """Stop the workers."""
        self._said = True
        self._storage.write(self._key, b"")

    def asked(self, tally: Tally) -> bool:
        """Whether no more are to be begun; the store is asked now and then.

        Parameters
        ----------
        tally
            Of the process that asks.
        """
        now = time.monotonic()
        if not self._said and now - self._asked_at > TALLY_SECONDS:
            self._asked_at = now
            self._said = self._storage.exists(self._key)
        if not self._said and now - self._weighed_at > pause(now - self._began):
            self._weighed_at = now
            self._weigh(tally)
        return self._said

    def _weigh(self, tally: Tally) -> None:
        if not self._hopeless(tally.counts(), SUSPICIOUS_TILES):
            return
        tally.put()
        total = read_tallies(self._storage, self._year, self._launch)
        if self._hopeless(total, ENOUGH_TILES):
            log.error(
                "%d of %d tiles failed, more than --max-failed-share %g: no more are begun",
                total["tiles_failed"],
                made(total),
                self._share,
            )
            self.say()

    def _hopeless(self, counts: Counter[str], enough: int) -> bool:
        tried = made(counts)
        return tried >= enough and counts["tiles_failed"] > self._share * tried


@dataclass
class Monitor:
    """A thread of the launcher that shows progress while the job runs.

    Parameters
    ----------
    storage, year, launch
        Whose tallies to add up.
    tiles, blocks
        That the run was asked for.
    on_count
        Called with each sum of the tallies.
    stream
        Where the line goes: rewritten in place on a terminal, one line a minute elsewhere.
    """

    storage: Storage
    year: int
    launch: str
    tiles: int
    blocks: int
    on_count: Callable[[Counter[str]], None] | None = None
    stream: TextIO = field(default_factory=lambda: sys.stderr)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
        self._began = self._shown = time.monotonic()
        self._sights = deque([Sight(0.0, Counter())])

    def __enter__(self) -> Monitor:
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop.set()
        self._thread.join()
        if self.stream.isatty():
            self.stream.write(ERASE)
            self.stream.flush()

    def counts(self) -> Counter[str]:
        """Sum of the workers' counts."""
        return read_tallies(self.storage, self.year, self.launch)

    def _watch(self) -> None:
        while not self._stop.wait(self._pause()):
            try:
                self._look()
            except Exception as error:
                # The job goes on without its progress shown; the next look may succeed.
                log.warning("progress could not be read from the store: %s", error)

    def _pause(self) -> float:
        """Seconds until the next look: no later than the next line is due."""
        now = time.monotonic()
        return min(pause(now - self._began), max(self._shown + LOG_SECONDS - now, TALLY_SECONDS))

    def _look(self) -> None:
        counts = self.counts()
        if self.on_count is not None:
            self.on_count(counts)
        now = Sight(time.monotonic() - self._began, counts)
        self._sights.append(now)
        while now.at - self._sights[1].at > RECENT_SECONDS:
            self._sights.popleft()
        parts = progress_parts(now, self._sights[0], self.tiles, self.blocks)
        if self.stream.isatty():
            width = shutil.get_terminal_size().columns - 1
            self._show(ERASE + fitting(parts, width))
        elif time.monotonic() - self._shown >= LOG_SECONDS:
            self._show(GAP.join(parts) + "\n")

    def _show(self, text: str) -> None:
        self._shown = time.monotonic()
        self.stream.write(text)
        self.stream.flush()


def made(counts: Counter[str]) -> int:
    """Tiles that were tried in this launch, by a sum of tallies."""
    return sum(counts[f"tiles_{how}"] for how in ("done", "empty", "failed"))


@dataclass(frozen=True)
class Sight:
    """What the tallies said at one moment.

    Parameters
    ----------
    at
        Seconds since the run began.
    counts
        Sum of the tallies: measures, and `blocks`; `tiles_kept` and `blocks_kept` are those that
        needed no work.
    """

    at: float
    counts: Counter[str]

    def since(self, then: Sight) -> Sight:
        """What came in between."""
        counts = Counter(self.counts)
        counts.subtract(then.counts)
        return Sight(self.at - then.at, counts)

    def rate(self, name: str) -> float:
        """Of a count, a second."""
        return self.counts[name] / self.at if self.at else 0.0


def progress_parts(now: Sight, then: Sight, tiles: int, blocks: int) -> list[str]:
    """How far a job is, what matters most first.

    Parameters
    ----------
    now
        The latest sight.
    then
        One some time before it: rates, time left and where the time goes are from then to now.
    tiles, blocks
        That the run was asked for.
    """
    counts, lately = now.counts, now.since(then)
    ended = counts["tiles_kept"] + made(counts)
    left = blocks - counts["blocks_kept"] - counts["blocks"]
    pace = lately.rate("blocks")
    return [
        f"tiles {ended:.0f}/{tiles}",
        *([f"left {_clock(left / pace) if pace > 0 else '?'}"] if left > 0 else []),
        f"failed {counts['tiles_failed']:.0f}",
        f"{number(lately.rate('pixels_embedded'))} px/s{_slower(now, lately)}",
        *_where(lately),
        f"{number(lately.rate('tokens'))} tokens/s",
        f"{number(counts['bytes_read'])}B in {number(counts['bytes_written'])}B out",
    ]


def fitting(parts: list[str], width: int) -> str:
    """As many of the first parts as a line of a width holds, at least the first of them."""
    line = parts[0][:width]
    for part in parts[1:]:
        if len(line) + len(GAP) + len(part) > width:
            break
        line += GAP + part
    return line


def _slower(now: Sight, lately: Sight) -> str:
    """A word where the rate is less than half of what it was all along."""
    mean = now.rate("pixels_embedded")
    return f" (mean {number(mean)})" if lately.rate("pixels_embedded") < mean / 2 else ""


def _where(lately: Sight) -> list[str]:
    """What the workers' time went to, the most first."""
    spent = {word: lately.counts[f"seconds_{stage}"] for word, stage in SPENDING.items()}
    total = sum(spent.values())
    shares = sorted(((share, word) for word, share in spent.items() if share > 0), reverse=True)
    return [f"{word} {share / total:.0%}" for share, word in shares]


def number(value: float) -> str:
    """Three digits and a prefix: 12.3k."""
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 999.5:
            return f"{value:.3g}{prefix}"
        value /= 1000
    return f"{value:.3g}T"


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    minutes, seconds_left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds_left:02d}" if hours else f"{minutes}:{seconds_left:02d}"
