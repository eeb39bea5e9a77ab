"""What was fetched of a raster for some parts of the lattice, and how it comes there."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.imagery.cog import Header
from tessera_mosaic.pipeline.imagery.kernel_types import Mode, RasterWindow
from tessera_mosaic.pipeline.imagery.resample import (
    Floats,
    Geometry,
    Kernel,
    Placement,
    is_own_projection,
    place,
    resample,
)
from tessera_mosaic.pipeline.tiling.lattice import PIXEL, Window

Part = tuple[Window, tuple[slice, slice]]
"""Rows and columns of a window of the lattice."""

EVERYTHING = slice(None), slice(None)
"""Rows and columns of all of a window."""


@dataclass(frozen=True)
class Straight:
    """How a part of the lattice lies on a raster of the zone's own projection.

    Parameters
    ----------
    mode
        How the raster's pixels come to the lattice.
    row, col
        Row and column of the part's first pixel, in pixels of 10 m from the raster's corner.
    """

    mode: Mode
    row: int
    col: int


@dataclass(frozen=True)
class Place:
    """Where a part of the lattice lies in a raster.

    Parameters
    ----------
    placement
        Its pixel centres.
    straight
        How its pixels lie on the raster's, where they do so regularly.
    kernel
        The resampling that gives what was asked for with the fewest pixels.
    source
        Rows and columns of the raster that it needs; None if the raster does not reach it.
    """

    placement: Placement
    straight: Straight | None
    kernel: Kernel
    source: tuple[slice, slice] | None

    @classmethod
    def of(cls, part: Part, geometry: Geometry, kernel: Kernel) -> Place:
        """Where a part lies in a raster."""
        window, (rows, cols) = part
        (top, bottom, _), (left, right, _) = (
            side.indices(size) for side, size in zip((rows, cols), window.shape, strict=True)
        )
        # Scenes of a granule have the same geometry; what other projections need is large.
        find = _found_before if is_own_projection(window, geometry) else _find
        return find(window, top, bottom, left, right, geometry, kernel)


def _find(
    window: Window,
    top: int,
    bottom: int,
    left: int,
    right: int,
    geometry: Geometry,
    kernel: Kernel,
) -> Place:
    placement = place(window, geometry).crop((slice(top, bottom), slice(left, right)))
    simplest = placement.simplest(kernel)
    return Place(placement, straight(placement, kernel), simplest, placement.source(simplest))


_found_before = functools.lru_cache(maxsize=8192)(_find)


@dataclass(frozen=True)
class Gathered:
    """Pixels of a raster that some parts of the lattice need.

    Parameters
    ----------
    header
        The raster's header.
    places
        Where the parts lie in it.
    window
        The pixels, and a frame of them without data.
    """

    header: Header
    places: tuple[Place, ...]
    window: RasterWindow

    def reaches(self, index: int) -> bool:
        """Whether the raster reaches a part."""
        return self.places[index].source is not None

    def resampled(self, index: int) -> NDArray[Any] | None:
        """Pixels of a part; None if the raster does not reach it.

        No data is 0 in integer rasters and NaN in others.
        """
        at = self.places[index]
        if at.source is None:
            return None
        pixels = self.window.part(*at.source)
        return resample(pixels, at.source, at.placement, at.kernel)

    def own_pixels(self, index: int) -> NDArray[Any] | None:
        """A view of the pixels of a part, where they are the raster's own; None where not."""
        at = self.places[index]
        if at.source is None or at.straight is None or at.straight.mode != Mode.SAME:
            return None
        row, col = at.straight.row, at.straight.col
        height, width = at.placement.shape
        return self.window.part(slice(row, row + height), slice(col, col + width))


def blocks_needed(header: Header, places: Sequence[Place]) -> set[int]:
    """Numbers of the blocks of a raster that some parts need."""
    return {
        number for at in places if at.source is not None for number in header.blocks(*at.source)
    }


def empty_window(header: Header, places: Sequence[Place]) -> RasterWindow:
    """Room for all pixels that some parts need, of which the raster reaches one; without data."""
    spans = []
    for side in (0, 1):
        low, high = [], []
        for at in places:
            if at.source is None:
                continue
            # Where pixels lie regularly, so do those beyond the raster's edges.
            source = at.source[side]
            first, last = at.placement.span(side) or (source.start, source.stop)
            low.append(min(first - 1, source.start))
            high.append(max(last + 1, source.stop))
        spans.append((min(low), max(high)))
    (top, bottom), (left, right) = spans
    nothing = np.nan if header.pixels.kind == "f" else 0
    return RasterWindow(np.full((bottom - top, right - left), nothing, header.pixels), top, left)


def straight(placement: Placement, kernel: Kernel) -> Straight | None:
    """How a part's pixels lie on those of a raster, if they do so regularly; None if not."""
    corner, modes = [], []
    for metres in (placement.down, placement.across):
        if metres.ndim == 2:
            return None
        first = int(np.floor(metres[0] / PIXEL))
        corner.append(first)
        modes.append(_mode(metres, first, placement.geometry.pixel, kernel))
    if modes[0] is None or modes[0] != modes[1]:
        return None
    return Straight(modes[0], *corner)


def _mode(metres: Floats, first: int, pixel: float, kernel: Kernel) -> Mode | None:
    """How pixel centres lie along one side of a raster."""
    at = np.arange(first, first + len(metres))
    near = np.floor(metres / pixel)
    before = np.floor((metres - pixel / 2) / pixel)
    share = (metres - pixel / 2 - before * pixel) / pixel
    if (near == at).all() and (kernel == Kernel.NEAREST or not share.any()):
        return Mode.SAME
    if (near != at >> 1).any():
        return None
    if kernel == Kernel.NEAREST:
        return Mode.HALF_NEAREST
    odd = (at & 1).astype(bool)
    between = (share == np.where(odd, 0.25, 0.75)).all() and (before == near - ~odd).all()
    return Mode.HALF_BILINEAR if kernel == Kernel.BILINEAR and between else None
