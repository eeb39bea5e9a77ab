"""The command `compare`: one mosaic beside another, pixel by pixel."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.contract import MADE, Contract, Material
from tessera_mosaic.pipeline.commands.progress import progress_bar
from tessera_mosaic.pipeline.contracts.state import Kind

CONTRACT = Contract(
    costs="reads the region's codes once from each mosaic",
    takes={"one": Kind.MOSAIC, "other": Kind.MOSAIC},
    gives={"out": Material.FOLDER},
    needs=(MADE, "both mosaics have embeddings of as many values"),
    requests=("CompareRequest",),
)


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `compare`."""
    parser.add_argument("one", metavar="A", help="path or URL of a mosaic")
    parser.add_argument("other", metavar="B", help="path or URL of another")
    parser.add_argument("--region", required=True, help="W,S,E,N in degrees, a file, a country")
    parser.add_argument("--year", required=True, type=int, help="calendar year")
    parser.add_argument(
        "--out", metavar="DIR", help="folder for the table, the map of the cosine and the JSON"
    )


def compare_command(args: argparse.Namespace) -> dict[str, Any]:
    """Compare two mosaics, tell what came of it, and return the fields of `compare --json`."""
    # Imported here, so that --help does not load it.
    from tessera_mosaic.pipeline.downstream.compare import CompareRequest, compare

    request = CompareRequest(args.one, args.other, args.region, args.year, args.out)
    with progress_bar("comparing", "tiles") as tell:
        found = compare(request, tell).to_json()
    if not args.json:
        print_comparison(found)
        if args.out:
            print(f"table, map of the cosine and JSON: {args.out}")
    return found


def print_comparison(found: dict[str, Any]) -> None:
    """Print what a comparison came to."""
    for name in ("one", "other"):
        print(f"{name}: {found[name]['store']}, {found[name]['model']}")
    compared = found["compared"]
    print(f"{compared:,} pixels are embedded in both")
    for here, row in found["states"].items():
        for there, count in row.items():
            if count and here != there:
                print(f"  {count:,} pixels cannot be compared: {here} in one, {there} in the other")
    if not compared:
        return
    print(
        f"  all codes equal {found['equal'] / compared:.2%}, and the scale "
        f"{found['equal_scales'] / compared:.2%}; single codes equal "
        f"{found['codes_equal'] / (compared * found['dims']):.2%}"
    )
    for title, name in (("cosine", "cosine"), ("scale of the other / one", "scale_ratio")):
        if spread := found[name]:
            told = ", ".join(f"{key} {value:.4f}" for key, value in spread.items())
            print(f"  {title}: {told}")
