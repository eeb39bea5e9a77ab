"""The command `suggest`: where another label would teach most."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.contract import Contract
from tessera_mosaic.pipeline.commands.points import sampled_map_arguments, shown
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.downstream.suggest import DEFAULT_SPACING, SuggestRequest, suggest

CONTRACT = Contract(
    costs="reads the map's confidence or uncertainty once",
    takes={"map": Kind.MAP},
    gives={"out": Kind.PLACES},
    needs=("the map says how sure it is",),
    lasting=("a file of that name is replaced",),
    tells=("out", "points", "asked", "most_doubt", "least_doubt"),
    requests=(SuggestRequest,),
)


def suggest_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `suggest`."""
    sampled_map_arguments(parser)
    parser.add_argument("--n", required=True, type=int, help="number of points")
    parser.add_argument(
        "--spacing",
        type=float,
        default=DEFAULT_SPACING,
        metavar="METRES",
        help="between points, at least (%(default)s)",
    )
    parser.add_argument("--out", required=True, metavar="GEOJSON", help="file for the points")


def suggest_command(args: argparse.Namespace) -> dict[str, Any]:
    """Suggest points, tell, and return the fields of `suggest --json`."""
    request = SuggestRequest(args.map, args.out, args.n, args.spacing, args.region, args.year)
    found = suggest(request, shown)
    if not args.json:
        fewer = "" if len(found) == args.n else f", as many as lie {args.spacing:g} m apart"
        print(f"{args.out}: {len(found)} points to label next{fewer}")
        print("They were chosen, not drawn: train on them, and never estimate areas from them.")
    return {
        "out": args.out,
        "points": len(found),
        "asked": args.n,
        "most_doubt": found[0].doubt if found else None,
        "least_doubt": found[-1].doubt if found else None,
    }
