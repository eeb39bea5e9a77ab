"""The command `stack`: the annual stack of a region as d-pixel arrays."""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from tessera_mosaic.model.observations import S1_BANDS, S2_BANDS
from tessera_mosaic.pipeline.commands.arguments import catalogue_arguments, rule_arguments
from tessera_mosaic.pipeline.errors import BadInput, Corrupt, Gone, Incomplete, Refused
from tessera_mosaic.pipeline.imagery.resample import Kernel
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.scenes import open_catalogue
from tessera_mosaic.pipeline.scenes.scene import check_year
from tessera_mosaic.pipeline.stacks.dpixel_files import write_stack_directory
from tessera_mosaic.pipeline.stacks.losses import Losses, check_losses
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.stacks.read_stack import read_stack
from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule
from tessera_mosaic.pipeline.tiling.lattice import lonlat_bounds
from tessera_mosaic.pipeline.tiling.ownership import region_window, zones_touched
from tessera_mosaic.pipeline.tiling.region import read_region

log = logging.getLogger(__name__)


MOST_BYTES = 8 * 2**30
"""Largest stack that the command makes, as it does so in memory."""


BYTES_A_PIXEL = {"s2": 2 * len(S2_BANDS) + 1, "s1": 2 * len(S1_BANDS)}
"""Bytes of one observation."""


def stack_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the `stack` command."""
    catalogue_arguments(parser)
    parser.add_argument("--region", required=True, help="west,south,east,north or a vector file")
    parser.add_argument("--year", required=True, type=int)
    parser.add_argument("--out", required=True, help="directory for the arrays and stack.json")
    parser.add_argument("--kernel", choices=tuple(Kernel), default=Kernel.BILINEAR)
    rule_arguments(parser)
    parser.set_defaults(offset=OffsetRule.REFERENCE)
    parser.add_argument(
        "--allow-lost-scenes",
        type=int,
        default=0,
        metavar="N",
        help="go on though up to N scenes are gone, damaged or without answer; not where a "
        "provider refuses a credential or asks for patience, however long",
    )


@contextlib.contextmanager
def _final_as_bad_input() -> Iterator[None]:
    """What no further try can help with is bad input; a provider's bad moment is not."""
    try:
        yield
    except (Corrupt, Gone, Incomplete, Refused) as error:
        way_out = " (--allow-lost-scenes N goes on without)" if error.scene else ""
        raise BadInput(f"{error}{way_out}") from None


def stack_command(args: argparse.Namespace) -> dict[str, Any]:
    """Write the annual stack of a region as a d-pixel directory.

    Returns
    -------
    What `stack.json` says.

    Raises
    ------
    BadInput
        If the region spans several zones or has no scenes in that year, or if a scene cannot be
        read for good.
    SceneError
        If a provider cannot be asked now.
    """
    check_year(args.year)
    check_losses(args.allow_lost_scenes)
    region = read_region(args.region)
    zones = zones_touched(region)
    if len(zones) != 1:
        raise BadInput(
            f"region {args.region} spans the UTM zones {', '.join(map(str, zones))}: a stack "
            "lies in one zone, so ask for each part by itself"
        )
    window = region_window(zones[0], region)
    source = open_catalogue(args.catalog, args.allow_host)
    rules = Preprocessing(source.imagery, args.kernel, args.offset, args.s1_mosaic)
    rules.check(source)
    with _final_as_bad_input():
        scenes = source.search(lonlat_bounds(window), args.year)
    if not scenes:
        raise BadInput(
            f"catalogue {source.name} has no scenes of {args.year} over region {args.region}"
        )
    days = {(scene.sensor, scene.date, scene.orbit_state) for scene in scenes}
    size = window.height * window.width * sum(BYTES_A_PIXEL.get(day[0], 0) for day in days)
    if size > MOST_BYTES:
        raise BadInput(
            f"region {args.region} has {window.height:,} x {window.width:,} px and up to "
            f"{len(days)} days, a stack of {size / 2**30:.0f} GiB: ask for at most "
            f"{MOST_BYTES / 2**30:.0f} GiB at a time"
        )
    make_directory(args.out)
    losses = Losses(args.allow_lost_scenes)
    with _final_as_bad_input(), contextlib.closing(SceneReader(source)) as reader:
        annual = read_stack(window, scenes, rules, reader, losses)
    description = {
        "crs": window.crs,
        "transform": list(window.transform),
        "shape": list(window.shape),
        "year": args.year,
        "catalog": source.name,
        "rules": {"imagery": rules.imagery, **rules.identity()},
        "dates": list(annual.dates),
        "ascending_dates": list(annual.ascending_dates),
        "descending_dates": list(annual.descending_dates),
        "scenes": {
            "used": list(annual.used),
            "unused": [{"id": name, "reason": why} for name, why in annual.unused],
        },
    }
    write_stack_directory(args.out, annual.stack, description)
    if not args.json:
        print(
            f"{args.out}: {window.height} x {window.width} px, {len(annual.dates)} days of "
            f"Sentinel-2, {len(annual.ascending_dates)} ascending and "
            f"{len(annual.descending_dates)} descending passes of Sentinel-1, from "
            f"{len(annual.used)} of {len(scenes)} scenes"
        )
    return description
