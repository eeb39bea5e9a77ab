"""The command `status`: what was planned, what came of it, and what failed why."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pipeline import records
from pipeline.errors import BadInput
from pipeline.grid import Tile
from pipeline.mosaic import read_mosaic
from pipeline.records import FINISHED, State
from pipeline.storage import Storage


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
    """

    planned: int = 0
    done: int = 0
    failed: int = 0
    missing: int = 0
    empty: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    pixels: int = 0

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
    """Count a year's planned tiles by state.

    The zones' summaries answer for finished tiles; for the others, which a run that was stopped
    may have made since, the tile's own record is asked.
    """
    result = Standing()
    unsure: list[Tile] = []
    summaries: dict[int, dict[str, dict[str, Any]]] = {}
    for tile in records.planned_tiles(storage, year):
        if tile.zone not in summaries:
            summaries = {tile.zone: records.read_summary(storage, year, tile.zone)}
        row = summaries[tile.zone].get(tile.name)
        if row is not None and State(row["state"]) in FINISHED:
            result.add(tile, row)
        else:
            unsure.append(tile)
    for tile, record in records.read_records(storage, year, unsure):
        result.add(tile, None if record is None else record.short())
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
    storage = Storage(args.store)
    try:
        mosaic = read_mosaic(storage)
    except FileNotFoundError:
        raise BadInput(f"{args.store} holds no mosaic: give the --store of a run") from None
    years = [args.year] if args.year else list(mosaic.years)
    by_year = {year: standing(storage, year) for year in years}
    by_year = {year: found for year, found in by_year.items() if found.planned or args.year}
    if args.year and not by_year[args.year].planned:
        raise BadInput(f"{args.store} has no tiles planned for {args.year}")
    total = {
        name: sum(getattr(found, name) for found in by_year.values())
        for name in ("planned", "done", "failed", "missing", "empty", "pixels")
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
    return {**total, "failures": dict(failures.most_common()), "years": list(by_year)}
