"""The product of a head's weights and the codes of embeddings, the one costly part of scoring.

`products.c` has it for the codes of chunks, called through ctypes; matrix libraries compute all
else, and everything where no compiler was when the package was installed. Sums in C go through the
values of an embedding one after the other, so that every processor comes to the same bits. Matrix
libraries choose how to sum by the shapes and the number of threads that they are given: theirs
differ from these in the last bits.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

VERSION = 2
"""Version of the signatures in `products.c` and `best.c`."""

MULTIPLE, MOST_DIMS = 32, 512
"""Of what `products.c` takes: the number of pixels is a multiple of the one, that of the values of
an embedding the other at most."""

MOST_ROWS = 64
"""Rows beyond which matrix libraries are faster: they take blocks of rows that are larger."""

AT_ONCE = 1024
"""Pixels whose codes are cast at once for a matrix library: those of a chunk."""

SMALL = 1 << 18
"""Multiplications up to which numpy's OpenBLAS computes a product on the thread that asks for it,
and, on processors with AVX-512, without copying its operands first. Ten rows by 128 values are then
two to three times as fast as in torch."""

NARROWEST = 64
"""Pixels of a product below which its calls cost more than its multiplications."""

Codes = NDArray[np.int8] | NDArray[np.float32]


class Product:
    """Weights times codes times the scales of the pixels, plus a bias.

    Parameters
    ----------
    weight : float32 (rows, D)
    bias : float32 (rows,)
    squares
        Whether the squared lengths of the embeddings are wanted, too.
    native
        Whether `products.c` is used, where it was built.

    Examples
    --------
    >>> product = Product(np.float32([[1, 2]]), np.float32([3]))
    >>> rows, _ = product(np.int8([[2, 0], [0, 2]]), np.float32([1, 0.5]))
    >>> rows.tolist()
    [[5.0, 5.0]]
    """

    def __init__(
        self,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        squares: bool = False,
        native: bool = True,
    ) -> None:
        self._weight = np.ascontiguousarray(weight, np.float32)
        self._bias = np.ascontiguousarray(bias, np.float32)
        self._transposed = np.ascontiguousarray(self._weight.T)
        self._constants = self._transposed.ctypes.data, self._bias.ctypes.data, len(self._bias)
        self._squares = squares
        fits = len(weight) <= MOST_ROWS and weight.shape[1] <= MOST_DIMS
        self._native = native_product() if native and fits else None
        self._memory = threading.local()

    def __call__(
        self, codes: Codes, scales: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The product, and the squared lengths of the embeddings if they are wanted.

        Parameters
        ----------
        codes : int8 or float32 (D, P)
            Embeddings in units of their pixel's scale.
        scales : float32 (P,)
            Finite scale of each pixel.

        Returns
        -------
        float32 (rows, P) and (P,), or (0,) without squares
        """
        pixels = codes.shape[1]
        rows = np.empty((len(self._weight), pixels), np.float32)
        squares = np.empty(pixels if self._squares else 0, np.float32)
        if (
            self._native is not None
            and codes.dtype == np.int8
            and codes.strides[1] == 1
            and pixels % MULTIPLE == 0
        ):
            scales = np.ascontiguousarray(scales, np.float32)
            self._native(
                codes.ctypes.data,
                codes.strides[0],
                *codes.shape,
                *self._constants,
                scales.ctypes.data,
                rows.ctypes.data,
                squares.ctypes.data if self._squares else None,
            )
        else:
            self._by_library(codes, rows, squares)
            rows *= scales
            rows += self._bias[:, None]
        if self._squares:
            squares *= np.square(scales)
        return rows, squares

    def _by_library(
        self, codes: Codes, rows: NDArray[np.float32], squares: NDArray[np.float32]
    ) -> None:
        at_once = SMALL // max(self._weight.size, 1) // NARROWEST * NARROWEST
        for start in range(0, codes.shape[1], AT_ONCE):
            here = slice(start, start + AT_ONCE)
            values, out = self._floats(codes[:, here]), rows[:, here]
            if self._squares:
                np.einsum("dp,dp->p", values, values, out=squares[here])
            if not at_once:
                out[:] = (torch.from_numpy(self._weight) @ torch.from_numpy(values)).numpy()
                continue
            for first in range(0, values.shape[1], at_once):
                some = slice(first, first + at_once)
                np.matmul(self._weight, values[:, some], out=out[:, some])

    def _floats(self, codes: Codes) -> NDArray[np.float32]:
        """Codes as float32 (D, P), in memory that the thread keeps for the next ones."""
        kept: NDArray[np.float32] | None = getattr(self._memory, "values", None)
        if kept is None or kept.shape != codes.shape:
            kept = self._memory.values = np.empty(codes.shape, np.float32)
        np.copyto(kept, codes)
        return kept


@functools.cache
def native_library(folder: Path = Path(__file__).parent) -> ctypes.CDLL | None:
    """What `products.c` and `best.c` were built to; None where it was not, or cannot run."""
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = folder / f"_products{suffix}"
        if not path.exists():
            continue
        try:
            library = ctypes.CDLL(str(path))
            if library.tessera_products_version() == VERSION:
                return library
        except (OSError, AttributeError):
            continue
    return None


@functools.cache
def native_product() -> Any:
    """The product in C; None where there is no library."""
    library = native_library()
    if library is None:
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    function = library.tessera_head_rows
    function.argtypes = [
        *(pointer, number, number, number, pointer, pointer, number),
        *(pointer, pointer, pointer),
    ]
    function.restype = None
    return function
