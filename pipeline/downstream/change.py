"""How far the embeddings of a pixel in two years lie apart, against the noise of calm ground.

Embeddings of unchanged ground differ from year to year, too, and by how much differs with the years
and the land. So the distance of a pixel, one less the cosine, is told in the spread of that noise,
which is taken from the calmest quarter of a region: there it holds as long as half of the region is
as it was.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.year_pairs import (
    Both,
    Counts,
    counts_known,
    radar_seen,
)

LEAST_DISTANCE = 1e-4
"""Distances below count as this one: embeddings of whole numbers tell no smaller one."""

CALM = (0.05, 0.25)
"""Shares of a region's pixels, counted from the calmest, between which its noise is measured."""

NORMAL = (-1.644854, -0.674490)
"""Where a normal distribution has these shares, in its spreads from its middle."""

LEAST_SPREAD = 0.1
"""Least spread of the logarithm of distances, which guards against regions that do not vary."""

BEYOND = 3.0
"""Spreads above the middle of the noise from which on a pixel counts as changed."""


class PixelState(enum.IntEnum):
    """What the array `state` holds of a pixel of a map of change."""

    COMPARED = 0
    RADAR_GAP = 1
    """Radar saw it in one of the years alone: most of the difference would be that."""
    NOT_IN_BOTH = 2
    """It has an embedding in one of the years alone, or one of nothing but zeros."""

    @property
    def label(self) -> str:
        """What people call it."""
        return LABELS[self]


LABELS = {
    PixelState.COMPARED: "compared",
    PixelState.RADAR_GAP: "radar in one year alone",
    PixelState.NOT_IN_BOTH: "embedded in one year alone",
}

NOTHING = 255
"""What `state` holds of a pixel that neither year has, or nobody asked for."""


@dataclass(frozen=True)
class Noise:
    """How far unchanged ground lies apart: the logarithm of its distances is taken to be normal.

    Parameters
    ----------
    middle, spread
        Mean and standard deviation of the natural logarithm of one less the cosine.

    Examples
    --------
    >>> noise = Noise(middle=np.log(0.05), spread=0.25)
    >>> noise.change(np.array([0.95, 0.8])).round(1).tolist()
    [0.0, 5.5]
    >>> round(noise.cosine_at(3), 3)
    0.894
    """

    middle: float
    spread: float

    @classmethod
    def of(cls, cosines: NDArray[np.float64]) -> Noise:
        """The noise of a region by cosines of its pixels, at least one."""
        low, high = np.quantile(_log_distance(cosines), CALM).tolist()
        spread = max((high - low) / (NORMAL[1] - NORMAL[0]), LEAST_SPREAD)
        return cls(high - NORMAL[1] * spread, spread)

    def change(self, cosines: NDArray[np.float64]) -> NDArray[np.float32]:
        """How many spreads beyond the middle of the noise pixels lie, by their cosines."""
        return ((_log_distance(cosines) - self.middle) / self.spread).astype(np.float32)

    def cosine_at(self, change: float) -> float:
        """The cosine of a pixel that lies so many spreads beyond the middle."""
        return float(1 - np.exp(self.middle + change * self.spread))


def _log_distance(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(1 - cosines, LEAST_DISTANCE))


def cosines_of(codes: Both[np.int8]) -> NDArray[np.float64]:
    """Cosines between the embeddings of two years, which their scales do not turn.

    Parameters
    ----------
    codes : int8 (dims, pixels)
        Embeddings of each year.

    Returns
    -------
    float64 (pixels,)
        NaN where an embedding has nothing but zeros.

    Examples
    --------
    >>> one = np.array([[3, 0, 1], [4, 0, 0]], np.int8)
    >>> other = np.array([[6, 1, 0], [8, 1, 1]], np.int8)
    >>> cosines_of((one, other)).tolist()
    [1.0, nan, 0.0]
    """
    # Sums of products of codes are whole numbers that float32 holds exactly, in any order.
    one, other = (each.astype(np.float32) for each in codes)
    product, *squares = (
        np.einsum("dp,dp->p", x, y).astype(np.float64)
        for x, y in ((one, other), (one, one), (other, other))
    )
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = product / np.sqrt(squares[0] * squares[1])
    return found


def pixel_states(
    wanted: NDArray[np.bool_], scales: Both[np.float32], counts: tuple[Counts, Counts]
) -> NDArray[np.uint8]:
    """Which pixels of a tile can be compared, and why others cannot: uint8 (side, side).

    Parameters
    ----------
    wanted : bool (side, side)
        Pixels that are asked for.
    scales : float32 (side, side)
        Those of each year.
    counts : uint16 (side, side) by name
        Observation counts of each year, as far as they are known. Where they are not, nobody can
        tell a gap of radar.
    """
    one, other = (np.isfinite(each) for each in scales)
    states = np.full(wanted.shape, NOTHING, np.uint8)
    states[wanted & (one ^ other)] = PixelState.NOT_IN_BOTH
    both = wanted & one & other
    states[both] = PixelState.COMPARED
    seen = [radar_seen(each) for each in counts]
    if seen[0] is not None and seen[1] is not None:
        gap = both & (seen[0] ^ seen[1])
        for each in counts:
            known = counts_known(each)
            if known is not None:
                gap &= known
        states[gap] = PixelState.RADAR_GAP
    return states
