"""Which windows of a mosaic's zones a region is, and what to say where there is nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, has_shards, listed_tiles
from tessera_mosaic.pipeline.mosaic.foreign import ForeignMosaic
from tessera_mosaic.pipeline.tiling.boxes import Box
from tessera_mosaic.pipeline.tiling.lattice import Window, lonlat_bounds
from tessera_mosaic.pipeline.tiling.ownership import region_window, zones_touched

MOST_TOLD = 5
"""Zones of which a message says where something lies."""


def windows_of(mosaic: AnyMosaic, region: BaseGeometry, what: str = "region") -> list[Window]:
    """The smallest windows that hold what each zone of a mosaic owns of a region.

    Parameters
    ----------
    mosaic
        The mosaic.
    region
        Polygon or MultiPolygon in degrees.
    what
        What a message calls it.

    Raises
    ------
    BadInput
        If the mosaic has no zone that owns ground of the region.
    """
    touched = zones_touched(region)
    windows = [region_window(zone, region) for zone in touched if zone in mosaic.zones]
    windows = [window for window in windows if window.height and window.width]
    if not windows:
        raise BadInput(
            f"{mosaic.storage.url} has no zone that owns ground of this {what}, which lies "
            f"in {listed_zones(touched)}: it has {listed_zones(mosaic.zones)}"
        )
    return windows


def check_something(
    mosaic: AnyMosaic, windows: Sequence[Window], year: int, what: str = "region"
) -> None:
    """Refuse windows on which no shard of a year lies.

    Parameters
    ----------
    mosaic, windows, year
        The mosaic, windows of its zones, and the calendar year.
    what
        What a message calls the windows.

    Raises
    ------
    BadInput
        Saying where there is something.
    """
    if not has_shards(mosaic, windows, year):
        raise nothing_of(mosaic, year, what)


def nothing_of(mosaic: AnyMosaic, year: int, what: str = "region") -> BadInput:
    """The error that a mosaic has nothing of a year in a region, saying where it has some."""
    return BadInput(
        f"{mosaic.storage.url} has nothing of {year} in this {what}{_told(mosaic, year)}"
    )


def newest_year(mosaic: AnyMosaic, windows: Sequence[Window]) -> int:
    """The newest calendar year of which there is something on some windows.

    Where there are no windows, or there is nothing of any year, it is the newest that was made.

    Raises
    ------
    BadInput
        If no year was made.
    """
    years = sorted(mosaic.years_made())
    if not years:
        raise BadInput(f"{mosaic.storage.url} has no year yet that was made")
    found = (year for year in reversed(years) if windows and has_shards(mosaic, windows, year))
    return next(found, years[-1])


def made_windows(mosaic: AnyMosaic, year: int) -> dict[int, Window]:
    """Windows around the shards of a year, by zone; empty where nobody can tell."""
    if isinstance(mosaic, ForeignMosaic):
        return {}
    side, windows = mosaic.layout.side, {}
    for zone in mosaic.zones:
        try:
            tiles = listed_tiles(mosaic, zone, year)
        except StoreError:
            return {}
        if tiles:
            at = np.array([(tile.row, tile.col) for tile in tiles])
            (top, left), (bottom, right) = at.min(axis=0), at.max(axis=0) + 1
            size = int(bottom - top) * side, int(right - left) * side
            windows[zone] = Window(zone, int(top) * side, int(left) * side, *size)
    return windows


def listed_zones(zones: Sequence[int]) -> str:
    """Zones for a message."""
    numbers = ", ".join(map(str, zones))
    return f"zone {numbers}" if len(zones) == 1 else f"the zones {numbers}"


def _told(mosaic: AnyMosaic, year: int) -> str:
    """Where there is something of a year, as the end of a sentence."""
    made: dict[int, Box] = {
        zone: lonlat_bounds(window) for zone, window in made_windows(mosaic, year).items()
    }
    boxes = [
        f"{','.join(f'{edge:.2f}' for edge in box)} (zone {zone})" for zone, box in made.items()
    ]
    more = f" and {len(boxes) - MOST_TOLD} more zones" if len(boxes) > MOST_TOLD else ""
    return f": what was made lies within {', '.join(boxes[:MOST_TOLD])}{more}" * bool(boxes)
