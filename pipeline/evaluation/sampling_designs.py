"""Probability samples of pixels: how many points a stratum gets, and which of its pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import BadInput

LEAST_POINTS = 2
"""Points of a stratum, at least: with one, nobody knows how it varies."""

RARE_POINTS = 50
"""Points that a rare stratum gets if half of the points, spread evenly, suffice for as many
(Olofsson et al. 2014, Remote Sensing of Environment 148, 5.1.1, recommend 50 to 100)."""


def allocate(pixels: Sequence[int] | NDArray[np.int64], points: int) -> NDArray[np.int64]:
    """Share out points over strata.

    Strata get points in proportion to their pixels, but rare ones at least an even share of half
    of the points, up to `RARE_POINTS`; no stratum gets more points than it has pixels.

    Parameters
    ----------
    pixels : int (strata,)
        Number of pixels of each stratum.
    points
        Number of points.

    Returns
    -------
    int64 (strata,)
        Their sum is `points`, or the number of pixels where these are fewer.

    Raises
    ------
    BadInput
        If there are too few points for the strata.

    Examples
    --------
    >>> allocate([1_000_000, 10_000, 300], 400).tolist()
    [300, 50, 50]
    """
    of = np.asarray(pixels, np.int64)
    some = of > 0
    least = np.minimum(LEAST_POINTS, of)
    if points < least.sum():
        raise BadInput(
            f"{int(some.sum())} strata need {LEAST_POINTS} points each, {int(least.sum())} "
            "together: ask for more, or for fewer strata",
            "n",
            points,
        )
    points = min(points, int(of.sum()))
    even = min(RARE_POINTS, points // (2 * max(int(some.sum()), 1)))
    floor = np.minimum(np.maximum(even, LEAST_POINTS), of)
    if floor.sum() > points:
        floor = least
    # Strata whose share is below the floor, or beyond their pixels, are settled one after another.
    settled, given = ~some, np.zeros(len(of), np.float64)
    while not settled.all():
        share = np.zeros(len(of), np.float64)
        share[~settled] = (points - given[settled].sum()) * of[~settled] / of[~settled].sum()
        low, high = ~settled & (share < floor), ~settled & (share > of)
        if not low.any() and not high.any():
            given[~settled] = share[~settled]
            break
        # What is lifted to its floor takes from the others; what overflows gives to them.
        given = np.where(low, floor, given) if low.any() else np.where(high, of, given)
        settled |= low if low.any() else high
    whole = np.maximum(np.floor(given + 1e-9).astype(np.int64), floor)
    for stratum in np.argsort(whole - given, kind="stable"):
        if whole.sum() >= points:
            break
        whole[stratum] += whole[stratum] < of[stratum]
    for stratum in np.argsort(given - whole, kind="stable"):
        if whole.sum() <= points:
            break
        whole[stratum] -= whole[stratum] > floor[stratum]
    return whole


def draw(pixels: int, points: int, seed: int, stratum: str) -> NDArray[np.int64]:
    """Draw pixels of a stratum without putting back, each subset of them with the same chance.

    Parameters
    ----------
    pixels
        Number of pixels of the stratum, which are counted from 0 on.
    points
        Number of pixels to draw.
    seed, stratum
        Seed, and name of the stratum: other strata are drawn independently.

    Returns
    -------
    int64 (points,)
        Numbers of the pixels in the order in which they were drawn; all where `points` are more.

    Examples
    --------
    >>> drawn = draw(1_000_000_000, 3, seed=7, stratum="wheat")
    >>> bool((drawn == draw(1_000_000_000, 3, seed=7, stratum="wheat")).all())
    True
    """
    key = hashlib.sha256(f"{seed}/{stratum}".encode()).digest()
    random = np.random.default_rng(np.frombuffer(key, "<u4"))
    return random.choice(pixels, size=min(points, pixels), replace=False).astype(np.int64)
