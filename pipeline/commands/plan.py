"""The command `plan`: what a run would take, before anything is spent."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.model.cards import Card
from tessera_mosaic.pipeline.commands.arguments import (
    area_arguments,
    area_request,
    catalogue_arguments,
    encoder_arguments,
)
from tessera_mosaic.pipeline.commands.contract import Contract, Material
from tessera_mosaic.pipeline.commands.plan_table import describe, describe_scan, inside_hint
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.planning.plan_request import PlanRequest, plan_fields
from tessera_mosaic.pipeline.planning.scan_plan import SCANS, plan_scan
from tessera_mosaic.pipeline.tiling.area import AreaRequest

JOBS = ("run", *SCANS)
"""Jobs that can be planned."""

COSTS = (
    "tiles",
    "pixels",
    "scenes",
    "tokens_per_pixel",
    "accelerator_hours",
    "bytes_read",
    "bytes_written",
    "requests",
    "cost_usd",
)
"""Fields that tell what a run costs."""

CONTRACT = Contract(
    costs="nothing but time: without a catalogue a second, with one as long as its search takes, "
    "and some seconds more where the machine is `here`, whose speed the user's cache then keeps",
    takes={"catalog": Material.CATALOGUE, "weights": Kind.WEIGHTS},
    tells=COSTS,
    requests=(AreaRequest, PlanRequest),
)


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
    parser.add_argument(
        "--machine",
        help="kind of machine, or here for this one, which then encodes and reads for some seconds "
        "(by default the cheapest that deploy/ launches)",
    )
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
    # Imported here: it measures this machine where that is asked for.
    from tessera_mosaic.calibration import plan

    found = plan(request, _card_of_weights(args.model, args.weights))
    bill = found.bill_on(request.machine)
    if not args.json:
        print(describe(found, bill, inside_hint(request.area, found.pixels)))
    return plan_fields(found, bill)


def _card_of_weights(model: str | None, weights: str | None) -> Card | None:
    """Card of weights that a file or an address names."""
    if weights is None:
        return None
    # A checkpoint is read with PyTorch, which takes seconds to load.
    from tessera_mosaic.pipeline.embedding.encoders import choose_encoder

    return choose_encoder(model, weights).card
