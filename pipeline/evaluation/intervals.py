"""Confidence limits of what a stratified sample says: shares, ratios of shares, and means.

Limits of shares come from the score test, which asks at every candidate share how far the sample
lies from it, in standard errors that hold *there*. So they are never of zero width because all
points of a stratum happened to agree, and they need no points of both kinds in each stratum.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""How often intervals hold the truth, unless another probability is asked for."""

HALVINGS = 48
"""Steps of a bisection: more would change no digit that anybody reads."""

WIDEST_SEARCH = 1e-12, 1e6
"""How far from the sample the search for a limit begins and ends, as shares of the largest
multiplier that matters."""

MOST_DEGREES = 1000
"""Degrees of freedom from which on Student's distribution is taken for the normal one."""

Floats = NDArray[np.float64]


def normal_quantile(confidence: float = CONFIDENCE) -> float:
    """Standard errors on either side of a normal estimate that hold it with a probability."""
    return NormalDist().inv_cdf((1.0 + confidence) / 2.0)


def student_quantile(degrees: float, confidence: float = CONFIDENCE) -> float:
    """Standard errors on either side of a mean of few values that hold it with a probability.

    Parameters
    ----------
    degrees
        Degrees of freedom, 1 or more; a fraction counts as the next smaller whole number.
    confidence
        Probability that both sides together hold.

    Examples
    --------
    >>> round(student_quantile(4), 3), round(student_quantile(7, 0.99), 3)
    (2.776, 3.499)
    """
    whole = int(degrees)
    if whole < 1:
        raise ValueError("a mean of one value has no interval")
    if whole > MOST_DEGREES:
        return normal_quantile(confidence)
    low, high = 0.0, math.pi / 2
    for _ in range(HALVINGS):
        angle = (low + high) / 2
        low, high = (angle, high) if _within(angle, whole) < confidence else (low, angle)
    return math.sqrt(whole) * math.tan(low)


def _within(angle: float, degrees: int) -> float:
    """Probability that Student's t lies within `sqrt(degrees) * tan(angle)` of 0.

    Abramowitz and Stegun (1964), Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(3 if odd else 2, degrees - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return 2.0 / math.pi * (angle + sine * total) if odd else sine * total


def effective_points(points: NDArray[np.int64], pixels: NDArray[np.int64]) -> Floats:
    """Points of an endless population that would tell as much of each stratum.

    Parameters
    ----------
    points, pixels : int (strata,)
        Sizes of the strata in the sample and in the population, which is drawn from without
        putting back.

    Returns
    -------
    float64 (strata,)
        Infinite where a whole stratum is in the sample.
    """
    n, of = np.asarray(points, np.float64), np.asarray(pixels, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(n >= of, np.inf, n * (of - 1.0) / (of - n))


def share_limits(
    shares: Floats,
    points: NDArray[np.int64],
    pixels: NDArray[np.int64],
    weights: Floats,
    confidence: float = CONFIDENCE,
) -> tuple[Floats, Floats]:
    """Confidence limits of a weighted sum of the strata's shares.

    Score limits with the most likely shares of the strata given their sum, a correction for
    continuity by half of what a point weighs, and one for finite populations: Wilson's interval
    with continuity correction where there is one stratum. By enumeration, samples of 5 to 100
    points of one stratum hold the truth with a probability of 0.95 or more whatever it is, and
    some points in each of three or four strata with 0.94 or more.

    Parameters
    ----------
    shares : float64 (..., strata)
        Share of the stratum's points that have what is asked for.
    points, pixels : int (strata,)
        Sizes of the strata in the sample and in the population; each has a point.
    weights : float64 (strata,) or as `shares`
        What each stratum counts in the sum; 0 where it is known to have nothing.
    confidence
        Probability that the limits hold the truth between them.

    Returns
    -------
    float64 (...), float64 (...)
        Lower and upper limits; equal where every stratum that counts is in the sample whole.

    References
    ----------
    Wilson (1927), JASA 22, 209-212. Miettinen and Nurminen (1985), Statistics in Medicine 4,
    213-226 (the constrained likelihood). Decrouez and Robinson (2012), Australian and New Zealand
    Journal of Statistics 54, 281-299 (weighted sums of proportions).

    Examples
    --------
    >>> one = np.array([50]), np.array([1_000_000]), np.array([1.0])
    >>> [round(float(limit), 3) for limit in share_limits(np.array([1.0]), *one)]
    [0.911, 1.0]
    """
    p = np.asarray(shares, np.float64)
    w = np.broadcast_to(np.asarray(weights, np.float64), p.shape)
    n, of = np.asarray(points, np.float64), np.asarray(pixels, np.float64)
    told = effective_points(points, pixels)
    counts = np.isfinite(told) & (w > 0)
    e = np.where(np.isfinite(told), told, 1.0)
    estimate = (w * p).sum(axis=-1)
    square = normal_quantile(confidence) ** 2

    def at(multiplier: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """The sum whose likelihood has this multiplier, and whether the sample agrees with it."""
        s = multiplier[..., None] * w
        b = s + e
        root = np.sqrt(np.maximum(b * b - 4.0 * s * e * p, 0.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            likely = np.where(b >= 0, 2.0 * e * p / (b + root), (b - root) / (2.0 * s))
        likely = np.where(counts, np.clip(np.nan_to_num(likely), 0.0, 1.0), p)
        parts = np.where(counts, w * w * likely * (1.0 - likely) / e, 0.0)
        variance = parts.sum(axis=-1)
        step = np.sqrt(((parts * w / n) ** 2).sum(axis=-1))
        step = np.divide(step, variance, out=np.zeros_like(variance), where=variance > 0)
        total = (w * likely).sum(axis=-1)
        apart = np.maximum(np.abs(estimate - total) - step / 2.0, 0.0)
        return total, apart**2 <= square * variance

    largest = np.max(np.where(counts, e / np.where(counts, w, 1.0), 0.0), axis=-1)
    limits = []
    for sign in (1.0, -1.0):
        near, far = (np.where(largest > 0, largest, 1.0) * edge for edge in WIDEST_SEARCH)
        for _ in range(HALVINGS):
            middle = np.sqrt(near * far)
            _, agrees = at(sign * middle)
            near, far = np.where(agrees, middle, near), np.where(agrees, far, middle)
        limits.append(at(sign * far)[0])
    seen, unseen = (w * n * p / of).sum(axis=-1), (w * n * (1.0 - p) / of).sum(axis=-1)
    return (
        np.clip(limits[0], seen, estimate),
        np.clip(limits[1], estimate, np.maximum(w.sum(axis=-1) - unseen, estimate)),
    )


def ratio_limits(
    first: tuple[float, float, float],
    second: tuple[float, float, float],
    correlation: float = 0.0,
) -> tuple[float, float]:
    """Confidence limits of `first / (first + second)` from those of its two parts.

    Parameters
    ----------
    first, second
        Estimate, lower limit and upper limit of each part, 0 or more.
    correlation
        Correlation of the two estimates.

    Returns
    -------
    float, float
        0 and 1 where nothing is known of either.

    References
    ----------
    Donner and Zou (2012), Statistical Methods in Medical Research 21, 347-359 (variance estimates
    recovered from limits).

    Examples
    --------
    >>> low, high = ratio_limits((0.3, 0.25, 0.36), (0.1, 0.07, 0.14))
    >>> round(low, 3), round(high, 3)
    (0.671, 0.817)
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    if a + b <= 0:
        return 0.0, 1.0
    middle = a / (a + b)

    def bound(share: float, a_off: float, b_off: float) -> float:
        """Half width of the interval of `(1 - share) * first - share * second`."""
        x, y = (1.0 - share) * a_off, share * b_off
        return math.sqrt(max(x * x + y * y - 2.0 * correlation * x * y, 0.0))

    ends = []
    for end, a_off, b_off in ((0.0, a - a_low, b_high - b), (1.0, a_high - a, b - b_low)):
        outside, inside = end, middle
        for _ in range(HALVINGS):
            share = (outside + inside) / 2.0
            apart = abs((1.0 - share) * a - share * b)
            if apart <= bound(share, a_off, b_off):
                inside = share
            else:
                outside = share
        ends.append(inside)
    return ends[0], ends[1]
