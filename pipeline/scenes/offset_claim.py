"""What an item says of whether ESA's radiometric offset is in its scene's pixels."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tessera_mosaic.pipeline.scenes.asset_numbers import asset_numbers
from tessera_mosaic.pipeline.scenes.scene import OffsetClaim

FIRST_BASELINE_WITH_OFFSET = 4.0
"""ESA, processing baseline 04.00: digital numbers have been raised."""

LAST_DATE_WITHOUT_OFFSET = "2022-01-25"
"""TESSERA reference: acquisitions after this date are taken to have the offset."""

OFFSET_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
"""Where Element 84 tells whether it has taken the radiometric offset out."""

BASELINES = (
    "s2:processing_baseline",
    "sentinel:processing_baseline",
    "sentinel2:processing_baseline",
    "processing:version",
)
"""Where catalogues tell the processing baseline."""

PRODUCTS = (
    "s2:product_uri",
    "s2:product_id",
    "sentinel:product_id",
    "sentinel2:product_id",
    "title",
    "s2:granule_id",
    "s2:tile_id",
    "s2:datastrip_id",
    "s2:datatake_id",
    "eopf:datastrip_id",
    "eopf:datatake_id",
)
"""Where catalogues tell names of ESA's, which have the processing baseline in them."""

OTHER_BASELINES = 90.0
"""From this number on a baseline is none of ESA's archive: products that users make with Sen2Cor
have 99.99, whatever they are made of."""

_BASELINE = re.compile(r"\s*N?(\d{1,2})\.(\d{1,2})\s*|\s*N?(\d\d)(\d\d)\s*", re.ASCII)
_IN_NAME = re.compile(r"_N(\d\d)\.?(\d\d)(?=_|\.|$)", re.ASCII)


def baseline_number(told: Any) -> float | None:
    """Number of a processing baseline, as catalogues write it; None if it is none.

    Examples
    --------
    >>> [baseline_number(told) for told in ("05.11", "N0511", "5.11", 5.11, "02.05.05")]
    [5.11, 5.11, 5.11, 5.11, None]
    """
    if isinstance(told, bool):
        return None
    if isinstance(told, int | float):
        number = float(told) if abs(told) <= sys.float_info.max else OTHER_BASELINES
    else:
        match = _BASELINE.fullmatch(told) if isinstance(told, str) else None
        if match is None:
            return None
        number = float(f"{match[1] or match[3]}.{match[2] or match[4]}")
    return number if 0 < number < OTHER_BASELINES else None


def baseline_in(names: Iterable[Any]) -> float | None:
    """Number of the processing baseline that stands in the first of some names of ESA's."""
    for name in names:
        if isinstance(name, str) and (match := _IN_NAME.search(name)):
            return baseline_number(f"{match[1]}.{match[2]}")
    return None


def offset_claim(
    name: str,
    date: str,
    properties: Mapping[str, Any],
    assets: Iterable[Any],
    always_kept: bool = False,
) -> OffsetClaim | None:
    """What an item says of the radiometric offset; None for nothing.

    Parameters
    ----------
    name
        Id of the item.
    date
        UTC date of the acquisition, `2024-05-01`.
    properties, assets
        The item's properties, and its assets of spectral bands, as they stand in it.
    always_kept
        Whether the item's collection is known to have the offset in all its pixels.
    """
    told = (baseline_number(properties.get(key)) for key in BASELINES)
    by_property = next((number for number in told if number is not None), None)
    by_name = baseline_in([*(properties.get(key) for key in PRODUCTS), name])
    baseline = by_name if by_property is None else by_property
    which = f"the product id (baseline {baseline:05.2f})" if baseline is not None else ""
    which = which if by_property is None else f"baseline {by_property:05.2f}"
    if baseline is not None and baseline < FIRST_BASELINE_WITH_OFFSET:
        return OffsetClaim(kept=False, by=which, certain=True)
    for key in OFFSET_APPLIED:
        applied = properties.get(key)
        if applied is True:
            return OffsetClaim(kept=False, by=key)
        # Where none is known to have been there, that none was taken out says nothing.
        if applied is False and (baseline is not None or date > LAST_DATE_WITHOUT_OFFSET):
            return OffsetClaim(kept=True, by=key)
    offsets = set(_offsets(assets))
    if any(offset < 0 for offset in offsets):
        return OffsetClaim(kept=True, by="raster:bands")
    if offsets == {0.0}:
        return OffsetClaim(kept=False, by="raster:bands")
    if baseline is not None:
        return OffsetClaim(kept=True, by=which)
    return OffsetClaim(kept=True, by="the collection") if always_kept else None


def _offsets(assets: Iterable[Any]) -> Iterator[float]:
    """Offsets that assets of bands tell.

    One of 0 counts only beside a scale: it is what libraries write where nobody told them.
    """
    for asset in assets:
        for told in asset_numbers(asset):
            if told.offset is not None and (
                told.offset < 0 or (told.offset == 0 and told.scale not in (None, 1.0))
            ):
                yield told.offset
