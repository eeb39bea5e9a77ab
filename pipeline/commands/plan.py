"""The command `plan`: what a run would take, before anything is spent."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from tessera_mosaic.model.cards import Card
from tessera_mosaic.pipeline.commands.arguments import (
    area_arguments,
    area_request,
    catalogue_arguments,
    encoder_arguments,
)
from tessera_mosaic.pipeline.planning.estimate import Bill, Plan, likely
from tessera_mosaic.pipeline.planning.plan_request import PlanRequest, plan, plan_fields
from tessera_mosaic.pipeline.planning.priors import Drawn
from tessera_mosaic.pipeline.planning.scan_plan import SCANS, ScanPlan, plan_scan
from tessera_mosaic.pipeline.scenes.scene import Sensor

JOBS = ("run", *SCANS)
"""Jobs that can be planned."""


def plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `plan`."""
    parser.add_argument(
        "--job",
        choices=JOBS,
        default=JOBS[0],
        help="what is planned: run embeds, map scores embeddings with a linear head, search "
        "looks for places that are alike (%(default)s)",
    )
    catalogue_arguments(parser, required=False)
    area_arguments(parser)
    parser.add_argument("--year", required=True, type=int)
    encoder_arguments(parser)
    parser.add_argument("--depths", action="store_true", help="with the shorter embeddings too")
    parser.add_argument("--machine", help="kind of machine; the cheapest by default")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="machines at work at once, or cores of a map or a search (%(default)s)",
    )


def plan_command(args: argparse.Namespace) -> dict[str, Any]:
    """Reckon, tell, and return the fields of `plan --json`."""
    if args.job in SCANS:
        scan = plan_scan(args.job, area_request(args), args.workers)
        if not args.json:
            print(describe_scan(scan))
        return scan.to_json()
    request = PlanRequest(
        area_request(args),
        args.year,
        args.catalog,
        tuple(args.allow_host),
        args.model,
        args.precision,
        args.depths,
        args.machine,
        args.workers,
    )
    found = plan(request, _card_of_weights(args.model, args.weights))
    bill = found.bill_on(request.machine)
    if not args.json:
        print(describe(found, bill))
    return plan_fields(found, bill)


def _card_of_weights(model: str | None, weights: str | None) -> Card | None:
    """Card of weights that a file or an address names."""
    if weights is None:
        return None
    # A checkpoint is read with PyTorch, which takes seconds to load.
    from tessera_mosaic.pipeline.embedding.encoders import choose_encoder

    return choose_encoder(model, weights).card


def describe(plan: Plan, bill: Bill) -> str:
    """A plan in some lines for people."""
    origin = "the orbits" if plan.passes.origin == "prior" else plan.passes.origin
    machines = f"{plan.workers:,} {bill.machine.name} ({bill.machine.device})"
    lines = [
        f"tiles               {plan.tiles:,} with {plan.pixels:,} pixels",
        f"scenes              {_between(plan.scenes)}, by {origin}",
        *(
            f"from one sensor     {of.tiles:,} of {of.looked_up:,} tiles looked up, without "
            f"{Sensor(sensor).label}: {of.example}"
            for sensor, of in plan.passes.absent.items()
        ),
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


def describe_scan(plan: ScanPlan) -> str:
    """A plan of a map or a search in some lines for people."""
    lines = [
        f"tiles               {plan.tiles:,} with {plan.pixels:,} pixels",
        f"read                {_bytes(plan.bytes_read)}",
        f"written             {_bytes(plan.bytes_written)}",
        f"requests            {_between(plan.requests)}",
        f"cores               {_between(plan.core_hours)} h, {_between(plan.days)} days with "
        f"{plan.cores:,}",
        f"cost                {_between(plan.total)} USD: "
        + ", ".join(
            f"{name.replace('_', ' ')} {_number(drawn[0])}" for name, drawn in plan.cost_usd.items()
        ),
    ]
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
