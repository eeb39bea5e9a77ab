"""The command `areas`: areas and accuracies with intervals from a labelled sample."""

from __future__ import annotations

import argparse
import math
from typing import Any

from tessera_mosaic.pipeline.commands.contract import Contract
from tessera_mosaic.pipeline.commands.points import shown
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.downstream.area_result import AreaResult
from tessera_mosaic.pipeline.downstream.areas import AreasRequest, areas
from tessera_mosaic.pipeline.evaluation.stratified_estimates import Estimate

CONTRACT = Contract(
    costs="reads the map's classes once",
    takes={"map": Kind.MAP, "labelled": Kind.SAMPLE, "domains": Kind.PLACES},
    gives={"map": Kind.MAP, "out": Kind.AREAS},
    needs=(
        "the points were drawn by `points` from this map, and none was trained on",
        "every row of the sample has a label",
    ),
    lasting=("earlier estimates in the map's own report and in `out` are replaced",),
    requests=(AreasRequest,),
)


def areas_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `areas`."""
    parser.add_argument("--map", required=True, metavar="M", help="path or URL of the map")
    parser.add_argument(
        "--labelled", required=True, metavar="CSV", help="what `points` wrote, with labels filled"
    )
    parser.add_argument(
        "--domains", metavar="FILE", help="polygons of districts or parcels to estimate for, too"
    )
    parser.add_argument(
        "--domains-field",
        metavar="NAME",
        help="column of their names, if there are several columns",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder for areas.json, areas.csv and report.html"
    )


def areas_command(args: argparse.Namespace) -> dict[str, Any]:
    """Estimate, tell, and return the fields of `areas --json`."""
    request = AreasRequest(args.map, args.labelled, args.out, args.domains, args.domains_field)
    result = areas(request, shown)
    if not args.json:
        print_result(result)
        if args.out:
            print(f"{args.out}: areas.json, areas.csv, report.html")
    return result.to_json()


def print_result(result: AreaResult) -> None:
    """Print the estimates with their intervals."""
    print(
        f"{result.points} points of {result.hectares:,.1f} ha, design {result.design}; intervals "
        f"of {result.confidence:.0%}"
    )
    if result.overall is not None:
        print(f"mapped right: {percent(result.overall)}")
        print(f"  {'class':22}{'area, ha':>30}{'pixel count, ha':>18}{'user':>8}{'producer':>10}")
    for each in (each for each in result.classes if each.is_class):
        print(
            f"  {each.name:22}{interval(each.area):>30}{each.counted:>18,.1f}"
            f"{share(each.users):>8}{share(each.producers):>10}"
        )
    if result.mean is not None and result.total is not None:
        print(
            f"mean: {interval(result.mean)} {result.unit}; the map's own {result.mapped_mean:,.4g}"
        )
        print(f"total: {interval(result.total)} {result.unit} x ha")
        covering = result.bands[0].covering
        if covering is not None:
            print(f"{result.confidence:.0%} of pixels lie within {covering:,.4g} of the map")
    for domain in result.domains:
        print(f"{domain.name}: {domain.hectares:,.1f} ha, {domain.points} points")
        for each, area in zip(result.classes, domain.areas, strict=True):
            if each.is_class:
                print(f"  {each.name:22}{interval(area):>30}")
        if domain.mean is not None:
            print(f"  mean {interval(domain.mean)} {result.unit}")
    for note in result.notes:
        print(note)


def interval(estimate: Estimate) -> str:
    """An estimate between its limits."""
    if math.isnan(estimate.value):
        return f"no point ({estimate.low:,.1f} to {estimate.high:,.1f})"
    return f"{estimate.value:,.1f} ({estimate.low:,.1f} to {estimate.high:,.1f})"


def percent(estimate: Estimate) -> str:
    """A share between its limits."""
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


def share(estimate: Estimate) -> str:
    """A share alone."""
    return "-" if math.isnan(estimate.value) else f"{estimate.value:.1%}"
