"""Mean and total of a mapped value, and how far a pixel of the map is off.

The map is known everywhere, so only its error has to be estimated: the mean of the map, plus what
the points say of the mean of true less mapped values (the difference estimator of Saerndal,
Swensson and Wretman 1992, Model Assisted Survey Sampling, 6.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.area_result import (
    HECTARE,
    AreaResult,
    Domain,
    ValueBand,
)
from tessera_mosaic.pipeline.downstream.map_scan import Tally
from tessera_mosaic.pipeline.downstream.sample_scan import MapScan
from tessera_mosaic.pipeline.evaluation.stratified_estimates import (
    Sample,
    covering_distance,
    mean,
)

BANDS = 4
"""Ranges of mapped values for which errors are told apart, at most."""

BAND_POINTS = 20
"""Points of such a range, at least."""

DOMAIN_POINTS = 2
"""Points of a district from which its mean can be told."""


def estimate_values(
    base: AreaResult,
    unit: str,
    sample: Sample,
    labels: NDArray[np.float64],
    scan: MapScan,
    domains: Sequence[str],
    order: Sequence[int],
) -> AreaResult:
    """Complete a result with what a sample says of a map of values.

    Parameters
    ----------
    base
        What is known of the sample.
    unit
        Unit of the values.
    sample
        The sample.
    labels : float64 (points,)
        True value at each point.
    scan
        What the map holds there, and in all.
    domains
        Names of the districts.
    order
        Number that each of the sample's strata has in what was counted.
    """
    tally = scan.tally()
    residuals = labels - scan.values
    spread = tally.highest - tally.lowest
    mapped_mean = float(tally.sums.sum() / tally.areas.sum())
    found = mean(sample, residuals, spread).plus(mapped_mean)
    every = np.ones(len(sample.stratum), bool)
    return replace(
        base,
        unit=unit,
        mean=found,
        total=found.times(base.hectares),
        mapped_mean=mapped_mean,
        bands=(_band(sample, residuals, scan.values, every), *_bands(sample, residuals, scan)),
        domains=tuple(
            _domain(number, name, sample, residuals, scan, tally, spread, order)
            for number, name in enumerate(domains)
        ),
    )


def _bands(sample: Sample, residuals: NDArray[np.float64], scan: MapScan) -> list[ValueBand]:
    """Errors by the mapped value, in ranges that hold about as many points."""
    count = min(BANDS, len(residuals) // BAND_POINTS)
    if count < 2:
        return []
    edges = np.quantile(scan.values, np.linspace(0, 1, count + 1)[1:-1])
    of = np.searchsorted(edges, scan.values, side="right")
    return [_band(sample, residuals, scan.values, of == k) for k in np.unique(of)]


def _band(
    sample: Sample,
    residuals: NDArray[np.float64],
    mapped: NDArray[np.float64],
    inside: NDArray[np.bool_],
) -> ValueBand:
    weights = sample.point_weights[inside]
    errors = residuals[inside]
    return ValueBand(
        float(mapped[inside].min()),
        float(mapped[inside].max()),
        int(inside.sum()),
        float(np.average(errors, weights=weights)),
        math.sqrt(np.average(errors**2, weights=weights)),
        covering_distance(errors, weights),
    )


def _domain(
    number: int,
    name: str,
    sample: Sample,
    residuals: NDArray[np.float64],
    scan: MapScan,
    tally: Tally,
    spread: float,
    order: Sequence[int],
) -> Domain:
    """Mean and total of a district: of the map, plus the mean error of the points in it."""
    mine = tally.groups[:, 2] == number
    hectares = float(tally.areas[mine].sum() / HECTARE)
    inside = scan.domain == number
    points = int(inside.sum())
    if points < DOMAIN_POINTS or not hectares:
        return Domain(name, hectares, points)
    mapped = float(tally.sums[mine].sum() / tally.areas[mine].sum())
    weights = sample.point_weights * inside
    off = float(np.average(residuals, weights=weights))
    # The ratio of two estimates, whose error is that of a mean of residuals (Taylor).
    leaning = inside * (residuals - off) / weights.sum()
    reached = np.isin(order, tally.groups[mine, 0])
    error = mean(sample, leaning, spread / weights.sum(), reached)
    found = error.plus(off - error.value + mapped)
    return Domain(name, hectares, points, mean=found, total=found.times(hectares))
