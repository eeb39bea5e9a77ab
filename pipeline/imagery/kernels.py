"""The loops over pixels between a block's inflated bytes and an annual stack.

`kernels.c` has them in C, called through ctypes, which lets go of the interpreter's lock, so that
as many threads compute as there are cores. It is built where a compiler is at hand when the package
is installed; elsewhere numpy does the same, more slowly. Both give the same bytes.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.imagery.kernel_types import (
    PIXELS,
    BandTable,
    CodeTable,
    Kernels,
    Mode,
    OffsetStep,
    RasterWindow,
)

VERSION = 1
"""Version of the signatures in `kernels.c`."""


class NumpyKernels:
    """Kernels where nothing could be compiled."""

    def paste(
        self,
        raw: NDArray[np.uint8],
        width: int,
        rows: slice,
        cols: slice,
        predictor: int,
        out: NDArray[Any],
    ) -> None:
        """See `Kernels.paste`."""
        lines = raw.reshape(-1, width * out.dtype.itemsize)[rows]
        if predictor == 3:
            planes = np.asarray(imagecodecs.delta_decode(lines, axis=1)).reshape(-1, 4, width)
            parts = planes[:, :, cols].astype(np.uint32)
            bits = parts[:, 0] << 24 | parts[:, 1] << 16 | parts[:, 2] << 8 | parts[:, 3]
            out[...] = bits.view(np.float32)
            return
        pixels = lines.view(out.dtype)
        if predictor == 2:
            pixels = np.asarray(imagecodecs.delta_decode(pixels, axis=1))
        out[...] = pixels[:, cols]

    def join_bands(
        self,
        bands: BandTable,
        corner: tuple[int, int],
        mine: NDArray[np.bool_] | None,
        step: OffsetStep,
        offset: int,
        out: NDArray[np.uint16],
    ) -> None:
        """See `Kernels.join_bands`."""
        rows, cols = (
            np.arange(first, first + size) for first, size in zip(corner, out.shape, strict=False)
        )
        for channel, (window, mode) in enumerate(zip(bands.windows, bands.modes, strict=True)):
            values = _on_lattice(window, mode, rows, cols)
            if step == OffsetStep.FROM_OFFSET_UP:
                values = values - np.uint16(offset) * (values >= offset)
            if step == OffsetStep.REMOVED:
                lowered = np.where(values > offset, values - np.uint16(offset), np.uint16(1))
                values = np.where(values == 0, np.uint16(0), lowered)
            np.copyto(out[..., channel], values, where=True if mine is None else mine)

    def join_codes(
        self, power: NDArray[np.float32], table: CodeTable, out: NDArray[np.int16]
    ) -> tuple[int, int]:
        """See `Kernels.join_codes`."""
        bits = np.ascontiguousarray(power).view(np.uint32)
        good = bits < np.float32(np.inf).view(np.uint32)
        bits = np.where(good, bits, np.uint32(0))
        codes = table.first[bits >> table.shift].astype(np.intp)
        least = np.append(table.least, np.uint32(2**32 - 1))
        while (more := bits >= least[codes]).any():
            codes += more
        new = (codes != 0) & (out == 0)
        np.copyto(out, codes.astype(np.int16), where=new)
        return int(np.count_nonzero(codes)), int(np.count_nonzero(new))


def _on_lattice(
    window: RasterWindow, mode: Mode, rows: NDArray[np.intp], cols: NDArray[np.intp]
) -> NDArray[np.uint16]:
    """A window's pixels at rows and columns of the lattice."""
    pixels, top, left = window.pixels, window.top, window.left
    if mode == Mode.SAME:
        return np.asarray(pixels[np.ix_(rows - top, cols - left)])
    near_rows, near_cols = (rows >> 1) - top, (cols >> 1) - left
    near = pixels[np.ix_(near_rows, near_cols)]
    if mode == Mode.HALF_NEAREST:
        return np.asarray(near)
    other_rows, other_cols = (
        near + np.where(at & 1, 1, -1) for near, at in ((near_rows, rows), (near_cols, cols))
    )
    side = pixels[np.ix_(near_rows, other_cols)]
    above = pixels[np.ix_(other_rows, near_cols)]
    beyond = pixels[np.ix_(other_rows, other_cols)]
    total = 9 * near.astype(np.uint32)
    weight = np.full(near.shape, 9, np.uint32)
    for share, values in ((3, side), (3, above), (1, beyond)):
        total += share * values.astype(np.uint32)
        weight += np.uint32(share) * (values != 0)
    sixteenth = np.float32(1 / 16)
    value = (total.astype(np.float32) * sixteenth) / (weight.astype(np.float32) * sixteenth)
    partial = np.floor(value + np.float32(0.5)).astype(np.uint32)
    whole = (total + 8) >> 4
    joined = np.where(weight == 16, whole, partial)
    return np.where(near != 0, joined, 0).astype(np.uint16)


class NativeKernels:
    """Kernels in C.

    Parameters
    ----------
    library
        The library that `kernels.c` was built to.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        whole, pointer, short = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int32
        part = [pointer, *[whole] * 5]
        self._pastes = {}
        for dtype, name in zip(PIXELS, ("uint8", "uint16", "uint32"), strict=True):
            self._pastes[dtype] = _function(
                library, f"paste_{name}", [*part, short, pointer, whole]
            )
        self._paste_floats = _function(library, "paste_floats", [*part, pointer, whole])
        self._join_bands = _function(
            library,
            "join_bands",
            [pointer, *[whole] * 5, pointer, whole, short, short, pointer, pointer, whole],
        )
        self._join_codes = _function(
            library,
            "join_codes",
            [pointer, *[whole] * 3, pointer, whole, pointer, short, pointer, whole, pointer],
        )

    def paste(
        self,
        raw: NDArray[np.uint8],
        width: int,
        rows: slice,
        cols: slice,
        predictor: int,
        out: NDArray[Any],
    ) -> None:
        """See `Kernels.paste`."""
        part = raw.ctypes.data, width, rows.start, rows.stop, cols.start, cols.stop
        into = out.ctypes.data, out.strides[0] // out.itemsize
        if predictor == 3:
            self._paste_floats(*part, *into)
        else:
            self._pastes[out.dtype](*part, predictor == 2, *into)

    def join_bands(
        self,
        bands: BandTable,
        corner: tuple[int, int],
        mine: NDArray[np.bool_] | None,
        step: OffsetStep,
        offset: int,
        out: NDArray[np.uint16],
    ) -> None:
        """See `Kernels.join_bands`."""
        height, width, count = out.shape
        lines = np.empty(width * count, np.uint16)
        where = (None, 0) if mine is None else (mine.ctypes.data, mine.strides[0])
        self._join_bands(
            bands.rows.ctypes.data,
            count,
            *corner,
            height,
            width,
            *where,
            step,
            offset,
            lines.ctypes.data,
            out.ctypes.data,
            out.strides[0] // out.itemsize,
        )

    def join_codes(
        self, power: NDArray[np.float32], table: CodeTable, out: NDArray[np.int16]
    ) -> tuple[int, int]:
        """See `Kernels.join_codes`."""
        found = np.zeros(2, np.int64)
        self._join_codes(
            power.ctypes.data,
            power.strides[0] // power.itemsize,
            *power.shape,
            table.least.ctypes.data,
            len(table.least),
            table.first.ctypes.data,
            table.shift,
            out.ctypes.data,
            out.strides[0] // out.itemsize,
            found.ctypes.data,
        )
        return int(found[0]), int(found[1])


def _function(library: ctypes.CDLL, name: str, arguments: list[Any]) -> Any:
    function = getattr(library, name)
    function.argtypes, function.restype = arguments, None
    return function


def find_library(folder: Path = Path(__file__).parent) -> ctypes.CDLL | None:
    """What `kernels.c` was built to; None where it was not, or from another version."""
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = folder / f"_kernels{suffix}"
        if not path.exists():
            continue
        try:
            library = ctypes.CDLL(str(path))
            if library.tessera_kernels_version() == VERSION:
                return library
        except (OSError, AttributeError):
            continue
    return None


def best_kernels() -> Kernels:
    """Those in C where they were built, else those in numpy."""
    library = find_library()
    return NumpyKernels() if library is None else NativeKernels(library)
