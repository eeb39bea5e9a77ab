"""What is measured about a tile, under one set of names.

A record holds the measures by kind. Beam's metrics, the workers' tallies and `run --json` hold
them flat: what a record calls `seconds: {"read": ...}` is `seconds_read` there.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tessera_mosaic.pipeline.io.stop_sign import StopSign
from tessera_mosaic.pipeline.ledger.records import Record, State
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary

STAGES = ("find", "read", "wait", "encode", "write", "pause")
"""What a tile's time is spent on: asking the catalogue, reading ahead, waiting for what is read
ahead, encoding, writing, and pausing before another try. Reading goes on beside the others."""

MEASURES = {
    "tiles_done": "tiles whose shard is in the store",
    "tiles_empty": "tiles with nothing to see",
    "tiles_failed": "tiles that could not be made",
    "tiles_kept": "tiles that an earlier run had made",
    "pixels_owned": "pixels of the tile that its zone owns, with the margin",
    "pixels_embedded": "pixels with an embedding",
    "tokens": "observations that the encoder computed with",
    "observations_s2": "clear observations of all pixels by Sentinel-2",
    "observations_s1_ascending": "observations of all pixels by Sentinel-1, ascending",
    "observations_s1_descending": "observations of all pixels by Sentinel-1, descending",
    "scenes_used": "scenes with at least one observation",
    "scenes_unused": "scenes without, each with its reason in the record",
    "scenes_lost": "scenes that could not be read and were allowed to be lost",
    "offsets_taken_out": "scenes whose offset was taken out by evidence against the reference",
    "offsets_not_there": "scenes that by evidence have no offset, where the reference takes it out",
    "bytes_read": "bytes fetched of scenes",
    "requests_read": "requests that this took",
    "bytes_written": "bytes of the tile's objects",
    **{f"seconds_{stage}": f"seconds spent on `{stage}`" for stage in STAGES},
}
"""Every measure, but `retries_<class>`: tries again of tiles and of reads, by class of error."""

PLAIN = (
    "tokens",
    "scenes_used",
    "scenes_unused",
    "scenes_lost",
    "offsets_taken_out",
    "offsets_not_there",
    "bytes_read",
    "requests_read",
    "bytes_written",
)
"""Measures that a `TileSummary` has under their own names."""


def measures_of(row: TileSummary) -> dict[str, float]:
    """The measures of a tile, flat."""
    flat: dict[str, float] = {f"tiles_{row.state}": 1}
    for name in PLAIN:
        flat[name] = getattr(row, name)
    flat |= {f"observations_{name}": seen["sum"] for name, seen in row.observations.items()}
    flat |= {f"pixels_{name}": count for name, count in row.pixels.items()}
    flat |= {f"retries_{kind}": count for kind, count in row.retries.items()}
    flat |= {f"seconds_{stage}": spent for stage, spent in row.seconds.items()}
    return flat


@dataclass(frozen=True)
class Effort:
    """What making a tile took, as its record has it.

    Parameters
    ----------
    bytes_read, requests_read
        Number of bytes that were fetched of scenes, and of the requests that this took.
    retries
        Number of times that the tile and its reads were tried again, by class of error.
    seconds
        Time in seconds by what it was spent on, as in `STAGES`.
    """

    bytes_read: int
    requests_read: int
    retries: dict[str, int]
    seconds: dict[str, float]


class Meter:
    """Measures one tile while it is made. Safe to use from many threads.

    Parameters
    ----------
    tell
        Called with every measure as it comes, for the progress that is shown.
    stop
        Whether the job is to stop.
    """

    def __init__(self, tell: Callable[..., None], stop: StopSign | None = None) -> None:
        self._tell, self._stop = tell, stop or StopSign()
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, **measures: float) -> None:
        """Add to measures, by their flat names."""
        with self._lock:
            self._counts.update(measures)
        self._tell(**measures)

    def plan(self, blocks: int, of: int) -> None:
        """Tell how many blocks of a tile have something to do, for the time left that is shown.

        Parameters
        ----------
        blocks
            Number of them.
        of
            Number of all blocks of the tile, of which the others count as made at once.
        """
        self.add(blocks=of - blocks, blocks_idle=of - blocks, blocks_wanted=blocks)

    def check_stop(self) -> None:
        """Let a maker begin the next block, or read on for it.

        Raises
        ------
        Stopped
            If the job is to stop: no failure of the tile, which another run makes anew.
        """
        self._stop.check()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time within the context to a stage's seconds."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.add(**{f"seconds_{stage}": time.monotonic() - began})

    def finish(self, record: Record, blocks: int) -> None:
        """Tell what is left to tell of a tile that ended, and take back what came to nothing.

        Parameters
        ----------
        record
            The tile's record.
        blocks
            Number of blocks of the tile.
        """
        with self._lock:
            told = Counter(self._counts)
        whole = Counter(measures_of(TileSummary.of(record)) | {"blocks": blocks})
        if record.state is State.DONE:
            whole |= {name: told[name] for name in ("blocks_idle", "blocks_wanted")}
        else:
            # What was not made cost nothing.
            whole["blocks_wanted"] = told["blocks"] - told["blocks_idle"]
            whole["blocks_idle"] = blocks - whole["blocks_wanted"]
        self.add(**{name: whole[name] - told[name] for name in whole | told})

    def effort(self) -> Effort:
        """What making the tile took so far."""
        with self._lock:
            counts = dict(sorted(self._counts.items()))

        def of(kind: str) -> dict[str, int]:
            return {n.removeprefix(kind): v for n, v in counts.items() if n.startswith(kind)}

        return Effort(
            bytes_read=counts.get("bytes_read", 0),
            requests_read=counts.get("requests_read", 0),
            retries=of("retries_"),
            seconds={stage: round(spent, 3) for stage, spent in of("seconds_").items()},
        )
