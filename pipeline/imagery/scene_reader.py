"""Windowed reads of the rasters of scenes, with retries and typed errors."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import threading
from collections.abc import Callable, Collection, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from enum import StrEnum
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.imagery.block_cache import BlockCache
from tessera_mosaic.pipeline.imagery.byte_ranges import (
    fetch_run,
    lies_within,
    place_block,
    runs_of,
)
from tessera_mosaic.pipeline.imagery.cog import Header, read_coarsest, read_header
from tessera_mosaic.pipeline.imagery.gathered import (
    EVERYTHING,
    Gathered,
    Part,
    Place,
    blocks_needed,
    empty_window,
)
from tessera_mosaic.pipeline.imagery.kernel_types import Kernels, RasterWindow
from tessera_mosaic.pipeline.imagery.kernels import best_kernels
from tessera_mosaic.pipeline.imagery.overview import Overview
from tessera_mosaic.pipeline.imagery.read_budget import SPARE, ReadBudget
from tessera_mosaic.pipeline.imagery.resample import Kernel
from tessera_mosaic.pipeline.imagery.scene_assets import Count, RecentlyUsed, SceneAssets
from tessera_mosaic.pipeline.imagery.tiff_tags import Fetch
from tessera_mosaic.pipeline.imagery.workspace import Workspace
from tessera_mosaic.pipeline.io.urls import without_signature
from tessera_mosaic.pipeline.scenes.credentials import Signer
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.tiling.boxes import Box, padded, touches
from tessera_mosaic.pipeline.tiling.lattice import Window

REMOTE_THREADS = 128
"""Reads at a time where each waits for a network: enough to fill one at 80 ms a request."""

WORKSPACE = 2**29
"""Bytes of rasters that are held at once between their fetching and the stacks they go into."""

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
    budget
        Room for stacks that wait to be encoded; by default as much as the machine can spare.
    kernels
        Loops over pixels; by default the fastest there are.
    """

    def __init__(
        self,
        source: Source,
        threads: int | None = None,
        signer: Signer | None = None,
        budget: ReadBudget | None = None,
        kernels: Kernels | None = None,
    ) -> None:
        self.source, self.signer = source, signer or Signer(source.remote)
        self.budget = budget or SPARE.budget()
        self.kernels = kernels or best_kernels()
        cores = usable_cores()
        threads = threads or (cores if source.remote.is_local else REMOTE_THREADS)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
        # What waits for several reads has threads of its own, so that it cannot keep them waiting.
        # A day has ten reads. More tasks at a time would help only those with one or two.
        self._tasks = ThreadPoolExecutor(max(2, cores, threads // 4), thread_name_prefix="stack")
        self._turns = threading.BoundedSemaphore(cores)
        self._workspace = Workspace(WORKSPACE)
        self._assets = SceneAssets(source, self.signer, self._turns)
        self._blocks = BlockCache()
        self._headers: RecentlyUsed[str, Header] = RecentlyUsed()
        self._known: RecentlyUsed[Hashable, Any] = RecentlyUsed()
        self._count: Count = lambda **_: None
        self._go_on: Callable[[], None] = lambda: None

    def used_by(self, count: Count, go_on: Callable[[], None]) -> SceneReader:
        """The same reader, which counts `bytes_read` and the like, and asks before each request."""
        twin = copy.copy(self)
        twin._count, twin._go_on = count, go_on
        return twin

    def remember(self, key: Hashable, find: Callable[[], T]) -> T:
        """What was found out about a scene before, or is found out now."""
        known: T | None = self._known.get(key)
        if known is None:
            known = find()
            self._known.put(key, known)
        return known

    def submit(self, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run what needs several reads, beside others of its kind."""
        return self._tasks.submit(task, *args, **kwargs)

    def workspace(self, size: int) -> contextlib.AbstractContextManager[None]:
        """Wait until so many bytes of rasters may be held, and hold them."""
        return self._workspace.take(size)

    def add(self, **measures: float) -> None:
        """Add to what this reader counts."""
        self._count(**measures)

    def close(self) -> None:
        """Stop the threads and drop the cache."""
        self._tasks.shutdown(cancel_futures=True)
        self._pool.shutdown(cancel_futures=True)
        self._blocks.close()

    def read(
        self,
        scene: Scene,
        band: str,
        window: Window,
        kernel: Kernel,
        kind: PixelKind,
        part: tuple[slice, slice] = EVERYTHING,
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
        gathered = self.gather(scene, band, [(window, part)], kernel, kind)
        return None if gathered is None else gathered.resampled(0)

    def gather(
        self,
        scene: Scene,
        band: str,
        parts: Sequence[Part],
        kernel: Kernel,
        kind: PixelKind,
        keep: bool = True,
    ) -> Gathered | None:
        """Fetch what some parts of the lattice need of a band, each block once.

        Parameters
        ----------
        scene, band, kernel, kind
            As for `read`.
        parts
            Windows, and the rows and columns of each that are wanted.
        keep
            Whether blocks that reach beyond the parts are kept for reads that are still to come.

        Returns
        -------
        The raster's pixels; None if it does not reach any part.

        Raises
        ------
        SceneError
            Of the class of what went wrong, with the names of scene and asset.
        """
        return self._assets.follow(
            scene, band, lambda scene: self._gather(scene, band, parts, kernel, kind, keep)
        )

    def gather_all(
        self,
        scene: Scene,
        bands: Sequence[str],
        parts: Sequence[Part],
        kernel: Kernel,
        kind: PixelKind,
        keep: bool = True,
    ) -> list[Gathered | None]:
        """The same of several bands, fetched side by side."""
        return self._side_by_side(
            bands, lambda band: self.gather(scene, band, parts, kernel, kind, keep)
        )

    def _side_by_side(self, bands: Sequence[str], work: Callable[[str], T]) -> list[T]:
        """What some work on each band gives, done on the reader's threads."""
        reads = [self._pool.submit(work, band) for band in bands]
        try:
            return [read.result() for read in reads]
        finally:
            for read in reads:
                read.cancel()

    def found(self, scene: Scene, band: str) -> Header:
        """Header of a raster, wherever its item says that it is now."""
        return self._assets.follow(scene, band, lambda scene: self.header(scene, band))

    def all_found(self, scene: Scene, bands: Sequence[str]) -> list[Header]:
        """The same of several bands, fetched side by side."""
        return self._side_by_side(bands, lambda band: self.found(scene, band))

    def overview(self, scene: Scene, band: str, most: int) -> Overview | None:
        """The whole raster at its coarsest resolution; None if that has a side beyond `most`."""
        return self._assets.follow(scene, band, lambda scene: self._overview(scene, band, most))

    def _gather(
        self,
        scene: Scene,
        band: str,
        parts: Sequence[Part],
        kernel: Kernel,
        kind: PixelKind,
        keep: bool,
    ) -> Gathered | None:
        header = self.header(scene, band)
        if not header.dtype.str.endswith(kind) and header.dtype.kind != kind:
            raise Corrupt(f"its pixels are {header.dtype.name}, not {kind}", scene.id, band)
        places = tuple(Place.of(part, header.geometry, kernel) for part in parts)
        numbers = blocks_needed(header, places)
        if not numbers:
            return None
        # A raster takes up no memory before its first bytes are there.
        window = functools.cache(lambda: empty_window(header, places))
        self._fill(scene, band, header, numbers, window, keep)
        return Gathered(header, places, window())

    def _overview(self, scene: Scene, band: str, most: int) -> Overview | None:
        header = self.header(scene, band)
        ground = header.geometry.ground
        if header.others:
            header = self._fetch(scene, band, lambda fetch: read_coarsest(fetch, header))
        height, width = header.geometry.height, header.geometry.width
        if max(height, width) > most:
            return None
        window = RasterWindow(np.zeros((height, width), header.pixels), 0, 0)
        everything = header.blocks(slice(0, height), slice(0, width))
        self._fill(scene, band, header, everything, lambda: window, False)
        return Overview(window.pixels, ground)

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
        if not touches(_lonlat_bounds(header.geometry.ground), padded(scene.bbox)):
            raise Corrupt("it does not lie where its item says", scene.id, band)
        if band != scene.anchor and scene.anchor in scene.assets:
            anchor = self.header(scene, scene.anchor).geometry
            if not header.geometry.meets(anchor):
                raise Corrupt(f"it does not meet the ground of {scene.anchor}", scene.id, band)
        self._headers.put(href, header)
        return header

    def _fetch(self, scene: Scene, band: str, work: Callable[[Fetch], T]) -> T:
        self._go_on()
        return self._assets.fetch(scene, band, work, self._count)

    def _fill(
        self,
        scene: Scene,
        band: str,
        header: Header,
        numbers: Collection[int],
        window: Callable[[], RasterWindow],
        keep: bool,
    ) -> None:
        """Put blocks of a raster into a window, with 0 or NaN for no data."""
        self._fill_values(scene, band, header, numbers, window, keep)
        whole = window()
        nothing = np.nan if header.pixels.kind == "f" else 0
        if header.nodata is not None and header.nodata != nothing:
            whole.pixels[whole.pixels == header.nodata] = nothing
        if header.mask is not None:
            mask = replace(whole, pixels=np.zeros_like(whole.pixels, header.mask.pixels))
            needed = header.mask.blocks(*whole.within(header.geometry))
            self._fill_values(scene, band, header.mask, needed, lambda: mask, keep)
            whole.pixels[mask.pixels == 0] = nothing

    def _fill_values(
        self,
        scene: Scene,
        band: str,
        header: Header,
        numbers: Collection[int],
        window: Callable[[], RasterWindow],
        keep: bool,
    ) -> None:
        """Put blocks of an image into a window, as they stand in the file."""
        href, missing = without_signature(scene.asset(band)), []
        for number in numbers:
            kept = self._blocks.get((href, header.place, number)) if keep else None
            if kept is not None:
                with self._turns:
                    place_block(kept, header, number, window(), self.kernels)
            elif header.sizes[number]:
                missing.append(number)
        for run in runs_of(header, missing):
            place_run = functools.partial(self._place_run, href, header, run, window, keep)
            self._fetch(scene, band, place_run)

    def _place_run(
        self,
        href: str,
        header: Header,
        run: list[int],
        window: Callable[[], RasterWindow],
        keep: bool,
        fetch: Fetch,
    ) -> None:
        """Fetch the blocks of one range and put them into a window."""
        for number, data in zip(run, fetch_run(header, run, fetch), strict=True):
            place_block(data, header, number, window(), self.kernels)
            if keep and not lies_within(header, number, window()):
                self._blocks.put((href, header.place, number), data)


@functools.cache
def _is_projection(epsg: int) -> bool:
    """Whether an EPSG code is that of a projected reference system."""
    try:
        return bool(CRS.from_epsg(epsg).is_projected)
    except CRSError:
        return False


@functools.lru_cache(maxsize=4096)
def _lonlat_bounds(ground: tuple[int, float, float, float, float]) -> Box:
    """Box in degrees around a raster's ground, empty if its edges are nowhere on Earth."""
    epsg, west, north, height, width = ground
    to_degrees = _degrees(epsg)
    bounds = to_degrees.transform_bounds(west, north - height, west + width, north)
    return bounds if all(map(math.isfinite, bounds)) else NOWHERE


@functools.cache
def _degrees(epsg: int) -> Transformer:
    return Transformer.from_crs(f"EPSG:{epsg}", "EPSG:4326", always_xy=True)
