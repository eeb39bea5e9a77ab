"""A window of a mosaic as a GeoTIFF, tiled and with overviews, of which parts can be read.

Pixels are written block by block into a file beside the last one, plain, which is then copied with
its overviews in front of the pixels, as readers of cloud-optimised GeoTIFFs want it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.windows import Window as RasterWindow

from tessera_mosaic.pipeline.downstream.export_request import ExportValues
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.tiling.lattice import Window

SIDE = 512
"""Side in pixels of a file's blocks, and of what overviews stop at."""

BANDS = 16
"""Dimensions that are written at once, so that little stands in memory as float32."""

CACHE = 64 << 20
"""Bytes of blocks that GDAL keeps."""

Blocks = Iterator[tuple[Window, Pixels | None]]
"""Blocks of a window, and what a mosaic holds of each."""


def write_geotiff(
    path: Path,
    window: Window,
    blocks: Blocks,
    dims: Sequence[int],
    values: ExportValues,
    tags: Mapping[str, str],
    south: bool = False,
    tell: Callable[[], None] = lambda: None,
) -> int:
    """Write a window; with `int8` values its scales go to `NAME_scales.tif` beside it.

    Parameters
    ----------
    path
        The file.
    window
        Pixels of the lattice that it covers.
    blocks
        What is in it.
    dims
        Dimensions, each a band.
    values
        `float32` embeddings, NaN where there are none; or `int8` codes.
    tags
        What the file says of itself.
    south
        Whether the reference system is that of the southern half of the zone, in which northings
        are 10,000 km more.
    tell
        Called after each block.

    Returns
    -------
    Number of pixels that have an embedding.
    """
    embedded = 0
    make_directory(path.parent)
    names = [f"e{dim}" for dim in dims]
    coded = values is ExportValues.INT8
    beside = path.with_name(f"{path.stem}_scales{path.suffix}")
    with (
        _laid_out(path, window, "int8" if coded else "float32", names, tags, south) as file,
        _laid_out(beside, window, "float32", ["scale"], tags, south, wanted=coded) as scales,
    ):
        for block, pixels in blocks:
            if pixels is not None and np.isfinite(pixels.scales).any():
                at = RasterWindow(
                    block.col - window.col, block.row - window.row, block.width, block.height
                )
                scale = known_scales(pixels)
                embedded += int(np.isfinite(scale).sum())
                for start in range(0, len(dims), BANDS):
                    part = codes_of(pixels, dims[start : start + BANDS])
                    bands = [n + 1 for n in range(start, start + len(part))]
                    file.write(part if coded else part * scale, bands, window=at)
                if scales is not None:
                    scales.write(scale, 1, window=at)
            tell()
    return embedded


def known_scales(pixels: Pixels) -> NDArray[np.float32]:
    """Scales of pixels, float32 (height, width), NaN where there is no embedding."""
    return np.where(np.isfinite(pixels.scales), pixels.scales, np.float32(np.nan))


def codes_of(pixels: Pixels, dims: Sequence[int]) -> NDArray[np.int8]:
    """Codes of some dimensions, int8 (dims, height, width)."""
    return np.ascontiguousarray(np.moveaxis(pixels.codes[..., list(dims)], -1, 0))


@contextmanager
def _laid_out(
    path: Path,
    window: Window,
    dtype: str,
    names: Sequence[str],
    tags: Mapping[str, str],
    south: bool,
    wanted: bool = True,
) -> Iterator[Any]:
    """A raster to write, which takes its last place and form when the block ends without an error.

    None where it is not wanted.
    """
    if not wanted:
        yield None
        return
    plain, whole = (path.with_name(f".{path.name}.{part}") for part in ("plain", "partial"))
    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE, GDAL_TIFF_INTERNAL_MASK=True):
            with rasterio.open(plain, "w", **_profile(window, dtype, len(names), south)) as file:
                file.descriptions = tuple(names)
                file.update_tags(**tags)
                yield file
            _finish(plain, whole, window, dtype)
        os.replace(whole, path)
    finally:
        for left in (plain, whole):
            left.unlink(missing_ok=True)


def _profile(window: Window, dtype: str, bands: int, south: bool) -> dict[str, Any]:
    a, b, west, d, e, north = window.transform
    shift = 10_000_000 if south else 0
    return {
        "driver": "GTiff",
        "height": window.height,
        "width": window.width,
        "count": bands,
        "dtype": dtype,
        "nodata": None if dtype == "int8" else np.nan,
        "crs": f"EPSG:327{window.zone:02d}" if south else window.crs,
        "transform": rasterio.Affine(a, b, west, d, e, north + shift),
        "tiled": True,
        "blockxsize": SIDE,
        "blockysize": SIDE,
        "interleave": "band",
        "photometric": "MINISBLACK",
        "SPARSE_OK": True,
        "BIGTIFF": "IF_SAFER",
    }


def _finish(plain: Path, whole: Path, window: Window, dtype: str) -> None:
    """Copy a raster compressed, with its overviews in front of the pixels."""
    factors: list[int] = []
    while max(window.shape) / 2 ** len(factors) > SIDE:
        factors.append(2 ** (len(factors) + 1))
    if factors:
        with rasterio.open(plain, "r+") as file:
            # Pixels of overviews are pixels of the lattice: nothing is averaged.
            file.build_overviews(factors, Resampling.nearest)
    rasterio.shutil.copy(
        plain,
        whole,
        driver="GTiff",
        COPY_SRC_OVERVIEWS="YES",
        TILED="YES",
        BLOCKXSIZE=SIDE,
        BLOCKYSIZE=SIDE,
        INTERLEAVE="BAND",
        PHOTOMETRIC="MINISBLACK",
        COMPRESS="DEFLATE",
        PREDICTOR=2 if dtype == "int8" else 3,
        NUM_THREADS="ALL_CPUS",
        SPARSE_OK="TRUE",
        BIGTIFF="IF_SAFER",
    )


def edges_of(window: Window, south: bool = False) -> tuple[int, int, int, int]:
    """West, south, east and north edges of a window in metres, as a file has them."""
    west, low, east, high = window.bounds
    shift = 10_000_000 if south else 0
    return west, low + shift, east, high + shift
