"""Rasters that tests make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import Affine


def write_raster(path: Path, values: np.ndarray, **more: Any) -> Path:
    """Write a GeoTIFF of one band, on ground of zone 31 unless it is said otherwise."""
    profile = {"crs": "EPSG:32631", "transform": Affine(10, 0, 501_360, 0, -10, 5_629_680)}
    height, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype=values.dtype,
        nodata=0,
        **(profile | more),
    ) as file:
        file.write(values, 1)
    return path
