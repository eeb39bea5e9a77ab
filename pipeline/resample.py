"""From a raster's pixels to the pixels of the lattice.

Where a lattice pixel's centre falls in a raster is computed from the raster's own origin, one
pixel at a time and without approximation, so a value never depends on the window or the block
that asked for it. No data is 0 in integer rasters and NaN in floating-point ones; kernels follow
GDAL's rules: a pixel whose nearest neighbour is no data is no data, other neighbours without data
lose their weight.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from pipeline.grid import PIXEL, Window

KERNELS = {"nearest": 0, "bilinear": 1, "cubic": 2}
"""Resampling kernels, and how many pixels around the nearest one each may need."""

SOUTHERN_NORTHING = 10_000_000
"""False northing of the southern UTM projections, in metres."""


@dataclass(frozen=True)
class Geometry:
    """Where a raster lies: north-up, square pixels.

    Parameters
    ----------
    epsg
        Its projection.
    west, north
        Outer corner in metres.
    pixel
        Side of a pixel in metres.
    height, width
        In pixels.
    """

    epsg: int
    west: float
    north: float
    pixel: float
    height: int
    width: int


@dataclass(frozen=True)
class Placement:
    """Where the pixel centres of a window fall in a raster, in its rows and columns.

    Coordinates count from the raster's corner, so that 0.5 is the centre of the first pixel. They
    are (H,) and (W,) where the raster is in the zone's own projection, else both (H, W).
    """

    rows: NDArray[np.float64]
    cols: NDArray[np.float64]
    height: int
    width: int

    def source(self, kernel: str) -> tuple[slice, slice] | None:
        """Rows and columns of the raster that the window needs, None if they do not meet."""
        reach = KERNELS[kernel]
        spans = []
        for at, size in ((self.rows, self.height), (self.cols, self.width)):
            # All of a warped window may lie at infinity.
            finite = at[np.isfinite(at)] if at.ndim == 2 else at
            if finite.size == 0 or finite.min() >= size or finite.max() < 0:
                return None
            low = int(max(finite.min(), 0.0)) - reach
            high = int(min(finite.max(), size - 0.5)) + 1 + reach
            spans.append(slice(max(low, 0), min(high, size)))
        return spans[0], spans[1]


def place(window: Window, geometry: Geometry) -> Placement:
    """Find where a window's pixel centres fall in a raster."""
    west, _, _, north = window.bounds
    shift = {32600 + window.zone: 0, 32700 + window.zone: SOUTHERN_NORTHING}.get(geometry.epsg)
    if shift is not None:
        x = west + (np.arange(window.width) + 0.5) * PIXEL
        y = north + shift - (np.arange(window.height) + 0.5) * PIXEL
    else:
        x, y = _projected(window, geometry.epsg)
    return Placement(
        (geometry.north - y) / geometry.pixel,
        (x - geometry.west) / geometry.pixel,
        geometry.height,
        geometry.width,
    )


@functools.lru_cache(maxsize=8)
def _projected(window: Window, epsg: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel centres of a window in another projection, (H, W) each."""
    west, _, _, north = window.bounds
    x = west + (np.arange(window.width) + 0.5) * PIXEL
    y = north - (np.arange(window.height) + 0.5) * PIXEL
    transform = Transformer.from_crs(window.crs, f"EPSG:{epsg}", always_xy=True).transform
    return transform(*np.meshgrid(x, y))


def resample(
    pixels: NDArray[Any], source: tuple[slice, slice], placement: Placement, kernel: str
) -> NDArray[Any]:
    """Bring the pixels of a raster to the window of a placement.

    Parameters
    ----------
    pixels
        The part of the raster that `source` says.
    source
        From `Placement.source`, for the same kernel.
    placement
        Of the window.
    kernel
        One of `KERNELS`.

    Returns
    -------
    Array of the window's shape and of the pixels' dtype. Integers are rounded half up.
    """
    reach = KERNELS[kernel]
    is_float = pixels.dtype.kind == "f"
    # A frame of no data stands for what lies beyond the raster.
    framed = np.pad(pixels, reach + 1, constant_values=np.nan if is_float else 0)
    rows = _local(placement.rows, source[0].start, placement.height, reach)
    cols = _local(placement.cols, source[1].start, placement.width, reach)
    near_rows, near_cols = _floor(rows), _floor(cols)
    if kernel == "nearest" or (_centred(rows) and _centred(cols)):
        return _take(framed, near_rows, near_cols)
    full = ~np.isnan(framed) if is_float else framed != 0
    values = np.where(full, framed, 0).astype(np.float64)
    value = _convolved(values, full, rows, cols, _linear, renormalise=True)[0]
    if kernel == "cubic":
        smooth, whole = _convolved(values, full, rows, cols, _catmull_rom, renormalise=False)
        value = np.where(whole, smooth, value)
    here = _take(full, near_rows, near_cols)
    if is_float:
        return np.where(here, value, np.nan).astype(pixels.dtype)
    # Data stays data: an overshoot to 0 would read as no data.
    rounded = np.clip(np.floor(value + 0.5), 1, np.iinfo(pixels.dtype).max)
    return np.where(here, rounded, 0).astype(pixels.dtype)


def _local(at: NDArray[np.float64], start: int, size: int, reach: int) -> NDArray[np.float64]:
    """Coordinates in the framed part; those beyond the raster go to the frame beside it."""
    inside = (at >= 0) & (at < size)
    return np.where(inside, at - start + (reach + 1), reach + 0.5)


def _floor(at: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.floor(at).astype(np.intp)


def _centred(at: NDArray[np.float64]) -> bool:
    return bool((at - np.floor(at) == 0.5).all())


def _take(pixels: NDArray[Any], rows: NDArray[np.intp], cols: NDArray[np.intp]) -> NDArray[Any]:
    return pixels[rows, cols] if rows.ndim == 2 else pixels.take(rows, 0).take(cols, 1)


Taps = list[tuple[int, NDArray[np.float64]]]
"""Offsets from a first pixel, and the weight of the pixel there."""


def _linear(f: NDArray[np.float64]) -> Taps:
    return [(0, 1.0 - f), (1, f)]


def _catmull_rom(f: NDArray[np.float64]) -> Taps:
    """Cubic convolution with a = -0.5 (Keys 1981), as GDAL's `cubic`."""
    return [
        (-1, f * (-0.5 + f * (1.0 - 0.5 * f))),
        (0, 1.0 + f * f * (1.5 * f - 2.5)),
        (1, f * (0.5 + f * (2.0 - 1.5 * f))),
        (2, f * f * (0.5 * f - 0.5)),
    ]


def _convolved(
    values: NDArray[np.float64],
    full: NDArray[np.bool_],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    taps: Callable[[NDArray[np.float64]], Taps],
    renormalise: bool,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Weighted sum of the pixels around each centre, and where all of them have data.

    With `renormalise`, pixels without data lose their weight to the others.
    """
    top, left = np.floor(rows - 0.5), np.floor(cols - 0.5)
    down, across = taps(rows - 0.5 - top), taps(cols - 0.5 - left)
    top, left = top.astype(np.intp), left.astype(np.intp)
    value = _summed(values, top, left, down, across)
    if full.all():
        return value, np.ones(value.shape, bool)
    ones = [[(step, np.ones_like(weight)) for step, weight in way] for way in (down, across)]
    present = full.astype(np.float64)
    whole = _summed(present, top, left, *ones) == len(down) * len(across)
    if renormalise:
        weight = _summed(present, top, left, down, across)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.where(whole, value, value / weight)
    return value, whole


def _summed(
    values: NDArray[np.float64],
    top: NDArray[np.intp],
    left: NDArray[np.intp],
    down: Taps,
    across: Taps,
) -> NDArray[np.float64]:
    """Sum of weighted neighbours: each row's first, then over the rows."""
    if top.ndim == 2:
        return sum(v * sum(u * values[top + i, left + j] for j, u in across) for i, v in down)
    wide = sum(u * values.take(left + j, 1) for j, u in across)
    return sum(v[:, None] * wide.take(top + i, 0) for i, v in down)
