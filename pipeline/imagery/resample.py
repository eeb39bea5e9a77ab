"""From a raster's pixels to the pixels of the lattice.

Where a lattice pixel's centre falls in a raster is computed from the raster's own corner, for each
pixel and without approximation, so that a value never depends on the window that asked for it.

No data is 0 in integer rasters and NaN in floating-point ones. Kernels follow GDAL: a pixel whose
nearest neighbour has no data has none, and other neighbours without data lose their weight.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from tessera_mosaic.pipeline.tiling.lattice import PIXEL, Window

SOUTHERN_NORTHING = 10_000_000
"""False northing of the southern UTM projections, in metres."""

Floats = NDArray[np.float64]

MOST_PROJECTED = 2**28
"""Bytes of pixel centres in other projections that are kept: those of two tiles of 2048 px."""

_PROJECTING = threading.Lock()
_PROJECTED: dict[tuple[Window, int], tuple[Floats, Floats]] = {}


class Kernel(StrEnum):
    """How values between the centres of pixels are found, by the names that GDAL has for it."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    CUBIC = "cubic"


REACH = {Kernel.NEAREST: 0, Kernel.BILINEAR: 1, Kernel.CUBIC: 2}
"""Number of pixels on each side of the nearest one that a kernel may need."""


@dataclass(frozen=True)
class Geometry:
    """Where a raster lies: north-up, square pixels.

    Parameters
    ----------
    epsg
        EPSG code of its projection.
    west, north
        Easting and northing of its outer north-west corner in metres.
    pixel
        Side of a pixel in metres.
    height, width
        Size in pixels.
    """

    epsg: int
    west: float
    north: float
    pixel: float
    height: int
    width: int

    @property
    def ground(self) -> tuple[int, float, float, float, float]:
        """Projection, west and north edge, and extent in metres: the same at any resolution."""
        height, width = self.height * self.pixel, self.width * self.pixel
        return self.epsg, self.west, self.north, height, width

    def meets(self, other: Geometry) -> bool:
        """Whether another raster has ground of this one; of another projection nobody knows."""
        epsg, west, north, height, width = self.ground
        code, left, top, down, across = other.ground
        apart = left >= west + width or left + across <= west
        apart = apart or top - down >= north or top <= north - height
        return epsg != code or not apart


@dataclass(frozen=True)
class Placement:
    """Where the pixel centres of a window fall in a raster.

    Parameters
    ----------
    down, across
        Distances from the raster's north and west edge in metres: float64 (H,) and (W,) where the
        raster is in the zone's own projection, else both (H, W).
    geometry
        Ground that the raster covers.
    """

    down: Floats
    across: Floats
    geometry: Geometry

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the window."""
        if self.down.ndim == 2:
            return self.down.shape[0], self.down.shape[1]
        return len(self.down), len(self.across)

    def simplest(self, kernel: Kernel) -> Kernel:
        """A kernel that gives the same with the fewest pixels: where centres coincide, nearest."""
        pixel = self.geometry.pixel
        coincide = self.down.ndim == 1 and all(
            (metres / pixel - 0.5 == np.floor(metres / pixel)).all()
            for metres in (self.down, self.across)
        )
        return Kernel.NEAREST if coincide else kernel

    def span(self, side: int) -> tuple[int, int] | None:
        """First row or column that the centres fall in, and the one after the last.

        They count on beyond the raster's edges. None where the raster is in another projection.
        """
        metres = (self.down, self.across)[side]
        if metres.ndim == 2:
            return None
        pixel = self.geometry.pixel
        return int(np.floor(metres.min() / pixel)), int(np.floor(metres.max() / pixel)) + 1

    def crop(self, part: tuple[slice, slice]) -> Placement:
        """Of some rows and columns of the window."""
        rows, cols = part
        if self.down.ndim == 2:
            return replace(self, down=self.down[part], across=self.across[part])
        return replace(self, down=self.down[rows], across=self.across[cols])

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which of the window's pixel centres lie in the raster, bool (H, W)."""
        height, width = self.geometry.ground[3:]
        with np.errstate(invalid="ignore"):
            down = (self.down >= 0) & (self.down < height)
            across = (self.across >= 0) & (self.across < width)
        return down & across if self.down.ndim == 2 else down[:, None] & across

    def source(self, kernel: Kernel) -> tuple[slice, slice] | None:
        """Rows and columns of the raster that the window needs; None if they do not meet."""
        reach, pixel = REACH[kernel], self.geometry.pixel
        spans = []
        for metres, size in (
            (self.down, self.geometry.height),
            (self.across, self.geometry.width),
        ):
            # Ground on the far side of the Earth has no place in a projection.
            known = metres[np.isfinite(metres)]
            if known.size == 0:
                return None
            first, last = np.floor(known.min() / pixel), np.floor(known.max() / pixel)
            if first >= size or last < 0:
                return None
            low, high = max(int(first), 0) - reach, min(int(last), size - 1) + 1 + reach
            spans.append(slice(max(low, 0), min(high, size)))
        return spans[0], spans[1]


def is_own_projection(window: Window, geometry: Geometry) -> bool:
    """Whether a raster is in the projection of a window's zone, of either hemisphere."""
    return geometry.epsg in (32600 + window.zone, 32700 + window.zone)


def place(window: Window, geometry: Geometry) -> Placement:
    """Find where a window's pixel centres fall in a raster."""
    if is_own_projection(window, geometry):
        x, y = _centres(window)
        y = y + (SOUTHERN_NORTHING if geometry.epsg == 32700 + window.zone else 0)
    else:
        x, y = _projected(window, geometry.epsg)
    return Placement(geometry.north - y, x - geometry.west, geometry)


def _centres(window: Window) -> tuple[Floats, Floats]:
    """Eastings (W,) and northings (H,) of a window's pixel centres."""
    west, _, _, north = window.bounds
    x = west + (np.arange(window.width, dtype=np.float64) + 0.5) * PIXEL
    y = north - (np.arange(window.height, dtype=np.float64) + 0.5) * PIXEL
    return x, y


def _projected(window: Window, epsg: int) -> tuple[Floats, Floats]:
    """A window's pixel centres in another projection, (H, W) each."""
    # One thread computes while those that want the same wait.
    with _PROJECTING:
        known = _PROJECTED.pop((window, epsg), None) or _project(window, epsg)
        _PROJECTED[window, epsg] = known
        kept = sum(x.nbytes + y.nbytes for x, y in _PROJECTED.values())
        while kept > MOST_PROJECTED and len(_PROJECTED) > 1:
            x, y = _PROJECTED.pop(next(iter(_PROJECTED)))
            kept -= x.nbytes + y.nbytes
        return known


def _project(window: Window, epsg: int) -> tuple[Floats, Floats]:
    transformer = Transformer.from_crs(window.crs, f"EPSG:{epsg}", always_xy=True)
    x, y = transformer.transform(*np.meshgrid(*_centres(window)))
    return x, y


def resample(
    pixels: NDArray[Any], source: tuple[slice, slice], placement: Placement, kernel: Kernel
) -> NDArray[Any]:
    """Bring the pixels of a raster to the window of a placement.

    Parameters
    ----------
    pixels
        Part of the raster that `source` names, (rows, cols) of any integer or floating-point type.
    source
        Rows and columns of the raster, from `Placement.source` for the same kernel.
    placement
        Places of the window's pixel centres in the raster.
    kernel
        Rule by which values between the centres of pixels are found.

    Returns
    -------
    Array of the window's shape and of the pixels' dtype. Integers are rounded half up.
    """
    reach, geometry = REACH[kernel], placement.geometry
    # A frame without data stands for what lies beyond the raster.
    nothing = np.nan if pixels.dtype.kind == "f" else 0
    framed = np.pad(pixels, reach + 1, constant_values=nothing)
    rows = _axis(placement.down, geometry.pixel, geometry.height, source[0].start, reach)
    cols = _axis(placement.across, geometry.pixel, geometry.width, source[1].start, reach)
    if kernel == Kernel.NEAREST or (not rows.share.any() and not cols.share.any()):
        return _taken(framed, rows.near, cols.near)
    return _interpolated(framed, rows, cols, kernel)


@dataclass(frozen=True)
class _Axis:
    """Where pixel centres fall along one side of an array of pixels.

    Parameters
    ----------
    near
        Index of the pixel that each falls in.
    first
        Index of the last pixel whose own centre is not beyond it.
    share
        Part of the way from that centre to the next at which it lies, 0 to 1.
    """

    near: NDArray[np.intp]
    first: NDArray[np.intp]
    share: Floats

    @property
    def period(self) -> int:
        """After how many pixels the shares repeat, one pixel of the array on; 0 if they do not."""
        if self.first.ndim == 1:
            for step in (2, 3):
                if (
                    len(self.first) > step
                    and (self.first[step:] == self.first[:-step] + 1).all()
                    and (self.share[step:] == self.share[:-step]).all()
                ):
                    return step
        return 0

    def moved(self, by: int) -> _Axis:
        """The same along an array that begins `by` pixels further on."""
        return replace(self, near=self.near - by, first=self.first - by)


def _axis(metres: Floats, pixel: float, size: int, start: int, reach: int) -> _Axis:
    """Along a part of a raster's side that begins at `start` and has a frame around it."""
    with np.errstate(invalid="ignore"):
        inside = (metres >= 0) & (metres < size * pixel)
    # What lies beyond goes to the frame beside the first pixel.
    metres = np.where(inside, metres, (start - 0.5) * pixel)
    near = np.floor(metres / pixel)
    first = np.floor((metres - pixel / 2) / pixel)
    share = (metres - pixel / 2 - first * pixel) / pixel
    frame = reach + 1 - start
    return _Axis(near.astype(np.intp) + frame, first.astype(np.intp) + frame, share)


def _taken(pixels: NDArray[Any], rows: NDArray[np.intp], cols: NDArray[np.intp]) -> NDArray[Any]:
    return pixels[rows, cols] if rows.ndim == 2 else pixels.take(rows, 0).take(cols, 1)


def _interpolated(pixels: NDArray[Any], rows: _Axis, cols: _Axis, kernel: Kernel) -> NDArray[Any]:
    """Bilinear or cubic interpolation between the pixels that have data."""
    reach, dtype = REACH[kernel], pixels.dtype
    top, left = (int(axis.first.min()) - reach + 1 for axis in (rows, cols))
    bottom, right = (int(axis.first.max()) + reach + 1 for axis in (rows, cols))
    pixels = pixels[top:bottom, left:right]
    rows, cols = rows.moved(top), cols.moved(left)
    full = ~np.isnan(pixels) if dtype.kind == "f" else pixels != 0
    # Quarters of 16 bit integers are exact in 32 bit: between 20 m and 10 m, faster, not other.
    quarters = all((4 * axis.share == np.floor(4 * axis.share)).all() for axis in (rows, cols))
    exact = (
        np.float32 if quarters and dtype.itemsize <= 2 and kernel == Kernel.BILINEAR else np.float64
    )
    if full.all():
        taps = _linear if kernel == Kernel.BILINEAR else _catmull_rom
        return _rounded(_convolved(pixels.astype(exact), rows, cols, taps), dtype, kernel)
    values, present = np.where(full, pixels, 0).astype(exact), full.astype(exact)
    weight = _convolved(present, rows, cols, _linear)
    whole = _convolved(present, rows, cols, _ones(_linear)) == 4
    here = _taken(full, rows.near, cols.near)
    value = _convolved(values, rows, cols, _linear)
    value = np.where(whole, value, value / np.where(here, weight, 1))
    if kernel == Kernel.CUBIC:
        whole = _convolved(present, rows, cols, _ones(_catmull_rom)) == 16
        value = np.where(whole, _convolved(values, rows, cols, _catmull_rom), value)
    nothing = np.asarray(np.nan if dtype.kind == "f" else 0, dtype)
    return np.where(here, _rounded(value, dtype, kernel), nothing)


def _rounded(value: NDArray[Any], dtype: np.dtype[Any], kernel: Kernel) -> NDArray[Any]:
    if dtype.kind == "f":
        return value.astype(dtype)
    value = np.floor(value + 0.5)
    if kernel == Kernel.CUBIC:
        # Data stays data: what swings below 1 would read as no data.
        value = np.clip(value, 1, np.iinfo(dtype).max)
    return value.astype(dtype)


Taps = Callable[[Floats], list[tuple[int, Floats]]]
"""From shares to the pixels that count, from the first one on, and their weights."""


def _linear(share: Floats) -> list[tuple[int, Floats]]:
    return [(0, 1.0 - share), (1, share)]


def _catmull_rom(share: Floats) -> list[tuple[int, Floats]]:
    """Cubic convolution with a = -0.5 (Keys 1981), which GDAL calls `cubic`."""
    return [
        (-1, share * (share * (1.0 - 0.5 * share) - 0.5)),
        (0, 1.0 + share * share * (1.5 * share - 2.5)),
        (1, share * (0.5 + share * (2.0 - 1.5 * share))),
        (2, share * share * (0.5 * share - 0.5)),
    ]


def _ones(taps: Taps) -> Taps:
    """The same pixels, each with weight 1."""
    return lambda share: [(step, np.ones_like(weight)) for step, weight in taps(share)]


def _convolved(values: NDArray[Any], rows: _Axis, cols: _Axis, taps: Taps) -> NDArray[Any]:
    """Weighted sums of the pixels around each centre: along the rows first, then down."""
    dtype = values.dtype
    if rows.first.ndim == 2:
        across, total = taps(cols.share), np.zeros(rows.first.shape, dtype)
        for i, v in taps(rows.share):
            line = np.zeros_like(total)
            for j, u in across:
                line += u * values[rows.first + i, cols.first + j]
            total += v * line
        return total
    out = np.empty((len(rows.first), len(cols.first)), dtype)
    for some_cols, wide in _summed(values, cols, taps, side=1):
        for some_rows, sums in _summed(wide, rows, taps, side=0):
            out[some_rows, some_cols] = sums
    return out


def _summed(
    values: NDArray[Any], axis: _Axis, taps: Taps, side: int
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Weighted sums along one side; where shares repeat, those of each share by themselves."""
    period = axis.period or 1
    for phase in range(period):
        first = axis.first[phase::period]
        total = None
        for step, weight in taps(axis.share[phase:][:1] if axis.period else axis.share):
            if axis.period:
                start = int(first[0]) + step
                stop = start + len(first)
                picked = values[:, start:stop] if side else values[start:stop]
            else:
                picked = values.take(first + step, side)
            term = picked * weight.astype(values.dtype).reshape((1, -1) if side else (-1, 1))
            total = term if total is None else np.add(total, term, out=total)
        if total is not None:
            yield slice(phase, None, period), total
