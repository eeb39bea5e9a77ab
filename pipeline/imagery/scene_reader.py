"""Windowed reads of the rasters of scenes, with retries and typed errors."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.imagery.block_cache import BlockCache
from tessera_mosaic.pipeline.imagery.byte_ranges import Fetch, fetch_run, paste_block, runs_of
from tessera_mosaic.pipeline.imagery.cog import Header, read_coarsest, read_header
from tessera_mosaic.pipeline.imagery.overview import Overview
from tessera_mosaic.pipeline.imagery.resample import Geometry, Kernel, place, resample
from tessera_mosaic.pipeline.imagery.scene_assets import Count, RecentlyUsed, SceneAssets
from tessera_mosaic.pipeline.io.urls import without_signature
from tessera_mosaic.pipeline.scenes.credentials import Signer
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.tiling.boxes import Box, padded, touches
from tessera_mosaic.pipeline.tiling.lattice import Window

REMOTE_THREADS = 32
"""Reads at a time where each waits for a network: enough to fill one at 50 ms a request."""

NOWHERE: Box = (0.0, 91.0, 0.0, 91.0)

P = ParamSpec("P")
T = TypeVar("T")


class PixelKind(StrEnum):
    """Type that the pixels of a raster have to be of."""

    UINT8 = "u1"
    UINT16 = "u2"
    FLOAT = "f"
    """Floating point of any size."""


class SceneReader:
    """Reads the bands of scenes onto the lattice. One a process, safe to use from many threads.

    Parameters
    ----------
    source
        The catalogue that the scenes are from.
    threads
        Largest number of reads at a time; by default as fits the source.
    signer
        Gives the addresses of assets their credentials.
    """

    def __init__(
        self, source: Source, threads: int | None = None, signer: Signer | None = None
    ) -> None:
        self.source, self.signer = source, signer or Signer(source.remote)
        if threads is None:
            threads = usable_cores() if source.remote.is_local else REMOTE_THREADS
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._assets = SceneAssets(source, self.signer)
        self._blocks = BlockCache()
        self._headers: RecentlyUsed[str, Header] = RecentlyUsed()
        self._known: RecentlyUsed[Hashable, Any] = RecentlyUsed()
        self._count: Count = lambda **_: None

    def counted_by(self, count: Count) -> SceneReader:
        """The same reader, which counts `bytes_read`, `requests_read` and `retries_<class>`."""
        twin = copy.copy(self)
        twin._count = count
        return twin

    def remember(self, key: Hashable, find: Callable[[], T]) -> T:
        """What was found out about a scene before, or is found out now."""
        known: T | None = self._known.get(key)
        if known is None:
            known = find()
            self._known.put(key, known)
        return known

    def submit(self, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a read on the reader's threads."""
        return self._pool.submit(task, *args, **kwargs)

    def close(self) -> None:
        """Stop the threads and drop the cache."""
        self._pool.shutdown(cancel_futures=True)
        self._blocks.close()

    def read(
        self,
        scene: Scene,
        band: str,
        window: Window,
        kernel: Kernel,
        kind: PixelKind,
        part: tuple[slice, slice] = (slice(None), slice(None)),
    ) -> NDArray[Any] | None:
        """Bring a band of a scene to a window of the lattice.

        Parameters
        ----------
        scene, band
            The raster to read.
        window
            The pixels of the lattice.
        kernel
            Resampling, where the raster's pixels are not those of the lattice.
        kind
            Type that its pixels have to be of.
        part
            Rows and columns of the window, if not all of it is wanted.

        Returns
        -------
        Array of the part's shape (rows, cols). No data is 0 in integer rasters and NaN in others.
        None if the raster does not reach the part.

        Raises
        ------
        SceneError
            Of the class of what went wrong, with the names of scene and asset.
        """
        return self._assets.follow(
            scene, band, lambda scene: self._read(scene, band, window, kernel, kind, part)
        )

    def found(self, scene: Scene, band: str) -> Header:
        """Header of a raster, wherever its item says that it is now."""
        return self._assets.follow(scene, band, lambda scene: self.header(scene, band))

    def overview(self, scene: Scene, band: str, most: int) -> Overview | None:
        """The whole raster at its coarsest resolution; None if that has a side beyond `most`."""
        return self._assets.follow(scene, band, lambda scene: self._overview(scene, band, most))

    def _read(
        self,
        scene: Scene,
        band: str,
        window: Window,
        kernel: Kernel,
        kind: PixelKind,
        part: tuple[slice, slice],
    ) -> NDArray[Any] | None:
        header = self.header(scene, band)
        if not header.dtype.str.endswith(kind) and header.dtype.kind != kind:
            raise Corrupt(f"its pixels are {header.dtype.name}, not {kind}", scene.id, band)
        placement = place(window, header.geometry).crop(part)
        source = placement.source(kernel)
        if source is None:
            return None
        return resample(self._pixels(scene, band, header, source), source, placement, kernel)

    def _overview(self, scene: Scene, band: str, most: int) -> Overview | None:
        header = self.header(scene, band)
        ground = header.geometry.ground
        if header.others:
            header = self._fetch(scene, band, lambda fetch: read_coarsest(fetch, header))
        height, width = header.geometry.height, header.geometry.width
        if max(height, width) > most:
            return None
        pixels = self._pixels(scene, band, header, (slice(0, height), slice(0, width)))
        return Overview(pixels, ground)

    def header(self, scene: Scene, band: str) -> Header:
        """Header of a raster, from the file or as it was seen before.

        Raises
        ------
        Corrupt
            If the raster does not lie where the item says, or beside the scene's others.
        """
        # Of what was read an address is the name, and who may read it is none of it.
        href = without_signature(scene.asset(band))
        if (known := self._headers.get(href)) is not None:
            return known
        header = self._fetch(scene, band, lambda fetch: read_header(fetch, scene.epsg))
        epsg = header.geometry.epsg
        if scene.epsg and epsg != scene.epsg:
            said = f"it is in EPSG:{epsg}, and its item says EPSG:{scene.epsg}"
            raise Corrupt(said, scene.id, band)
        if not _is_projection(epsg):
            raise Corrupt(f"EPSG:{epsg} is no projection", scene.id, band)
        if not touches(_lonlat_bounds(header.geometry), padded(scene.bbox)):
            raise Corrupt("it does not lie where its item says", scene.id, band)
        if band != scene.anchor and scene.anchor in scene.assets:
            anchor = self.header(scene, scene.anchor).geometry
            if not header.geometry.meets(anchor):
                raise Corrupt(f"it does not meet the ground of {scene.anchor}", scene.id, band)
        self._headers.put(href, header)
        return header

    def _fetch(self, scene: Scene, band: str, work: Callable[[Fetch], T]) -> T:
        return self._assets.fetch(scene, band, work, self._count)

    def _pixels(
        self, scene: Scene, band: str, header: Header, source: tuple[slice, slice]
    ) -> NDArray[Any]:
        """Pixels of a window of a raster, with 0 or NaN for no data."""
        nothing = np.nan if header.pixels.kind == "f" else 0
        out = self._values(scene, band, header, source, nothing)
        if header.nodata is not None and header.nodata != nothing:
            out[out == header.nodata] = nothing
        if header.mask is not None:
            out[self._values(scene, band, header.mask, source, 0) == 0] = nothing
        return out

    def _values(
        self,
        scene: Scene,
        band: str,
        header: Header,
        source: tuple[slice, slice],
        nothing: float,
    ) -> NDArray[Any]:
        """Values of a window of an image as they stand in the file; `nothing` where none do."""
        out = np.full([side.stop - side.start for side in source], nothing, header.pixels)
        href = without_signature(scene.asset(band))
        missing = []
        for number in header.blocks(*source):
            kept = self._blocks.get((href, header.place, number))
            if kept is not None:
                paste_block(kept, header.corner(number), out, source)
            elif header.sizes[number]:
                missing.append(number)
        for run in runs_of(header, missing):
            blocks = self._fetch(scene, band, functools.partial(fetch_run, header, run))
            for number, pixels in zip(run, blocks, strict=True):
                if not paste_block(pixels, header.corner(number), out, source):
                    self._blocks.put((href, header.place, number), pixels)
        return out


@functools.cache
def _is_projection(epsg: int) -> bool:
    """Whether an EPSG code is that of a projected reference system."""
    try:
        return bool(CRS.from_epsg(epsg).is_projected)
    except CRSError:
        return False


def _lonlat_bounds(geometry: Geometry) -> Box:
    """Box in degrees around a raster, empty if its edges are nowhere on Earth."""
    _, west, north, height, width = geometry.ground
    bounds = _degrees(geometry.epsg).transform_bounds(west, north - height, west + width, north)
    return bounds if all(map(math.isfinite, bounds)) else NOWHERE


@functools.cache
def _degrees(epsg: int) -> Transformer:
    return Transformer.from_crs(f"EPSG:{epsg}", "EPSG:4326", always_xy=True)
