"""What kernels take: windows of rasters, how they come to the lattice, and codes by power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.imagery.resample import Geometry

PIXELS = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
"""Types of pixels that are pasted without a copy between."""


class Mode(IntEnum):
    """How a raster's pixels come to the 10 m lattice."""

    SAME = 0
    """They are the lattice's own."""

    HALF_NEAREST = 1
    """Each covers two by two of the lattice's, which take its value."""

    HALF_BILINEAR = 2
    """Each covers two by two of the lattice's, between whose centres values are interpolated."""


class OffsetStep(IntEnum):
    """What is done about the radiometric offset (see `stacks.sentinel2`)."""

    KEPT = 0
    FROM_OFFSET_UP = 1
    REMOVED = 2


@dataclass(frozen=True)
class RasterWindow:
    """Some pixels of a raster, also beyond its edges, where nothing is.

    Parameters
    ----------
    pixels
        Array (rows, cols).
    top, left
        Row and column of the first of them in the raster.
    """

    pixels: NDArray[Any]
    top: int
    left: int

    def within(self, geometry: Geometry) -> tuple[slice, slice]:
        """Its rows and columns that lie in a raster."""
        height, width = self.pixels.shape
        return (
            slice(max(self.top, 0), max(0, min(self.top + height, geometry.height))),
            slice(max(self.left, 0), max(0, min(self.left + width, geometry.width))),
        )

    def part(self, rows: slice, cols: slice) -> NDArray[Any]:
        """Rows and columns of the raster."""
        return self.pixels[
            rows.start - self.top : rows.stop - self.top,
            cols.start - self.left : cols.stop - self.left,
        ]


@dataclass(frozen=True)
class CodeTable:
    """Backscatter codes by power, exact for floats of 32 bits.

    Parameters
    ----------
    least : uint32 (codes,)
        Bits of the least power of code n + 1, at n.
    first : int16 (2**31 >> shift,)
        Code of the least power whose bits begin so.
    shift
        Number of bits that `first` leaves out.
    """

    least: NDArray[np.uint32]
    first: NDArray[np.int16]
    shift: int


class BandTable:
    """Windows of a scene's bands, in the form in which kernels take them.

    Parameters
    ----------
    windows
        Window of each band, uint16.
    modes
        How each comes to the lattice.
    """

    def __init__(self, windows: Sequence[RasterWindow], modes: Sequence[Mode]) -> None:
        self.windows, self.modes = tuple(windows), tuple(modes)
        self.rows = np.array(
            [
                (w.pixels.ctypes.data, w.pixels.strides[0] // 2, w.top, w.left, mode)
                for w, mode in zip(windows, modes, strict=True)
            ],
            np.int64,
        )


class Kernels(Protocol):
    """What is done to pixels."""

    def paste(
        self,
        raw: NDArray[np.uint8],
        width: int,
        rows: slice,
        cols: slice,
        predictor: int,
        out: NDArray[Any],
    ) -> None:
        """Put part of a block's inflated bytes into an array of one of `PIXELS`.

        Parameters
        ----------
        raw
            Inflated bytes of the block, in this machine's byte order; they may be overwritten.
        width
            Pixels of a row of the block.
        rows, cols
            Part of the block.
        predictor
            1 for none, 2 for differences of integers, 3 for floats.
        out
            Pixels of the part, whose rows are contiguous.
        """

    def join_bands(
        self,
        bands: BandTable,
        corner: tuple[int, int],
        mine: NDArray[np.bool_] | None,
        step: OffsetStep,
        offset: int,
        out: NDArray[np.uint16],
    ) -> None:
        """Bring a scene's bands to a part of the lattice, side by side in each pixel.

        Parameters
        ----------
        bands
            Windows that hold all that the part needs.
        corner
            Row and column of the part's first pixel, in pixels of 10 m from the raster's corner.
        mine
            Pixels that are written, bool (H, W); None for all.
        step, offset
            What is done about the radiometric offset, and how much that is.
        out
            Pixels (H, W, bands), rows contiguous.
        """

    def join_codes(
        self, power: NDArray[np.float32], table: CodeTable, out: NDArray[np.int16]
    ) -> tuple[int, int]:
        """Code backscatter where there is no code yet.

        Parameters
        ----------
        power
            Linear power (H, W), rows contiguous.
        table
            The codes.
        out
            Codes (H, W), every other value of contiguous rows.

        Returns
        -------
        Number of pixels that have a code, and of those that were put.
        """
