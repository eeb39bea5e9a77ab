"""Boxes in degrees."""

from __future__ import annotations

import math
from collections.abc import Iterator

TURNS = (-360.0, 0.0, 360.0)
"""Longitudes that differ by these are the same."""

Box = tuple[float, float, float, float]
"""West, south, east and north in degrees."""


def padded(bounds: Box) -> Box:
    """A box with room for what corners in degrees do not tell of edges that are straight in UTM.

    A 250 km edge at 80 degrees bulges by 0.06 degrees of latitude beyond its ends.
    """
    west, south, east, north = bounds
    pad = 0.1
    across = pad / max(math.cos(math.radians(max(abs(south), abs(north)) + pad)), 0.01)
    return west - across, max(south - pad, -90.0), east + across, min(north + pad, 90.0)


def touches(bbox: Box, bounds: Box) -> bool:
    """Whether two boxes in degrees share ground, also across the antimeridian."""
    if bbox[3] < bounds[1] or bbox[1] > bounds[3]:
        return False
    return any(
        west <= other_east and other_west <= east
        for west, east in spans(bbox)
        for other_west, other_east in spans(bounds)
    )


def spans(box: Box) -> Iterator[tuple[float, float]]:
    """A box's longitudes, west to east, as spans within -180 to 180."""
    west, _, east, _ = box
    if east < west:
        east += 360.0
    if east - west >= 360.0:
        yield -180.0, 180.0
        return
    turn = 360.0 * ((west + 180.0) // 360.0)
    west, east = west - turn, east - turn
    yield west, min(east, 180.0)
    if east > 180.0:
        yield -180.0, east - 360.0
