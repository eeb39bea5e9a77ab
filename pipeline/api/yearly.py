"""The steps of a yearly rerun: run, take up what failed, verify, publish.

Every step looks at what the store holds, so the rerun may be killed at any point, started twice, or
started again in February: it goes on where it was, and where nothing is left to do it does nothing.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tessera_mosaic.launching import run
from tessera_mosaic.pipeline.errors import BadInput, BrokenOff
from tessera_mosaic.pipeline.io.patience import PATIENCE
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.beam_options import job_name
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.keys import problems_key
from tessera_mosaic.pipeline.mosaic.store import mosaic_in
from tessera_mosaic.pipeline.publishing.publish import publish
from tessera_mosaic.pipeline.verification.findings import (
    HOLES,
    SUSPICIONS,
    Checked,
    Findings,
    Problem,
    tell_nobody,
)
from tessera_mosaic.pipeline.verification.mosaic_checks import check_objects, check_tiles
from tessera_mosaic.requests import RunRequest

log = logging.getLogger(__name__)

SETTLING = datetime.timedelta(days=14)
"""After a year's end until it counts as complete: catalogues list a scene within days of its
sensing, and this leaves room for an outage."""

TOLD = HOLES | SUSPICIONS
"""Kinds of problems with which a mosaic is published; `verify` names them all."""

EXAMPLES = 3
"""Problems of each kind in the report, which has to fit into one entry of a log (256 KB on Google
Cloud): whoever waits for an alert reads it there. The store has the whole list."""

BUSY = "DataflowJobAlreadyExistsError"
"""Beam's error for a job whose name is taken by one at work; importing it takes all of Google's
clients."""


@dataclass(frozen=True)
class AnnualPacing:
    """How often a rerun tries, and how long it waits.

    Parameters
    ----------
    rounds
        Number of launches at the most: the first, and those that take up what failed.
    round_pause
        Seconds between two rounds: what fails together, such as a provider, needs time to recover.
    busy_pause
        Seconds until it is seen again whether another launch's job has ended.
    """

    rounds: int = 3
    round_pause: float = 600.0
    busy_pause: float = 600.0

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise BadInput("it has to be launched at least once", "rounds", self.rounds)


@dataclass(frozen=True)
class AnnualOutcome:
    """What a yearly rerun came to.

    Parameters
    ----------
    year
        Calendar year.
    rounds
        Number of launches that it took.
    outcome
        What came of the tiles; measures and seconds are those of all rounds.
    verified
        What `verify` found, with a few problems of each kind; empty where others have not ended
        their shares.
    problems
        Number of problems found.
    published
        Whether the mosaic was published: not if what it holds is unsound.
    """

    year: int
    rounds: int
    outcome: Outcome
    verified: dict[str, Any]
    problems: int
    published: bool

    def to_json(self) -> dict[str, Any]:
        """The fields of `annual --json`."""
        return {
            "year": self.year,
            "rounds": self.rounds,
            **self.outcome.to_json(),
            **self.verified,
            "published": self.published,
        }


def _check_tiles(store: str, year: int, patience: float = PATIENCE) -> Iterable[Checked]:
    return check_tiles(mosaic_in(Storage(store, patience=patience)), [year])


def _check_objects(store: str, patience: float = PATIENCE) -> Iterable[Checked]:
    return check_objects(mosaic_in(Storage(store, patience=patience)))


@dataclass(frozen=True)
class AnnualSteps:
    """What a rerun does, step by step.

    Parameters
    ----------
    run
        Makes the tiles of a request.
    check_tiles
        Looks at the tiles of a store and year.
    publish
        Publishes a store.
    check_objects
        Looks at what else lies in a store.
    """

    run: Callable[[RunRequest], Outcome] = run
    check_tiles: Callable[[str, int], Iterable[Checked]] = _check_tiles
    publish: Callable[[str], object] = publish
    check_objects: Callable[[str], Iterable[Checked]] = _check_objects

    @classmethod
    def of(cls, request: RunRequest) -> AnnualSteps:
        """The steps for a store that is waited for as long as the request says."""
        patience, single = request.store_patience, request.single_launcher
        return cls(
            check_tiles=functools.partial(_check_tiles, patience=patience),
            publish=functools.partial(publish, store_patience=patience, single_launcher=single),
            check_objects=functools.partial(_check_objects, patience=patience),
        )


def last_complete_year(today: datetime.date) -> int:
    """The last calendar year whose scenes can be expected to be in the catalogues."""
    return (today - SETTLING).year - 1


def annual(
    request: RunRequest,
    tell: Callable[[Problem], None] = tell_nobody,
    pacing: AnnualPacing | None = None,
    steps: AnnualSteps | None = None,
) -> AnnualOutcome:
    """Bring a store up to date with a year: run, take up what failed, verify, publish.

    Where several launchers make a share each, the last of them to end verifies and publishes.

    Parameters
    ----------
    request
        The run of the year.
    tell
        Called with each problem as it is found.
    pacing
        How often it tries, and how long it waits.
    steps
        What it does, step by step.
    """
    pacing, steps = pacing or AnnualPacing(), steps or AnnualSteps.of(request)
    if not any(word.startswith("--job_name") for word in request.beam_options):
        name = f"--job_name={job_name(request.store, request.year)}"
        request = dataclasses.replace(request, beam_options=(*request.beam_options, name))
    rounds = [_run_when_free(request, pacing.busy_pause, steps.run)]
    while (rounds[-1].failed or rounds[-1].missing) and len(rounds) < pacing.rounds:
        log.warning("%d tiles failed, %d missing: again", rounds[-1].failed, rounds[-1].missing)
        time.sleep(pacing.round_pause)
        rounds.append(_run_when_free(request, pacing.busy_pause, steps.run))
    outcome = dataclasses.replace(
        rounds[-1],
        seconds=sum(each.seconds for each in rounds),
        measures={
            name: sum(each.measures[name] for each in rounds) for name in rounds[-1].measures
        },
    )
    if not outcome.ends_list:
        return AnnualOutcome(request.year, len(rounds), outcome, {}, 0, published=False)
    # Whether the mosaic is sound is for its tiles to tell; what else is damaged, `publish` mends.
    findings = Findings(years=(request.year,))
    findings.take(steps.check_tiles(request.store, request.year), tell)
    published = all(problem.kind in TOLD for problem in findings.problems)
    if published:
        steps.publish(request.store)
    findings.take(steps.check_objects(request.store), tell)
    storage = Storage(request.store, patience=request.store_patience)
    verified = shortened(findings.to_json(), storage, request.year)
    return AnnualOutcome(
        request.year, len(rounds), outcome, verified, len(findings.problems), published
    )


def shortened(verified: dict[str, Any], storage: Storage, year: int) -> dict[str, Any]:
    """What verify found, with a few problems of each kind; all of it is put into the store."""
    key = problems_key(year)
    storage.write(key, (json.dumps(verified, indent=1) + "\n").encode())
    counts: Counter[str] = Counter()
    few = []
    for problem in verified["problems"]:
        counts[problem["problem"]] += 1
        if counts[problem["problem"]] <= EXAMPLES:
            few.append(problem)
    told = {"problems": few, "problem_counts": dict(counts.most_common()), "problem_list": key}
    return verified | told


def _run_when_free(
    request: RunRequest, busy_pause: float, run: Callable[[RunRequest], Outcome]
) -> Outcome:
    """Run, as soon as no job of an earlier launch is at work on the same store and year."""
    while True:
        try:
            return run(request)
        except BrokenOff as error:
            if type(error.__cause__).__name__ != BUSY:
                raise
        log.warning("an earlier launch's job is at work: waiting for its end")
        time.sleep(busy_pause)
