"""The command `status`: what was planned, what came of it, and what failed why."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

from tessera_mosaic.pipeline.console import number
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.ledger.standing import standing
from tessera_mosaic.pipeline.mosaic.store import mosaic_at


def status_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `status`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument("--year", type=int, help="one year (all by default)")


def status_command(args: argparse.Namespace) -> dict[str, Any]:
    """Print and return how a store stands.

    Raises
    ------
    BadInput
        If there is no mosaic, or the year was never planned.
    """
    mosaic = mosaic_at(args.store)
    storage = mosaic.storage
    years = [args.year] if args.year else list(mosaic.years)
    by_year = {year: standing(storage, year) for year in years}
    by_year = {year: found for year, found in by_year.items() if found.planned or args.year}
    if args.year and not by_year[args.year].planned:
        raise BadInput(f"{args.store} has no tiles planned for {args.year}")
    total = {
        name: sum(getattr(found, name) for found in by_year.values())
        for name in ("planned", "done", "failed", "missing", "empty", "pixels", "uncertain")
    }
    failures: Counter[str] = Counter()
    for found in by_year.values():
        failures.update(found.failures)
    if not args.json:
        for year, found in by_year.items():
            print(
                f"{year}: {found.planned} tiles planned, {found.done} done "
                f"({found.empty} with nothing to see), {found.failed} failed, "
                f"{found.missing} missing; {found.pixels:,} pixels embedded"
            )
            for kind, count in found.failures.most_common():
                print(f"  {kind}: {count}, such as {found.examples[kind]}")
            if found.uncertain:
                print(
                    f"  {found.uncertain} of the missing or failed ones may have been made since "
                    "the last summary: a run that ends brings it up to date"
                )
            print_comparison(found.comparison)
    return {
        **total,
        "failures": dict(failures.most_common()),
        "years": list(by_year),
        "plan": {str(year): found.comparison for year, found in by_year.items()},
    }


def print_comparison(comparison: dict[str, dict[str, Any]]) -> None:
    """Print what was planned of the latest run beside what came of it."""
    if comparison:
        print(f"  {'latest run':18}{'planned':>12}{'likely':>25}{'outcome':>12}")
    for name, entry in comparison.items():
        planned, low, high, outcome = (
            number(value) for value in (entry["planned"], *entry["likely"], entry["outcome"])
        )
        print(f"  {name.replace('_', ' '):18}{planned:>12}{f'{low} to {high}':>25}{outcome:>12}")
