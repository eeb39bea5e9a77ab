"""The command `status`: what was planned, what came of it, and what failed why."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import one_sensor_lines, patience_argument
from tessera_mosaic.pipeline.commands.contract import Contract
from tessera_mosaic.pipeline.console import clock, number
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.job.job_request import JobOptions
from tessera_mosaic.pipeline.ledger.forecast import Compared
from tessera_mosaic.pipeline.ledger.share_lists import ShareState
from tessera_mosaic.pipeline.ledger.share_standing import ShareStanding
from tessera_mosaic.pipeline.ledger.standing import Standing
from tessera_mosaic.pipeline.verification.status import status

MOST_SHARES_SHOWN = 20
"""Lines on shares, at most; a job array may have thousands."""

CONTRACT = Contract(
    costs="reads records alone: seconds, whatever the store holds",
    takes={"store": Kind.MOSAIC},
    needs=("a year that is named was planned",),
    tells=("planned", "done", "failed", "missing"),
    requests=(JobOptions,),
)


def status_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `status`."""
    parser.add_argument(
        "--store", required=True, help="path or URL of a mosaic, a map, or a folder of d-pixels"
    )
    parser.add_argument("--year", type=int, help="one year (all by default)")
    patience_argument(parser)


def status_command(args: argparse.Namespace) -> dict[str, Any]:
    """Print and return how a store stands.

    Raises
    ------
    BadInput
        If there is no mosaic, no map and no folder of d-pixels, or the year was never planned.
    """
    found = status(args.store, args.year, args.store_patience)
    if not args.json:
        for year, standing in found.years.items():
            print_year(year, standing, "mapped" if found.of_map else "embedded")
            print_shares(found.shares.get(year, ()))
            print_comparison(standing.comparison)
    return found.to_json()


def print_year(year: int, standing: Standing, pixels: str) -> None:
    """Print how the tiles of a year stand; `pixels` says what became of these."""
    print(
        f"{year}: {standing.planned} tiles planned, {standing.done} done "
        f"({standing.empty} with nothing to see), {standing.failed} failed, "
        f"{standing.missing} missing; {standing.pixels:,} pixels {pixels}"
    )
    for line in one_sensor_lines(standing.without):
        print(line)
    for kind, count in standing.failures.most_common():
        print(f"  {kind}: {count}, such as {standing.examples[kind]}")
    if standing.uncertain:
        print(
            f"  {standing.uncertain} of the missing or failed ones may have been made since "
            "the last summary: a run that ends brings it up to date"
        )


def print_shares(shares: Sequence[ShareStanding]) -> None:
    """Print how far each share is that has tiles left, or somebody at work on it."""
    left = [each for each in shares if each.done < each.tiles or each.state == ShareState.AT_WORK]
    if not left:
        return
    print(f"  {len(shares) - len(left)} of {len(shares)} shares are done")
    for each in left[:MOST_SHARES_SHOWN]:
        failed = f", {each.failed} failed" if each.failed else ""
        who = ""
        if each.note is not None and each.note.state is ShareState.AT_WORK:
            age = each.note.age
            said = "" if age is None else f", last sign {clock(max(age, 0))} ago"
            who = f": {each.note.by}{said}"
        print(
            f"    {each.share}: {each.done} of {each.tiles} tiles done{failed}; {each.state}{who}"
        )
    if len(left) > MOST_SHARES_SHOWN:
        print(f"    and {len(left) - MOST_SHARES_SHOWN} more: see --json")


def print_comparison(comparison: Mapping[str, Compared]) -> None:
    """Print what was planned of the latest run beside what came of it."""
    if comparison:
        print(f"  {'latest run':18}{'planned':>12}{'likely':>25}{'outcome':>12}")
    for name, entry in comparison.items():
        planned, low, high = (number(value) for value in entry.planned)
        print(
            f"  {name.replace('_', ' '):18}{planned:>12}{f'{low} to {high}':>25}"
            f"{number(entry.outcome):>12}"
        )
