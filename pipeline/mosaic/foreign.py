"""A mosaic that somebody else published, read where it lies.

It has the layout that the TESSERA client reads: a group `utmNN` a zone, `embeddings` (time, band,
y, x) and `scales` (time, y, x), whatever its chunks, codecs and extent. It has none of our records,
so what lies in it is asked of its shards, and what it is, of its attributes.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
import zarr.storage
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.mosaic.identity import Identity
from tessera_mosaic.pipeline.mosaic.layout import COUNTS, Layout
from tessera_mosaic.pipeline.mosaic.metadata import parse_root
from tessera_mosaic.pipeline.mosaic.part_reader import by_square, nothing, read_at, read_part
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.mosaic.store import ROOT, Mosaic
from tessera_mosaic.pipeline.tiling.lattice import (
    HEIGHT,
    NORTH_EDGE,
    PIXEL,
    WEST_EDGE,
    WIDTH,
    Tile,
    Window,
    zone_group,
)

COUNT_NAMES = {
    "s2": ("observations_s2", "s2_obs_count"),
    "s1_ascending": ("observations_s1_ascending", "s1_asc_obs_count"),
    "s1_descending": ("observations_s1_descending", "s1_desc_obs_count"),
}
"""Names under which observation counts are published, by ours."""

CHANGING = ("geoemb:stretch", "geoemb:stretch_zones")
"""Attributes of the root that are written again for each picture, and say nothing of the pixels."""

UNKNOWN = {"geotessera:mask_source": "source_nodata"}
"""Attribute of a zone in which NaN stands for what was not embedded, not for water."""

ZONE = re.compile(r"utm(0[1-9]|[1-5]\d|60)")
"""Name of the group of a zone."""

AT_ONCE = 4096
"""Points of a shard that are read at once."""

READERS = 16
"""Questions for shards that are asked at once."""


@dataclass(frozen=True)
class Extent:
    """Where the grid of a zone lies on our lattice.

    Parameters
    ----------
    zone
        UTM zone.
    row, col
        Row and column of the lattice at which the grid begins; may lie beyond it.
    height, width
        Size of the grid in pixels.
    nan_is_unknown
        Whether a scale of NaN says that nothing is there, rather than water.
    """

    zone: int
    row: int
    col: int
    height: int
    width: int
    nan_is_unknown: bool


@dataclass(frozen=True)
class ForeignMosaic:
    """A published mosaic as its metadata tells it. Plain and picklable.

    Parameters
    ----------
    storage
        Where it lies.
    layout
        Tiles of our lattice in which it is read, its number of dimensions, and which counts it has.
    identity
        What its attributes say that it is.
    years
        Calendar years of its time axis, in its order.
    extents
        Where the grid of each zone lies, zone by zone.
    """

    storage: Storage
    layout: Layout
    identity: Identity
    years: tuple[int, ...]
    extents: tuple[Extent, ...]

    @property
    def zones(self) -> tuple[int, ...]:
        """Numbers of the zones that have a group, ascending."""
        return tuple(extent.zone for extent in self.extents)

    def step(self, year: int) -> int:
        """Place of a year on the time axis."""
        if year not in self.years:
            raise BadInput(f"{self.storage.url} has no year {year}: it holds {list(self.years)}")
        return self.years.index(year)

    def years_made(self) -> tuple[int, ...]:
        """Calendar years of the time axis: whether each has pixels could only be listed."""
        return self.years

    def check_made(self, year: int) -> None:
        """Refuse a year that the time axis does not have."""
        self.step(year)

    def read(self, tile: Tile, year: int) -> Pixels:
        """A whole tile at full depth, fill where nothing is."""
        return self.read_window(tile.window, year)

    def read_window(self, window: Window, year: int) -> Pixels:
        """Any window of a zone at full depth.

        Raises
        ------
        StoreError
            If it cannot be read.
        """
        shape, layout, step = window.shape, self.layout, self.step(year)
        pixels = nothing(shape, layout)
        extent = self._extent(window.zone)
        if extent is None:
            return pixels
        top, left = max(window.row, extent.row), max(window.col, extent.col)
        bottom = min(window.row + window.height, extent.row + extent.height)
        right = min(window.col + window.width, extent.col + extent.width)
        if top >= bottom or left >= right:
            return pixels
        ours = (
            slice(top - window.row, bottom - window.row),
            slice(left - window.col, right - window.col),
        )
        rows = slice(top - extent.row, bottom - extent.row)
        cols = slice(left - extent.col, right - extent.col)
        arrays = _arrays(self.storage.url, window.zone)
        with store_errors(self.storage.url):
            pixels.scales[ours] = arrays["scales"][step, rows, cols]
            pixels.codes[ours] = np.moveaxis(arrays["embeddings"][step, :, rows, cols], 0, -1)
            for name, counts in pixels.counts.items():
                counts[ours] = arrays[name][step, rows, cols]
        return _plausible(pixels, extent)

    def read_at(
        self, zone: int, rows: NDArray[np.int64], cols: NDArray[np.int64], year: int
    ) -> Pixels:
        """Pixels of a zone in the order in which they are named, as `part_reader.read_at`.

        Raises
        ------
        StoreError
            If they cannot be read.
        """
        step, extent = self.step(year), self._extent(zone)
        pixels = nothing((len(rows),), self.layout)
        if extent is None:
            return pixels
        rows, cols = np.asarray(rows) - extent.row, np.asarray(cols) - extent.col
        inside = np.flatnonzero(
            (rows >= 0) & (rows < extent.height) & (cols >= 0) & (cols < extent.width)
        )
        arrays = _arrays(self.storage.url, zone)
        into: dict[str, Any] = {"scales": pixels.scales, "embeddings": pixels.codes}
        into |= pixels.counts
        with store_errors(self.storage.url):
            for name, values in into.items():
                array = arrays[name]
                shard = (array.shards or array.chunks)[-1]
                inner = array.chunks[-1]
                for squares in by_square(rows[inside], cols[inside], shard):
                    for at in _in_chunks(inside[squares], rows, cols, inner):
                        values[at] = _points(array, step, rows[at], cols[at])
        return _plausible(pixels, extent)

    def holds(self, tile: Tile, year: int) -> bool:
        """Whether a shard of the embeddings lies on a tile."""
        step, extent = self.step(year), self._extent(tile.zone)
        if extent is None:
            return False
        array = _arrays(self.storage.url, tile.zone)["embeddings"]
        high, wide = (array.shards or array.chunks)[-2:]
        top = max(tile.window.row - extent.row, 0)
        left = max(tile.window.col - extent.col, 0)
        bottom = min(tile.window.row + tile.side - extent.row, extent.height)
        right = min(tile.window.col + tile.side - extent.col, extent.width)
        keys = (
            f"{array.path}/{array.metadata.encode_chunk_key((step, 0, row, col))}"
            for row in range(top // high, -(-bottom // high))
            for col in range(left // wide, -(-right // wide))
        )
        return top < bottom and left < right and any(map(self.storage.exists, keys))

    def _extent(self, zone: int) -> Extent | None:
        return next((extent for extent in self.extents if extent.zone == zone), None)


AnyMosaic = Mosaic | ForeignMosaic
"""A mosaic to read: one of ours, or one that somebody else published."""


def open_any(url: str) -> AnyMosaic:
    """The mosaic at a path or URL that a user gave, whoever made it.

    Raises
    ------
    BadInput
        If there is none.
    """
    storage = Storage(url)
    try:
        data = storage.read(ROOT)
    except FileNotFoundError:
        raise BadInput(f"{storage.url} holds no mosaic: it has no {ROOT}") from None
    try:
        return Mosaic(**vars(parse_root(data)), storage=storage)
    except StoreError:
        return _foreign(storage, data)


def pixels_at(
    mosaic: AnyMosaic, zone: int, rows: NDArray[np.int64], cols: NDArray[np.int64], year: int
) -> Pixels:
    """Pixels of a zone of any mosaic, in the order in which they are named; see `read_at`."""
    if isinstance(mosaic, ForeignMosaic):
        return mosaic.read_at(zone, rows, cols, year)
    return read_at(mosaic, zone, rows, cols, year)


def part_of(mosaic: AnyMosaic, window: Window, year: int) -> Pixels:
    """A window of any mosaic at full depth, of which no more than its chunks are read."""
    if isinstance(mosaic, ForeignMosaic):
        return mosaic.read_window(window, year)
    return read_part(mosaic, window, year)


def seen_by(mosaic: AnyMosaic, window: Window) -> tuple[slice, slice]:
    """Rows and columns of a zone's arrays that hold a window, as far as they reach."""
    row, col, height, width = window.row, window.col, HEIGHT, WIDTH
    if isinstance(mosaic, ForeignMosaic):
        extent = next(extent for extent in mosaic.extents if extent.zone == window.zone)
        row, col, height, width = row - extent.row, col - extent.col, extent.height, extent.width
    return (
        slice(min(max(row, 0), height), min(max(row + window.height, 0), height)),
        slice(min(max(col, 0), width), min(max(col + window.width, 0), width)),
    )


def tiles_with_shards(mosaic: AnyMosaic, year: int, tiles: Iterator[Tile]) -> Iterator[Tile]:
    """Tiles on which shards of embeddings lie, in the order of the tiles."""

    def holds(tile: Tile) -> bool:
        if isinstance(mosaic, ForeignMosaic):
            return mosaic.holds(tile, year)
        return mosaic.storage.exists(mosaic.keys(tile, year)[-1])

    with ThreadPoolExecutor(READERS, thread_name_prefix="shards") as pool:
        ordered = [tile for tile in tiles if tile.zone in mosaic.zones]
        held = pool.map(holds, ordered)
        yield from (tile for tile, there in zip(ordered, held, strict=True) if there)


def _foreign(storage: Storage, data: bytes) -> ForeignMosaic:
    """What the metadata of a published mosaic says, as far as it is one."""
    url = storage.url
    try:
        root = json.loads(data)
        attributes = dict(root.get("attributes", {}))
        nodes = root["consolidated_metadata"]["metadata"]
        zones = sorted(int(name[3:]) for name in nodes if ZONE.fullmatch(name))
        codes = nodes[f"{zone_group(zones[0])}/embeddings"]
        dims, axes = int(codes["shape"][1]), codes["dimension_names"]
        if axes[2:] != ["y", "x"] or axes[0] != "time" or codes["data_type"] != "int8":
            raise ValueError(f"its embeddings are {codes['data_type']} with the axes {axes}")
        extents = tuple(_extent_of(nodes, zone) for zone in zones)
        known = [
            name
            for name in COUNTS
            if any(f"{zone_group(zones[0])}/{each}" in nodes for each in COUNT_NAMES[name])
        ]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, CRSError) as error:
        raise BadInput(
            f"{url} holds a {ROOT} that is that of no mosaic of TESSERA embeddings: {error}"
        ) from None
    with store_errors(url):
        years = tuple(int(year) for year in _arrays(url, zones[0])["time"][:])
    told = {
        name: value
        for name, value in attributes.items()
        if name.startswith("geoemb:") and name not in CHANGING
    }
    layout = Layout(dims=dims, observed=tuple(known))
    return ForeignMosaic(storage, layout, {"published": told}, years, extents)


def _extent_of(nodes: dict[str, Any], zone: int) -> Extent:
    """Where the grid of a zone lies, by the attributes of its group."""
    group = zone_group(zone)
    attributes = nodes[group]["attributes"]
    a, b, west, d, e, north = (float(number) for number in attributes["spatial:transform"])
    code = CRS.from_user_input(attributes["proj:code"]).to_epsg() or 0
    if code not in (32600 + zone, 32700 + zone):
        raise ValueError(f"its {group} is in {attributes['proj:code']}")
    col, row = (west - WEST_EDGE) / PIXEL, (NORTH_EDGE - north) / PIXEL
    if code > 32700:
        row += 10_000_000 / PIXEL
    if (a, b, d, e) != (PIXEL, 0, 0, -PIXEL) or not (col.is_integer() and row.is_integer()):
        off = f"{math.fmod(west, PIXEL):g} m and {math.fmod(north, PIXEL):g} m"
        raise ValueError(f"the pixels of its {group} lie {off} off whole tens of metres")
    height, width = nodes[f"{group}/scales"]["shape"][1:]
    unknown = all(attributes.get(name) == value for name, value in UNKNOWN.items())
    return Extent(zone, int(row), int(col), int(height), int(width), unknown)


@functools.lru_cache(64)
def _arrays(url: str, zone: int) -> dict[str, Any]:
    """The opened arrays of a zone, once a process."""
    storage = Storage(url)
    store: Any = (
        zarr.storage.LocalStore(storage.folder, read_only=True)
        if storage.folder is not None
        else zarr.storage.FsspecStore.from_url(
            storage.url, storage_options=storage.options, read_only=True
        )
    )
    with store_errors(url):
        group = zarr.open_group(store, mode="r", use_consolidated=True, zarr_format=3)
        of: Any = group[zone_group(zone)]
        found = {name: of[name] for name in ("embeddings", "scales", "time")}
        for name, published in COUNT_NAMES.items():
            for each in published:
                if each in of:
                    found.setdefault(name, of[each])
    return found


def _plausible(pixels: Pixels, extent: Extent) -> Pixels:
    """The pixels without scales that no embedding has, which mean that nothing is there."""
    scales = pixels.scales
    none = ~np.isnan(scales) & ~((scales > 0) & (scales < 1))
    if extent.nan_is_unknown:
        none |= np.isnan(scales)
    scales[none] = np.inf
    return pixels


def _in_chunks(
    at: NDArray[np.int64], rows: NDArray[np.int64], cols: NDArray[np.int64], inner: int
) -> Iterator[NDArray[np.int64]]:
    """Points of a shard, some thousands at a time; those of a chunk stay together."""
    batch: list[NDArray[np.int64]] = []
    for chunk in by_square(rows[at], cols[at], inner):
        batch.append(at[chunk])
        if sum(map(len, batch)) >= AT_ONCE:
            yield np.concatenate(batch)
            batch = []
    if batch:
        yield np.concatenate(batch)


def _points(array: Any, step: int, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> Any:
    """Values of points: (points,), or (points, bands) where the array has such an axis."""
    if array.ndim == 3:
        return array.vindex[np.full(len(rows), step), rows, cols]
    bands = np.arange(array.shape[1])
    return array.vindex[
        np.full((len(rows), len(bands)), step),
        np.broadcast_to(bands, (len(rows), len(bands))),
        np.broadcast_to(rows[:, None], (len(rows), len(bands))),
        np.broadcast_to(cols[:, None], (len(rows), len(bands))),
    ]
