"""The command `status`: what was planned, what came of it, and what failed why."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pipeline import records
from pipeline.errors import BadInput
from pipeline.forecast import Comparison
from pipeline.grid import Tile
from pipeline.mosaic import mosaic_at
from pipeline.progress import number
from pipeline.records import FINISHED, State
from pipeline.storage import Storage
from pipeline.summary import LOOK_UP, short_records


@dataclass
class Standing:
    """How a year of a store stands.

    Parameters
    ----------
    planned, done, failed, missing
        Tiles; `done` holds those with nothing to see, `missing` those without a record.
    empty
        Tiles among the done ones with nothing to see.
    failures
        Tiles by class of error.
    examples
        One tile and message for each class.
    pixels
        Embedded.
    uncertain
        Tiles among the failed and missing ones that a run may have made since the last summary.
    comparison
        What was planned of the latest run, and what came of it.
    """

    planned: int = 0
    done: int = 0
    failed: int = 0
    missing: int = 0
    empty: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    pixels: int = 0
    uncertain: int = 0
    comparison: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, tile: Tile, row: dict[str, Any] | None) -> None:
        """Count one planned tile by its short record, None where there is none."""
        self.planned += 1
        if row is None:
            self.missing += 1
        elif State(row["state"]) in FINISHED:
            self.done += 1
            self.empty += row["state"] == State.EMPTY
            self.pixels += row["pixels"].get("embedded", 0)
        else:
            self.failed += 1
            kind = row["error"]["class"]
            self.failures[kind] += 1
            self.examples.setdefault(kind, f"{tile.name}: {row['error']['message']}")


def standing(storage: Storage, year: int) -> Standing:
    """Count a year's planned tiles by state, without listing anything.

    While a run is at work, or after one that was killed, some rows may not be in the summaries
    yet: up to `LOOK_UP` tiles are then asked one by one. Any others are as in the summaries, and
    `uncertain` counts them.
    """
    result = Standing()
    tiles = list(records.planned_tiles(storage, year))
    comparison = Comparison.of(storage, year, len(tiles))
    for found in short_records(storage, year, tiles, LOOK_UP):
        result.add(found.tile, found.row)
        result.uncertain += not (found.asked or found.finished)
        if found.row is not None:
            comparison.add(found.tile, found.row)
    result.comparison = comparison.to_json()
    return result


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
