"""Labelled ground: a raster of classes brought to the lattice, and which field a pixel is of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
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

from tessera_mosaic.pipeline.errors import BadInput, SceneError
from tessera_mosaic.pipeline.io.regular_files import ALONE, regular_file
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window
from tessera_mosaic.pipeline.tiling.ownership import owned, tiles_of_region

MAX_PIXELS = 1 << 27
"""Largest raster of labels that is taken: a tile of Sentinel-2. It takes some 2 GB of memory."""

MAX_SIDE = 1 << 17
"""Most rows, and most columns, of it."""

MAX_PIECE = 1 << 28
"""Most bytes of the rows of it that can only be read together."""

STEP = 1 << 22
"""Pixels that are read at once, where its pieces are smaller."""

MOST_CLASSES = 1000
"""Most classes whose patches are looked for."""

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
                ground = ground_of(self.crs, self.transform, first, size)
                found.update(tiles_of_region(ground, side, margin=0))
        return sorted(found)

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


def ground_of(
    crs: CRS, transform: Affine, first: tuple[int, int], size: tuple[int, int]
) -> BaseGeometry:
    """A box in degrees that holds some of a raster, from its first row and column on."""
    window = rasterio.windows.Window(first[1], first[0], size[1], size[0])
    bounds = rasterio.windows.bounds(window, transform)
    west, south, east, north = transform_bounds(crs, "EPSG:4326", *bounds, densify_pts=21)
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.union(
        shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)
    )


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
        count = len(_classes_in(classes))
        if count > MOST_CLASSES:
            raise BadInput(
                f"{path} has {count:,} classes, more than {MOST_CLASSES:,}: if they are fields, "
                "give a raster of their classes, and this one as the fields"
            )
        return Labels(classes, connected(classes), crs, transform)
    numbers, other_crs, other_transform = _read(fields)
    if numbers.shape != classes.shape or other_crs != crs or other_transform != transform:
        raise BadInput(f"{fields} is not on the grid of {path}")
    return Labels(classes, numbers, crs, transform)


@contextmanager
def label_raster(path: str | Path) -> Iterator[Any]:
    """Open a raster of labels as rasterio does, by itself alone.

    GDAL would also look for what lies beside a file under names made of its own (masks, overviews,
    statistics), and open what these name in turn. A file that it is given by its descriptor has no
    name, and nothing beside it.

    Raises
    ------
    BadInput
        If it cannot be read.
    """
    try:
        with (
            regular_file(os.fspath(path)) as descriptor,
            rasterio.Env(**ALONE),
            rasterio.open(f"/dev/fd/{descriptor}", driver="GTiff") as file,
        ):
            yield file
    except rasterio.errors.RasterioError as error:
        said = str(error.__cause__ or error).replace(f"/dev/fd/{descriptor}", "it")
        raise BadInput(f"{path} cannot be read as a raster: {said}") from None
    except SceneError as error:
        raise BadInput(str(error)) from None


def _read(path: str | Path) -> tuple[NDArray[np.int32], CRS, Affine]:
    """Classes, reference system and transform of a raster of labels."""
    with label_raster(path) as file:
        return _values(path, file), sound_crs(path, file.crs), file.transform


def _values(path: str | Path, file: Any) -> NDArray[np.int32]:
    """Whole numbers of a raster that takes no more memory than it may."""
    kind = np.dtype(file.dtypes[0])
    if file.count != 1 or not np.issubdtype(kind, np.integer):
        raise BadInput(f"{path} must have one band of whole numbers")
    if file.width * file.height > MAX_PIXELS or max(file.shape) > MAX_SIDE:
        raise BadInput(
            f"{path} has {file.width:,} by {file.height:,} pixels, more than {MAX_PIXELS:,} or "
            f"than {MAX_SIDE:,} on a side: cut it"
        )
    rows = file.block_shapes[0][0]
    if rows * file.width * kind.itemsize > MAX_PIECE:
        raise BadInput(
            f"{path} is stored in pieces of {rows:,} rows, which take more than {MAX_PIECE:,} "
            "bytes: write it in tiles (gdal_translate -co TILED=YES)"
        )
    values = np.zeros(file.shape, np.int32)
    rows *= max(1, STEP // (rows * file.width))
    for top in range(0, file.height, rows):
        window = rasterio.windows.Window(0, top, file.width, min(rows, file.height - top))
        part = file.read(1, masked=True, window=window).filled(0)
        if part.min() < 0 or part.max() > np.iinfo(np.int32).max:
            raise BadInput(f"{path} must have whole numbers from 0 to {np.iinfo(np.int32).max}")
        values[top : top + len(part)] = part
    return values


def sound_crs(path: str | Path, crs: CRS | None) -> CRS:
    """A reference system that names no file of its own."""
    if crs is None:
        raise BadInput(f"{path} has no reference system: labels have to say where they are")
    if code := crs.to_epsg(confidence_threshold=100):
        return CRS.from_epsg(code)
    text = crs.to_wkt().upper()
    if any(word in text for word in ("EXTENSION[", "NADGRIDS", "GEOIDGRIDS", "PARAMETERFILE[")):
        raise BadInput(f"{path} names files in its reference system: give it one of EPSG's codes")
    return crs


def connected(classes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Numbers of the connected patches of each class, int32 (H, W), 0 where unlabelled."""
    # Imported here: workers that sample without labels do not have it.
    from scipy import ndimage

    fields = np.zeros(classes.shape, np.int32)
    known = 0
    labels = _classes_in(classes)
    for label in labels:
        patches, count = ndimage.label(classes == label)
        np.add(patches, known, out=fields, where=patches > 0)
        known += count
    return fields


def _classes_in(classes: NDArray[np.int32]) -> list[int]:
    """The classes that there are, in order, a part of the raster at a time."""
    found: set[int] = set()
    rows = max(1, STEP // classes.shape[1])
    for top in range(0, len(classes), rows):
        found.update(np.unique(classes[top : top + rows]).tolist())
    return sorted(found - {UNLABELLED})
