"""The command `plan`: what a run would take, before any of it is spent.

Every figure is an array: its value, and then draws from the range in which it may lie instead.
Whatever is reckoned from them is such an array too, so that every result knows its uncertainty.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.cards import Card
from pipeline.amounts import (
    bytes_fetched,
    bytes_stored,
    days_of,
    fees,
    machine_hours,
    progress_puts,
    requests_of,
    tokens_of,
)
from pipeline.encoders import card_of_options
from pipeline.errors import BadInput
from pipeline.figures import Book, Drawn, Machine, read_book, tokens_per_second
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
    requests
        By kind, with those by which such machines say how far they are.
    cost_usd
        By what it is paid for.
    source
        Of the throughput.
    """

    machine: Machine
    accelerator_hours: Drawn
    machine_hours: Drawn
    days: Drawn
    requests: dict[str, Drawn]
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
    bytes_read, bytes_written
        In all.
    requests
        By kind, for what tiles are made of, whatever makes them.
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
    bills = []
    for machine in book.machines:
        speed = tokens_per_second(machine, card, precision, book, figure)
        if speed is not None:
            encoding = pixels * tokens / speed[0] / 3600
            reading = (reads[0] + reads[1]) / figure["reading"] / 3600
            hours = machine_hours(machine, encoding, reading, figure)
            asked = {**requests, "progress": progress_puts(tiles, hours)}
            cost = {
                "machines": hours * machine.usd_per_hour,
                "storage_first_year": storage,
                "requests": fees(asked, figure),
            }
            days = days_of(tiles, hours, workers, figure)
            bills.append(Bill(machine, encoding, hours, days, asked, cost, speed[1]))
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
    parser.add_argument(
        "--workers", type=int, default=1, help="machines at work at once (%(default)s)"
    )


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
        "requests": np.sum(list(bill.requests.values()), axis=0),
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
        "requests_by_kind": {name: rounded(drawn[0]) for name, drawn in bill.requests.items()},
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
        f"read                {_bytes(plan.bytes_read)}",
        f"written             {_bytes(plan.bytes_written)}, "
        f"{_between(plan.storage_usd_per_year)} USD a year to keep",
        *(f"{name + ' requests':20}{_between(drawn)}" for name, drawn in bill.requests.items()),
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


def _bytes(drawn: Drawn) -> str:
    """Between which sizes, in the unit that fits."""
    power = min(max(int(np.log10(max(drawn[0], 1.0)) // 3), 1), 5)
    return f"{_between(drawn / 1000**power)} {'kMGTP'[power - 1]}B"


def _number(value: float) -> str:
    """Three digits, all of those before the point, and no zeros that say nothing."""
    digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
    text = f"{value:,.{min(digits, 9)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rounded(value: float) -> float:
    """A value to whole numbers where they are large, else to four figures."""
    return round(float(value)) if abs(value) >= 1000 else float(f"{value:.4g}")
