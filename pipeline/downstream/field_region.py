"""The vectors of a region of a mosaic in several years, as a field takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.fields.field import MOST_PIXELS, Rectangle
from tessera_mosaic.model.fields.vectors import Vectors
from tessera_mosaic.pipeline.downstream.selection import Selection
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic
from tessera_mosaic.pipeline.mosaic.region_windows import nothing_of, windows_of
from tessera_mosaic.pipeline.tiling.lattice import Window
from tessera_mosaic.pipeline.tiling.ownership import owned
from tessera_mosaic.pipeline.tiling.region import read_region

SQUARE_KILOMETRES = 1e-4
"""Of a pixel."""


@dataclass(frozen=True)
class FieldRegion:
    """A region of a mosaic in some years, read.

    Parameters
    ----------
    mosaic
        The mosaic.
    windows
        The smallest rectangle of pixels that holds the region, one a zone.
    years
        Calendar years.
    data
        The vectors of all pixels that have one.
    """

    mosaic: AnyMosaic
    windows: tuple[Window, ...]
    years: tuple[int, ...]
    data: Vectors

    @property
    def square_kilometres(self) -> float:
        """Ground of the rectangles."""
        return self.data.pixels * SQUARE_KILOMETRES


def read_field_region(
    mosaic: AnyMosaic,
    region: str,
    years: Sequence[int],
    buffer: float | None = None,
    tell: Callable[[int, int], None] = lambda done, all_: None,
) -> FieldRegion:
    """Read the vectors of a region.

    Parameters
    ----------
    mosaic
        The mosaic.
    region
        Part of the Earth, as `read_region` takes it.
    years
        Calendar years.
    buffer
        Metres around points.
    tell
        Called with the number of blocks that are read, and of all.

    Raises
    ------
    BadInput
        If a year was not made, or there is nothing of one there, or too much of all.
    StoreError
        If the mosaic cannot be read.
    """
    for year in years:
        mosaic.check_made(year)
    windows = tuple(windows_of(mosaic, read_region(region, buffer)))
    rectangles = tuple(Rectangle(*window.shape) for window in windows)
    pixels = sum(each.pixels for each in rectangles)
    if pixels * len(years) > MOST_PIXELS:
        raise BadInput(
            f"{pixels:,} pixels in {len(years)} years are more than a field holds, {MOST_PIXELS:,} "
            "in all: name less ground or fewer years",
            "region",
        )
    codes = np.empty((len(years), pixels, mosaic.layout.dims), np.int8)
    scales = np.full((len(years), pixels), np.nan, np.float32)
    chosen = [Selection(mosaic, year, windows) for year in years]
    numbers, blocks = count(1), len(years) * chosen[0].blocks
    for place, each in enumerate(chosen):
        start = 0
        for window in windows:
            stop = start + window.height * window.width
            held = codes[place, start:stop].reshape(*window.shape, -1)
            kept = scales[place, start:stop].reshape(window.shape)
            for block, read in each.read(window):
                if read is not None:
                    at = block.within(window)
                    held[at], kept[at] = read.codes, read.scales
                tell(next(numbers), blocks)
            start = stop
    return _with_data(mosaic, windows, tuple(years), codes, scales)


def _with_data(
    mosaic: AnyMosaic,
    windows: tuple[Window, ...],
    years: tuple[int, ...],
    codes: NDArray[np.int8],
    scales: NDArray[np.float32],
) -> FieldRegion:
    """The vectors that there are, on the windows that have any."""
    # A place belongs to the zone of its own longitude, and its pixel's centre may lie in the next.
    mine = np.concatenate([owned(window, margin=1).ravel() for window in windows])
    known = np.isfinite(scales) & mine
    sizes = [window.height * window.width for window in windows]
    ends = np.cumsum([0, *sizes])
    kept = [
        number for number in range(len(windows)) if known[:, ends[number] : ends[number + 1]].any()
    ]
    for place, year in enumerate(years):
        if not known[place].any():
            raise nothing_of(mosaic, year)
    if len(kept) < len(windows):
        held = np.concatenate([np.arange(ends[each], ends[each + 1]) for each in kept])
        codes, scales, known = codes[:, held], scales[:, held], known[:, held]
        windows = tuple(windows[each] for each in kept)
    at_year, at_pixel = (np.ascontiguousarray(each) for each in np.nonzero(known))
    whole = known.all()
    rectangles = tuple(Rectangle(*window.shape) for window in windows)
    data = Vectors(
        rectangles,
        len(years),
        codes.reshape(-1, codes.shape[2]) if whole else codes[known],
        scales.ravel() if whole else scales[known],
        at_pixel,
        at_year,
    )
    return FieldRegion(mosaic, windows, years, data)
