"""The command `search`: places that look alike, tile by tile, to a table of hits that resumes."""

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
from tessera_mosaic.pipeline.downstream.search_request import Place, SearchRequest
from tessera_mosaic.pipeline.errors import BadInput

NAMED = 10
"""Tiles that are named on the terminal; the record names all."""

CONTRACT = Contract(
    costs=f"{READS_REGION}, or the means of its blocks alone with `blocks`",
    takes={"store": Kind.MOSAIC, "head": Kind.HEAD, "queries": Kind.PLACES},
    gives={"out": Kind.HITS, "scores": Material.RASTER},
    needs=(
        MADE,
        "`like`, `head` or `queries`: one of them",
        "places or a head of another year go with `match_years`",
    ),
    resumes=True,
    planned_as="search",
    tells=("hits", "record", "tiles", "done", "failed"),
    requests=(SearchRequest,),
)


def search_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `search`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic, or another's")
    parser.add_argument("--year", required=True, type=int, help="calendar year that is searched")
    parser.add_argument(
        "--like", metavar="LON,LAT[;...]", help="places that hits are to be like, in degrees"
    )
    parser.add_argument(
        "--unlike",
        metavar="LON,LAT[;...]",
        help="places that they are not to be like; from six of each kind they are learnt apart",
    )
    parser.add_argument(
        "--like-year", type=int, metavar="Y", help="calendar year of these places (--year)"
    )
    parser.add_argument(
        "--match-years",
        action="store_true",
        help="use places or a head of another year, with the shift of the mean taken out",
    )
    parser.add_argument("--head", help="in their place: a linear head that `train` wrote")
    parser.add_argument(
        "--queries",
        metavar="FILE",
        help="in their place: several queries in one pass, a file with the columns query, lon, "
        "lat and kind (like or unlike)",
    )
    parser.add_argument(
        "--region",
        help="W,S,E,N in degrees, a vector file, a country, a Sentinel-2 tile, a list of tiles "
        "(.txt), or global; without it all of the mosaic",
    )
    parser.add_argument(
        "--min-observations",
        type=int,
        default=0,
        metavar="N",
        help="leave out pixels that Sentinel-2 saw less often; Sentinel-1 does not count "
        "(%(default)s)",
    )
    parser.add_argument(
        "--top", type=int, default=SearchRequest.top, help="hits of a query (%(default)s)"
    )
    parser.add_argument(
        "--spacing",
        type=float,
        default=SearchRequest.spacing,
        metavar="METRES",
        help="one hit in each square of ground of this side (%(default)g)",
    )
    parser.add_argument(
        "--depth",
        type=int,
        metavar="D",
        help="find candidates by the first D values, a nested depth of the mosaic, and score "
        "four times as many as hits with all values",
    )
    parser.add_argument(
        "--blocks",
        action="store_true",
        help="a first look, in seconds: search the means of blocks of 320 m that `publish "
        "--blocks` made, in place of pixels; what is smaller is missed",
    )
    parser.add_argument(
        "--scores", metavar="TIF", help="write the scores of all pixels, too, as a GeoTIFF"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="HITS",
        help=".parquet or .geojson; the record (.json) and a contact sheet (.png) go beside it",
    )
    job_arguments(parser)


def search_request(args: argparse.Namespace) -> SearchRequest:
    """The request that the options of `search` come to.

    Raises
    ------
    BadInput
        If one of them cannot be used.
    """
    return SearchRequest(
        store=args.store,
        year=args.year,
        out=args.out,
        like=places(args.like, "like"),
        unlike=places(args.unlike, "unlike"),
        like_year=args.like_year,
        match_years=args.match_years,
        head=args.head,
        queries=args.queries,
        region=args.region,
        min_observations=args.min_observations,
        top=args.top,
        spacing=args.spacing,
        depth=args.depth,
        scores=args.scores,
        blocks=args.blocks,
        **job_options(args),
    )


def places(text: str | None, parameter: str) -> tuple[Place, ...]:
    """Read `LON,LAT[;LON,LAT...]`.

    Raises
    ------
    BadInput
        If a part is no pair of numbers.
    """
    found: list[Place] = []
    for part in (text or "").split(";"):
        if not part.strip():
            continue
        try:
            lon, lat = (float(number) for number in part.split(","))
        except ValueError:
            raise BadInput(
                f"{part.strip()!r} is no LON,LAT in degrees; places have a semicolon between them",
                parameter,
            ) from None
        found.append((lon, lat))
    if text is not None and not found:
        raise BadInput("it names no place", parameter)
    return tuple(found)


def search_command(args: argparse.Namespace) -> dict[str, Any]:
    """Search, tell what was found, and return the fields of `search --json`."""
    # Imported here, so that --help does not load Beam.
    from tessera_mosaic.pipeline.downstream.search import search

    found = search(search_request(args))
    outcome = found.outcome
    retry = retry_command(args.words, outcome)
    if not args.json:
        print_outcome(args.out, outcome, f"{outcome.pixels:,} pixels searched", retry)
        if not outcome.ends_list:
            print("whoever ends the last share tells the hits")
            return {**found.to_json(), "retry": retry}
        for name, why in list(found.failed.items())[:NAMED]:
            print(f"  {name}: {why}")
        if found.absent:
            more = f" and {len(found.absent) - NAMED} more" if len(found.absent) > NAMED else ""
            print(
                f"  the mosaic has nothing on {len(found.absent)} tiles of the region: "
                f"{', '.join(found.absent[:NAMED])}{more}"
            )
        for note in found.notes:
            print(f"  {note}")
        print(f"{found.hits:,} hits; the first:")
        for row in found.first:
            query = f"{row['query']}: " if "query" in row else ""
            print(
                f"  {query}{row['lon']:.5f},{row['lat']:.5f} score {row['score']:.4f}, "
                f"percentile {row['percentile']:.6g} of the ground"
            )
        print(f"contact sheet: {found.sheet}")
        print(f"record: {found.record}")
    return {**found.to_json(), "retry": retry}
