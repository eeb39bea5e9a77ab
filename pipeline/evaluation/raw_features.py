"""Features from the observations alone, to set embeddings beside."""

from __future__ import annotations

import datetime as dt

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.observations import Stack

MONTHS = range(2, 10)
"""Whose medians are the raw features: February to September, a northern season."""

Features = NDArray[np.float32]
"""Vectors of pixels, one value a column."""


def monthly_medians(stack: Stack, year: int) -> Features:
    """What the pixels look like without an encoder: medians of each month's valid observations.

    Parameters
    ----------
    stack
        Annual stack of a block.
    year
        Calendar year of the stack.

    Returns
    -------
    float32 (H, W, 96): 10 bands of Sentinel-2 and 2 of Sentinel-1, both directions together, of
    8 months; NaN where a month has none.
    """
    optical = np.where(stack.masks[..., None] != 0, stack.bands.astype(np.float32), np.nan)
    radar = np.concatenate([stack.sar_ascending, stack.sar_descending]).astype(np.float32)
    radar[radar == 0] = np.nan
    radar_days = np.concatenate([stack.sar_ascending_doy, stack.sar_descending_doy])
    layers = []
    for month in MONTHS:
        for series, days in ((optical, stack.doys), (radar, radar_days)):
            layers.append(_median(series[_months(days, year) == month]))
    return np.concatenate(layers, axis=-1)


def _months(days: NDArray[np.integer], year: int) -> NDArray[np.int64]:
    first = dt.date(year, 1, 1)
    return np.array([(first + dt.timedelta(int(day) - 1)).month for day in days], np.int64)


def _median(series: Features) -> Features:
    """Median over the first axis of what is not NaN; NaN where nothing is left."""
    ordered = np.sort(series, axis=0)
    count = np.isfinite(ordered).sum(axis=0)
    if not len(series):
        return np.full(series.shape[1:], np.nan, np.float32)
    low, high = (np.maximum(count - 1, 0) // 2, np.maximum(count, 1) // 2)
    high = np.minimum(high, np.maximum(count - 1, 0))
    ends = [np.take_along_axis(ordered, at[None], axis=0)[0] for at in (low, high)]
    return np.where(count > 0, (ends[0] + ends[1]) / 2, np.nan).astype(np.float32)


def fill_gaps(features: Features) -> Features:
    """Put each column's median in the place of NaN; a column without any number becomes 0."""
    known = np.isfinite(features)
    middle = [np.median(c[k]) if k.any() else 0.0 for c, k in zip(features.T, known.T, strict=True)]
    return np.where(known, features, np.array(middle, np.float32))
