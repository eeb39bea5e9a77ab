"""What came of a run: tiles, failures by class, and what was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tessera_mosaic.pipeline.ledger.metrics import MEASURES, measures_of
from tessera_mosaic.pipeline.ledger.summary import Found
from tessera_mosaic.pipeline.tiling.lattice import Tile

UNRECORDED, STANDING = "unrecorded", "standing"
"""Begin, with a colon and the class of error, the names of the counters of tiles whose failure is
not in the store: it did not take the record, or what it holds of a tile made before stands."""

STOPPED = "stopped"
"""Name of the counter of what was left because the job was stopped."""


@dataclass(frozen=True)
class Whole:
    """What came of a list of which several launchers made a share each.

    Parameters
    ----------
    tiles, done, failed, missing
        As in `Outcome`.
    failures
        Tiles by class of error.
    """

    tiles: int
    done: int
    failed: int
    missing: int
    failures: dict[str, int]


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Parameters
    ----------
    tiles, done, failed, missing
        Asked for; in the store or known to be empty; failed; and not tried.
    seconds
        Wall time of the job.
    failures
        Tiles by class of error.
    measures
        Sums of the measures of the tiles that this launch made; see `ledger.metrics`.
    without
        Done tiles that are from one sensor, by the sensor that they are without: `s1` or `s2`.
    share
        The share of the list that was made, as `I/N`; None where there are none. Tiles are then
        those of the share.
    whole
        Where this was the last of all shares to end, what came of the whole list.
    """

    tiles: int
    done: int
    failed: int
    missing: int
    seconds: float
    failures: dict[str, int]
    measures: dict[str, float]
    without: dict[str, int] = field(default_factory=dict)
    share: str | None = None
    whole: Whole | None = None

    @property
    def pixels(self) -> int:
        """Embedded in this run."""
        return int(self.measures["pixels_embedded"])

    @property
    def ends_list(self) -> bool:
        """Whether nobody else has tiles of the list to make: what is of all tiles can be made."""
        return self.share is None or self.whole is not None

    def to_json(self) -> dict[str, Any]:
        """The fields of `run --json`."""
        return {
            "tiles": self.tiles,
            "done": self.done,
            "failed": self.failed,
            "missing": self.missing,
            "pixels": self.pixels,
            "seconds": round(self.seconds, 3),
            "pixels_per_second": round(self.pixels / self.seconds, 1) if self.seconds else 0.0,
            "failures": self.failures,
            "tiles_without": self.without,
            **self._shared(),
            **{name: round(value, 3) for name, value in self.measures.items()},
        }

    def _shared(self) -> dict[str, Any]:
        """The fields that tell of shares, where there are some."""
        if self.share is None:
            return {}
        return {"share": self.share, "whole": None if self.whole is None else vars(self.whole)}


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """What several launches came to, one after the other: at least one."""
    each = list(outcomes)
    if len(each) == 1:
        return each[0]
    failures, measures, without = (Counter[str]() for _ in range(3))
    for outcome in each:
        failures.update(outcome.failures)
        without.update(outcome.without)
        for name, value in outcome.measures.items():
            measures[name] += value  # type: ignore[assignment]
    return Outcome(
        tiles=sum(outcome.tiles for outcome in each),
        done=sum(outcome.done for outcome in each),
        failed=sum(outcome.failed for outcome in each),
        missing=sum(outcome.missing for outcome in each),
        seconds=sum(outcome.seconds for outcome in each),
        failures=dict(failures.most_common()),
        measures=dict(measures),
        without=dict(without),
        share=each[0].share,
    )


def add_up(
    launch: str, tiles: Iterable[Found], seconds: float, unrecorded: Counter[str]
) -> tuple[Outcome, list[Tile]]:
    """What came of a run's tiles, by what the store holds of them and what it does not.

    Parameters
    ----------
    launch
        Id of the run.
    tiles
        Tiles that it was asked for, as the store knows them.
    seconds
        Wall time of the job in seconds.
    unrecorded
        Failed tiles of whose failure the store has no record, by their counters' names.

    Returns
    -------
    The outcome, and the tiles that have a record.
    """
    count = done = 0
    recorded: list[Tile] = []
    measures: Counter[str] = Counter(dict.fromkeys(MEASURES, 0))
    failures: Counter[str] = Counter()
    without: Counter[str] = Counter()
    for name, tiles_failed in unrecorded.items():
        how, _, kind = name.partition(":")
        failures[kind] += tiles_failed
        done -= tiles_failed * (how == STANDING)
    for found in tiles:
        count += 1
        done += found.finished
        if found.summary is None:
            continue
        recorded.append(found.tile)
        without.update([found.summary.lacks] if found.summary.lacks else [])
        if found.summary.launch == launch:
            measures.update(measures_of(found.summary))
        else:
            measures["tiles_kept"] += found.finished
        if found.summary.error:
            failures[found.summary.error.kind] += 1
    done = max(0, done)
    failed = min(sum(failures.values()), count - done)
    outcome = Outcome(
        tiles=count,
        done=done,
        failed=failed,
        missing=count - done - failed,
        seconds=seconds,
        failures=dict(failures.most_common()),
        measures=dict(measures),
        without=dict(without),
    )
    return outcome, recorded
