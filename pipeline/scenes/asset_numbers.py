"""What is said of the numbers of a raster: their unit, and how they are to be scaled and shifted.

Items say it of their assets, by the raster extension or as STAC 1.1 has it; files say it of
themselves.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

OTHER_UNITS = re.compile(r"(?:^|[^a-z])(?:db|decibels?|amplitude)(?:[^a-z]|$)", re.IGNORECASE)
"""Units that are none of linear power."""

WANTED = "and linear power is wanted (gamma nought)"


@dataclass(frozen=True)
class Numbers:
    """What is said of a raster's numbers.

    Parameters
    ----------
    unit
        Their unit, empty where nothing is said.
    scale, offset
        What they are to be multiplied by, and what is to be added then; None where nothing is said.
    """

    unit: str = ""
    scale: float | None = None
    offset: float | None = None


def asset_numbers(asset: Any) -> Iterator[Numbers]:
    """What an item's asset says of its numbers, in each place where it may.

    Parameters
    ----------
    asset
        The asset as it stands in the item; whatever is no asset says nothing.
    """
    if not isinstance(asset, Mapping):
        return
    parts = [asset]
    for key in ("raster:bands", "bands"):
        bands = asset.get(key)
        parts += [band for band in (bands if isinstance(bands, list) else ())[:1]]
    for part in parts:
        if isinstance(part, Mapping):
            unit = part.get("raster:unit", part.get("unit"))
            yield Numbers(
                unit[:40] if isinstance(unit, str) else "",
                _number(part, "scale"),
                _number(part, "offset"),
            )


def why_no_power(numbers: Numbers) -> str:
    """Why a raster of Sentinel-1 is not in linear power, by what is said of it; empty if it may be.

    Examples
    --------
    >>> why_no_power(Numbers(unit="dB"))
    'its unit is dB, and linear power is wanted (gamma nought)'
    >>> why_no_power(Numbers(unit="1", scale=1.0, offset=0.0))
    ''
    """
    if OTHER_UNITS.search(numbers.unit):
        return f"its unit is {numbers.unit.strip()}, {WANTED}"
    scale = 1.0 if numbers.scale is None else numbers.scale
    offset = 0.0 if numbers.offset is None else numbers.offset
    if scale != 1.0 or offset != 0.0:
        return f"its numbers are scaled by {scale:g} and shifted by {offset:g}, {WANTED}"
    return ""


def why_no_powers(assets: Iterable[Any]) -> str:
    """Why some asset of an item of Sentinel-1 is not in linear power; empty if all may be."""
    whys = (why_no_power(numbers) for asset in assets for numbers in asset_numbers(asset))
    return next(filter(None, whys), "")


def _number(part: Mapping[str, Any], key: str) -> float | None:
    value = part.get(f"raster:{key}", part.get(key))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) <= sys.float_info.max else None
    return None
