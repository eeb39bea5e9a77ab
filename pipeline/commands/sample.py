"""The command `sample`: draw pixels of a region's year for training."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import (
    catalogue_arguments,
    job_arguments,
    job_options,
    offset_argument,
)
from tessera_mosaic.pipeline.commands.contract import Contract, Material
from tessera_mosaic.pipeline.commands.run import print_outcome, retry_command
from tessera_mosaic.pipeline.imagery.resample import Kernel
from tessera_mosaic.pipeline.tiling.lattice import DEFAULT_SIDE
from tessera_mosaic.requests import DEFAULT_FRACTION, SampleRequest

CONTRACT = Contract(
    costs="reads a year of scenes like `run`, and encodes nothing",
    takes={
        "catalog": Material.CATALOGUE,
        "labels": Material.RASTER,
        "fields": Material.RASTER,
    },
    gives={"out": Material.DPIXELS},
    needs=("`labels` and `fields` lie on one grid",),
    resumes=True,
    tells=("tiles", "done", "failed"),
    requests=(SampleRequest,),
)


def sample_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sample`."""
    catalogue_arguments(parser)
    parser.add_argument("--region", required=True, help="W,S,E,N in degrees, or a vector file")
    parser.add_argument("--year", required=True, type=int)
    parser.add_argument("--out", required=True, help="folder or URL for the d-pixels")
    parser.add_argument(
        "--fraction", type=float, default=DEFAULT_FRACTION, help="share of the pixels (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", help="raster of class codes: draw labelled pixels only")
    parser.add_argument("--fields", help="raster of field numbers on the grid of --labels")
    parser.add_argument(
        "--tile",
        type=int,
        default=DEFAULT_SIDE,
        metavar="PX",
        help="side of a tile (%(default)s)",
    )
    parser.add_argument("--kernel", choices=tuple(Kernel), default=Kernel.BILINEAR)
    offset_argument(parser)
    job_arguments(parser)


def sample_request(args: argparse.Namespace) -> SampleRequest:
    """The request that the options of `sample` come to.

    Raises
    ------
    BadInput
        If one of them cannot be used.
    """
    return SampleRequest(
        catalog=args.catalog,
        region=args.region,
        year=args.year,
        out=args.out,
        allow_hosts=tuple(args.allow_host),
        tile=args.tile,
        fraction=args.fraction,
        seed=args.seed,
        labels=args.labels,
        fields=args.fields,
        kernel=args.kernel,
        offset=args.offset,
        **job_options(args),
    )


def sample_command(args: argparse.Namespace) -> dict[str, Any]:
    """Draw d-pixels, tell what came of it, and return the fields of `sample --json`."""
    # Imported here, so that --help does not load Beam.
    from tessera_mosaic.launching import sample

    drawn = sample(sample_request(args))
    outcome, index = drawn.outcome, drawn.index
    retry = retry_command(args.words, outcome)
    if not args.json:
        pixels = sum(index.files.values())
        what = f"{pixels:,} d-pixels in {len(index.files)} files"
        print_outcome(args.out, outcome, what, retry)
        for tile, why in index.failed.items():
            print(f"  {tile} failed: {why}")
    return {**drawn.to_json(), "retry": retry}
