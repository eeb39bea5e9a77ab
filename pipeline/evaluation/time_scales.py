"""Errors over days, weeks, months, seasons, years and places, where rows have times.

A mean counts where at least half of its span was measured: 12 hours of a day, 4 days of a week, 15
of a month, 183 of a year. These are the rules that FLUXtrapolation (arXiv 2605.19812) describes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.evaluation.environments import Rows

DAY, YEAR = 86_400.0, 365.0
"""Seconds of a day, and days of a year."""

FEWEST_YEARS = 2
"""Years that a day of the year was measured in, before it has a seasonal mean."""

MONDAY = 3
"""Days from the Monday before 1970-01-01 to it."""


class Scale(StrEnum):
    """Over which time errors are taken."""

    ROWS = "rows"
    """Rows as they are."""
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    SEASONAL = "seasonal"
    """Means of a day of the year over the years of a place."""
    ANOMALY = "anomaly"
    """Days less their seasonal mean."""
    INTERANNUAL = "iav"
    """Means of years less the mean of the place."""
    SPATIAL = "spatial"
    """Means of places."""

    @property
    def of_places(self) -> bool:
        """Whether errors are told of places, whatever the environments are."""
        return self in (Scale.SEASONAL, Scale.ANOMALY, Scale.INTERANNUAL, Scale.SPATIAL)


SPANS = {Scale.DAILY: 1.0, Scale.WEEKLY: 7.0, Scale.MONTHLY: 30.0, Scale.INTERANNUAL: YEAR}
"""Days of the spans that rows are averaged over."""


@dataclass(frozen=True)
class Series:
    """What was measured and told, group by group.

    Parameters
    ----------
    group : int64 (N,)
        Number of the environment or place.
    day : datetime64[D] (N,)
        When.
    values : float64 (N, 2)
        What was measured, and what was told.
    step
        Days from one to the next.
    """

    group: NDArray[np.int64]
    day: NDArray[np.datetime64]
    values: NDArray[np.float64]
    step: float

    @property
    def wrong(self) -> NDArray[np.float64]:
        """What was told minus what was measured: (N,)."""
        return self.values[:, 1] - self.values[:, 0]

    def means(self, key: NDArray[np.int64], fewest: int) -> Series:
        """Means of what has a key together in a group, where there are at least so many."""
        each, first, of, counts = np.unique(
            np.stack([self.group, key], axis=1),
            axis=0,
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        sums = [np.bincount(of.ravel(), column, len(each)) for column in self.values.T]
        means = np.stack(sums, axis=1) / counts[:, None]
        kept = counts >= fewest
        return Series(each[kept, 0], self.day[first][kept], means[kept], self.step)

    def less(self, key: NDArray[np.int64], fewest: int) -> Series:
        """Values less such a mean; those without one are left out."""
        _, of, counts = np.unique(
            np.stack([self.group, key], axis=1), axis=0, return_inverse=True, return_counts=True
        )
        of = of.ravel()
        sums = [np.bincount(of, column, len(counts)) for column in self.values.T]
        beyond = self.values - (np.stack(sums, axis=1) / counts[:, None])[of]
        kept = counts[of] >= fewest
        return Series(self.group[kept], self.day[kept], beyond[kept], self.step)


def scales_of(rows: Rows) -> tuple[Scale, ...]:
    """The scales that rows can be looked at on, beside the rows themselves.

    Parameters
    ----------
    rows
        The rows; with a year alone, means of years and of places are left.
    """
    places = (Scale.INTERANNUAL, Scale.SPATIAL) if rows.has_places else ()
    if rows.time is None:
        several = rows.year is not None and len(np.unique(rows.year)) > 1
        return places if several else ()
    step = _step(rows)
    spans = [scale for scale in (Scale.DAILY, Scale.WEEKLY, Scale.MONTHLY) if SPANS[scale] >= step]
    seasons = (Scale.SEASONAL, Scale.ANOMALY) if rows.has_places and step <= 1 else ()
    return (*spans, *seasons, *places)


def on_scale(rows: Rows, told: NDArray[np.float64], scale: Scale) -> Series:
    """What was measured and told, on a scale.

    Rows that were filled in count as rows alone, as in FLUXtrapolation.

    Parameters
    ----------
    rows
        The rows that were told of.
    told : float64 (P,)
        What was told of them.
    scale
        `rows`, or one of `scales_of`.

    Returns
    -------
    Series
        Groups are numbers of places where `scale.of_places`, otherwise of environments.
    """
    pair = np.stack([rows.target, told], axis=1)
    if scale is Scale.ROWS:
        group = rows.environment.astype(np.int64)
        return Series(group, np.zeros(len(rows), "datetime64[D]"), pair, 0.0)
    series = _days(rows, pair, scale)
    nothing = np.zeros(len(series.group), np.int64)
    if scale is Scale.SPATIAL:
        return series.means(nothing, 1)
    if scale in (Scale.SEASONAL, Scale.ANOMALY):
        of_year = (series.day - series.day.astype("datetime64[Y]")).astype(np.int64)
        by = series.means if scale is Scale.SEASONAL else series.less
        return by(of_year, FEWEST_YEARS)
    number = series.day.astype(np.int64)
    if scale is Scale.WEEKLY:
        number = (number + MONDAY) // 7
    elif scale is not Scale.DAILY:
        unit = "M" if scale is Scale.MONTHLY else "Y"
        number = series.day.astype(f"datetime64[{unit}]").astype(np.int64)
    series = series.means(number, _half(SPANS[scale] / series.step))
    if scale is Scale.INTERANNUAL:
        return series.less(np.zeros(len(series.group), np.int64), FEWEST_YEARS)
    return series


def _days(rows: Rows, pair: NDArray[np.float64], scale: Scale) -> Series:
    """Days of what was measured; where rows lie farther apart, they as they are."""
    group = (rows.place if scale.of_places and rows.has_places else rows.environment)[rows.measured]
    step, when = YEAR, _years(rows.year)
    if rows.time is not None:
        step, when = _step(rows), rows.time.astype("datetime64[D]")
    found = Series(group.astype(np.int64), when[rows.measured], pair[rows.measured], max(step, 1.0))
    if step < 1:
        return found.means(found.day.astype(np.int64), _half(1 / step))
    return found


def _years(year: NDArray[np.int32] | None) -> NDArray[Any]:
    """First days of calendar years."""
    assert year is not None
    return (year.astype(np.int64) - 1970).astype("datetime64[Y]").astype("datetime64[D]")


def _half(count: float) -> int:
    """Half of a whole number of steps, at least one: 12 of 24, 4 of 7, 15 of 30, 183 of 365."""
    return max(-(-round(count) // 2), 1)


def _step(rows: Rows) -> float:
    """Days between rows of a place that follow one another, as most do."""
    assert rows.time is not None
    group = rows.place if rows.has_places else rows.environment
    order = np.lexsort((rows.time, group))
    seconds = np.diff(rows.time[order].astype("datetime64[s]").astype(np.int64))
    apart = seconds[(np.diff(group[order]) == 0) & (seconds > 0)]
    return float(np.median(apart)) / DAY if len(apart) else YEAR
