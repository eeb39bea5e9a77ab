"""The command `fuse`: whether products tell more together than the best of them alone."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tessera_mosaic.model.heads.head import Task
from tessera_mosaic.pipeline.commands.contract import Contract, Material
from tessera_mosaic.pipeline.commands.progress import progress_bar
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.errors import BadInput

if TYPE_CHECKING:
    from tessera_mosaic.pipeline.downstream.fusion import Complementarity
    from tessera_mosaic.pipeline.evaluation.complementarity import PlanScores


CONTRACT = Contract(
    costs="reads each product once at the points, then fits hundreds of heads: minutes for some "
    "thousand points, longer for many classes",
    takes={"points": Kind.PLACES, "product": Material.PRODUCT},
    gives={"out": Kind.FUSED},
    needs=("points and products are of that year", "each product has values at most points"),
    lasting=("files of a comparison that lie in the folder are replaced",),
    tells=("measure", "points", "left_out", "products", "cka", "folds", "verdicts", "state"),
    requests=("FuseRequest",),
)


def fuse_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fuse`."""
    parser.add_argument(
        "--points",
        required=True,
        metavar="FILE",
        help="labelled points: CSV with lon,lat,label, GeoJSON, GeoPackage, GeoParquet, Shapefile",
    )
    parser.add_argument(
        "--product",
        action="append",
        required=True,
        metavar="P",
        help="mosaic:STORE, alphaearth:DIR (its COGs by year and zone) or alphaearth:TABLE, "
        "geoclip, satclip:WEIGHTS, or a table or GeoTIFF of numbers; NAME=P calls it so "
        "(repeatable, two or more)",
    )
    parser.add_argument("--year", required=True, type=int, help="calendar year")
    parser.add_argument("--field", help="column with the label (label)")
    parser.add_argument(
        "--task", choices=tuple(Task), default=Task.CLASS, help="what labels are (%(default)s)"
    )
    parser.add_argument(
        "--cells",
        metavar="DEG",
        help="sides in degrees of the cells that folds do not cut (0.1,0.5,2,10)",
    )
    parser.add_argument("--folds", type=int, help="folds of every kind (10)")
    parser.add_argument(
        "--published",
        action="store_true",
        help="score by the published protocol, too: random folds, one penalty",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder for the fused table, scores, report and picture"
    )


def fuse_command(args: argparse.Namespace) -> dict[str, Any]:
    """Compare products, tell what came of it, and return the fields of `fuse --json`."""
    # Imported here, so that --help does not load PyTorch.
    from tessera_mosaic.pipeline.downstream.fusion import (
        CELLS,
        FOLDS,
        FuseRequest,
        complementarity,
    )

    request = FuseRequest(
        args.points,
        tuple(args.product),
        args.year,
        args.task,
        args.field,
        CELLS if args.cells is None else sides_of(args.cells),
        FOLDS if args.folds is None else args.folds,
        args.published,
        args.out,
    )
    with progress_bar("fusing", "steps") as tell:
        found = complementarity(request, tell)
    if not args.json:
        print_fusion(found)
        if args.out:
            print(f"table, scores, report and picture: {args.out}")
    return found.to_json()


def sides_of(text: str) -> tuple[float, ...]:
    """Sides of cells that an option names.

    Raises
    ------
    BadInput
        If one is no number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BadInput("give degrees, such as 0.1,0.5,2", "cells", text) from None


def print_fusion(found: Complementarity) -> None:
    """Print what was compared, and what it scored under each kind of folds."""
    print(f"{found.points:,} points that every product has")
    for why, count in found.left_out.items():
        print(f"  left out: {count:,} {why}")
    print(f"{'product':<20}{'values':>7}{'filled':>8}{'year':>6}  terms")
    for each in found.products:
        year = each.year or ""
        told = f"{each.name[:19]:<20}{each.dims:>7}{each.participation:>8.1f}{year!s:>6}"
        print(f"{told}  {each.licence}")
        for why, count in each.missing.items():
            print(f"  without: {count:,} {why}")
    for (one, other), cka in found.alike.items():
        print(f"  {one} and {other} are alike by {cka:.3f} (linear CKA)")
    for plan in found.plans:
        print_plan(plan, found.measure)
    if found.published:
        print("published protocol (20 random folds, one penalty of 1; not to be trusted):")
        for score in found.published:
            beyond = ""
            if score.complementarity is not None:
                beyond = f"  C {score.complementarity:+.3f}, p {score.p_adjusted:.2g}"
            told = f"{' + '.join(score.products):<30} {score.score:.3f} +- {score.error:.3f}"
            print(f"  {told}{beyond}")
    for note in found.notes:
        print(f"  {note}")
    for products, verdict in found.verdicts.items():
        print(f"{' + '.join(products)}: {verdict} under folds by cells")


def print_plan(plan: PlanScores, measure: str) -> None:
    """Print the scores of every combination under one kind of folds."""
    told = f"{plan.cells:,} cells" if plan.degrees else "they flatter: neighbours on both sides"
    print(f"folds: {plan.name} ({told}), {measure}:")
    gains = {gain.products: gain for gain in plan.gains}
    for each in plan.scores:
        line = f"  {' + '.join(each.products):<30} {each.score}"
        if gain := gains.get(each.products):
            line += (
                f"  {gain.difference.value:+.3f} beyond {gain.best}, C "
                f"{gain.complementarity}, p {gain.p_adjusted:.2g}: {gain.verdict}"
            )
        print(line)
