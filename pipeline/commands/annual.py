"""The command `annual`: the yearly rerun, from the last complete year to the published mosaic."""

from __future__ import annotations

import argparse
import datetime
from typing import TYPE_CHECKING, Any

from tessera_mosaic.pipeline.commands.contract import Contract
from tessera_mosaic.pipeline.commands.run import CONTRACT as RUN
from tessera_mosaic.pipeline.commands.run import run_options, run_request
from tessera_mosaic.pipeline.commands.verify import print_problem
from tessera_mosaic.pipeline.verification.findings import tell_nobody

if TYPE_CHECKING:
    from tessera_mosaic.yearly import AnnualOutcome

CONTRACT = Contract(
    costs="what `plan` tells of `run`, up to `rounds` launches ten minutes apart, then `verify` "
    "and `publish`",
    takes=RUN.takes,
    gives=RUN.gives,
    needs=RUN.needs,
    lasting=RUN.lasting,
    resumes=True,
    planned_as="run",
    tells=("year", "rounds", *RUN.tells, "published"),
    requests=RUN.requests,
)


def annual_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `annual`: those of `run`, of which the year may be left out."""
    run_options(parser)
    parser.add_argument("--year", type=int, help="by default the last year that is complete")
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="launches at the most, ten minutes apart, that take up what failed (%(default)s)",
    )


def annual_command(args: argparse.Namespace) -> dict[str, Any]:
    """Bring a store up to date with the last complete year.

    Returns
    -------
    `year` and `rounds`; the fields of `run --json`, measures and seconds over all rounds; those of
    `verify --json`, with a few `problems` of each kind, their number by kind in `problem_counts`
    and the key of the whole list in `problem_list`; and whether the mosaic was `published`: not
    if what it holds is unsound.
    """
    # Imported here, so that --help does not load Beam.
    from tessera_mosaic.yearly import AnnualPacing, annual, last_complete_year

    if args.year is None:
        args.year = last_complete_year(datetime.datetime.now(datetime.UTC).date())
    tell, pacing = tell_nobody if args.json else print_problem, AnnualPacing(rounds=args.rounds)
    done = annual(run_request(args), tell, pacing)
    if not args.json:
        print_annual(done)
    return done.to_json()


def print_annual(done: AnnualOutcome) -> None:
    """Print what a yearly rerun came to."""
    outcome, rounds = done.outcome, f"{done.rounds} round{'s' * (done.rounds > 1)}"
    share = f" share {outcome.share}:" if outcome.share else ""
    made = f"{done.year}:{share} {outcome.done} of {outcome.tiles} tiles done after {rounds}"
    if not outcome.ends_list:
        print(f"{made}; who ends the last share verifies and publishes")
        return
    published = (
        "published" if done.published else "not published: mend what `verify` names, run again"
    )
    print(f"{made}, {done.problems} problems, {published}")
