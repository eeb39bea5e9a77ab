"""The command `export`: a part of a mosaic as GeoTIFF, NetCDF or Zarr."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import part_arguments
from tessera_mosaic.pipeline.commands.contract import MADE, READS_REGION, Contract, Material
from tessera_mosaic.pipeline.commands.progress import progress_bar
from tessera_mosaic.pipeline.contracts.state import Kind

CONTRACT = Contract(
    costs=f"{READS_REGION}; as float32 it writes four bytes a pixel and dimension",
    takes={"store": Kind.MOSAIC},
    gives={"out": Material.RASTER},
    needs=(MADE, "nothing is there under the name `out`"),
    requests=("ExportRequest",),
)


def export_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `export`."""
    part_arguments(parser)
    parser.add_argument("--dims", metavar="A:B", help="0:16 for the first 16, or 0,5,7 (all)")
    parser.add_argument(
        "--values",
        choices=("float32", "int8"),
        default="float32",
        help="embeddings (default), or int8 codes with their scales",
    )
    parser.add_argument(
        "--layout",
        choices=("region", "grid", "tze"),
        default="region",
        help="a file for the region (default), a GeoTIFF a cell of 0.1 degrees as torchgeo takes "
        "them, or a folder for the TZE viewer",
    )
    parser.add_argument(
        "--out", required=True, metavar="F", help=".tif, .nc or .zarr; a folder for other layouts"
    )


def export_command(args: argparse.Namespace) -> dict[str, Any]:
    """Export a part of a mosaic, tell what came of it, and return the fields of `export --json`."""
    # Imported here, so that --help loads neither.
    from tessera_mosaic.pipeline.downstream.export import export
    from tessera_mosaic.pipeline.downstream.export_request import ExportRequest, parse_dims

    request = ExportRequest(
        args.store,
        args.out,
        args.region,
        args.year,
        parse_dims(args.dims),
        args.values,
        args.layout,
        buffer=args.buffer,
    )
    with progress_bar("exporting", "blocks") as tell:
        found = export(request, tell)
    if not args.json:
        for file in found.files:
            print(
                f"{file.path}: {found.dims} dimensions of {found.year}, {file.height:,} x "
                f"{file.width:,} px in {file.crs}, {file.embedded:,} of them embedded"
            )
    return found.to_json()
