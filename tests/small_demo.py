"""A demo of a land of 64 px a side, which several tests look at."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tessera_mosaic.pipeline.commands import demo_steps as demo
from tessera_mosaic.pipeline.tiling.lattice import window_of_bounds

WEST = replace(demo.GRANULES[0], west=499_680, north=5_632_320, height=64, width=48)
EAST = replace(demo.GRANULES[1], west=499_980, north=5_632_320, height=64, width=34)

SMALL = demo.Land(
    replace(demo.LAND.archive, footprints=(WEST, EAST), s2_days=8, s1_days=6),
    window_of_bounds(31, (499_680, 5_631_680, 500_320, 5_632_320)),
)
"""A land of 64 px a side, with few passes."""


@dataclass(frozen=True)
class SmallDemo:
    """A demo that was made.

    Parameters
    ----------
    folder
        Where it lies.
    result
        What it came to.
    told
        What it printed.
    """

    folder: Path
    result: dict[str, Any]
    told: str


def make_small_demo(folder: Path) -> SmallDemo:
    """Make the small demo, and keep what it prints."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        result = demo.make_demo(folder, SMALL, quiet=False)
    return SmallDemo(folder, result, told.getvalue())
