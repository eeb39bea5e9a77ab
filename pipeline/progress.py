"""How far a job is, on a terminal or in a log.

Each worker process keeps a tally and puts it into the store every few seconds; the launcher adds
the tallies up. So the same line is shown whether the workers are threads, processes or machines.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO

from pipeline.storage import Storage

log = logging.getLogger(__name__)

TALLY_SECONDS = 2.0
"""Between two puts of a worker's tally, and two looks of the launcher."""

LOG_SECONDS = 60.0
"""Between two lines where standard error is no terminal."""

RECENT_SECONDS = 60.0
"""Over which rates are taken, and the shares of where the time goes."""

SPENDING = {
    "finding scenes": ("find",),
    "waiting for reads": ("wait",),
    "encoding": ("encode",),
    "writing": ("write",),
    "pausing": ("pause",),
}
"""What the time of a tile's own thread goes to; its reads go on beside it."""

SILENT_BEATS = 5
"""Looks after which a launcher that has not shown itself again counts as dead."""


def launches_prefix(year: int) -> str:
    """Where all launches of a year have a folder while they run."""
    return f"records/{year}/progress/"


def launch_prefix(year: int, launch: str) -> str:
    """Where one launch and its workers say how far they are."""
    return f"{launches_prefix(year)}{launch}/"


class Tally:
    """Counts of what one worker process has done in one launch.

    Parameters
    ----------
    storage, year, launch
        The store and the launch to which the counts belong.
    name
        Tells apart the tallies of one process.
    """

    def __init__(self, storage: Storage, year: int, launch: str, name: str = "made") -> None:
        self._storage = storage
        self._key = f"{launch_prefix(year, launch)}{here()}-{name}.json"
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._put_at = time.monotonic()

    def add(self, **counts: float) -> None:
        """Add to the counts; now and then, put them where the launcher sees them."""
        with self._lock:
            self._counts.update(counts)
            due = time.monotonic() - self._put_at > TALLY_SECONDS
        if due:
            self.put()

    def put(self) -> None:
        """Put the counts into the store. Progress is never worth a tile, so errors are logged."""
        with self._lock:
            data = json.dumps(dict(self._counts)).encode()
            self._put_at = time.monotonic()
        try:
            self._storage.write(self._key, data)
        except Exception as error:
            log.warning("progress could not be put into the store: %s", error)


def here() -> str:
    """This process, by a name that no other living one has."""
    return f"{socket.gethostname()}-{os.getpid()}"


def read_tallies(storage: Storage, year: int, launch: str) -> Counter[str]:
    """Sum of the workers' counts."""
    total: Counter[str] = Counter()
    for key in list(storage.list(launch_prefix(year, launch))):
        with contextlib.suppress(FileNotFoundError, ValueError):
            total.update(json.loads(storage.read(key)) if key.endswith(".json") else {})
    return total


class Stop:
    """The launcher's word that no more tiles are to be begun."""

    def __init__(self, storage: Storage, year: int, launch: str) -> None:
        self._storage = storage
        self._key = f"{launch_prefix(year, launch)}stop"
        self._asked_at = -math.inf
        self._said = False

    def say(self) -> None:
        """Stop the workers."""
        self._storage.write(self._key, b"")

    def asked(self) -> bool:
        """Whether the launcher said so; it is asked every `TALLY_SECONDS` at most."""
        if not self._said and time.monotonic() - self._asked_at > TALLY_SECONDS:
            self._asked_at = time.monotonic()
            self._said = self._storage.exists(self._key)
        return self._said


class Presence:
    """Shows the other launchers of a year that this one is at work, and looks out for them.

    Whoever starts takes away the signs of all others. The living put theirs up again within a
    beat; those that do not are dead, and what they left is cleared away. No clock is compared.
    """

    def __init__(self, storage: Storage, year: int, launch: str) -> None:
        self._storage, self._year, self._launch = storage, year, launch
        self._beats = 0
        self._silent: set[str] = set()

    def arrive(self) -> None:
        """Put up this launcher's sign and take away the others'."""
        self._silent = {launch for launch in self._launches() if launch != self._launch}
        for launch in self._silent:
            self._storage.delete(self._sign(launch))
        self.beat()

    def beat(self) -> None:
        """Put up this launcher's sign, and judge those that should have come back by now."""
        self._storage.write(self._sign(self._launch), here().encode())
        for launch in sorted(self._silent):
            with contextlib.suppress(FileNotFoundError):
                who = self._storage.read(self._sign(launch)).decode(errors="replace")
                log.warning("another launcher is at work on %s: %s", self._storage.url, who)
                log.warning("this one joins it: neither makes a tile that the other has made")
                self._silent.discard(launch)
        self._beats += 1
        if self._beats > SILENT_BEATS:
            self._bury()

    def leave(self) -> None:
        """Take away all that this launch put up."""
        clear(self._storage, launch_prefix(self._year, self._launch))

    def _bury(self) -> None:
        for launch in self._silent:
            log.warning("launch %s ended without a word: what it left is cleared away", launch)
            clear(self._storage, launch_prefix(self._year, launch))
        self._silent = set()

    def _launches(self) -> set[str]:
        prefix = launches_prefix(self._year)
        return {key.removeprefix(prefix).split("/")[0] for key in self._storage.list(prefix)}

    def _sign(self, launch: str) -> str:
        return f"{launch_prefix(self._year, launch)}launcher"


def clear(storage: Storage, prefix: str) -> None:
    """Delete all objects below a prefix."""
    for key in list(storage.list(prefix)):
        storage.delete(key)


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
        self._presence = Presence(self.storage, self.year, self.launch)
        self._began = self._shown = time.monotonic()
        self._sights = deque([Sight(0.0, Counter())])

    def __enter__(self) -> Monitor:
        self._presence.arrive()
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop.set()
        self._thread.join()
        if self.stream.isatty():
            self.stream.write("\r\x1b[2K")
        try:
            self._presence.leave()
        except Exception as failed:
            log.warning("progress could not be cleared from the store: %s", failed)

    def counts(self) -> Counter[str]:
        """Sum of the workers' counts."""
        return read_tallies(self.storage, self.year, self.launch)

    def _watch(self) -> None:
        while not self._stop.wait(TALLY_SECONDS):
            try:
                self._look()
            except Exception as error:
                # The job goes on without its progress shown; the next look may succeed.
                log.warning("progress could not be read from the store: %s", error)

    def _look(self) -> None:
        self._presence.beat()
        counts = self.counts()
        if self.on_count is not None:
            self.on_count(counts)
        now = Sight(time.monotonic() - self._began, counts)
        self._sights.append(now)
        while now.at - self._sights[1].at > RECENT_SECONDS:
            self._sights.popleft()
        line = progress_line(now, self._sights[0], self.tiles, self.blocks)
        if self.stream.isatty():
            width = shutil.get_terminal_size().columns - 1
            self.stream.write("\r\x1b[2K" + line[:width])
        elif time.monotonic() - self._shown >= LOG_SECONDS:
            self._shown = time.monotonic()
            self.stream.write(line + "\n")
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


def progress_line(now: Sight, then: Sight, tiles: int, blocks: int) -> str:
    """One line on how far a job is.

    Parameters
    ----------
    now
        The latest sight.
    then
        One some time before it: rates, and where the time goes, are from then to now.
    tiles, blocks
        That the run was asked for.
    """
    counts, lately = now.counts, now.since(then)
    ended = counts["tiles_kept"] + made(counts)
    parts = [
        f"tiles {ended:.0f}/{tiles}",
        f"{number(lately.rate('pixels_embedded'))} px/s{_slower(now, lately)}",
        f"{number(lately.rate('tokens'))} tokens/s",
        f"{number(counts['bytes_read'])}B in {number(counts['bytes_written'])}B out",
        f"failed {counts['tiles_failed']:.0f}",
    ]
    left = blocks - counts["blocks_kept"] - counts["blocks"]
    if left > 0 and counts["blocks"] > 0:
        parts.append(f"left {_clock(left / now.rate('blocks'))}")
    if where := _where(lately):
        parts.append(where)
    return "  ".join(parts)


def _slower(now: Sight, lately: Sight) -> str:
    """A word where the rate is less than half of what it was all along."""
    mean = now.rate("pixels_embedded")
    return f" (mean {number(mean)})" if lately.rate("pixels_embedded") < mean / 2 else ""


def _where(lately: Sight) -> str:
    """What the workers' time went to, the most first."""
    spent = {
        word: sum(lately.counts[f"seconds_{stage}"] for stage in stages)
        for word, stages in SPENDING.items()
    }
    total = sum(spent.values())
    shares = sorted(((share, word) for word, share in spent.items() if share > 0), reverse=True)
    return ", ".join(f"{word} {share / total:.0%}" for share, word in shares)


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
