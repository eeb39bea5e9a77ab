"""The annual stack of a block, and which observations of a pixel become tokens.

The stack is what was seen over a block in one year, in the d-pixel arrays of the field.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

S2_BANDS = ("B04", "B02", "B03", "B08", "B8A", "B05", "B06", "B07", "B11", "B12")
"""Sentinel-2 bands in the order of the encoders' channels."""

S1_BANDS = ("vv", "vh")
"""Sentinel-1 polarisations in the order of the encoders' channels."""

BIN = 8
"""Sequence lengths are multiples of this (TESSERA reference, v1.1 and v2)."""

LONGEST = 256
"""Longest sequence of a sensor (TESSERA reference, v1.1 and v2)."""

DRAWN = 40
"""Observations of a sensor that are drawn (TESSERA reference, v1.0)."""

STAND_IN_DAY = 180
"""Day of the empty observation where Sentinel-1 has no dates at all (TESSERA reference, v1.0)."""

WEYL = np.uint64(0x9E3779B97F4A7C15)
"""Step of the Weyl sequence from which draws are made (Steele, Lea, Flood 2014)."""


@dataclass(frozen=True)
class Stack:
    """The annual stack of a block: every observation of every pixel, in d-pixel arrays.

    Parameters
    ----------
    bands : uint16 (T, H, W, 10)
        Sentinel-2 surface reflectance times 10,000 of T dates, channels in the order of `S2_BANDS`.
    masks : uint8 (T, H, W)
        1 where the pixel was seen clear on that date, else 0.
    doys : uint16 (T,)
        Ordinal day of the year of each Sentinel-2 date, UTC, 1 to 366.
    sar_ascending, sar_descending : int16 (A, H, W, 2), (D, H, W, 2)
        Sentinel-1 backscatter of A dates of ascending and D dates of descending passes, channels
        VV and VH, coded as (20 log10(linear power) + 50) * 200; 0 is no data. An observation is
        valid where either channel is not 0.
    sar_ascending_doy, sar_descending_doy : int16 (A,), (D,)
        Ordinal day of the year of each Sentinel-1 date, UTC, 1 to 366.

    Examples
    --------
    One pixel, seen clear by Sentinel-2 on one of two days and once by Sentinel-1:

    >>> stack = Stack(
    ...     bands=np.full((2, 1, 1, 10), 1500, np.uint16),
    ...     masks=np.array([1, 0], np.uint8).reshape(2, 1, 1),
    ...     doys=np.array([100, 105], np.uint16),
    ...     sar_ascending=np.full((1, 1, 1, 2), 6000, np.int16),
    ...     sar_ascending_doy=np.array([102], np.int16),
    ...     sar_descending=np.zeros((0, 1, 1, 2), np.int16),
    ...     sar_descending_doy=np.zeros(0, np.int16),
    ... )
    >>> {sensor: int(count[0, 0]) for sensor, count in stack.counts().items()}
    {'s2': 1, 's1_ascending': 1, 's1_descending': 0}
    """

    bands: NDArray[np.uint16]
    masks: NDArray[np.uint8]
    doys: NDArray[np.uint16]
    sar_ascending: NDArray[np.int16]
    sar_ascending_doy: NDArray[np.int16]
    sar_descending: NDArray[np.int16]
    sar_descending_doy: NDArray[np.int16]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns of the block."""
        return self.masks.shape[1], self.masks.shape[2]

    def counts(self) -> dict[str, NDArray[np.uint16]]:
        """Number of valid observations of each pixel, uint16 (H, W), by sensor and direction."""
        return {
            "s2": (self.masks != 0).sum(axis=0).astype(np.uint16),
            "s1_ascending": (self.sar_ascending != 0).any(axis=-1).sum(axis=0).astype(np.uint16),
            "s1_descending": (self.sar_descending != 0).any(axis=-1).sum(axis=0).astype(np.uint16),
        }

    def only(self, wanted: NDArray[np.bool_]) -> Stack:
        """The same stack as if nothing but some of its pixels had been seen.

        Parameters
        ----------
        wanted : bool (H, W)
            Those pixels.
        """
        if wanted.all():
            return self
        return replace(
            self,
            masks=np.where(wanted, self.masks, np.uint8(0)),
            sar_ascending=np.where(wanted[..., None], self.sar_ascending, np.int16(0)),
            sar_descending=np.where(wanted[..., None], self.sar_descending, np.int16(0)),
        )

    def blank(self) -> NDArray[np.bool_]:
        """Whether neither sensor saw a pixel, bool (H, W)."""
        seen = (self.masks != 0).any(axis=0)
        for sar in (self.sar_ascending, self.sar_descending):
            seen |= (sar != 0).any(axis=(0, 3))
        return ~seen


@dataclass(frozen=True)
class Origin:
    """Where and when a block is: its north-west pixel on the zone's lattice, and the year.

    It keys the draws of the encoders that sample observations, so that a pixel draws the same
    ones whatever block, batch or order it comes in.

    Parameters
    ----------
    zone
        Number of the UTM zone, 1 to 60.
    row, col
        Row and column of the block's north-west pixel on the zone's lattice.
    year
        Calendar year of the stack.
    """

    zone: int
    row: int
    col: int
    year: int


def length_bin(count: int) -> int:
    """Length of the sequence that `count` observations make: the next multiple of 8, at most 256.

    No observations make an empty sequence; what stands in for it is the encoder family's matter.

    Examples
    --------
    >>> [length_bin(count) for count in (0, 1, 8, 9, 300)]
    [0, 8, 8, 16, 256]
    """
    return min(-(-count // BIN) * BIN, LONGEST)


@functools.cache
def pad_pattern(count: int, length: int) -> NDArray[np.int64]:
    """Which of `count` observations fill a sequence of `length` (pattern of v2).

    Too many are thinned evenly; too few are all taken and then topped up, from the middle of
    even groups, or in rotation where more than as many again are missing.

    Parameters
    ----------
    count
        Number of observations, at least 1.
    length
        Number of tokens to fill, at least 1.

    Returns
    -------
    int64 (length,)
        Indices into the observations.

    Examples
    --------
    >>> pad_pattern(3, 8).tolist()
    [0, 1, 2, 0, 1, 2, 0, 1]
    """
    everything = np.arange(count)
    if count >= length:
        # float64 on purpose: the reference floors its products, which fall just below an
        # integer for some counts where exact arithmetic would not.
        picked = np.floor(np.arange(length) * ((count - 1) / max(length - 1, 1))).astype(np.int64)
        picked[-1] = count - 1
        return picked
    missing = length - count
    extras = _group_middles(count, missing) if missing <= count else np.arange(missing) % count
    return np.concatenate([everything, extras])


@functools.cache
def append_pattern(count: int, length: int) -> NDArray[np.int64]:
    """Which of `count` observations fill a sequence of `length` (pattern of v1.1).

    Too many are thinned to the middles of even groups; too few are all taken, and evenly spaced
    extras are *appended*, not merged: the sequence is then not in order of time, and the
    recurrent pooling of v1.1 sees that order.

    Parameters
    ----------
    count, length
        As for `pad_pattern`.

    Returns
    -------
    int64 (length,)
        Indices into the observations.

    Examples
    --------
    >>> append_pattern(6, 8).tolist()
    [0, 1, 2, 3, 4, 5, 2, 3]
    """
    if count > length:
        return _group_middles(count, length)
    gaps = length - count + 1
    spaced = np.rint(np.arange(1, gaps) * ((count - 1) / gaps)).astype(np.int64)
    return np.concatenate([np.arange(count), spaced])


def pixel_keys(at: Origin, shape: tuple[int, int], sensor: int) -> NDArray[np.uint64]:
    """A number for each pixel's place, year and sensor, the same whatever block it is in.

    Parameters
    ----------
    at
        North-west pixel of the block, and the year.
    shape
        Number of rows and of columns of the block.
    sensor
        Number of the Sentinel mission, 1 or 2.

    Returns
    -------
    uint64 (rows * columns,)
        The pixels' numbers, row by row.
    """
    rows = at.row + np.arange(shape[0], dtype=np.uint64)[:, None]
    cols = at.col + np.arange(shape[1], dtype=np.uint64)
    key = np.zeros((1, 1), np.uint64)
    for part in (np.uint64(sensor), np.uint64(at.zone), np.uint64(at.year), rows, cols):
        key = _mixed(key + WEYL + part)
    return key.ravel()


def draw(keys: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    """Draw 40 of `count` observations for each pixel, in order (v1.0).

    The reference draws from an unseeded generator. These draws are as uniform, and depend on the
    key and the count alone. Fewer than 40 are drawn from with replacement.

    Parameters
    ----------
    keys : uint64 (P,)
        Numbers of the pixels, from `pixel_keys`.
    count
        Number of observations that each of the pixels has, at least 1.

    Returns
    -------
    int64 (P, 40)
        Indices into the observations, ascending.
    """
    counters = np.arange(1, max(count, DRAWN) + 1, dtype=np.uint64) * WEYL
    random = _mixed(keys[:, None] + counters)
    if count < DRAWN:
        scaled = (random >> np.uint64(32)) * np.uint64(count) >> np.uint64(32)
        return np.sort(scaled.astype(np.int64), axis=1)
    return np.sort(np.argpartition(random, DRAWN - 1, axis=1)[:, :DRAWN], axis=1)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that spreads every bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _group_middles(count: int, groups: int) -> NDArray[np.int64]:
    """Middle (upper, if even) of each of `groups` runs that split 0..count-1, longer runs first."""
    sizes = np.full(groups, count // groups, np.int64)
    sizes[: count % groups] += 1
    return np.cumsum(sizes) - sizes + sizes // 2


@dataclass(frozen=True)
class Seen:
    """What one sensor saw of a run of pixels: which dates, pixel by pixel.

    Parameters
    ----------
    values : uint16 or int16 (T, P, C)
        Stored values of C channels on every date of every pixel, valid or not; for Sentinel-1 the
        ascending dates, then the descending ones.
    days : int64 (T,)
        Ordinal day of the year of each date, 1 to 366.
    kinds : int64 (T,)
        Row of the `statistics.Table` that each date is standardised with.
    counts, starts : int64 (P,)
        Number of valid dates of each pixel, and where its own begin in `dates`.
    dates : int64 (N,)
        Indices of the first pixel's valid dates in order of time, then of the second's, and so on.
    """

    values: NDArray[np.uint16] | NDArray[np.int16]
    days: NDArray[np.int64]
    kinds: NDArray[np.int64]
    counts: NDArray[np.int64]
    starts: NDArray[np.int64]
    dates: NDArray[np.int64]


def seen_by_s2(stack: Stack, pixels: slice) -> Seen:
    """What Sentinel-2 saw clear of a run of the block's pixels, counted row by row."""
    dates, height, width = stack.masks.shape
    values = stack.bands.reshape(dates, height * width, len(S2_BANDS))[:, pixels]
    valid = stack.masks.reshape(dates, height * width)[:, pixels] != 0
    return _seen(values, valid, stack.doys, np.zeros(dates, np.int64))


def seen_by_s1(stack: Stack, pixels: slice) -> Seen:
    """What Sentinel-1 saw of a run of the block's pixels, ascending dates first."""
    parts = (stack.sar_ascending, stack.sar_descending)
    block = stack.shape[0] * stack.shape[1]
    values = np.concatenate(
        [part.reshape(len(part), block, len(S1_BANDS))[:, pixels] for part in parts]
    )
    days = np.concatenate([stack.sar_ascending_doy, stack.sar_descending_doy])
    kinds = np.repeat([0, 1], [len(part) for part in parts])
    return _seen(values, (values != 0).any(axis=-1), days, kinds)


def _seen(
    values: NDArray[np.uint16] | NDArray[np.int16],
    valid: NDArray[np.bool_],
    days: NDArray[np.integer],
    kinds: NDArray[np.int64],
) -> Seen:
    counts = valid.sum(axis=0)
    return Seen(
        values=values,
        days=days.astype(np.int64),
        kinds=kinds,
        counts=counts,
        starts=np.cumsum(counts) - counts,
        dates=np.nonzero(valid.T)[1],
    )
