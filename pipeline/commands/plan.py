"""The command `plan`: what a run would take, before anything is spent."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from typing import Any

import numpy as np

from tessera_mosaic.pipeline.commands.arguments import (
    area_arguments,
    area_request,
    catalogue_arguments,
)
from tessera_mosaic.pipeline.commands.refusals import model_refusals
from tessera_mosaic.pipeline.console import rounded
from tessera_mosaic.pipeline.embedding.encoders import card_of_options, check_depths
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.planning.estimate import Bill, Plan, likely, make_plan
from tessera_mosaic.pipeline.planning.priors import Book, Drawn, read_book
from tessera_mosaic.pipeline.planning.revisits import ground_of
from tessera_mosaic.pipeline.scenes import open_catalogue
from tessera_mosaic.pipeline.scenes.scene import check_year
from tessera_mosaic.pipeline.tiling.area import read_area

log = logging.getLogger(__name__)


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


@model_refusals()
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
    ground = ground_of(read_area(area_request(args)))
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
