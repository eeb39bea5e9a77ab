"""How far a job is, on a terminal or in a log.

Each worker process keeps a tally and puts it into the store every few seconds; the launcher adds
the tallies up. So the same line is shown whether the workers are threads, processes or machines.
"""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO

from tessera_mosaic.pipeline.console import ERASE, clock, number, quiet
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.pacing import Pacing
from tessera_mosaic.pipeline.ledger.tally import pause, read_tallies

log = logging.getLogger(__name__)


GAP = "  "
"""Between the parts of the line."""


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


@dataclass
class Monitor:
    """A thread of the launcher that shows progress while the job runs.

    Parameters
    ----------
    storage, year, launch
        The store, the calendar year, and the id of the launch whose tallies are added up.
    tiles, blocks
        Number of tiles that the job was asked for, and of blocks in them.
    on_count
        Called with each sum of the tallies.
    stream
        Stream that the line goes to: rewritten in place on a terminal; elsewhere a first line soon,
        and then one a minute.
    pacing
        How often tallies are read and lines are written.
    """

    storage: Storage
    year: int
    launch: str
    tiles: int
    blocks: int
    on_count: Callable[[Counter[str]], None] | None = None
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    pacing: Pacing = field(default_factory=Pacing)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
        self._began = time.monotonic()
        self._due = self._began + self.pacing.first_seconds
        self._sights = deque([Sight(0.0, Counter())])

    def __enter__(self) -> Monitor:
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop.set()
        self._thread.join()
        if self.stream.isatty() and not quiet():
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
        least = self.pacing.tally_seconds
        return min(pause(now - self._began, least), max(self._due - now, least))

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
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + self.pacing.log_seconds
            self._show(GAP.join(parts) + "\n")

    def _show(self, text: str) -> None:
        if not quiet():
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
        Sum of the tallies: measures, and `blocks`, of which `blocks_idle` had nothing to do;
        `blocks_wanted` have something to do in tiles that were begun; `tiles_kept` and
        `blocks_kept` are those that needed no work.
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
        Number of tiles that the job was asked for, and of blocks in them.
    """
    counts, lately = now.counts, now.since(then)
    ended = counts["tiles_kept"] + made(counts)
    left = blocks_left(counts, blocks)
    pace = lately.rate("blocks") - lately.rate("blocks_idle")
    return [
        f"tiles {ended:.0f}/{tiles}",
        *([f"left {clock(left / pace) if pace > 0 else '?'}"] if left > 0 else []),
        f"failed {counts['tiles_failed']:.0f}",
        f"{number(lately.rate('pixels_embedded'))} px/s{_slower(now, lately)}",
        *_where(lately),
        f"{number(lately.rate('tokens'))} tokens/s",
        f"{number(counts['bytes_read'])}B in {number(counts['bytes_written'])}B out",
    ]


def blocks_left(counts: Counter[str], blocks: int) -> float:
    """Blocks with something to do that are to be made.

    How many those are of tiles that are not begun is told by the others' share of them.

    Parameters
    ----------
    counts
        Sum of the tallies, as a `Sight` has them.
    blocks
        Number of blocks of all tiles.

    Examples
    --------
    >>> blocks_left(Counter(blocks=12, blocks_idle=8, blocks_wanted=8), 48)
    20.0
    """
    left = blocks - counts["blocks_kept"] - counts["blocks"]
    wanted, idle = counts["blocks_wanted"], counts["blocks_idle"]
    share = wanted / (wanted + idle) if wanted + idle > 0 else 1.0
    begun = min(max(wanted - (counts["blocks"] - idle), 0), left)
    return begun + share * (left - begun)


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
