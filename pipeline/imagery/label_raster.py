"""Labelled ground: a raster of classes brought to the lattice, and which field a pixel is of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.windows
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject, transform_bounds
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window
from tessera_mosaic.pipeline.tiling.ownership import owned, tiles_of_region

MAX_PIXELS = 1 << 28
"""Largest raster of labels that is taken."""

UNLABELLED = 0

PATCH = 256
"""Side in its own pixels of the parts of a raster whose ground is looked for one by one."""


@dataclass(frozen=True)
class Labels:
    """Classes and fields on a raster's own grid.

    Parameters
    ----------
    classes : int32 (H, W)
        Class codes; 0 is unlabelled.
    fields : int32 (H, W)
        Number of the field that a pixel shares its label with.
    crs, transform
        Reference system and affine transform of the raster.
    """

    classes: NDArray[np.int32]
    fields: NDArray[np.int32]
    crs: CRS
    transform: Affine

    def tiles(self, side: int) -> list[Tile]:
        """Tiles of a lattice that may hold labelled ground, in order."""
        found: set[Tile] = set()
        for top, left in np.ndindex(*(-(-size // PATCH) for size in self.classes.shape)):
            corner = top * PATCH, left * PATCH
            patch = self.classes[corner[0] : corner[0] + PATCH, corner[1] : corner[1] + PATCH]
            rows, cols = np.nonzero(patch)
            if len(rows):
                first = corner[0] + int(rows.min()), corner[1] + int(cols.min())
                size = int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1
                found.update(tiles_of_region(self._ground(first, size), side, margin=0))
        return sorted(found)

    def _ground(self, first: tuple[int, int], size: tuple[int, int]) -> BaseGeometry:
        """A box in degrees that holds some of the raster, from its first row and column on."""
        window = rasterio.windows.Window(first[1], first[0], size[1], size[0])
        bounds = rasterio.windows.bounds(window, self.transform)
        west, south, east, north = transform_bounds(self.crs, "EPSG:4326", *bounds, densify_pts=21)
        if west <= east:
            return shapely.box(west, south, east, north)
        return shapely.union(
            shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)
        )

    def on(self, window: Window) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Classes and fields of a window's pixels, 0 where its zone does not own the pixel."""
        layers = []
        for layer in (self.classes, self.fields):
            out = np.zeros(window.shape, np.int32)
            reproject(
                layer,
                out,
                src_crs=self.crs,
                src_transform=self.transform,
                dst_crs=window.crs,
                dst_transform=Affine(*window.transform),
                resampling=Resampling.nearest,
            )
            layers.append(np.where(owned(window, margin=0), out, UNLABELLED))
        return layers[0], layers[1]


def read_labels(path: str | Path, fields: str | Path | None = None) -> Labels:
    """Read labels.

    Parameters
    ----------
    path
        Path of a raster of class codes, whole numbers from 1 on; 0 and nodata are unlabelled.
    fields
        Path of a raster on the same grid that numbers fields from 1 on; None for the connected
        pixels of a class, by edges.

    Raises
    ------
    BadInput
        If a file is no such raster or labels nothing, or the two do not fit together.
    """
    classes, crs, transform = _read(path)
    if not classes.any():
        raise BadInput(f"{path} has no labelled pixel: classes are whole numbers from 1 on")
    if fields is None:
        return Labels(classes, connected(classes), crs, transform)
    numbers, other_crs, other_transform = _read(fields)
    if numbers.shape != classes.shape or other_crs != crs or other_transform != transform:
        raise BadInput(f"{fields} is not on the grid of {path}")
    return Labels(classes, numbers, crs, transform)


def _read(path: str | Path) -> tuple[NDArray[np.int32], CRS, Affine]:
    try:
        with rasterio.open(path, driver="GTiff") as file:
            if file.crs is None:
                raise BadInput(f"{path} has no reference system: labels have to say where they are")
            if file.count != 1 or not np.issubdtype(np.dtype(file.dtypes[0]), np.integer):
                raise BadInput(f"{path} must have one band of whole numbers")
            if file.width * file.height > MAX_PIXELS:
                raise BadInput(f"{path} has more than {MAX_PIXELS} pixels: cut it")
            raster: Any = file.read(1, masked=True).filled(0)
            crs, transform = file.crs, file.transform
    except rasterio.errors.RasterioError as error:
        raise BadInput(f"{path} cannot be read as a raster: {error}") from None
    if raster.min() < 0 or raster.max() > np.iinfo(np.int32).max:
        raise BadInput(f"{path} must have whole numbers from 0 to {np.iinfo(np.int32).max}")
    return raster.astype(np.int32), crs, transform


def connected(classes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Numbers of the connected patches of each class, int32 (H, W), 0 where unlabelled."""
    # Imported here: workers that sample without labels do not have it.
    from scipy import ndimage

    fields = np.zeros(classes.shape, np.int32)
    known = 0
    for label in np.unique(classes[classes != UNLABELLED]):
        patches, count = ndimage.label(classes == label)
        fields = np.where(patches > 0, patches + known, fields).astype(np.int32)
        known += count
    return fields
