"""Windowed reads of the rasters of scenes, with retries and typed errors."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.pipeline.errors import Corrupt, Expired, Gone, SceneError
from tessera_mosaic.pipeline.imagery.block_cache import BlockCache, _Recent
from tessera_mosaic.pipeline.imagery.byte_ranges import Fetch, _fetch, _paste, _runs
from tessera_mosaic.pipeline.imagery.cog import Header, read_coarsest, read_header
from tessera_mosaic.pipeline.imagery.resample import Geometry, place, resample
from tessera_mosaic.pipeline.scenes import Box, Scene, Source
from tessera_mosaic.pipeline.scenes.credentials import Signer
from tessera_mosaic.pipeline.tiling.boxes import padded, touches
from tessera_mosaic.pipeline.tiling.lattice import Window

REMOTE_THREADS = 32
"""Reads in flight where each waits for a network: enough to fill one at 50 ms a request."""


NOWHERE: Box = (0.0, 91.0, 0.0, 91.0)

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """Reads the bands of scenes onto the lattice. One a process, safe to use from many threads.

    Parameters
    ----------
    source
        The catalogue that the scenes are from.
    threads
        Reads in flight at a time; by default as fits the source.
    """

    def __init__(self, source: Source, threads: int | None = None) -> None:
        self.source = source
        if threads is None:
            threads = usable_cores() if source.remote.is_local else REMOTE_THREADS
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._spool = BlockCache()
        self.signer = Signer(source.remote)
        self._headers: _Recent[str, Header] = _Recent()
        self._known: _Recent[Hashable, Any] = _Recent()
        self._moved: _Recent[Hashable, Scene] = _Recent()
        self._tell: Callable[..., None] = lambda **_: None

    def told(self, tell: Callable[..., None]) -> Reader:
        """The same reader, which tells `bytes_read`, `requests_read` and `retries_<class>`."""
        twin = copy.copy(self)
        twin._tell = tell
        return twin

    def remember(self, key: Hashable, find: Callable[[], T]) -> T:
        """What was found out about a scene, or is now."""
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
        self._spool.close()

    def read(
        self,
        scene: Scene,
        band: str,
        window: Window,
        kernel: str,
        kind: str,
        part: tuple[slice, slice] = (slice(None), slice(None)),
    ) -> NDArray[Any] | None:
        """Bring a band of a scene to a window of the lattice.

        Parameters
        ----------
        scene, band
            What to read.
        window
            Where.
        kernel
            Resampling, where the raster's pixels are not those of the lattice.
        kind
            What its pixels have to be: `u1`, `u2`, or `f` for floating point.
        part
            Rows and columns of the window, if not all of it is wanted.

        Returns
        -------
        Array of the part's shape. No data is 0 in integer rasters and NaN in others. None if the
        raster does not reach the part.

        Raises
        ------
        SceneError
            Of the class of what went wrong, with the names of scene and asset.
        """
        return self._found(scene, band, lambda s: self._read(s, band, window, kernel, kind, part))

    def overview(self, scene: Scene, band: str, most: int) -> NDArray[Any] | None:
        """The whole raster at its coarsest resolution; None if that has a side beyond `most`."""
        return self._found(scene, band, lambda scene: self._overview(scene, band, most))

    def _found(self, scene: Scene, band: str, work: Callable[[Scene], T]) -> T:
        """Do some work on a scene, and again where its item says that its files are now.

        The item is asked once for all bands: what is gone from there too is gone.
        """
        version = scene.id, scene.assets.get(scene.anchor)
        moved = self._moved.get(version)
        try:
            return work(moved or scene)
        except Gone as gone:
            if moved is not None:
                raise
            try:
                moved = self._moved.get(version) or self.source.refresh(scene)
            except SceneError as error:
                raise type(error)(error.message, scene.id, band) from None
            self._moved.put(version, moved)
            if moved.assets == scene.assets:
                raise gone from None
            return work(moved)

    def _read(
        self,
        scene: Scene,
        band: str,
        window: Window,
        kernel: str,
        kind: str,
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

    def _overview(self, scene: Scene, band: str, most: int) -> NDArray[Any] | None:
        header = self.header(scene, band)
        if header.others:
            header = self._persist(scene, band, lambda fetch: read_coarsest(fetch, header))
        height, width = header.geometry.height, header.geometry.width
        if max(height, width) > most:
            return None
        return self._pixels(scene, band, header, (slice(0, height), slice(0, width)))

    def header(self, scene: Scene, band: str) -> Header:
        """Header of a raster, from the file or as it was seen before.

        Raises
        ------
        Corrupt
            If the raster does not lie where the item says, or not where the scene's others do.
        """
        href = scene.asset(band)
        if (known := self._headers.get(href)) is not None:
            return known
        header = self._persist(scene, band, lambda fetch: read_header(fetch, scene.epsg))
        epsg = header.geometry.epsg
        if scene.epsg and epsg != scene.epsg:
            said = f"it is in EPSG:{epsg}, and its item says EPSG:{scene.epsg}"
            raise Corrupt(said, scene.id, band)
        if not _is_projection(epsg):
            raise Corrupt(f"EPSG:{epsg} is no projection", scene.id, band)
        if band != scene.anchor and scene.anchor in scene.assets:
            anchor = self.header(scene, scene.anchor).geometry
            if header.geometry.ground != anchor.ground:
                raise Corrupt(f"it does not cover the ground of {scene.anchor}", scene.id, band)
        elif not touches(_lonlat_bounds(header.geometry), padded(scene.bbox)):
            raise Corrupt("it does not lie where its item says", scene.id, band)
        self._headers.put(href, header)
        return header

    def _pixels(
        self, scene: Scene, band: str, header: Header, source: tuple[slice, slice]
    ) -> NDArray[Any]:
        """Pixels of a window of a raster, with 0 or NaN for no data."""
        nothing = np.nan if header.pixels.kind == "f" else 0
        out = np.full([side.stop - side.start for side in source], nothing, header.pixels)
        href = scene.asset(band)
        missing = []
        for number in header.blocks(*source):
            kept = self._spool.get((href, header.place, number))
            if kept is not None:
                _paste(kept, header.corner(number), out, source)
            elif header.sizes[number]:
                missing.append(number)
        for run in _runs(header, missing):
            blocks = self._persist(scene, band, functools.partial(_fetch, header, run))
            for number, pixels in zip(run, blocks, strict=True):
                if not _paste(pixels, header.corner(number), out, source):
                    self._spool.put((href, header.place, number), pixels)
        if header.nodata is not None and header.nodata != nothing:
            out[out == header.nodata] = nothing
        return out

    def _persist(self, scene: Scene, band: str, work: Callable[[Fetch], T]) -> T:
        """Do some work on an asset, trying again as each class of failure deserves."""
        remote, renewals = self.source.remote, 0

        def attempt() -> T:
            nonlocal renewals
            renewals = self.signer.renewals
            access = self.signer.access(scene.asset(band))

            def fetch(start: int, length: int) -> bytes:
                data = remote.read(access, start, length)
                self._tell(bytes_read=len(data), requests_read=1)
                return data

            return work(fetch)

        def answer(error: SceneError) -> None:
            self._tell(**{f"retries_{error.kind}": 1})
            if isinstance(error, Expired):
                self.signer.renew(renewals)

        try:
            return remote.persist(attempt, scene.asset(band), answer)
        except SceneError as error:
            raise type(error)(error.message, scene.id, band) from None


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
