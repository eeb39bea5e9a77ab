"""The command `points`: a probability sample of a map's pixels, for people to label."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from tessera_mosaic.pipeline.commands.contract import Contract
from tessera_mosaic.pipeline.console import quiet
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.downstream.point_file import Design
from tessera_mosaic.pipeline.downstream.points import PointsRequest, points
from tessera_mosaic.pipeline.tiling.lattice import Window

CONTRACT = Contract(
    costs="reads the map's classes twice: to count strata, and where points lie",
    takes={"map": Kind.MAP, "strata": Kind.PLACES, "before": Kind.MAP},
    gives={"out": Kind.SAMPLE},
    needs=("every tile of the map is made (`status` tells)", "`out` has no labels yet"),
    lasting=("once people have looked at points, another draw is no longer blind",),
    requests=(PointsRequest,),
)


def points_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `points`."""
    sampled_map_arguments(parser)
    parser.add_argument(
        "--design",
        choices=tuple(Design),
        default=Design.CLASS,
        help="strata are the map's classes (class, the default), there are none (random), or they "
        "are areas of your own (strata)",
    )
    parser.add_argument("--strata", metavar="FILE", help="polygons that are the strata")
    parser.add_argument(
        "--strata-field", metavar="NAME", help="column of their names, if the file has several"
    )
    parser.add_argument("--n", required=True, type=int, help="number of points")
    parser.add_argument(
        "--seed", type=int, default=0, help="the same seed draws the same points (%(default)s)"
    )
    parser.add_argument(
        "--before", metavar="M", help="an earlier map, for areas of change: strata of transitions"
    )
    parser.add_argument("--before-year", type=int, help="its year, if it has several")
    parser.add_argument("--out", required=True, metavar="CSV", help="file of points to label")


def points_command(args: argparse.Namespace) -> dict[str, Any]:
    """Draw a sample, tell, and return the fields of `points --json`."""
    request = PointsRequest(
        args.map,
        args.out,
        args.n,
        args.design,
        args.strata,
        args.strata_field,
        args.seed,
        args.region,
        args.year,
        args.before,
        args.before_year,
    )
    drawn = points(request, shown)
    if not args.json:
        print(f"{drawn.out}: {len(drawn.points)} points of {drawn.pixels:,} pixels to label")
        for name, size, count in zip(
            drawn.points.strata, drawn.points.pixels, drawn.points.counts, strict=True
        ):
            print(f"  {name:24} {count:>6} points of {size:>15,} pixels")
        if drawn.outside:
            print(f"  {drawn.outside:,} pixels of the map lie in no stratum, and in no estimate")
        print("Fill the column label of every row, then: tessera-mosaic areas")
    return drawn.to_json()


def sampled_map_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which map, of which year and region."""
    parser.add_argument("--map", required=True, metavar="M", help="path or URL of the map")
    parser.add_argument("--year", type=int, help="calendar year, if the map has several")
    parser.add_argument("--region", help="only there: W,S,E,N in degrees, a vector file, a country")


def shown(windows: Iterable[Window], count: int) -> Iterable[Window]:
    """Show on a terminal how much of the map has been passed over."""
    return tqdm(windows, "reading the map", count, unit="window", disable=quiet() or None)
