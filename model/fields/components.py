"""Principal components in as many bytes as a field, to set beside it.

Of each vector, or of all years of a pixel together; of each pixel, or of squares of pixels with
bilinear interpolation between them. Of these ways the best is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tessera_mosaic.model.fields.fidelity import Fidelity, cosines_of
from tessera_mosaic.model.fields.field import LEVELS
from tessera_mosaic.model.fields.vectors import Vectors

SQUARES = (1, 2, 4)
"""Sides in pixels of the squares that have one code a component."""

MOST_JOINT = 2048
"""Values of all years of a pixel beyond which they are not taken together."""

MOST_VALUES = 1 << 26
"""Values of vectors that are held at once, about."""


@dataclass(frozen=True)
class Components:
    """What principal components come to.

    Parameters
    ----------
    count
        Number of components.
    together
        Whether they are of all years of a pixel, and not of each vector.
    square
        Side in pixels of the squares that have one code a component.
    bytes
        Bytes that they take.
    fidelity
        How close they come.
    """

    count: int
    together: bool
    square: int
    bytes: int
    fidelity: Fidelity

    @property
    def name(self) -> str:
        """What it is in words, such as `PCA of 16, squares of 2 px`."""
        years = " of all years" if self.together else ""
        return f"PCA of {self.count}{years}" + f", squares of {self.square} px" * (self.square > 1)


class PrincipalComponents:
    """Principal components of the vectors of a region.

    Parameters
    ----------
    data
        The vectors.
    together
        Whether they are of all years of a pixel. Years of which a pixel has none count as mean.
    """

    def __init__(self, data: Vectors, together: bool) -> None:
        self._data, self._together = data, together
        self._planes = 1 if together else data.years
        self._mean = data.mean.astype(np.float32)
        self._starts = np.searchsorted(data.year, np.arange(data.years + 1))
        self._width = data.dims * (data.years if together else 1)
        squares = np.zeros((self._width, self._width))
        for rows in self._rows():
            squares += rows.T @ rows
        _, axes = np.linalg.eigh(squares)
        self._axes = np.ascontiguousarray(axes[:, ::-1].T.astype(np.float32))

    def _rows(self) -> Iterator[NDArray[np.float32]]:
        """What components are of, about the mean: float32 (any, width), part by part."""
        for plane in range(self._planes):
            for start, height, width in self._bands():
                yield self._of(plane, start, start + height * width)

    def _of(self, plane: int, start: int, stop: int) -> NDArray[np.float32]:
        """What components are of, of some pixels of a plane; 0 where there is no vector."""
        years = range(self._data.years) if self._together else (plane,)
        rows = np.zeros((stop - start, len(years), self._data.dims), np.float32)
        for place, year in enumerate(years):
            which = self._vectors(year, start, stop)
            at = self._data.pixel[which] - start
            rows[at, place] = self._data.values(which) - self._mean
        return rows.reshape(stop - start, -1)

    def _vectors(self, year: int, start: int, stop: int) -> slice:
        """The vectors of some pixels of a year."""
        first, last = self._starts[year], self._starts[year + 1]
        ends = first + np.searchsorted(self._data.pixel[first:last], (start, stop))
        return slice(int(ends[0]), int(ends[1]))

    def bytes_of(self, count: int, square: int) -> int:
        """Bytes of so many components: codes, axes in int8, and a factor of each in each band."""
        squares = sum(
            -(-each.height // square) * -(-each.width // square) for each in self._data.rectangles
        )
        planes = self._planes * sum(1 for _ in self._bands())
        axes = count * (self._width + 4) + 4 * self._data.dims
        return self._planes * squares * count + 4 * count * planes + axes

    def within(self, most_bytes: int, square: int) -> int:
        """How many components fit into so many bytes."""
        one, two = (self.bytes_of(count, square) for count in (1, 2))
        return min(max(0, (most_bytes - one) // (two - one) + 1), self._width)

    def fidelity(self, count: int, square: int) -> Fidelity:
        """How close so many of them come."""
        axes = self._axes[:count]
        scale = np.abs(axes).max(axis=1, keepdims=True) / LEVELS
        axes = np.round(axes / scale) * scale
        cosines, lost = np.empty(len(self._data), np.float32), 0.0
        for plane in range(self._planes):
            for start, height, width in self._bands():
                told = self._told(plane, start, height, width, axes, square)
                for place in range(told.shape[1]):
                    which = self._vectors(
                        place if self._together else plane, start, start + height * width
                    )
                    made = told[self._data.pixel[which] - start, place] + self._mean
                    values = self._data.values(which)
                    cosines[which] = cosines_of(values, made)
                    lost += float(np.square(values - made, dtype=np.float64).sum())
        return Fidelity.of(cosines, lost, self._data.variance)

    def _bands(self) -> Iterator[tuple[int, int, int]]:
        """First pixel, height and width of bands of whole squares, which need little memory."""
        start = 0
        for each in self._data.rectangles:
            most = MOST_VALUES // (each.width * self._width)
            rows = max(most // SQUARES[-1] * SQUARES[-1], SQUARES[-1])
            for top in range(0, each.height, rows):
                yield start + top * each.width, min(rows, each.height - top), each.width
            start += each.pixels

    def _told(
        self,
        plane: int,
        start: int,
        height: int,
        width: int,
        axes: NDArray[np.float32],
        square: int,
    ) -> NDArray[np.float32]:
        """What components tell of a band, about the mean: (pixels, years or 1, D)."""
        rows = self._of(plane, start, start + height * width)
        known = torch.from_numpy(rows.any(axis=1).astype(np.float32)).view(1, 1, height, width)
        along = torch.from_numpy(rows @ axes.T).T.reshape(1, len(axes), height, width)
        if square > 1:
            along = _means(along, known, square)
        scale = along.abs().amax((2, 3), keepdim=True).clamp_(min=1e-12) / LEVELS
        along = (along / scale).round_() * scale
        if square > 1:
            along = functional.interpolate(
                along, scale_factor=square, mode="bilinear", align_corners=False
            )[:, :, :height, :width]
        flat = along.reshape(len(axes), height * width).T.numpy()
        return (flat @ axes).reshape(height * width, -1, self._data.dims)


def _means(along: Tensor, known: Tensor, square: int) -> Tensor:
    """Means over squares of the pixels that are known."""
    sums, counts = (
        functional.avg_pool2d(each, square, ceil_mode=True, count_include_pad=False)
        for each in (along * known, known)
    )
    return sums / counts.clamp(min=1e-6)


class Baseline:
    """The best that principal components do in so many bytes.

    Parameters
    ----------
    data
        The vectors.
    """

    def __init__(self, data: Vectors) -> None:
        ways = [False]
        if data.years > 1 and data.years * data.dims <= MOST_JOINT:
            ways.append(True)
        self._ways = {together: PrincipalComponents(data, together) for together in ways}

    def within(self, most_bytes: int) -> Components | None:
        """The best of the ways that fit into so many bytes; None where none does."""
        found = []
        for together, way in self._ways.items():
            for square in SQUARES:
                if count := way.within(most_bytes, square):
                    fidelity = way.fidelity(count, square)
                    size = way.bytes_of(count, square)
                    found.append(Components(count, together, square, size, fidelity))
        return max(found, key=lambda each: each.fidelity.mean, default=None)
