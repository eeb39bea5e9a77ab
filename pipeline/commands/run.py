"""The command `run`: embed a region's year into a mosaic."""

from __future__ import annotations

import argparse
import logging
import shlex
from typing import Any

import shapely
from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions

from tessera_mosaic.model.cards import Card
from tessera_mosaic.pipeline.commands.arguments import (
    area_arguments,
    catalogue_arguments,
    rule_arguments,
)
from tessera_mosaic.pipeline.commands.refusals import model_refusals
from tessera_mosaic.pipeline.errors import BadInput, NoScenes
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.job.launch import DEFAULT_BLOCK, launch
from tessera_mosaic.pipeline.ledger.forecast import Ranges
from tessera_mosaic.pipeline.planning.estimate import forecast, make_plan
from tessera_mosaic.pipeline.planning.revisits import ground_of
from tessera_mosaic.pipeline.scenes import Source
from tessera_mosaic.pipeline.tiling.area import Area

log = logging.getLogger(__name__)


DEFAULT_FAILED_SHARE = 0.5


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `run`."""
    catalogue_arguments(parser)
    area_arguments(parser)
    parser.add_argument("--year", required=True, type=int, help="calendar year")
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument(
        "--model",
        help="card whose sizes and statistics apply (see `models`); without it and --weights, the "
        "encoder that comes with the package",
    )
    parser.add_argument("--weights", help="checkpoint file or URL")
    parser.add_argument(
        "--block", type=int, default=DEFAULT_BLOCK, help="side of a block in px (%(default)s)"
    )
    parser.add_argument(
        "--depths",
        action="store_true",
        help="store the shorter embeddings that the model's first values are, too",
    )
    rule_arguments(parser)
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="in which the encoder computes (%(default)s)",
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="on which workers encode (cpu)"
    )
    parser.add_argument(
        "--allow-lost-scenes",
        type=int,
        default=0,
        metavar="N",
        help="scenes of a tile that may be gone, damaged or without answer before it fails; not "
        "where a provider refuses a credential or asks for patience, however long",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="make failed tiles again, and no others"
    )
    parser.add_argument(
        "--overwrite",
        nargs="+",
        default=[],
        metavar="TILE",
        help="make these tiles again although they are done",
    )
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="make done tiles again for which the catalogue lists other scenes now",
    )
    parser.add_argument(
        "--max-failed-share",
        type=float,
        default=DEFAULT_FAILED_SHARE,
        metavar="X",
        help=f"begin no more tiles once more than this share failed ({DEFAULT_FAILED_SHARE})",
    )
    parser.add_argument("--runner", default="direct", help="direct (default), or a Beam runner")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes of the local runner (%(default)s)"
    )


def region_boxes(region: shapely.Geometry) -> list[tuple[float, float, float, float]]:
    """Boxes in degrees around the parts of a region, for asking a catalogue."""
    return [part.bounds for part in shapely.get_parts(region)]


def expect(
    args: argparse.Namespace, area: Area, card: Card, source: Source, options: PipelineOptions
) -> Ranges:
    """What the plan says of a run, for `status` to set beside its outcome; empty for no plan.

    Raises
    ------
    BadInput
        If the catalogue has nothing of the year in the region.
    """
    try:
        plan = make_plan(
            ground_of(area), args.year, card, args.precision, source, depths=args.depths
        )
    except NoScenes:
        if any(source.search(bounds, args.year) for bounds in region_boxes(area.region)):
            log.warning("the catalogue covers little of the region: there is no plan of this run")
            return {}
        raise BadInput(
            f"{source.name} has no scenes of {args.year} in region {args.region}: "
            "check the year, the order west,south,east,north, and the catalogue's extent"
        ) from None
    return forecast(plan, options.view_as(WorkerOptions).machine_type or "")


@model_refusals()
def run_command(args: argparse.Namespace) -> dict[str, Any]:
    """Run the job, tell what came of it, and return the fields of `run --json`."""
    outcome = launch(args, args.beam_arguments)
    retry = retry_command(args.words) if outcome.failed or outcome.missing else None
    if not args.json:
        print(
            f"{args.store}: {outcome.done} of {outcome.tiles} tiles done, {outcome.failed} failed, "
            f"{outcome.missing} missing; {outcome.pixels:,} pixels embedded in "
            f"{outcome.seconds:.0f} s"
        )
        for kind, count in outcome.failures.items():
            print(f"  {kind}: {count} tiles")
        if retry:
            print(f"to try them again:\n  {retry}")
    return {**outcome.to_json(), "retry": retry}


def retry_command(words: list[str]) -> str:
    """The command that was given, for trying again; without what may be a credential.

    Parameters
    ----------
    words
        Of the command line, without the program's name.
    """
    told = []
    for word in words:
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        told.append(f"{option}{equals}{plain(value)}")
    return shlex.join(["tessera-mosaic", *told])
