"""Scores of a chunk's pixels: quickly in single precision, exactly where it matters.

The quick product is at most a known margin off. A pixel that may be the best of its square of
ground, and may be among the best of all, is scored again: exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.products import Product
from tessera_mosaic.pipeline.downstream.search_queries import Measure, Query, check_alike

ROUNDING = 2.0**-24
"""Half the distance from 1 to the next number of single precision."""

LARGEST_CODE = 128.0

LOWEST = -float(np.finfo(np.float32).max)
"""Below all scores but that of pixels that do not count."""


def squares_of(row: int, col: int, height: int, width: int, side: int) -> NDArray[np.int32]:
    """In which square of ground each pixel of a chunk lies: numbers below P, int32 (P,).

    Parameters
    ----------
    row, col
        Of the chunk's first pixel, counted from any edge of squares.
    height, width
        Of the chunk, in pixels.
    side
        Of a square, in pixels.

    Examples
    --------
    >>> squares_of(1, 0, 2, 2, 2).tolist()
    [0, 0, 1, 1]
    """
    down = np.arange(row, row + height) // side
    across = np.arange(col, col + width) // side
    down, across = down - down[0], across - across[0]
    return (down[:, None] * (across[-1] + 1) + across[None]).ravel().astype(np.int32)


@dataclass(frozen=True)
class Batch:
    """Some chunks of a tile that are scored together.

    Parameters
    ----------
    codes : int8 (D, P), a chunk
        Embeddings in units of their pixel's scale.
    quick : float32 (chunks, queries, P)
        Scores of each chunk in single precision, as `Scanner.quick` gives them.
    scales : float32 (chunks, P)
        Scale of each pixel.
    known : bool (chunks, P)
        Which pixels count.
    squares : int32 (chunks, P)
        In which square of its chunk each pixel lies, as `squares_of` gives them.
    """

    codes: Sequence[NDArray[np.int8]]
    quick: NDArray[np.float32]
    scales: NDArray[np.float32]
    known: NDArray[np.bool_]
    squares: NDArray[np.int32]


@dataclass(frozen=True)
class Candidates:
    """Pixels that may be among the best.

    Parameters
    ----------
    query, chunk, pixel : int64 (candidates,)
        Numbers of the query, of the chunk in its batch, and of the pixel in the chunk.
    score : float64 (candidates,)
        Exact score.
    """

    query: NDArray[np.int64]
    chunk: NDArray[np.int64]
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
        nothing = np.zeros(len(queries), np.float32)
        self._product = Product(self._weights.astype(np.float32), nothing, squares=self._by_length)
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
        values = codes.astype(np.float64)
        return self._measured(self._weights @ values, values, scales, self._biases[:, None])

    def quick(
        self,
        codes: NDArray[np.int8],
        scales: NDArray[np.float32],
        known: NDArray[np.bool_],
    ) -> NDArray[np.float32]:
        """Scores of a chunk's pixels in single precision, without biases.

        To be asked for as soon as a chunk is decoded, while its codes are near.

        Parameters
        ----------
        codes, scales
            As for `exact`.
        known : bool (P,)
            Which pixels count.

        Returns
        -------
        float32 (queries, P)
            Minus infinity where a pixel does not count.
        """
        whole = bool(known.all())
        if self._by_length:
            rows, squares = self._product(codes, np.ones(len(scales), np.float32))
            rows /= np.sqrt(np.maximum(squares, 1, out=squares), out=squares)
        else:
            rows, _ = self._product(codes, scales if whole else np.where(known, scales, 0))
        if not whole:
            rows[:, ~known] = -np.inf
        return rows

    def candidates(self, batch: Batch, limits: NDArray[np.float64]) -> Candidates | None:
        """Pixels that may be the best of their square and no worse than a limit; None for none.

        Parameters
        ----------
        batch
            The chunks.
        limits : float64 (queries,)
            Scores below which nobody counts.
        """
        rough, margins = batch.quick, self._margins
        if not self._by_length:
            margins = margins * float(np.where(batch.known, batch.scales, 0).max())
        least = limits - self._biases
        least = least - margins - 4 * ROUNDING * np.abs(np.where(np.isfinite(least), least, 0))
        least = np.maximum(least, LOWEST)
        chunk, query = np.nonzero(rough.max(axis=2) >= least)
        part, pixel = np.nonzero(rough[chunk, query] >= least[query, None])
        if not len(part):
            return None
        near = rough[chunk[part], query[part], pixel]
        square = part * rough.shape[2] + batch.squares[chunk[part], pixel]
        best = np.full(len(chunk) * rough.shape[2], LOWEST, np.float32)
        np.maximum.at(best, square, near)
        kept = near >= best[square] - 2 * margins[query[part]]
        query, chunk, pixel = query[part[kept]], chunk[part[kept]], pixel[kept]
        values = np.empty((self._weights.shape[1], len(pixel)))
        starts = np.flatnonzero(np.diff(chunk, prepend=-1)).tolist()
        for start, stop in pairwise([*starts, len(chunk)]):
            values[:, start:stop] = batch.codes[chunk[start]].take(pixel[start:stop], axis=1)
        product = np.einsum("nd,dn->n", self._weights[query], values)
        scales, biases = batch.scales[chunk, pixel], self._biases[query]
        return Candidates(query, chunk, pixel, self._measured(product, values, scales, biases))

    def _measured(
        self,
        product: NDArray[np.float64],
        values: NDArray[np.float64],
        scales: NDArray[np.float32],
        biases: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Scores (..., P) of products (..., P) with codes (D, P)."""
        if not self._by_length:
            return product * scales.astype(np.float64) + biases
        length = np.sqrt(np.square(values).sum(axis=0))
        somewhere = length > 0
        scores = product / np.where(somewhere, length, 1.0) + biases
        return np.where(somewhere, scores, -np.inf)
