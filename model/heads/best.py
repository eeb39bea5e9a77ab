"""The pixels of chunks that may be among the best by a product with their codes.

A rough product is at most a known margin off. A pixel that may be the best of its square of ground,
and may be among the best of all, is scored again: exactly. `best.c` does both in one pass over a
chunk; where no compiler was when the package was installed, numpy does, and finds the same hits.
"""

from __future__ import annotations

import ctypes
import functools
import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.products import Product, native_library

AT_ONCE, MOST_DIMS, MOST_SIDE = 64, 512, 512
"""What `best.c` takes: a number of pixels that is a multiple of the one, and at most so many values
of an embedding and pixels of a chunk's side."""

LARGEST_WEIGHT = 32767
"""Of the rough product in C: the sum of `MOST_DIMS` products with codes fits in 32 bits."""

ROUNDING = 2.0**-24
"""Half the distance from 1 to the next number of single precision."""

LARGEST_CODE = 128.0


FOUND = np.dtype(
    [("score", np.float64), ("query", np.int32), ("row", np.int32), ("col", np.int32)], align=True
)
"""A pixel that may be among the best: its exact score, the number of its query, and its row and
column of the lattice."""

Found = NDArray[np.void]
"""Some of them, of `FOUND`: one array in place of four, since most chunks have few or none."""


class Ground:
    """The pixels of a tile, of which chunks are looked at.

    Parameters
    ----------
    known : bool (side, side)
        Which of them count.
    scales : float32 (side, side)
        Scale of each.
    row, col
        The tile's first row and column on the lattice.
    square
        Side in pixels of the squares of the lattice that have one hit.
    """

    def __init__(
        self,
        known: NDArray[np.bool_],
        scales: NDArray[np.float32],
        row: int,
        col: int,
        square: int,
    ) -> None:
        self.known = np.ascontiguousarray(known)
        self.scales = np.ascontiguousarray(scales, np.float32)
        self.row, self.col, self.square = row, col, square
        self.largest = float(self.scales[self.known].max(initial=0))
        self.native = _Ground(
            self.known.ctypes.data,
            self.scales.ctypes.data,
            *(known.shape[1], row, col, square, self.largest),
        )


class BestPixels:
    """What finds the best pixels of several queries. Threads may share it.

    A pixel of codes `q` scores `w . q * scale + b`, or `w . q / |q| + b`.

    Parameters
    ----------
    weights : float64 (queries, D)
        With so few bits that the product with whole numbers of 8 bits is exact.
    biases : float64 (queries,)
        Added to the product.
    by_length
        Whether the product is divided by the length of the codes, and scales do not matter.
    native
        Whether `best.c` is used, where it was built.

    Examples
    --------
    >>> best = BestPixels(np.array([[1.0, 0.0]]), np.zeros(1), by_length=True)
    >>> codes = np.int8([[3, 4, 0, 4], [4, -3, 5, 3]])
    >>> best.exact(codes, np.ones(4, np.float32)).tolist()
    [[0.6, 0.8, 0.0, 0.8]]
    >>> ground = Ground(np.ones((2, 2), bool), np.ones((2, 2), np.float32), 0, 0, square=1)
    >>> best.find(codes, ground, 0, 0, np.array([0.7]))["col"].tolist()
    [1, 1]
    """

    def __init__(
        self,
        weights: NDArray[np.float64],
        biases: NDArray[np.float64],
        by_length: bool,
        native: bool = True,
    ) -> None:
        self._weights = np.ascontiguousarray(weights, np.float64)
        self._biases = np.ascontiguousarray(biases, np.float64)
        self._by_length = by_length
        # Cauchy and Schwarz: the sum of the products' sizes is at most that of both lengths.
        dims = weights.shape[1]
        longest = 1.0 if by_length else LARGEST_CODE * dims**0.5
        lengths = np.sqrt(np.square(self._weights).sum(axis=1))
        self._margins = (dims + 16) * ROUNDING * longest * lengths
        nothing = np.zeros(len(weights), np.float32)
        self._product = Product(
            self._weights.astype(np.float32), nothing, squares=by_length, native=native
        )
        self._native = native_best() if native and dims <= MOST_DIMS else None
        if self._native is not None:
            self._search = _Search(self._weights, self._biases, longest, by_length)
        self._memory = threading.local()

    @property
    def queries(self) -> int:
        """Number of queries."""
        return len(self._weights)

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

    def find(
        self,
        codes: NDArray[np.int8],
        ground: Ground,
        row: int,
        col: int,
        limits: NDArray[np.float64],
    ) -> Found | None:
        """Pixels of a chunk that may be the best of their square and no worse than a limit.

        Parameters
        ----------
        codes : int8 (D, P)
            Embeddings of a square chunk, pixel after pixel, row after row.
        ground
            The tile that it lies in.
        row, col
            Its first row and column in the tile.
        limits : float64 (queries,)
            Scores below which nobody counts.

        Returns
        -------
        (found,) of `FOUND`
            Among others, all that are; None for none at all.
        """
        side = math.isqrt(codes.shape[1])
        if (
            self._native is None
            or codes.shape[1] % AT_ONCE
            or side > MOST_SIDE
            or not codes.flags.c_contiguous
        ):
            return self._find(codes, ground, (row, col), side, limits)
        room: _Room | None = getattr(self._memory, "room", None)
        if room is None or room.pixels < side**2:
            room = self._memory.room = _Room(len(self._weights), side**2)
        number = self._native(
            ctypes.byref(self._search),
            ctypes.byref(ground.native),
            _address(codes),
            *(side, row, col),
            _address(limits),
            ctypes.byref(room),
        )
        return room.listed[:number].copy() if number else None

    def _find(
        self,
        codes: NDArray[np.int8],
        ground: Ground,
        corner: tuple[int, int],
        side: int,
        limits: NDArray[np.float64],
    ) -> Found | None:
        """The same by matrix libraries."""
        row, col = corner
        here = np.s_[row : row + side, col : col + side]
        known, scales = ground.known[here].ravel(), ground.scales[here].ravel()
        if self._by_length:
            rough, squares = self._product(codes, np.ones(len(scales), np.float32))
            known = known & (squares > 0)
            rough /= np.sqrt(np.maximum(squares, 1))
        else:
            rough, _ = self._product(codes, np.where(known, scales, 0))
        rough[:, ~known] = -np.inf
        margins = self._margins * (1.0 if self._by_length else ground.largest)
        least = limits - self._biases
        least = least - margins - 4 * ROUNDING * np.abs(np.where(np.isfinite(least), least, 0))
        query, pixel = np.nonzero((rough >= least[:, None]) & known)
        if not len(query):
            return None
        down, across = np.divmod(np.arange(side**2), side)
        down, across = down + ground.row + row, across + ground.col + col
        places = down // ground.square * (across[-1] + 1) + across // ground.square
        _, square = np.unique(places, return_inverse=True)
        best = np.full(rough.shape, -np.inf, np.float32)
        near = rough[query, pixel]
        np.maximum.at(best, (query, square[pixel]), near)
        kept = near >= best[query, square[pixel]] - 2 * margins[query]
        query, pixel = query[kept], pixel[kept]
        values = codes[:, pixel].astype(np.float64)
        product = np.einsum("nd,dn->n", self._weights[query], values)
        found = np.empty(len(query), FOUND)
        found["score"] = self._measured(product, values, scales[pixel], self._biases[query])
        found["query"], found["row"], found["col"] = query, down[pixel], across[pixel]
        return found

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


class _Ground(ctypes.Structure):
    """As `best.c` has it."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("known", "scales")),
        *((name, ctypes.c_int64) for name in ("side", "row", "col", "square")),
        ("largest", ctypes.c_double),
    )


class _Search(ctypes.Structure):
    """As `best.c` has it."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("dims", "queries", "by_length")),
        *((name, ctypes.c_void_p) for name in ("weights", "exact", "biases", "units", "margins")),
    )

    def __init__(
        self,
        weights: NDArray[np.float64],
        biases: NDArray[np.float64],
        longest: float,
        by_length: bool,
    ) -> None:
        queries, dims = weights.shape
        largest = np.abs(weights).max(axis=1)
        units = np.where(largest > 0, largest, 1.0) / LARGEST_WEIGHT
        exact = weights / units[:, None]
        rough = np.rint(exact)
        pairs = np.zeros((-(-dims // 2), queries, 2), np.int16)
        pairs[:, :, 0] = rough[:, 0::2].T
        pairs[: dims // 2, :, 1] = rough[:, 1::2].T
        # What the weights are off, and five roundings to single precision at most.
        off = np.sqrt(np.square(exact - rough).sum(axis=1))
        margins = longest * (off + 8 * ROUNDING * np.sqrt(np.square(exact).sum(axis=1)))
        self._arrays = pairs, weights, biases, units, margins
        super().__init__(dims, queries, by_length, *(of.ctypes.data for of in self._arrays))


class _Room(ctypes.Structure):
    """As `best.c` has it."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("rough", "factors", "best", "found"))

    def __init__(self, queries: int, pixels: int) -> None:
        self.pixels, self.listed = pixels, np.empty(queries * pixels, FOUND)
        self._scratch = [np.empty(count * pixels, np.float32) for count in (queries, 1, 1)]
        super().__init__(*(of.ctypes.data for of in (*self._scratch, self.listed)))


def _address(array: NDArray[Any]) -> Any:
    """Where an array lies, for C; told in a third of the time that `array.ctypes` takes."""
    if not array.flags.writeable:
        return array.ctypes.data
    return ctypes.byref(ctypes.c_char.from_buffer(array.data))


@functools.cache
def native_best() -> Any:
    """What finds the best pixels in C; None where there is no library."""
    library = native_library()
    if library is None:
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    function = library.tessera_best_pixels
    function.argtypes = [*[pointer] * 3, *[number] * 3, *[pointer] * 2]
    function.restype = number
    return function
