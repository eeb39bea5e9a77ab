"""Scores of a chunk's pixels: quickly in single precision, exactly where it matters.

The quick product is at most a known margin off. A pixel that may be the best of its square of
ground, and may be among the best of all, is scored again: exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.search_queries import Measure, Query, check_alike

ROUNDING = 2.0**-24
"""Half the distance from 1 to the next number of single precision."""

LARGEST_CODE = 128.0


@dataclass(frozen=True)
class Squares:
    """Which pixels of a chunk lie in which square of ground.

    Parameters
    ----------
    order : int64 (P,)
        The pixels, square by square.
    starts : int64 (squares,)
        Where each square begins in that order.
    sizes : int64 (squares,)
        How many pixels each has.
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, row: int, col: int, height: int, width: int, side: int) -> Squares:
        """Squares of so many pixels on a chunk whose first pixel is at a row and column."""
        down = np.arange(row, row + height) // side
        across = np.arange(col, col + width) // side
        down, across = down - down[0], across - across[0]
        number = (down[:, None] * (across[-1] + 1) + across[None]).ravel()
        order = np.argsort(number, kind="stable")
        _, starts, sizes = np.unique(number[order], return_index=True, return_counts=True)
        return cls(order, starts, sizes)


@dataclass(frozen=True)
class Candidates:
    """Pixels of a chunk that may be among the best.

    Parameters
    ----------
    query, pixel : int64 (candidates,)
        Number of the query, ascending, and of the pixel.
    score : float64 (candidates,)
        Exact score.
    """

    query: NDArray[np.int64]
    pixel: NDArray[np.int64]
    score: NDArray[np.float64]


class Scanner:
    """Queries, ready for chunks. Threads may share it.

    Parameters
    ----------
    queries
        Of one measure and one number of dimensions.

    Examples
    --------
    >>> scanner = Scanner([Query("", (1.0, 0.0))])
    >>> scanner.exact(np.int8([[3, 4], [4, -3]]), np.float32([0.1, 0.1])).tolist()
    [[0.6, 0.8]]
    """

    def __init__(self, queries: Sequence[Query]) -> None:
        check_alike(queries)
        self._weights = np.array([each.weights for each in queries])
        self._biases = np.array([each.bias for each in queries])
        self._by_length = queries[0].measure is Measure.LENGTH
        self._quick = torch.from_numpy(self._weights.astype(np.float32))
        dims = self._weights.shape[1]
        # Cauchy and Schwarz: the sum of the products' sizes is at most that of both lengths.
        longest = 1.0 if self._by_length else LARGEST_CODE * dims**0.5
        lengths = np.sqrt(np.square(self._weights).sum(axis=1))
        self._margins = (dims + 16) * ROUNDING * longest * lengths

    def exact(self, codes: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.float64]:
        """Exact scores of pixels.

        Parameters
        ----------
        codes : int8 (D, P)
            Embeddings in units of their pixel's scale.
        scales : float32 (P,)
            Scale of each pixel.

        Returns
        -------
        float64 (queries, P)
            Minus infinity where a pixel's codes have no direction.
        """
        return self._exact(self._weights, self._biases, codes, scales)

    def candidates(
        self,
        codes: NDArray[np.int8],
        scales: NDArray[np.float32],
        known: NDArray[np.bool_],
        squares: Squares,
        limits: NDArray[np.float64],
    ) -> Candidates | None:
        """Pixels that may be the best of their square and no worse than a limit; None for none.

        Parameters
        ----------
        codes, scales
            As for `exact`.
        known : bool (P,)
            Which pixels count.
        squares
            Which pixels lie in which square.
        limits : float64 (queries,)
            Scores below which nobody counts.
        """
        margins = self._margins
        with torch.inference_mode():
            values = torch.from_numpy(codes).to(torch.float32)
            rough = self._quick @ values
            if self._by_length:
                rough *= values.square_().sum(0).clamp_(min=1).rsqrt_()
            else:
                mine = np.where(known, scales, np.float32(0))
                rough *= torch.from_numpy(mine)
                margins = margins * float(mine.max())
            if not known.all():
                rough[:, torch.from_numpy(~known)] = -torch.inf
            least = limits - self._biases
            margins = margins + 4 * ROUNDING * np.abs(np.where(np.isfinite(least), least, 0))
            least = least - margins
            hit = np.flatnonzero(rough.amax(1).numpy() >= least)
            if not len(hit):
                return None
            near = rough.numpy()[hit][:, squares.order]
        best = np.maximum.reduceat(near, squares.starts, axis=1)
        floor = np.maximum(best - 2 * margins[hit, None], least[hit, None])
        floor = np.maximum(floor, -np.finfo(np.float32).max)
        number, place = np.nonzero(near >= np.repeat(floor, squares.sizes, axis=1))
        if not len(number):
            return None
        pixels, column = np.unique(squares.order[place], return_inverse=True)
        scores = self._exact(
            self._weights[hit], self._biases[hit], codes[:, pixels], scales[pixels]
        )
        return Candidates(hit[number], pixels[column], scores[number, column])

    def _exact(
        self,
        weights: NDArray[np.float64],
        biases: NDArray[np.float64],
        codes: NDArray[np.int8],
        scales: NDArray[np.float32],
    ) -> NDArray[np.float64]:
        values = codes.astype(np.float64)
        product: NDArray[np.float64] = weights @ values
        if self._by_length:
            length = np.sqrt(np.square(values).sum(axis=0))
            nowhere = length == 0
            product /= np.where(nowhere, 1.0, length)
            product += biases[:, None]
            product[:, nowhere] = -np.inf
            return product
        product *= scales.astype(np.float64)
        product += biases[:, None]
        return product
