"""A mosaic that somebody else published, read where it lies.

It has the layout that the TESSERA client reads: a group `utmNN` a zone, `embeddings` (time, band,
y, x) and `scales` (time, y, x), whatever its chunks, codecs and extent. It has none of our records,
so what lies in it is asked of its shards, and what it is, of its attributes.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
import zarr.storage
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from tessera_mosaic.pipeline.errors import Altered, BadInput, TesseraError
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.mosaic.identity import Identity
from tessera_mosaic.pipeline.mosaic.layout import COUNTS, Layout
from tessera_mosaic.pipeline.mosaic.part_reader import by_square, nothing
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.mosaic.store import ROOT
from tessera_mosaic.pipeline.tiling.lattice import (
    NORTH_EDGE,
    PIXEL,
    WEST_EDGE,
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
        pixels = nothing(window.shape, self.layout)
        pixels.scales[:] = self.scales(window, year)
        pixels.codes[:] = np.moveaxis(self.codes(window, year), 0, -1)
        for name, count in self.counts(window, year).items():
            pixels.counts[name][:] = count
        return pixels

    def codes(self, window: Window, year: int) -> NDArray[np.int8]:
        """Codes of a window as they lie in their chunks, int8 (dims, height, width)."""
        shape = (self.layout.dims, *window.shape)
        return self._window("embeddings", window, year, np.zeros(shape, np.int8))

    def scales(self, window: Window, year: int) -> NDArray[np.float32]:
        """Scales of a window, float32 (height, width); +inf where they are none."""
        nowhere = np.full(window.shape, np.inf, np.float32)
        scales = self._window("scales", window, year, nowhere)
        return _plausible(scales, self._extent(window.zone))

    def counts(self, window: Window, year: int) -> dict[str, NDArray[np.uint16]]:
        """Observation counts of a window by name, uint16 (height, width), as far as it has them."""
        return {
            name: self._window(name, window, year, np.zeros(window.shape, np.uint16))
            for name in self.layout.observed
        }

    def _window(self, name: str, window: Window, year: int, values: NDArray[Any]) -> NDArray[Any]:
        """Values of a window, put in place of those given as far as the zone's grid reaches."""
        step, extent = self.step(year), self._extent(window.zone)
        rows, cols = self.seen(window)
        if extent is None or rows.start == rows.stop or cols.start == cols.stop:
            return values
        down, across = extent.row - window.row, extent.col - window.col
        ours = (
            slice(rows.start + down, rows.stop + down),
            slice(cols.start + across, cols.stop + across),
        )
        with _reading(self.storage.url, f"{zone_group(window.zone)}/{name}"):
            array = _arrays(self.storage.url, window.zone)[name]
            bands = (slice(None),) if array.ndim == 4 else ()
            values[(..., *ours)] = array[(step, *bands, rows, cols)]
        return values

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
        for name, values in into.items():
            with _reading(self.storage.url, f"{zone_group(zone)}/{name}"):
                array = arrays[name]
                shard = (array.shards or array.chunks)[-1]
                inner = array.chunks[-1]
                for squares in by_square(rows[inside], cols[inside], shard):
                    for at in _in_chunks(inside[squares], rows, cols, inner):
                        values[at] = _points(array, step, rows[at], cols[at])
        _plausible(pixels.scales, extent)
        return pixels

    def holds(self, tile: Tile, year: int) -> bool:
        """Whether a shard of the embeddings lies on a tile."""
        return any(map(self.storage.exists, self._shard_keys(tile, year)))

    def shards(self, tile: Tile, year: int) -> dict[str, int]:
        """Keys of the shards of the embeddings that lie on a tile, with their sizes in bytes."""
        found = {}
        for key in self._shard_keys(tile, year):
            with contextlib.suppress(FileNotFoundError):
                found[key] = self.storage.size(key)
        return found

    def _shard_keys(self, tile: Tile, year: int) -> Iterator[str]:
        """Keys that the shards of the embeddings on a tile have, if they are there."""
        step, (rows, cols) = self.step(year), self.seen(tile.window)
        if rows.start == rows.stop or cols.start == cols.stop:
            return
        array = _arrays(self.storage.url, tile.zone)["embeddings"]
        high, wide = (array.shards or array.chunks)[-2:]
        for row in range(rows.start // high, -(-rows.stop // high)):
            for col in range(cols.start // wide, -(-cols.stop // wide)):
                yield f"{array.path}/{array.metadata.encode_chunk_key((step, 0, row, col))}"

    def seen(self, window: Window) -> tuple[slice, slice]:
        """Rows and columns of its zone's arrays that hold a window, as far as they reach."""
        extent = self._extent(window.zone)
        if extent is None:
            return slice(0, 0), slice(0, 0)
        top, left = window.row - extent.row, window.col - extent.col
        rows = np.clip([top, top + window.height], 0, extent.height).tolist()
        cols = np.clip([left, left + window.width], 0, extent.width).tolist()
        return slice(*rows), slice(*cols)

    def _extent(self, zone: int) -> Extent | None:
        return next((extent for extent in self.extents if extent.zone == zone), None)


def foreign_mosaic(storage: Storage, data: bytes) -> ForeignMosaic:
    """What the metadata of a published mosaic says.

    Parameters
    ----------
    storage
        Where it lies.
    data
        Its root's metadata.

    Raises
    ------
    BadInput
        If it is that of none.
    """
    url = storage.url
    try:
        root = read_json(data)
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


@contextlib.contextmanager
def _reading(url: str, name: str) -> Iterator[None]:
    """Give what a store or a codec raises while an array is read its class."""
    with store_errors(url):
        try:
            yield
        except TesseraError:
            raise
        except (EOFError, RuntimeError, ValueError, zlib.error) as error:
            raise Altered(f"{url}: a shard of {name} is damaged: {error}") from error


def _plausible(scales: NDArray[np.float32], extent: Extent | None) -> NDArray[np.float32]:
    """Scales, +inf for those that no embedding has, which mean that nothing is there."""
    none = ~np.isnan(scales) & ~((scales > 0) & (scales < 1))
    if extent is not None and extent.nan_is_unknown:
        none |= np.isnan(scales)
    scales[none] = np.inf
    return scales


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
