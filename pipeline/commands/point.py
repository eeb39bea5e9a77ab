"""The command `point`: one pixel of a mosaic."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

from tessera_mosaic.pipeline.commands.contract import MADE, Contract
from tessera_mosaic.pipeline.contracts.state import Kind

A_LINE = 8
"""Values of a vector that are printed in a line."""

CONTRACT = Contract(
    costs="reads one chunk of codes, and the record of its tile",
    takes={"store": Kind.MOSAIC},
    needs=(MADE,),
    tells=("year", "zone", "tile", "x", "y", "vector", "why"),
    requests=("PointRequest",),
)


def point_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `point`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument("--year", type=int, help="calendar year (the newest made)")
    parser.add_argument("lon", type=float, metavar="LON", help="longitude in degrees")
    parser.add_argument("lat", type=float, metavar="LAT", help="latitude in degrees")


def point_command(args: argparse.Namespace) -> dict[str, Any]:
    """Tell what a mosaic holds at a place, and return the fields of `point --json`."""
    # Imported here, so that --help does not load it.
    from tessera_mosaic.pipeline.downstream.point import PointRequest, point
    from tessera_mosaic.pipeline.publishing.drawing import COUNTED
    from tessera_mosaic.pipeline.tiling.lattice import zone_crs

    found = point(PointRequest(args.store, args.lon, args.lat, args.year))
    if args.json:
        return found.to_json()
    print(
        f"{found.lon:g} E, {found.lat:g} N in {found.year}: pixel at {found.x:.0f}, {found.y:.0f} "
        f"of {zone_crs(found.zone)}" + (f", tile {found.tile}" if found.tile else "")
    )
    for name, count in found.observations.items():
        print(f"  {COUNTED[name][0]}: {count} observations")
    if found.vector is None:
        print(f"  no embedding: {found.why}")
    else:
        print(f"  embedding of {len(found.vector)} values, scale {found.scale:.6g}:")
        for start in range(0, len(found.vector), A_LINE):
            print("   " + "".join(f"{value:10.4f}" for value in found.vector[start:][:A_LINE]))
    if found.scenes_used:
        print(f"  the tile was made from {len(found.scenes_used)} scenes:")
        for scene in found.scenes_used:
            print(f"    {scene}")
    for why, count in Counter(reason for _, reason in found.scenes_unused).items():
        print(f"  {count} scenes were not used: {why}")
    for scene, _, message in found.scenes_lost:
        print(f"  {scene} could not be read: {message}")
    return found.to_json()
