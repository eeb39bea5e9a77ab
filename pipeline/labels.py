"""Labelled ground: a raster of classes brought to the lattice, and which field a pixel is of."""

from __future__ import annotations

from collections.abc import Iterator
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

from pipeline.errors import BadInput
from pipeline.grid import Window, window_of_bounds, zone_crs
from pipeline.ownership import owned, zones_touched

MAX_PIXELS = 1 << 28
"""Largest raster of labels that is taken."""

UNLABELLED = 0


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
        Of the raster.
    """

    classes: NDArray[np.int32]
    fields: NDArray[np.int32]
    crs: CRS
    transform: Affine

    def windows(self) -> Iterator[Window]:
        """Windows of the lattice that hold the labelled ground, one a zone."""
        rows, cols = np.nonzero(self.classes)
        if not len(rows):
            return
        part = rasterio.windows.Window.from_slices(
            (rows.min(), rows.max() + 1), (cols.min(), cols.max() + 1)
        )
        bounds = rasterio.windows.bounds(part, self.transform)
        lonlat = transform_bounds(self.crs, "EPSG:4326", *bounds, densify_pts=21)
        for zone in zones_touched(shapely.box(*lonlat)):
            yield window_of_bounds(
                zone, transform_bounds(self.crs, zone_crs(zone), *bounds, densify_pts=21)
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
        Raster of class codes, whole numbers from 1 on; 0 and nodata are unlabelled.
    fields
        Raster on the same grid that numbers fields from 1 on; None for the connected pixels of
        a class, by edges.

    Raises
    ------
    BadInput
        If a file is no such raster, or the two do not fit together.
    """
    classes, crs, transform = _read(path)
    if fields is None:
        return Labels(classes, connected(classes), crs, transform)
    numbers, other_crs, other_transform = _read(fields)
    if numbers.shape != classes.shape or other_crs != crs or other_transform != transform:
        raise BadInput(f"{fields} is not on the grid of {path}")
    return Labels(classes, numbers, crs, transform)


def _read(path: str | Path) -> tuple[NDArray[np.int32], CRS, Affine]:
    try:
        with rasterio.open(path) as file:
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
