"""Slabs of tokens: which observations of which pixels, in the order the encoder takes them.

Each family has its own rule of how many observations make a sequence, and which. Everything here
is numpy on the host, a slab at a time, never pixel by pixel.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera_mosaic.model.engine.slabs import Group, Slab
from tessera_mosaic.model.observations import (
    BIN,
    DRAWN,
    LONGEST,
    STAND_IN_DAY,
    Seen,
    append_pattern,
    draw,
    length_bin,
    pad_pattern,
)
from tessera_mosaic.model.sizes import Family
from tessera_mosaic.model.statistics import Statistics, Table

RECURRENT: frozenset[Family] = frozenset({"v1.0-float", "v1.0", "v1.1"})
"""Families whose pool is a recurrence: it sees the order of a sequence, repeats included."""

SAMPLING: frozenset[Family] = frozenset({"v1.0-float", "v1.0"})
"""Families that draw a fixed number of observations."""

VOID = -1
"""Kind of a token of zeros: a sensor that saw nothing, or padding."""

Tables = tuple[Tensor, Tensor]
"""Means and standard deviations in stored units, float32 (kinds, channels)."""


@dataclass(frozen=True)
class Packing:
    """How a family's tokens fill slabs.

    Parameters
    ----------
    family
        Family of encoders whose rules say which observations become tokens.
    rows
        Number of tokens of a slab, at the most.
    fixed
        Whether a slab is padded to the number of rows that its kind always has, because a pixel's
        bytes depend on it.
    """

    family: Family
    rows: int
    fixed: bool

    def lengths(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of tokens, int64 (P,), of pixels that were seen so often."""
        if self.family in SAMPLING:
            return np.full_like(counts, DRAWN)
        if self.family in RECURRENT:
            return np.clip(-(-counts // BIN) * BIN, BIN, LONGEST)
        return np.clip(counts, 1, LONGEST)

    def pixels(self, length: int) -> int:
        """Number of pixels of one length that fill a slab: a multiple of 8."""
        return max(self.rows // length // 8, 1) * 8

    def slabs(self, counts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Cut pixels into runs that fill a slab.

        Parameters
        ----------
        counts : int64 (P,)
            Number of observations of each pixel.

        Yields
        ------
        int64 (n,)
            Indices of a slab's pixels, by ascending count; all of one length where the pool is
            recurrent.
        """
        order = np.argsort(counts, kind="stable")
        lengths = self.lengths(counts[order])
        ends = np.cumsum(lengths)
        first = 0
        while first < len(order):
            length = int(lengths[first])
            if self.family in RECURRENT:
                same = int(np.searchsorted(lengths, length, side="right"))
                last = min(first + self.pixels(length), same)
            else:
                limit = ends[first] - length + self.rows
                last = int(np.searchsorted(ends, limit, side="right"))
            yield order[first:last]
            first = last

    def fill(
        self, seen: Seen, pixels: NDArray[np.int64], keys: NDArray[np.uint64] | None = None
    ) -> Slab:
        """Gather the tokens of a slab.

        Parameters
        ----------
        seen
            One sensor's observations.
        pixels : int64 (n,)
            Indices of the slab's pixels, as `slabs` gives them.
        keys : uint64 (P,) or None
            Numbers of all pixels of `seen`; families that draw observations need them.

        Raises
        ------
        ValueError
            If the family draws observations and there are no keys.
        """
        groups = list(self._groups(seen.counts[pixels]))
        recurrent = self.family in RECURRENT
        rows = self.rows
        if recurrent:
            length = groups[0].length
            whole = Group(0, self.pixels(length) if self.fixed else len(pixels), length)
            rows = whole.rows.stop
        elif not self.fixed:
            rows = groups[-1].rows.stop
        bands = seen.values.shape[-1]
        values = np.zeros((rows, bands), seen.values.dtype)
        days, kinds = np.zeros(rows, np.int64), np.full(rows, VOID, np.int64)
        first = 0
        for group in groups:
            members = pixels[first : first + group.pixels]
            first += group.pixels
            count = int(seen.counts[members[0]])
            if count:
                sources = self._sources(count, members, keys)
                dates = seen.dates[seen.starts[members][:, None] + sources]
                values[group.rows] = seen.values[dates, members[:, None]].reshape(-1, bands)
                days[group.rows] = seen.days[dates].ravel()
                kinds[group.rows] = seen.kinds[dates].ravel()
            elif self.family in SAMPLING:
                # One empty observation, standardised like any other and drawn throughout.
                days[group.rows], kinds[group.rows] = STAND_IN_DAY, 0
        return Slab(
            torch.from_numpy(values),
            torch.from_numpy(kinds),
            torch.from_numpy(days),
            [whole] if recurrent else groups,
        )

    def _groups(self, counts: NDArray[np.int64]) -> Iterator[Group]:
        """Runs of pixels that were seen equally often."""
        start = 0
        for count, pixels in zip(*np.unique(counts, return_counts=True), strict=True):
            weights = None
            if self.family not in RECURRENT and count:
                weights = weighted_pattern(int(count))[1]
            group = Group(start, int(pixels), int(self.lengths(count)), weights)
            yield group
            start = group.rows.stop

    def _sources(
        self, count: int, pixels: NDArray[np.int64], keys: NDArray[np.uint64] | None
    ) -> NDArray[np.int64]:
        """Which of `count` observations are tokens, of each pixel or of all alike."""
        if self.family in SAMPLING:
            if keys is None:
                raise ValueError(f"{self.family} draws observations by place and needs an Origin")
            return draw(keys[pixels], count)
        if self.family in RECURRENT:
            return append_pattern(count, length_bin(count))
        return weighted_pattern(count)[0]


@functools.cache
def weighted_pattern(count: int) -> tuple[NDArray[np.int64], Tensor | None]:
    """A v2 sequence without its repeats.

    Parameters
    ----------
    count
        Number of observations, at least 1.

    Returns
    -------
    sources : int64 (n,)
        Indices into the observations.
    log_weights : float32 (n,) or None
        Natural logarithm of how often each occurs; None where all occur once.
    """
    sources, times = np.unique(pad_pattern(count, length_bin(count)), return_counts=True)
    weights = None if (times == 1).all() else torch.from_numpy(np.log(times).astype(np.float32))
    return sources, weights


def statistics_tables(given: Statistics) -> tuple[Tables, Tables]:
    """Tables of Sentinel-2 and Sentinel-1; the last kind, `VOID`, leaves zeros alone."""
    s2, s1 = given.tables()
    return _with_void(s2), _with_void(s1)


def _with_void(table: Table) -> Tables:
    nothing = torch.zeros(1, table.means.shape[1])
    return (
        torch.cat([torch.from_numpy(table.means), nothing]),
        torch.cat([torch.from_numpy(table.deviations), nothing + 1]),
    )
