"""The command `pack`: a region of a mosaic as one small file, a field."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tessera_mosaic.pipeline.commands.arguments import years_of
from tessera_mosaic.pipeline.commands.contract import MADE, Contract
from tessera_mosaic.pipeline.commands.progress import progress_bar
from tessera_mosaic.pipeline.contracts.state import Kind

if TYPE_CHECKING:
    from tessera_mosaic.pipeline.downstream.field_pack import Packed, PackedSize

CONTRACT = Contract(
    costs="reads the region's codes once a year, then some core hours for 1,000 km2 and year",
    takes={"store": Kind.MOSAIC},
    gives={"out": Kind.FIELD},
    needs=(MADE, "enough pixels for the ratio, and fewer than 16.8 million times years"),
    resumes=True,
    tells=("size", "curve", "years", "zones", "vectors", "core_hours"),
    requests=("PackRequest",),
)


def pack_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `pack`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument(
        "--region",
        required=True,
        help="W,S,E,N or a point lon,lat in degrees, a vector file, a CSV file of points, "
        "countries by name or ISO code, Sentinel-2 tiles: the rectangle of pixels that holds it",
    )
    parser.add_argument("--buffer", type=float, metavar="METRES", help="how far around points")
    parser.add_argument(
        "--years",
        required=True,
        nargs="+",
        metavar="Y",
        help="2024, 2019-2024 or 2019,2021",
    )
    parser.add_argument(
        "--ratio",
        type=float,
        default=20.0,
        metavar="R",
        help="how many times smaller than the codes, 20 or 50 for example (%(default)g)",
    )
    parser.add_argument(
        "--curve",
        action="store_true",
        help="try other ratios as well, which takes several times as long",
    )
    parser.add_argument(
        "--out", required=True, metavar="F", help="path or URL of the field's file (.safetensors)"
    )


def pack_command(args: argparse.Namespace) -> dict[str, Any]:
    """Pack a region, tell what came of it, and return the fields of `pack --json`."""
    # Imported here, so that --help does not load PyTorch.
    from tessera_mosaic.pipeline.downstream.field_pack import PackRequest, pack

    request = PackRequest(
        args.store,
        args.out,
        args.region,
        years_of(",".join(args.years)),
        args.ratio,
        args.curve,
        args.buffer,
    )
    with ExitStack() as bars:
        reading = bars.enter_context(progress_bar("reading", "blocks"))
        packing = bars.enter_context(progress_bar("packing", "steps"))
        packed = pack(request, reading, packing)
    if not args.json:
        print_packed(packed)
    return packed.to_json()


def print_packed(packed: Packed) -> None:
    """Print what was packed, and how close it comes at which size."""
    print(
        f"{packed.out}: {packed.vectors:,} vectors of {packed.dims} values on "
        f"{packed.square_kilometres:,.2f} km2 in {len(packed.years)} years, "
        f"{packed.size.bytes:,} bytes"
    )
    print(f"{'times smaller':>13}{'bytes':>13}{'cosine':>9}{'worst 5%':>10}")
    for each in packed.curve:
        print_size(each)
    if packed.core_hours:
        ground = packed.square_kilometres
        print(
            f"made in {packed.core_hours * 3600:,.0f} s of one core: "
            f"{packed.core_hours / ground * 1000:,.1f} core hours for 1,000 km2"
        )


def print_size(size: PackedSize) -> None:
    """Print how close a field comes, and principal components in as many bytes."""
    fidelity = size.fidelity
    print(f"{size.ratio:>13g}{size.bytes:>13,}{fidelity.mean:>9.4f}{fidelity.p5:>10.4f}  the field")
    if size.components is not None:
        fidelity = size.components.fidelity
        print(
            f"{'':>13}{size.components.bytes:>13,}{fidelity.mean:>9.4f}{fidelity.p5:>10.4f}  "
            f"{size.components.name}"
        )
