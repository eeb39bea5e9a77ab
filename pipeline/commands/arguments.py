"""Options that several commands share, and what they come to."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any

from tessera_mosaic.model.precision import Precision
from tessera_mosaic.pipeline.console import own_options
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.patience import PATIENCE
from tessera_mosaic.pipeline.job.job_request import DEFAULT_FAILED_SHARE
from tessera_mosaic.pipeline.scenes.scene import Sensor
from tessera_mosaic.pipeline.stacks.sentinel1 import PassRule
from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule
from tessera_mosaic.pipeline.tiling.area import AreaRequest, WantedPixels
from tessera_mosaic.pipeline.tiling.lattice import DEFAULT_MARGIN, DEFAULT_SIDE

MOST_YEARS = 100
"""Most years of one command."""


def area_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which tiles and pixels."""
    parser.add_argument(
        "--region",
        required=True,
        help="W,S,E,N or a point lon,lat in degrees, a vector file, a CSV file of points, "
        "countries by name or ISO code, Sentinel-2 tiles, a list of tiles (.txt), or global",
    )
    parser.add_argument(
        "--buffer",
        type=float,
        metavar="METRES",
        help="how far around points (as far as holds a pixel)",
    )
    parser.add_argument(
        "--land",
        metavar="L",
        help="no tile outside it: coast (all land and 12 km of sea; default of global), "
        "everywhere (default of other regions), or a mask file",
    )
    parser.add_argument(
        "--pixels",
        choices=tuple(WantedPixels),
        default=WantedPixels.ALL,
        help="all of the tiles that touch the region (default), or only those inside it",
    )
    parser.add_argument(
        "--tile",
        type=int,
        default=DEFAULT_SIDE,
        metavar="PX",
        help="side of a tile (%(default)s)",
    )
    parser.add_argument(
        "--margin",
        type=int,
        default=DEFAULT_MARGIN,
        metavar="PX",
        help="how far over the zone line (%(default)s)",
    )


def part_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which part of a mosaic is looked at."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument(
        "--region",
        help="W,S,E,N or a point lon,lat in degrees, a vector file, a CSV file of points, "
        "countries by name or ISO code, Sentinel-2 tiles (all that was embedded)",
    )
    parser.add_argument("--buffer", type=float, metavar="METRES", help="how far around points")
    parser.add_argument("--year", type=int, help="calendar year (the newest made)")


def years(text: str) -> int | tuple[int, ...]:
    """Read `2024`, or `2019-2024` for these years and all in between.

    Raises
    ------
    ArgumentTypeError
        If the text is neither.
    """
    first, dash, last = text.partition("-")
    try:
        found = tuple(range(int(first), int(last if dash else first) + 1))
    except ValueError:
        found = ()
    if not 0 < len(found) <= MOST_YEARS:
        raise argparse.ArgumentTypeError(f"{text!r} is no year, nor years such as 2019-2024")
    return found if dash else found[0]


def years_of(text: str | None) -> tuple[int, ...]:
    """Calendar years that an option names; none for all.

    Raises
    ------
    BadInput
        If it names no years.
    """
    years: list[int] = []
    for part in text.split(",") if text else ():
        span = re.fullmatch(r"\s*(\d{4})(?:-(\d{4}))?\s*", part)
        if span is None or int(span[2] or span[1]) < int(span[1]):
            raise BadInput("name years as 2024, 2019-2024 or 2019,2021", "years", text)
        years += range(int(span[1]), int(span[2] or span[1]) + 1)
    return tuple(years)


def area_request(args: argparse.Namespace) -> AreaRequest:
    """The tiles and pixels that a command's options ask for."""
    return AreaRequest(args.region, args.tile, args.margin, args.pixels, args.land, args.buffer)


def loss_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what may be lost."""
    parser.add_argument(
        "--allow-lost-scenes",
        type=int,
        default=0,
        metavar="N",
        help="go on though up to N scenes of a tile have faulty items, are gone, damaged or "
        "without answer; not where a provider refuses a credential or asks for patience, however "
        "long",
    )
    parser.add_argument(
        "--allow-lost-sensor",
        action="store_true",
        help="go on with one sensor though all scenes of the other are faulty",
    )


def one_sensor_lines(without: Mapping[str, int]) -> list[str]:
    """Lines for people on tiles that are from one sensor, by the sensor that they are without."""
    return [
        f"  {count} tiles are from one sensor alone, without {Sensor(name).label}"
        for name, count in without.items()
    ]


def rule_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose rules by which pixels become observations."""
    offset_argument(parser)
    parser.add_argument(
        "--s1-mosaic",
        choices=tuple(PassRule),
        default=PassRule.FIRST,
        help="the value of a pixel that several scenes of a Sentinel-1 pass have (first)",
    )


def offset_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the option that chooses the rule for Sentinel-2's radiometric offset."""
    parser.add_argument(
        "--offset",
        choices=tuple(OffsetRule),
        help="how the offset of 1000 in Sentinel-2's pixels since baseline 04.00 is taken out: "
        "evidence (as reference, unless a scene's pixels or item contradict it; default of what is "
        "new), reference (by date, as the models were trained), item (by item and pixels alone), "
        "or none (left in); what is there already keeps its own rule",
    )


def encoder_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose an encoder, and in which precision it computes."""
    parser.add_argument(
        "--model",
        help="name of a card, whose sizes and statistics apply (see `models`); without it and "
        "--weights, the encoder that comes with the package",
    )
    parser.add_argument("--weights", metavar="F", help="checkpoint file or address")
    parser.add_argument(
        "--precision",
        choices=[each.value for each in Precision],
        default=Precision.FP32.value,
        help="in which the encoder computes (%(default)s)",
    )


def catalogue_arguments(
    parser: argparse.ArgumentParser,
    required: bool = True,
    without: str = "without it scenes are reckoned by the satellites' orbits",
) -> None:
    """Declare the options that say where scenes come from, and what is done without."""
    parser.add_argument(
        "--catalog",
        required=required,
        help="STAC API, static catalogue or index" + ("" if required else f"; {without}"),
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="host of a private address that the catalogue may point to (repeatable)",
    )


def job_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a tile job: which of its tiles it makes, and on what."""
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
        help="begin no more tiles once more than this share failed (%(default)s)",
    )
    runner_arguments(parser)
    parser.add_argument(
        "--share",
        metavar="I/N",
        help="make share I of N, counted from 0, where N launchers work on one list at once; auto: "
        "what the variables of a job array tell (Slurm, Kubernetes, AWS Batch, Google Batch)",
    )
    patience_argument(parser)
    launcher_argument(parser)


def runner_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare on what a tile job runs."""
    parser.add_argument("--runner", default="direct", help="direct (default), or a Beam runner")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes of the local runner (%(default)s)"
    )


def patience_argument(parser: argparse.ArgumentParser) -> None:
    """Declare how long a store is waited for."""
    parser.add_argument(
        "--store-patience",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help="how long a store is asked again that is busy or does not answer (%(default)g)",
    )


def launcher_argument(parser: argparse.ArgumentParser) -> None:
    """Declare that nobody else writes to the store."""
    parser.add_argument(
        "--single-launcher",
        action="store_true",
        help="nobody else writes to the store meanwhile; needed where the store does not put an "
        "object only where there is none",
    )


def job_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the options of a tile job come to, as fields of `JobOptions`.

    Raises
    ------
    BadInput
        If an option is neither the command's nor Beam's.
    """
    # Imported here, so that --help does not load Beam.
    from tessera_mosaic.pipeline.job.beam_options import check_beam_arguments

    check_beam_arguments(args.beam_arguments, own_options(args))
    return {
        "retry_failed": args.retry_failed,
        "overwrite": tuple(args.overwrite),
        "refresh": args.refresh,
        "max_failed_share": args.max_failed_share,
        "runner": args.runner,
        "workers": args.workers,
        "beam_options": tuple(args.beam_arguments),
        "store_patience": args.store_patience,
        "single_launcher": args.single_launcher,
        "share": args.share,
    }
