"""A raster of numbers, pixel by pixel of the lattice: labels that are values, and extra layers.

A pixel of the lattice takes the value of the pixel that holds its centre. Nothing is interpolated.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.windows
from numpy.typing import NDArray
from pyproj import Transformer

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.imagery.label_raster import (
    MAX_PIXELS,
    MAX_SIDE,
    PATCH,
    ground_of,
    label_raster,
    sound_crs,
)
from tessera_mosaic.pipeline.tiling.lattice import PIXEL, Tile, Window
from tessera_mosaic.pipeline.tiling.ownership import tiles_of_region

BLOCK = 256
"""Side in pixels of the parts of a window that are looked up at once."""

MOST_READ = 1 << 25
"""Most pixels of a raster, all bands together, that are read for such a part."""

OUTSIDE = -1
"""Number of the raster's pixel where it has none."""


@dataclass(frozen=True)
class ValueRaster:
    """A raster of numbers. Plain and picklable: it is opened where it is read.

    Parameters
    ----------
    path
        Path of a GeoTIFF.
    names
        What its bands are called: their descriptions, or the file's name and the band's number.
    """

    path: str
    names: tuple[str, ...]

    def on(
        self, window: Window, bands: tuple[int, ...] = (1,)
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Values of a window's pixels, and the numbers of the raster's pixels that they are of.

        Parameters
        ----------
        window
            Any rectangle of the lattice.
        bands
            Numbers of the bands, from 1 on.

        Returns
        -------
        float32 (bands, height, width), NaN where the raster has none; int64 (height, width)

        Raises
        ------
        BadInput
            If it cannot be read, or its pixels are so small that a part of a tile has too many.
        """
        values = np.full((len(bands), *window.shape), np.nan, np.float32)
        numbers = np.full(window.shape, OUTSIDE, np.int64)
        with label_raster(self.path) as file:
            crs = sound_crs(self.path, file.crs).to_wkt()
            for block in window.blocks(BLOCK):
                here = block.within(window)
                values[(slice(None), *here)], numbers[here] = self._of(file, crs, block, bands)
        return values, numbers

    def _of(
        self, file: Any, crs: str, window: Window, bands: tuple[int, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        x = window.west + PIXEL * (np.arange(window.width) + 0.5)
        y = window.north - PIXEL * (np.arange(window.height) + 0.5)
        east, north = _transformer(window.crs, crs).transform(*np.meshgrid(x, y))
        place = ~file.transform
        across = place.a * np.asarray(east) + place.b * np.asarray(north) + place.c
        along = place.d * np.asarray(east) + place.e * np.asarray(north) + place.f
        inside = (across >= 0) & (across < file.width) & (along >= 0) & (along < file.height)
        values = np.full((len(bands), *window.shape), np.nan, np.float32)
        numbers = np.full(window.shape, OUTSIDE, np.int64)
        if not inside.any():
            return values, numbers
        cols, rows = across[inside].astype(np.int64), along[inside].astype(np.int64)
        top, left = int(rows.min()), int(cols.min())
        height, width = int(rows.max()) - top + 1, int(cols.max()) - left + 1
        if height * width * len(bands) > MOST_READ:
            raise BadInput(
                f"{self.path} has {height:,} by {width:,} pixels on {BLOCK} by {BLOCK} of ours: "
                "bring it to pixels of some metres"
            )
        part = _numbers(file, bands, rasterio.windows.Window(left, top, width, height))
        values[:, inside] = part[:, rows - top, cols - left]
        numbers[inside] = rows * file.width + cols
        return values, numbers

    def at(
        self,
        zone: NDArray[np.integer],
        row: NDArray[np.integer],
        col: NDArray[np.integer],
        bands: tuple[int, ...],
    ) -> NDArray[np.float32]:
        """Values of scattered pixels, NaN where there are none: float32 (bands, pixels).

        Parameters
        ----------
        zone, row, col : (pixels,)
            UTM zone of each pixel, and its row and column of the zone's lattice.
        bands
            Numbers of the bands, from 1 on.
        """
        values = np.full((len(bands), len(zone)), np.nan, np.float32)
        squares = np.stack([zone, row // BLOCK, col // BLOCK], axis=1)
        places, of = np.unique(squares, axis=0, return_inverse=True)
        for number, (of_zone, down, across) in enumerate(places.tolist()):
            here = np.flatnonzero(of.ravel() == number)
            window = Window(of_zone, down * BLOCK, across * BLOCK, BLOCK, BLOCK)
            found, _ = self.on(window, bands)
            values[:, here] = found[:, row[here] - window.row, col[here] - window.col]
        return values

    def tiles(self, side: int) -> list[Tile]:
        """Tiles of a lattice that may hold values of the first band, in order.

        Raises
        ------
        BadInput
            If it has more pixels than a raster of labels may have.
        """
        found: set[Tile] = set()
        with label_raster(self.path) as file:
            if file.width * file.height > MAX_PIXELS or max(file.shape) > MAX_SIDE:
                raise BadInput(
                    f"{self.path} has {file.width:,} by {file.height:,} pixels, more than "
                    f"{MAX_PIXELS:,} or than {MAX_SIDE:,} on a side: cut it"
                )
            crs = sound_crs(self.path, file.crs)
            for top in range(0, file.height, PATCH):
                for left in range(0, file.width, PATCH):
                    size = min(PATCH, file.height - top), min(PATCH, file.width - left)
                    window = rasterio.windows.Window(left, top, size[1], size[0])
                    if np.isfinite(_numbers(file, (1,), window)).any():
                        ground = ground_of(crs, file.transform, (top, left), size)
                        found.update(tiles_of_region(ground, side, margin=0))
        return sorted(found)


def value_raster(path: str | Path) -> ValueRaster:
    """A raster of numbers, looked at.

    Raises
    ------
    BadInput
        If it is no GeoTIFF of real numbers, or does not say where it lies.
    """
    with label_raster(path) as file:
        sound_crs(path, file.crs)
        kinds = {str(kind) for kind in file.dtypes if np.dtype(kind).kind not in "iuf"}
        if kinds:
            raise BadInput(f"{path} holds {', '.join(sorted(kinds))}, not real numbers")
        names = [
            told or (Path(path).stem if file.count == 1 else f"{Path(path).stem}_{number}")
            for number, told in enumerate(file.descriptions, 1)
        ]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise BadInput(f"{path} has two bands named {double}")
    return ValueRaster(str(path), tuple(names))


def _numbers(file: Any, bands: tuple[int, ...], window: Any) -> NDArray[np.float32]:
    """Values of some bands, NaN where there are none, with their scales and offsets: float32."""
    read = file.read(list(bands), window=window, masked=True)
    scales = np.array([file.scales[band - 1] for band in bands])[:, None, None]
    offsets = np.array([file.offsets[band - 1] for band in bands])[:, None, None]
    values = (read.astype(np.float64) * scales + offsets).filled(np.nan).astype(np.float32)
    return np.where(np.isfinite(values), values, np.float32(np.nan))


@functools.cache
def _transformer(crs: str, to: str) -> Transformer:
    return Transformer.from_crs(crs, to, always_xy=True)
