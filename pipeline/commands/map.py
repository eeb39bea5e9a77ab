"""The command `map`: a head over a region's year, tile by tile, to a map that resumes."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import job_arguments, job_options
from tessera_mosaic.pipeline.commands.contract import (
    MADE,
    READS_REGION,
    Contract,
    Material,
)
from tessera_mosaic.pipeline.commands.run import print_outcome, retry_command
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.downstream.map_request import MapRequest
from tessera_mosaic.pipeline.tiling.area import WantedPixels

CONTRACT = Contract(
    costs=READS_REGION,
    takes={"store": Kind.MOSAIC, "head": Kind.HEAD, "extra": Material.PRODUCT},
    gives={"out": Kind.MAP},
    needs=(
        MADE,
        "the head was trained on this mosaic's embeddings, and on this year unless `match_years`",
        "a map that is there was made with the same head and options",
    ),
    resumes=True,
    lasting=("`overwrite` and `refresh` replace tiles, whose old bytes are gone",),
    planned_as="map",
    tells=("tiles", "done", "failed", "pixels", "classes", "report"),
    requests=(MapRequest,),
)


def map_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `map`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument("--head", required=True, help="path or URL of a head that `train` wrote")
    parser.add_argument("--year", required=True, type=int, help="calendar year of the embeddings")
    ground_arguments(parser)
    parser.add_argument(
        "--probabilities", action="store_true", help="store the probability of every class, too"
    )
    parser.add_argument(
        "--no-quality",
        action="store_true",
        help="leave out how often pixels were seen and how unlike the training data they are",
    )
    parser.add_argument(
        "--unknown",
        type=float,
        metavar="Q",
        help="class 254 for pixels that are farther from the training data than this percentile "
        "of it",
    )
    parser.add_argument(
        "--extra",
        metavar="FILE",
        help="GeoTIFF with the numbers of another source that the head takes, a band each",
    )
    parser.add_argument(
        "--match-years",
        action="store_true",
        help="use a head on another year than its own, with the shift of the mean taken out",
    )
    job_arguments(parser)


def ground_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is mapped of a mosaic, and where to."""
    parser.add_argument(
        "--region",
        required=True,
        help="W,S,E,N in degrees, a vector file, a country, a Sentinel-2 tile, a list of tiles "
        "(.txt), or global",
    )
    parser.add_argument("--out", required=True, metavar="M", help="path or URL of the map")
    parser.add_argument(
        "--land", metavar="L", help="no tile outside it: coast, everywhere, or a mask file"
    )
    parser.add_argument(
        "--pixels",
        choices=tuple(WantedPixels),
        default=WantedPixels.ALL,
        help="all of the tiles that touch the region (default), or only those inside it",
    )


def map_request(args: argparse.Namespace) -> MapRequest:
    """The request that the options of `map` come to.

    Raises
    ------
    BadInput
        If one of them cannot be used.
    """
    return MapRequest(
        store=args.store,
        head=args.head,
        region=args.region,
        year=args.year,
        out=args.out,
        land=args.land,
        pixels=args.pixels,
        probabilities=args.probabilities,
        quality=not args.no_quality,
        unknown=args.unknown,
        match_years=args.match_years,
        extra=args.extra,
        **job_options(args),
    )


def map_command(args: argparse.Namespace) -> dict[str, Any]:
    """Make a map, tell what came of it, and return the fields of `map --json`."""
    # Imported here, so that --help does not load Beam.
    from tessera_mosaic.pipeline.downstream.make_map import map as make_map

    mapped = make_map(map_request(args))
    outcome = mapped.outcome
    retry = retry_command(args.words, outcome)
    if not args.json:
        print_outcome(args.out, outcome, f"{outcome.pixels:,} pixels mapped", retry)
        for name, count in mapped.classes.items():
            print(f"  {name}: {count:,} pixels ({mapped.square_metres[name] / 1e4:,.2f} ha)")
        if mapped.classes:
            print("  these are counts of pixels, not estimates of areas: see `points` and `areas`")
        for note in mapped.notes:
            print(f"  {note}")
        if mapped.report:
            print(f"report: {mapped.report}")
    return {**mapped.to_json(), "retry": retry}
