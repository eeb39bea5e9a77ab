"""The command `extract`: vectors of a mosaic at points and parcels."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import years_of
from tessera_mosaic.pipeline.commands.contract import MADE, Contract
from tessera_mosaic.pipeline.commands.progress import progress_bar
from tessera_mosaic.pipeline.contracts.state import Kind

CONTRACT = Contract(
    costs="reads the chunks on which places lie once a year",
    takes={"store": Kind.MOSAIC, "at": Kind.PLACES},
    gives={"out": Kind.VECTORS},
    needs=(MADE,),
    lasting=("a file of that name is replaced",),
    resumes=True,
    requests=("ExtractRequest",),
)


def extract_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `extract`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument(
        "--at",
        required=True,
        metavar="FILE",
        help="points or polygons: CSV with lon and lat, GeoJSON, GeoPackage, GeoParquet, Shapefile",
    )
    parser.add_argument("--years", metavar="Y", help="2024, 2019-2024 or 2019,2021 (all)")
    parser.add_argument(
        "--statistic",
        choices=("pixel", "mean", "median"),
        default="pixel",
        help="a row a pixel (default), or the mean or the median of each place",
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help=".parquet, .geoparquet or .csv"
    )


def extract_command(args: argparse.Namespace) -> dict[str, Any]:
    """Extract vectors, tell what came of it, and return the fields of `extract --json`."""
    # Imported here, so that --help loads neither.
    from tessera_mosaic.pipeline.downstream.extract import ExtractRequest, extract

    request = ExtractRequest(args.store, args.at, args.out, years_of(args.years), args.statistic)
    with progress_bar("extracting", "parts") as tell:
        found = extract(request, tell)
    if not args.json:
        print(
            f"{found.out}: {found.rows:,} rows of {found.places:,} places, "
            f"{found.vectors:,} of them with a vector"
        )
        for why, count in found.empty.items():
            print(f"  {count:,} rows without: {why}")
    return found.to_json()
