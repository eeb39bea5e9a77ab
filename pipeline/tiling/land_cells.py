"""Cells of 256 px, and which of them a user's own map of land touches.

Maps are untrusted. GDAL goes by what is in a file, and some rasters reach for further files or
servers when they are opened: only GeoTIFFs are, and nothing that lies beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.warp import Resampling, reproject, transform_bounds
from rasterio.windows import from_bounds

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.lattice import (
    HEIGHT,
    NORTH_EDGE,
    PIXEL,
    WEST_EDGE,
    WIDTH,
    zone_crs,
)
from tessera_mosaic.pipeline.tiling.ownership import project_region, zones_touched
from tessera_mosaic.pipeline.tiling.vector_files import FORMATS, read_vector

CELL = 256
"""Side of a cell in pixels."""

SHAPE = HEIGHT // CELL, WIDTH // CELL
"""Rows and columns of a zone's cells."""

RASTERS = ".tif", ".tiff"

TIFF = re.compile(rb"II[*+]\x00|MM\x00[*+]")
"""How TIFF and BigTIFF begin."""

MAX_PIXELS = 1 << 30
"""Largest raster that is read: the globe at 30 arc seconds, some minutes of work."""

_TO_CELLS = Affine(CELL * PIXEL, 0, WEST_EDGE, 0, -CELL * PIXEL, NORTH_EDGE)


def cells_touched(areas: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Cells of a zone that polygons touch, given in metres of the zone's projection."""
    if len(areas) == 0:
        return np.zeros(SHAPE, bool)
    touched = rasterize(
        areas, out_shape=SHAPE, transform=_TO_CELLS, all_touched=True, dtype="uint8"
    )
    return touched.astype(bool)


def read_mask(path: Path, most_pixels: int = MAX_PIXELS) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Read which cells a map of land touches.

    Parameters
    ----------
    path
        Path of a vector file of areas, or of a GeoTIFF that is neither zero nor without data on
        land.
    most_pixels
        Largest number of pixels of a GeoTIFF.

    Yields
    ------
    Zones, and for each its cells that have land: bool (cell rows, cell columns).

    Raises
    ------
    BadInput
        If the file cannot be used.
    """
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        region = read_vector(path)
        for zone in zones_touched(region):
            yield zone, cells_touched(shapely.get_parts(project_region(zone, region)))
    elif suffix in RASTERS:
        yield from _of_raster(path, most_pixels)
    else:
        raise BadInput(f"use one of {', '.join((*FORMATS, *RASTERS))}", "land", path)


def _of_raster(path: Path, most_pixels: int) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    if not path.is_file():
        raise BadInput("this is a folder: give the file in it", "land", path)
    with path.open("rb") as file:
        if not TIFF.match(file.read(4)):
            raise BadInput("this is no raster that can be read: it is no TIFF", "land", path)
    try:
        with (
            rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED="NO"),
            rasterio.open(path, driver="GTiff") as raster,
        ):
            for zone in zones_touched(shapely.box(*_bounds(raster, most_pixels))):
                found = np.zeros(SHAPE, np.float32)
                reproject(
                    **_source(raster, zone),
                    destination=found,
                    dst_transform=_TO_CELLS,
                    dst_crs=zone_crs(zone),
                    init_dest_nodata=False,
                    resampling=Resampling.max,
                )
                yield zone, found != 0
    except RasterioError as error:
        raise BadInput(f"this is no raster that can be read: {error}", "land", path) from None


def _bounds(raster: rasterio.DatasetReader, most_pixels: int) -> tuple[float, float, float, float]:
    """Degrees that a raster covers, if it can be a mask."""
    if raster.height * raster.width > most_pixels:
        raise BadInput(
            f"it has {raster.height:,} x {raster.width:,} pixels, more than {most_pixels:,}: make "
            "it coarser",
            "land",
            raster.name,
        )
    if raster.crs is None or raster.count != 1:
        raise BadInput(
            "it needs one band and a reference system, and has "
            f"{raster.count} and {raster.crs or 'none'}",
            "land",
            raster.name,
        )
    # Grids whose pixels lie around the meridians reach half a pixel beyond 180.
    if raster.crs.is_geographic and max(map(abs, raster.bounds)) > 180 + raster.res[0]:
        raise BadInput(
            f"it reaches from {raster.bounds.left:g} to {raster.bounds.right:g}, which are no "
            "longitudes -180..180: turn it to these",
            "land",
            raster.name,
        )
    west, south, east, north = transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
    if not west < east:
        raise BadInput("it reaches across the antimeridian: cut it there", "land", raster.name)
    return west, south, east, north


def _source(raster: rasterio.DatasetReader, zone: int) -> dict[str, Any]:
    """What to warp of a raster for a zone."""
    floating = np.issubdtype(raster.dtypes[0], np.floating)
    nodata = np.nan if raster.nodata is None and floating else raster.nodata
    if zone not in (1, 60) or not raster.crs.is_geographic:
        return {"source": rasterio.band(raster, 1), "src_nodata": nodata}
    # Beside the antimeridian a cell would be as wide as the globe: degrees are counted from there.
    west, south, east, north = raster.bounds
    if zone == 1:
        turn, east = 180, min(east, -171)
    else:
        turn, west = -180, max(west, 171)
    window = from_bounds(west, south, east, north, raster.transform)
    window = window.round_offsets().round_lengths()
    a, b, c, d, e, f = raster.window_transform(window)[:6]
    return {
        "source": raster.read(1, window=window),
        "src_transform": Affine(a, b, c + turn, d, e, f),
        "src_crs": "+proj=longlat +datum=WGS84 +pm=180",
        "src_nodata": nodata,
    }
