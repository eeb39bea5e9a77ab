"""The command `plan`: what a run would take, before any of it is spent.

Every figure is an array: its value, and then draws from the range in which it may lie instead.
Whatever is reckoned from them is such an array too, so that every result knows its uncertainty.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.cards import Card
from model.observations import BIN, LONGEST, S2_BANDS
from pipeline.encoders import card_of_options
from pipeline.errors import BadInput
from pipeline.figures import Book, Drawn, Figures, Machine, read_book, tokens_per_second
from pipeline.land import area_arguments, area_of
from pipeline.mosaic import Layout
from pipeline.passes import (
    GRANULE,
    GRANULE_STEP,
    Ground,
    Passes,
    check_year,
    ground_of,
    passes_by_prior,
    passes_in,
)
from pipeline.scenes import Source, catalogue_arguments, open_catalogue

LIKELY = 5.0, 95.0
"""Percentiles of the draws between which a result is said to lie."""


def tokens_of(card: Card, passes: Passes, figure: Figures) -> Drawn:
    """Observations of a pixel that an encoder computes with."""
    s2, s1 = passes.s2 * figure["s2_clear"], passes.s1
    if card.family.startswith("v1.0"):
        return np.full_like(s2, 80.0)
    padding = (BIN - 1) / 2 if card.family == "v1.1" else 0.0
    return np.minimum(s2 + padding, LONGEST) + np.minimum(s1 + padding, LONGEST)


@dataclass(frozen=True)
class Bill:
    """What a run takes on one kind of machine.

    Parameters
    ----------
    machine
        The kind.
    accelerator_hours, machine_hours
        Of encoding alone; and of machines, by the slower of reading and encoding.
    days
        From start to end with the workers asked for.
    cost_usd
        By what it is paid for.
    source
        Of the throughput.
    """

    machine: Machine
    accelerator_hours: Drawn
    machine_hours: Drawn
    days: Drawn
    cost_usd: dict[str, Drawn]
    source: str

    @property
    def total(self) -> Drawn:
        """Of the money."""
        return np.sum(list(self.cost_usd.values()), axis=0)


@dataclass(frozen=True)
class Plan:
    """What a run would take.

    Parameters
    ----------
    tiles, pixels, owned
        To make; to embed in them; and of these without the margin over zone lines.
    passes
        Of the satellites, and the scenes to open.
    tokens
        A pixel.
    bytes_read, bytes_written, requests
        In all; requests by kind.
    storage_usd_per_year
        Of what is written.
    bills
        One for each kind of machine, the cheapest first.
    """

    tiles: int
    pixels: int
    owned: int
    passes: Passes
    tokens: Drawn
    bytes_read: Drawn
    bytes_written: Drawn
    requests: dict[str, Drawn]
    storage_usd_per_year: Drawn
    bills: tuple[Bill, ...]


def make_plan(
    ground: Ground,
    year: int,
    card: Card,
    precision: str = "fp32",
    source: Source | None = None,
    workers: int = 1,
    depths: bool = False,
    book: Book | None = None,
) -> Plan:
    """Reckon what a run would take.

    Parameters
    ----------
    ground
        What is to be made.
    year
        Of the scenes.
    card, precision
        Of the encoder.
    source
        Where scenes are looked up; None to go by the priors.
    workers
        Machines at work at once.
    depths
        Whether the shorter embeddings are stored too.
    book
        The figures; the package's own by default.

    Raises
    ------
    NoScenes
        If the catalogue lists none where it is asked.
    """
    book = book or read_book()
    random = np.random.default_rng(0)
    figure = {name: entry.draw(random) for name, entry in book.figures.items()}
    if source is None:
        passes = passes_by_prior(ground, year, figure)
    else:
        passes = passes_in(source, ground, year, random)
    tiles, pixels = len(ground.tiles), int(ground.pixels.sum())
    tokens = tokens_of(card, passes, figure)
    reads = pixels * passes.s2 * (GRANULE / GRANULE_STEP) ** 2, pixels * passes.s1
    layout = Layout(ground.side, card.dims, card.depths if depths else ())
    stored = bytes_stored(pixels, layout, figure)
    written = np.sum(stored, axis=0)
    requests = requests_of(tiles, ground.side, passes, stored, figure)
    storage = written / 1e9 * figure["storage"] * 12
    fees = {
        "storage_first_year": storage,
        "requests": (requests["write"] * figure["put"] + requests["read"] * figure["get"]) / 1000,
    }
    bills = []
    for machine in book.machines:
        speed = tokens_per_second(machine, card, precision, book, figure)
        if speed is not None:
            encoding = pixels * tokens / speed[0] / 3600
            reading = (reads[0] + reads[1]) / figure["reading"] / 3600
            bills.append(bill_of(machine, encoding, reading, workers, fees, figure, speed[1]))
    return Plan(
        tiles=tiles,
        pixels=pixels,
        owned=int(ground.owned.sum()),
        passes=passes,
        tokens=tokens,
        bytes_read=bytes_fetched(reads, ground.side, figure),
        bytes_written=written,
        requests=requests,
        storage_usd_per_year=storage,
        bills=tuple(sorted(bills, key=lambda bill: bill.total[0])),
    )


def bytes_fetched(reads: tuple[Drawn, Drawn], side: int, figure: Figures) -> Drawn:
    """Bytes of scenes that are fetched: whole blocks, for tiles that lie on them as it happens."""
    whole_10m = (1 + figure["cog_block"] / side) ** 2
    whole_20m = (1 + 2 * figure["cog_block"] / side) ** 2
    # Of the 11 bytes of a pixel uncompressed, 8 are in the four bands of 10 m.
    s2 = reads[0] * figure["s2_bytes"] * (8 * whole_10m + 3 * whole_20m) / 11
    return s2 + reads[1] * figure["s1_bytes"] * whole_10m


def bytes_stored(pixels: int, layout: Layout, figure: Figures) -> list[Drawn]:
    """Bytes of each of the store's arrays; only codes are reckoned to shrink."""
    shrink = {True: figure["compression"], False: np.ones_like(figure["compression"])}
    return [
        pixels * max(array.bands, 1) * array.dtype.itemsize / shrink[array.bands > 0]
        for array in layout.arrays
    ]


def requests_of(
    tiles: int, side: int, passes: Passes, stored: list[Drawn], figure: Figures
) -> dict[str, Drawn]:
    """Requests by kind. A file takes one for its header and one for each block, as if neighbours
    were never fetched together."""
    file_10m = 1 + (1 + side / figure["cog_block"]) ** 2
    file_20m = 1 + (1 + side / figure["cog_block"] / 2) ** 2
    bands_10m = 4
    bands_20m = len(S2_BANDS) - bands_10m + 1  # and the classification
    parts = [np.ceil(size / tiles / figure["part_bytes"]) for size in stored]
    scenes = passes.s2_scenes + passes.s1_scenes
    return {
        "catalogue": 2 * tiles + scenes / figure["catalogue_page"],
        "read": passes.s2_scenes * (bands_10m * file_10m + bands_20m * file_20m)
        + passes.s1_scenes * 2 * file_10m,
        "write": tiles * (1 + np.sum(parts, axis=0)),
    }


def bill_of(
    machine: Machine,
    encoding: Drawn,
    reading: Drawn,
    workers: int,
    fees: Mapping[str, Drawn],
    figure: Figures,
    source: str,
) -> Bill:
    """The bill of one kind of machine, for hours of encoding by it and of reading by one reader."""
    readers = machine.cores / figure["cores_per_reader"]
    hours = np.maximum(encoding, reading / readers) / figure["efficiency"]
    days = hours / workers / figure["plateau"] / 24
    cost = {"machines": hours * machine.usd_per_hour, **fees}
    return Bill(machine, encoding, hours, days, cost, source)


def plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `plan`."""
    catalogue_arguments(parser, required=False)
    area_arguments(parser)
    parser.add_argument("--year", required=True, type=int)
    parser.add_argument("--model", help="card of the encoder (see `models`)")
    parser.add_argument("--weights", help="checkpoint file or URL")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--depths", action="store_true", help="with the shorter embeddings too")
    parser.add_argument("--machine", help="kind of machine; the cheapest by default")
    parser.add_argument("--workers", type=int, default=1, help="machines at work at once")


def plan_command(args: argparse.Namespace) -> dict[str, Any]:
    """Reckon, tell, and return the fields of `plan --json`."""
    if args.workers < 1:
        raise BadInput(f"--workers {args.workers}: at least one machine has to work")
    check_year(args.year)
    book = read_book()
    names = [machine.name for machine in book.machines]
    if args.machine not in (None, *names):
        raise BadInput(f"--machine {args.machine}: prices are known of {', '.join(names)}")
    card = card_of_options(args.model, args.weights)
    source = None
    if args.catalog:
        source = open_catalogue(args.catalog, args.allow_host)
        card.accepts(source.imagery)
    ground = ground_of(area_of(args))
    check_depths(card, args.depths)
    plan = make_plan(
        ground, args.year, card, args.precision, source, args.workers, args.depths, book
    )
    bills = {bill.machine.name: bill for bill in plan.bills}
    if args.machine not in (None, *bills):
        raise BadInput(f"--machine {args.machine}: no encoder was ever measured on one")
    bill = bills[args.machine] if args.machine else plan.bills[0]
    fields = to_json(plan, bill, book)
    if not args.json:
        print(describe(plan, bill, args.workers))
    return {**fields, "model": card.name, "precision": args.precision, "workers": args.workers}


def check_depths(card: Card, asked: bool) -> None:
    """Refuse shorter embeddings of an encoder that has none."""
    if asked and not card.depths:
        raise BadInput(f"--depths: the first values of {card.name} are no embeddings")


def to_json(plan: Plan, bill: Bill, book: Book) -> dict[str, Any]:
    """A plan's fields, the money and hours on one kind of machine, and the range of each."""
    uncertain = {
        "scenes": plan.passes.s2_scenes + plan.passes.s1_scenes,
        "tokens_per_pixel": plan.tokens,
        "accelerator_hours": bill.accelerator_hours,
        "machine_hours": bill.machine_hours,
        "days": bill.days,
        "bytes_read": plan.bytes_read,
        "bytes_written": plan.bytes_written,
        "requests": np.sum(list(plan.requests.values()), axis=0),
        "storage_usd_per_year": plan.storage_usd_per_year,
        "cost_usd": bill.total,
    }
    return {
        "tiles": plan.tiles,
        "pixels": plan.pixels,
        "pixels_owned": plan.owned,
        **{name: rounded(drawn[0]) for name, drawn in uncertain.items()},
        "scenes_from": plan.passes.origin,
        "machine": bill.machine.name,
        "requests_by_kind": {name: rounded(drawn[0]) for name, drawn in plan.requests.items()},
        "cost_usd_by_part": {name: rounded(drawn[0]) for name, drawn in bill.cost_usd.items()},
        "uncertainty": {
            name: [rounded(end) for end in likely(drawn)] for name, drawn in uncertain.items()
        },
        "by_machine": {
            other.machine.name: {
                "device": other.machine.device,
                "accelerator_hours": rounded(other.accelerator_hours[0]),
                "machine_hours": rounded(other.machine_hours[0]),
                "days": rounded(other.days[0]),
                "cost_usd": rounded(other.total[0]),
                "throughput": other.source,
            }
            for other in plan.bills
        },
        "figures": [dataclasses.asdict(entry) for entry in book.figures.values()],
        "machines": [dataclasses.asdict(machine) for machine in book.machines],
    }


def describe(plan: Plan, bill: Bill, workers: int) -> str:
    """A plan in some lines for people."""
    scenes = plan.passes.s2_scenes + plan.passes.s1_scenes
    origin = "the orbits" if plan.passes.origin == "prior" else plan.passes.origin
    machines = f"{workers:,} {bill.machine.name} ({bill.machine.device})"
    lines = [
        f"tiles               {plan.tiles:,} with {plan.pixels:,} pixels",
        f"scenes              {_between(scenes)}, by {origin}",
        f"tokens a pixel      {_between(plan.tokens)}",
        f"read                {_between(plan.bytes_read / 1e12)} TB",
        f"written             {_between(plan.bytes_written / 1e12)} TB, "
        f"{_between(plan.storage_usd_per_year)} USD a year to keep",
        *(f"{name + ' requests':20}{_between(drawn)}" for name, drawn in plan.requests.items()),
        f"accelerator         {_between(bill.accelerator_hours)} h of {bill.machine.device}",
        f"machines            {_between(bill.machine_hours)} h, {_between(bill.days)} days with "
        f"{machines}",
        f"cost                {_between(bill.total)} USD: "
        + ", ".join(
            f"{name.replace('_', ' ')} {_number(drawn[0])}" for name, drawn in bill.cost_usd.items()
        ),
        f"speed from          {bill.source}",
    ]
    for other in plan.bills:
        lines.append(
            f"  on {other.machine.name:16}{_number(other.machine_hours[0]):>12} h "
            f"{_number(other.total[0]):>12} USD"
        )
    return "\n".join(lines)


def likely(drawn: Drawn) -> tuple[float, float]:
    """Where a result lies in nine cases of ten, as far as the figures' ranges hold."""
    low, high = np.percentile(drawn[1:], LIKELY)
    # A figure at the end of its own range may put the value just outside.
    return float(min(low, drawn[0])), float(max(high, drawn[0]))


def _between(drawn: Drawn) -> str:
    low, high = likely(drawn)
    return f"{_number(drawn[0])} ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
    return f"{value:,.{min(digits, 4)}f}"


def rounded(value: float) -> float:
    """A value to whole numbers where they are large, else to four figures."""
    return round(float(value)) if abs(value) >= 1000 else float(f"{value:.4g}")
