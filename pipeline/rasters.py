"""Windowed reads of cloud-optimised GeoTIFFs, with typed errors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as PixelWindow

from pipeline.errors import Corrupt, Gone
from pipeline.grid import Window
from pipeline.resample import Geometry, place, resample
from pipeline.scenes import Scene, Source

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_THREADS = 8


class Reader:
    """Reads the bands of scenes onto the lattice. One a process, safe to use from many threads.

    Parameters
    ----------
    source
        The catalogue that the scenes come from, which knows how to sign their addresses.
    threads
        Reads that are in flight at a time.
    """

    def __init__(self, source: Source, threads: int = DEFAULT_THREADS) -> None:
        self.source = source
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read")

    def submit(self, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a read on the reader's threads."""
        return self._pool.submit(task, *args, **kwargs)

    def read(self, scene: Scene, band: str, window: Window, kernel: str) -> NDArray[Any] | None:
        """Bring a band of a scene to a window of the lattice.

        Returns
        -------
        Array of the window's shape: 0 in integer rasters and NaN in others is no data. None if
        the raster does not reach the window.

        Raises
        ------
        SceneError
            Of the class of what went wrong.
        """
        access = self.source.access(scene.asset(band))
        try:
            with (
                rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED="NO"),
                rasterio.open(access.url, driver="GTiff") as raster,
            ):
                placement = place(
                    window,
                    Geometry(
                        raster.crs.to_epsg(),
                        raster.transform.c,
                        raster.transform.f,
                        raster.transform.a,
                        raster.height,
                        raster.width,
                    ),
                )
                source = placement.source(kernel)
                if source is None:
                    return None
                pixels = raster.read(1, window=PixelWindow.from_slices(*source))
                if pixels.dtype.kind == "f" and raster.nodata is not None:
                    pixels[pixels == raster.nodata] = np.nan
        except FileNotFoundError as error:
            raise Gone(str(error), scene.id, band) from None
        except RasterioError as error:
            raise Corrupt(str(error), scene.id, band) from None
        return resample(pixels, source, placement, kernel)
