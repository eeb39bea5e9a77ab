"""Areas, accuracies, means and totals that a stratified random sample of pixels tells.

The estimators are those of Cochran (1977), Sampling Techniques, chapter 5, in the form of Olofsson
et al. (2014), Remote Sensing of Environment 148, 42-57, and, where strata are not the map's
classes, of Stehman (2014), International Journal of Remote Sensing 35, 4923-4939. Standard errors
have the correction for finite populations; intervals are those of `intervals`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.intervals import (
    CONFIDENCE,
    normal_quantile,
    ratio_limits,
    share_limits,
    student_quantile,
)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


AT_ONCE = 2048
"""Shares that are estimated at once: some bytes for each and every point and stratum."""


@dataclass(frozen=True)
class Estimate:
    """An estimate with what is known of its error.

    Parameters
    ----------
    value
        The estimate; NaN where the sample says nothing.
    standard_error
        Its standard error, in the unit of the value.
    low, high
        Limits of its confidence interval.
    """

    value: float
    standard_error: float
    low: float
    high: float

    def times(self, factor: float) -> Estimate:
        """The estimate in another unit, such as a share of an area in hectares."""
        return Estimate(
            self.value * factor, self.standard_error * factor, self.low * factor, self.high * factor
        )

    def plus(self, offset: float) -> Estimate:
        """The estimate moved by what is known exactly."""
        return Estimate(
            self.value + offset, self.standard_error, self.low + offset, self.high + offset
        )


@dataclass(frozen=True)
class Sample:
    """A stratified random sample: of each stratum a simple one, drawn without putting back.

    Parameters
    ----------
    stratum : int (points,)
        Number of each point's stratum, counted from 0.
    pixels : int64 (strata,)
        Number of pixels of each stratum in the population.
    areas : float64 (strata,)
        Ground of each stratum in any unit; by default its pixels count.

    Raises
    ------
    BadInput
        If a stratum has pixels and no point, or more points than pixels.

    Examples
    --------
    >>> sample = Sample(np.array([0, 0, 0, 1, 1]), np.array([300, 100]))
    >>> sample.weights.tolist(), sample.points.tolist()
    ([0.75, 0.25], [3, 2])
    """

    stratum: NDArray[np.int64]
    pixels: NDArray[np.int64]
    areas: Floats = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if not len(self.areas):
            object.__setattr__(self, "areas", self.pixels.astype(np.float64))
        if np.any((self.points == 0) & (self.pixels > 0)):
            raise BadInput("a stratum has pixels and no point: nothing can be said of it")
        if np.any(self.points > self.pixels):
            raise BadInput("a stratum has more points than pixels")

    @property
    def points(self) -> NDArray[np.int64]:
        """Number of points of each stratum, int64 (strata,)."""
        return np.bincount(self.stratum, minlength=len(self.pixels))

    @property
    def weights(self) -> Floats:
        """Share of each stratum in the population's ground, float64 (strata,); their sum is 1."""
        return np.asarray(self.areas / self.areas.sum(), np.float64)

    @property
    def inclusion(self) -> Floats:
        """Probability with which a pixel of each stratum is in the sample, float64 (strata,)."""
        return self.points / np.maximum(self.pixels, 1)

    @property
    def point_weights(self) -> Floats:
        """Share of the population's ground that each point stands for, float64 (points,)."""
        return (self.weights / np.maximum(self.points, 1))[self.stratum]

    def means(self, values: NDArray[np.generic]) -> Floats:
        """Means of the strata: (..., points) to float64 (..., strata), 0 without points."""
        given = np.asarray(values, np.float64)
        sums = np.zeros((*given.shape[:-1], len(self.pixels)))
        for stratum in range(len(self.pixels)):
            sums[..., stratum] = given[..., self.stratum == stratum].sum(axis=-1)
        return sums / np.maximum(self.points, 1)

    def covariance(self, one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
        """Covariance of the estimated means of two variables, (points,) each."""
        x, y = np.asarray(one, np.float64), np.asarray(other, np.float64)
        within = self.means(x * y) - self.means(x) * self.means(y)
        n = self.points
        open_share = 1.0 - self.inclusion
        parts = self.weights**2 * open_share * within / np.maximum(n - 1, 1)
        return float(parts[n > 0].sum())


def shares(
    sample: Sample,
    hits: Flags,
    possible: Flags | None = None,
    confidence: float = CONFIDENCE,
) -> list[Estimate]:
    """Shares of the population's ground that have each of what is asked for.

    Parameters
    ----------
    sample
        The sample.
    hits : bool (asked, points)
        Which points have it, for each question.
    possible : bool (asked, strata)
        Strata that can have it; all by default.
    confidence
        Probability that each interval holds the truth.

    Examples
    --------
    >>> sample = Sample(np.repeat([0, 1], [40, 10]), np.array([8_000, 2_000]))
    >>> wheat, other = shares(sample, np.stack([np.arange(50) < 30, np.arange(50) >= 30]))
    >>> round(wheat.value, 2), round(wheat.low, 2), round(wheat.high, 2), round(other.value, 2)
    (0.6, 0.47, 0.69, 0.4)
    """
    found = []
    for first in range(0, len(hits), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        means = sample.means(hits[some])
        weights = np.broadcast_to(sample.weights, means.shape)
        if possible is not None:
            weights = weights * possible[some]
        low, high = share_limits(means, sample.points, sample.pixels, weights, confidence)
        n = np.maximum(sample.points - 1, 1)
        variances = sample.weights**2 * (1.0 - sample.inclusion) * means * (1.0 - means) / n
        errors = np.sqrt(variances.sum(axis=-1))
        columns = ((weights * means).sum(axis=-1), errors, low, high)
        found += [Estimate(*(float(part) for part in each)) for each in zip(*columns, strict=True)]
    return found


def share(sample: Sample, hit: Flags, confidence: float = CONFIDENCE) -> Estimate:
    """Share of the population's ground that has what is asked for; see `shares`."""
    return shares(sample, np.asarray(hit)[None], None, confidence)[0]


def ratio(
    sample: Sample,
    part: Flags,
    whole: Flags,
    possible: tuple[Flags, Flags] | None = None,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Share of some ground, itself estimated, that has what is asked for: Stehman's ratio.

    Parameters
    ----------
    sample
        The sample.
    part : bool (points,)
        Points of that ground that have it.
    whole : bool (points,)
        All points of that ground.
    possible
        Strata that can have the part, and strata that can have the rest: bool (strata,) each. All
        by default.
    confidence
        Probability that the interval holds the truth.

    Returns
    -------
    Estimate
        NaN between 0 and 1 where no point is of that ground.

    Examples
    --------
    >>> sample = Sample(np.zeros(50, int), np.array([10_000]))
    >>> found = ratio(sample, np.arange(50) < 18, np.arange(50) < 20)
    >>> round(found.value, 2), round(found.low, 2), round(found.high, 2)
    (0.9, 0.68, 0.98)
    """
    rest = whole & ~part
    may = None if possible is None else np.stack(possible)
    first, second = shares(sample, np.stack([part, rest]), may, confidence)
    ground = first.value + second.value
    if ground <= 0:
        return Estimate(math.nan, math.nan, 0.0, 1.0)
    value = first.value / ground
    errors = first.standard_error * second.standard_error
    correlation = sample.covariance(part, rest) / errors if errors else 0.0
    low, high = ratio_limits(
        (first.value, first.low, first.high), (second.value, second.low, second.high), correlation
    )
    residual = part - value * whole
    error = math.sqrt(max(sample.covariance(residual, residual), 0.0)) / ground
    return Estimate(value, error, low, high)


def mean(
    sample: Sample,
    values: Floats,
    spread: float = 0.0,
    possible: Flags | None = None,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Mean of a value over the population's ground.

    Parameters
    ----------
    sample
        The sample, with two points in each stratum that is not in it whole.
    values : float64 (points,)
        Value of each point, in any unit.
    spread
        How far apart values can lie. Where all points of a stratum have the same value, as much of
        it as could have stayed unseen is taken to lie so far from that.
    possible : bool (strata,)
        Strata in which values can differ; all by default.
    confidence
        Probability that the interval holds the truth.

    Returns
    -------
    Estimate
        With an interval by Student's distribution, with the degrees of freedom of Satterthwaite
        (1946), Biometrics Bulletin 2, 110-114.

    Raises
    ------
    BadInput
        If a stratum has one point and more pixels.

    Examples
    --------
    >>> sample = Sample(np.zeros(4, int), np.array([1_000_000]))
    >>> biomass = mean(sample, np.array([10.0, 12.0, 9.0, 13.0]))
    >>> round(biomass.value, 1), round(biomass.low, 1), round(biomass.high, 1)
    (11.0, 8.1, 13.9)
    """
    n, of = sample.points, sample.pixels
    partly = (n < of) & (n > 0)
    if possible is not None:
        partly &= possible
    if np.any(partly & (n < 2)):
        raise BadInput("a stratum has one point, and two are needed to know how it varies")
    means = sample.means(values)
    variances = sample.means((values - means[sample.stratum]) ** 2) * n / np.maximum(n - 1, 1)
    unseen = normal_quantile(confidence) ** 2 / (n + normal_quantile(confidence) ** 2)
    farthest = max(spread, float(np.ptp(values)))
    lowest, highest = np.full(len(n), np.inf), np.full(len(n), -np.inf)
    np.minimum.at(lowest, sample.stratum, values)
    np.maximum.at(highest, sample.stratum, values)
    same = lowest >= highest
    variances = np.where(same, farthest**2 * unseen * (1.0 - unseen), variances)
    parts = np.where(
        partly, sample.weights**2 * (1.0 - sample.inclusion) * variances / np.maximum(n, 1), 0.0
    )
    error = math.sqrt(parts.sum())
    value = float((sample.weights * means).sum())
    if error == 0:
        return Estimate(value, 0.0, value, value)
    degrees = parts.sum() ** 2 / (parts[partly] ** 2 / (n[partly] - 1)).sum()
    half = student_quantile(degrees, confidence) * error
    return Estimate(value, error, value - half, value + half)


def covering_distance(
    residuals: Floats, weights: Floats, confidence: float = CONFIDENCE
) -> float | None:
    """How far from the map a pixel's true value lies at most, with a probability.

    Parameters
    ----------
    residuals : float64 (points,)
        True value less mapped value of each point.
    weights : float64 (points,)
        Ground that each point stands for, in any unit.
    confidence
        The probability, over the drawing of the sample and of one pixel more.

    Returns
    -------
    float or None
        Distance in the unit of the residuals; None where the points are too few to tell.

    References
    ----------
    Vovk, Gammerman and Shafer (2005), Algorithmic Learning in a Random World (conformal
    prediction); the pixel counts as much as the point that stands for most ground.

    Examples
    --------
    >>> covering_distance(np.arange(99) - 49.0, np.ones(99))
    47.0
    """
    distances = np.abs(residuals)
    order = np.argsort(distances, kind="stable")
    covered = np.cumsum(weights[order]) / (weights.sum() + weights.max())
    reached = int(np.searchsorted(covered, confidence - 1e-12))
    return float(distances[order[reached]]) if reached < len(order) else None
