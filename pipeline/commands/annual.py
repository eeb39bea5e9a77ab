"""The command `annual`: the yearly rerun, from the year that is complete to the published mosaic.

Every step looks at what the store holds, so the command may be killed at any point, run twice, or
run again in February: it goes on where it was, and where nothing is left to do it does nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import logging
import time
from collections import Counter
from typing import Any

from tessera_mosaic.pipeline.commands.publish import publish_command
from tessera_mosaic.pipeline.commands.refusals import model_refusals
from tessera_mosaic.pipeline.commands.run import run_arguments
from tessera_mosaic.pipeline.errors import BrokenOff
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.beam_options import job_name
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.keys import problems_key
from tessera_mosaic.pipeline.mosaic.store import mosaic_at
from tessera_mosaic.pipeline.verification.findings import Verdict
from tessera_mosaic.pipeline.verification.mosaic_checks import check_objects, check_tiles

log = logging.getLogger(__name__)

SETTLING = datetime.timedelta(days=14)
"""After a year's end until it counts as complete: catalogues list a scene within days of its
sensing, and this leaves room for an outage."""

TOLD = ("failed", "untried", "border", "constant", "histogram")
"""Problems of tiles with which a mosaic is published: those that failed or were not tried are
holes, and the others are suspicions, which the ground itself can raise. `verify` names them all."""

EXAMPLES = 3
"""Problems of each kind in the report, which has to fit into one entry of a log (256 KB on Google
Cloud): whoever waits for an alert reads it there. The store has the whole list."""

ROUNDS = 3
"""Launches at the most: the first, and two that take up what failed."""

ROUND_PAUSE = 600.0
"""Seconds between two rounds: what fails together, such as a provider, needs time to recover."""

BUSY_PAUSE = 600.0
"""Seconds until it is seen again whether another launch's job has ended."""

BUSY = "DataflowJobAlreadyExistsError"
"""Beam's error for a job whose name is taken by one at work; importing it takes all of Google's
clients."""


def annual_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `annual`: those of `run`, of which the year may be left out."""
    run_arguments(parser)
    for action in parser._actions:
        if action.dest == "year":
            action.required = False
            action.help = "by default the last year that is complete"


def last_complete_year(today: datetime.date) -> int:
    """The last calendar year whose scenes can be expected to be in the catalogues."""
    return (today - SETTLING).year - 1


@model_refusals()
def annual_command(args: argparse.Namespace) -> dict[str, Any]:
    """Bring a store up to date with the last complete year.

    Returns
    -------
    `year` and `rounds`; the fields of `run --json`, measures and seconds over all rounds; those of
    `verify --json`, with a few `problems` of each kind, their number by kind in `problem_counts`
    and the key of the whole list in `problem_list`; and whether the mosaic was `published`: not
    if what it holds is unsound.
    """
    if args.year is None:
        args.year = last_complete_year(datetime.datetime.now(datetime.UTC).date())
    if not any(word.startswith("--job_name") for word in args.beam_arguments):
        name = job_name(args.store, args.year)
        args.beam_arguments = [*args.beam_arguments, f"--job_name={name}"]
    rounds = [launch_when_free(args)]
    while (rounds[-1].failed or rounds[-1].missing) and len(rounds) < ROUNDS:
        log.warning("%d tiles failed, %d missing: again", rounds[-1].failed, rounds[-1].missing)
        time.sleep(ROUND_PAUSE)
        rounds.append(launch_when_free(args))
    outcome = dataclasses.replace(
        rounds[-1],
        seconds=sum(each.seconds for each in rounds),
        measures={
            name: sum(each.measures[name] for each in rounds) for name in rounds[-1].measures
        },
    )
    # Whether the mosaic is sound is for its tiles to tell; what else is damaged, `publish` mends.
    mosaic, verdict, show = mosaic_at(args.store), Verdict(), not args.json
    verdict.take(check_tiles(mosaic, [args.year]), show)
    published = all(problem.problem in TOLD for problem in verdict.problems)
    if published:
        publish_command(argparse.Namespace(store=args.store, json=args.json))
    verdict.take(check_objects(mosaic_at(args.store)), show)
    if not args.json:
        print(
            f"{args.year}: {outcome.done} of {outcome.tiles} tiles done after {len(rounds)} "
            f"round{'s' * (len(rounds) > 1)}, {len(verdict.problems)} problems, "
            + ("published" if published else "not published: mend what `verify` names, run again")
        )
    return {
        "year": args.year,
        "rounds": len(rounds),
        **outcome.to_json(),
        **shortened(verdict.to_json(), Storage(args.store), args.year),
        "published": published,
    }


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


def launch_when_free(args: argparse.Namespace) -> Outcome:
    """Launch, as soon as no job of an earlier launch is at work on the same store and year."""
    while True:
        try:
            return launch(args, args.beam_arguments)
        except BrokenOff as error:
            if type(error.__cause__).__name__ != BUSY:
                raise
        log.warning("an earlier launch's job is at work: waiting for its end")
        time.sleep(BUSY_PAUSE)
