"""The command `picture`: a region of a mosaic as a picture."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import catalogue_arguments, part_arguments
from tessera_mosaic.pipeline.commands.contract import MADE, READS_REGION, Contract, Material
from tessera_mosaic.pipeline.commands.progress import progress_bar
from tessera_mosaic.pipeline.contracts.state import Kind

CONTRACT = Contract(
    costs=f"{READS_REGION}, coarsely where it is large; true colours read scenes",
    takes={"store": Kind.MOSAIC, "catalog": Material.CATALOGUE},
    gives={"out": Material.PICTURE},
    needs=(MADE,),
    lasting=("a file of that name is replaced",),
    requests=("PictureRequest",),
)


def picture_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `picture`."""
    part_arguments(parser)
    catalogue_arguments(parser, required=False, without="without it there are no true colours")
    parser.add_argument("--out", required=True, metavar="F", help="the picture, .png")


def picture_command(args: argparse.Namespace) -> dict[str, Any]:
    """Draw a part of a mosaic, tell, and return the fields of `picture --json`."""
    # Imported here, so that --help does not load it.
    from tessera_mosaic.pipeline.downstream.picture import PictureRequest, picture

    request = PictureRequest(
        args.store,
        args.out,
        args.region,
        args.year,
        args.catalog,
        tuple(args.allow_host),
        args.buffer,
    )
    with progress_bar("drawing", "blocks") as tell:
        drawn = picture(request, tell)
    if not args.json:
        for file in drawn.files:
            print(
                f"{file.path}: {drawn.year}, {file.height:,} x {file.width:,} px in {file.crs}, "
                f"{file.embedded:,} of them embedded"
            )
    return drawn.to_json()
