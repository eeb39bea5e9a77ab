"""The annual stack of a block: every observation of every pixel in one year."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from model.observations import S1_BANDS, S2_BANDS
from pipeline.block import AnnualStack, Block, Losses, check_losses
from pipeline.dpixels import cut_stack, make_directory, write_stack_directory
from pipeline.errors import BadInput, Corrupt, Gone, Incomplete, Refused
from pipeline.grid import Window, lonlat_bounds
from pipeline.ownership import region_window, zones_touched
from pipeline.passes import check_year
from pipeline.rasters import Reader
from pipeline.region import read_region
from pipeline.resample import KERNELS
from pipeline.rules import Rules, rule_arguments
from pipeline.scenes import Scene, catalogue_arguments, open_catalogue

__all__ = ["AnnualStack", "Losses", "Rules", "read_stack", "stack_arguments", "stack_command"]


def read_stack(
    window: Window,
    scenes: Sequence[Scene],
    rules: Rules,
    reader: Reader,
    losses: Losses | None = None,
) -> AnnualStack:
    """Read the annual stack of a block.

    Days and passes without one observation in the block are left out: what is masked never
    becomes a token.

    Parameters
    ----------
    window
        The block.
    scenes
        Of one year, in any order.
    rules
        How pixels become observations.
    reader
        Of the catalogue that the scenes are from.
    losses
        Takes the scenes that cannot be read; by default none may be lost.

    Raises
    ------
    SceneError
        If a scene that touches the block cannot be read and may not be lost.
    """
    if any(scene.sensor == "dpixels" for scene in scenes):
        return _read_dpixels(window, scenes)
    kept = next((scene.id for scene in scenes if scene.offset == "kept"), None)
    if kept:
        rules.check_kept(f"scenes such as {kept}")
    return Block(window, rules, reader, Losses() if losses is None else losses).read(scenes)


def _read_dpixels(window: Window, scenes: Sequence[Scene]) -> AnnualStack:
    """Read a block from d-pixel directories, which stand in for scenes."""
    stack = cut_stack(window, [scene.asset("stack") for scene in scenes])
    first_day = dt.date(int(scenes[0].datetime[:4]), 1, 1)

    def dates(doys: NDArray[Any]) -> tuple[str, ...]:
        return tuple(str(first_day + dt.timedelta(int(doy) - 1)) for doy in doys)

    return AnnualStack(
        stack,
        dates(stack.doys),
        dates(stack.sar_ascending_doy),
        dates(stack.sar_descending_doy),
        tuple(sorted(scene.id for scene in scenes)),
        (),
    )


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
    parser.add_argument("--kernel", choices=tuple(KERNELS), default="bilinear")
    rule_arguments(parser)
    parser.set_defaults(offset="reference")
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
    rules = Rules(source.imagery, args.kernel, args.offset, args.s1_mosaic)
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
    with _final_as_bad_input(), contextlib.closing(Reader(source)) as reader:
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
