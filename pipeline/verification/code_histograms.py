"""How the codes of tiles are distributed, and which tiles are unlike the others of their year."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.verification.findings import Checked, Problem, ProblemKind

FULL_SCALE = 127
"""Magnitude of every embedded pixel's largest code: its scale is its largest value's."""

BARS = 51
"""Bars of a histogram of codes: five codes each, so that a year's histograms fit into memory."""

ENOUGH_TILES = 8
"""Fewer tiles than this say nothing about what is usual."""

FARTHEST = 0.5
"""Share of a tile's codes that may lie elsewhere than in the store as a whole."""


def histogram_of(codes: NDArray[np.int16]) -> NDArray[np.int64]:
    """Number of codes in each bar, int64 (51,): -127 to -123, and so on to 127."""
    inside = np.clip(codes.ravel(), -FULL_SCALE, FULL_SCALE)
    every = np.bincount(inside + FULL_SCALE, minlength=2 * FULL_SCALE + 1)
    return every.reshape(BARS, -1).sum(axis=1)


class Histograms:
    """How the codes of a year's tiles are distributed, in 0.2 kB a tile."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._shares = bytearray()
        self._pooled = np.zeros(BARS, np.int64)

    def add(self, name: str, histogram: NDArray[np.int64]) -> None:
        """Take a tile's name, and its number of codes in each bar, int64 (51,)."""
        self._names.append(name)
        self._shares += (histogram / histogram.sum()).astype(np.float32).tobytes()
        self._pooled += histogram

    def apart(self) -> Iterator[tuple[str, float]]:
        """Each tile with the share of its codes that lie elsewhere than those of all tiles."""
        shares = np.frombuffer(self._shares, np.float32).reshape(-1, BARS)
        usual = self._pooled / max(self._pooled.sum(), 1)
        for name, share in zip(self._names, shares, strict=True):
            yield name, float(np.abs(share - usual).sum() / 2)

    def __len__(self) -> int:
        return len(self._names)


def unusual(year: int, histograms: Histograms) -> Iterator[Checked]:
    """Tiles whose codes are not distributed like the others'."""
    if len(histograms) < ENOUGH_TILES:
        return
    for name, apart in histograms.apart():
        if apart > FARTHEST:
            detail = f"{apart:.0%} of its codes lie elsewhere than the store's"
            problem = Problem(name, ProblemKind.HISTOGRAM, detail, year)
            yield Checked(name, year, (problem,), again=True)
