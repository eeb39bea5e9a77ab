"""The command `annual`: the yearly rerun, from the last complete year to the published mosaic."""

from __future__ import annotations

import argparse
import datetime
from typing import Any

from tessera_mosaic.pipeline.commands.run import run_options, run_request
from tessera_mosaic.pipeline.commands.verify import print_problem
from tessera_mosaic.pipeline.verification.findings import tell_nobody


def annual_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `annual`: those of `run`, of which the year may be left out."""
    run_options(parser)
    parser.add_argument("--year", type=int, help="by default the last year that is complete")


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
    from tessera_mosaic.yearly import annual, last_complete_year

    if args.year is None:
        args.year = last_complete_year(datetime.datetime.now(datetime.UTC).date())
    done = annual(run_request(args), tell_nobody if args.json else print_problem)
    if not args.json:
        print(
            f"{done.year}: {done.outcome.done} of {done.outcome.tiles} tiles done after "
            f"{done.rounds} round{'s' * (done.rounds > 1)}, {done.problems} problems, "
            + (
                "published"
                if done.published
                else "not published: mend what `verify` names, run again"
            )
        )
    return done.to_json()
