"""The command `stack`: the annual stack of a region as d-pixel arrays."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import (
    catalogue_arguments,
    loss_arguments,
    rule_arguments,
)
from tessera_mosaic.pipeline.commands.contract import Contract, Material
from tessera_mosaic.pipeline.imagery.resample import Kernel
from tessera_mosaic.pipeline.scenes.sensors import told_absent
from tessera_mosaic.pipeline.stacks.read_stack import StackRequest, write_stack
from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule

CONTRACT = Contract(
    costs="reads a year of scenes over the region, which has to fit into memory",
    takes={"catalog": Material.CATALOGUE},
    gives={"out": Material.DPIXELS},
    needs=("the region lies in one UTM zone",),
    lasting=("arrays of the same names in `out` are replaced",),
    requests=(StackRequest,),
)


def stack_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stack`."""
    catalogue_arguments(parser)
    parser.add_argument("--region", required=True, help="west,south,east,north or a vector file")
    parser.add_argument("--year", required=True, type=int)
    parser.add_argument("--out", required=True, help="directory for the arrays and stack.json")
    parser.add_argument("--kernel", choices=tuple(Kernel), default=Kernel.BILINEAR)
    rule_arguments(parser)
    parser.set_defaults(offset=OffsetRule.EVIDENCE)
    loss_arguments(parser)


def stack_command(args: argparse.Namespace) -> dict[str, Any]:
    """Write the annual stack of a region, tell, and return what `stack.json` says."""
    request = StackRequest(
        args.catalog,
        args.region,
        args.year,
        args.kernel,
        args.offset,
        args.s1_mosaic,
        args.allow_lost_scenes,
        tuple(args.allow_host),
        args.allow_lost_sensor,
    )
    made = write_stack(request, args.out)
    if not args.json:
        annual, (height, width) = made.annual, made.window.shape
        print(
            f"{args.out}: {height} x {width} px, {len(annual.dates)} days of Sentinel-2, "
            f"{len(annual.ascending_dates)} ascending and {len(annual.descending_dates)} "
            f"descending passes of Sentinel-1, from {len(annual.used)} of "
            f"{len(annual.used) + len(annual.unused)} scenes"
        )
        if told := told_absent(made.absent_sensors):
            print(told)
    return made.description()
