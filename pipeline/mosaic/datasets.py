"""A mosaic as xarray datasets, one a UTM zone, for people who use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import xarray
import zarr.storage
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.regular_files import refuse_leading_out
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, open_any, seen_by
from tessera_mosaic.pipeline.mosaic.dataset_parts import EMBEDDING, at_places, described
from tessera_mosaic.pipeline.mosaic.region_windows import (
    check_something,
    listed_zones,
    newest_year,
    windows_of,
)
from tessera_mosaic.pipeline.tiling.lattice import zone_group
from tessera_mosaic.pipeline.tiling.region import parse_box

Chunks = str | Mapping[str, int] | None
"""How datasets are divided for dask; None for not at all."""


class Zones(Mapping[int, xarray.Dataset]):
    """The zones of a mosaic by number. Nothing is read before it is asked for.

    Each dataset has `embeddings` (time, band, y, x), int8; nested depths `embeddings_dK`; `scales`
    (time, y, x), float32, +inf where nothing is and NaN where water is; and the observation
    counts. `time` is the year, `x` and `y` are pixel centres in metres in the zone's northern
    projection, which `spatial_ref` tells as CF has it, so that rioxarray and GDAL know it. What a
    dataset is written to (`to_netcdf`, `to_zarr`, `rio.to_raster`) need not be as the mosaic is:
    nothing of its chunks and codecs is kept.

    Parameters
    ----------
    mosaic
        The opened store; `open_mosaic` opens it.
    chunks
        As `open_mosaic` has it.

    Examples
    --------
    >>> zones = tm.open_mosaic("valley.zarr")
    >>> list(zones), zones.years[-1]
    ([31], 2024)
    >>> zones[31]["scales"].dims
    ('time', 'y', 'x')
    >>> square = zones.region(2.995, 50.845, 3.005, 50.850, year=2024)[31]
    >>> dict(square["embeddings"].sizes)
    {'band': 128, 'y': 57, 'x': 72}
    """

    def __init__(self, mosaic: AnyMosaic, chunks: Chunks = None) -> None:
        self._mosaic, self._chunks = mosaic, chunks
        self._opened: dict[int, xarray.Dataset] = {}
        self._made: set[int] = set()

    @cached_property
    def years(self) -> tuple[int, ...]:
        """Calendar years that were made; the time axis may have steps that others are to fill."""
        return self._mosaic.years_made()

    def __iter__(self) -> Iterator[int]:
        return iter(self._mosaic.zones)

    def __len__(self) -> int:
        return len(self._mosaic.zones)

    def __getitem__(self, zone: int) -> xarray.Dataset:
        if zone not in self._mosaic.zones:
            raise KeyError(
                f"there is no zone {zone}: the mosaic has {listed_zones(self._mosaic.zones)}"
            )
        if zone not in self._opened:
            # Without dask unless it is asked for: a task for each inner chunk, as xarray has it by
            # default, is more than a graph can hold.
            opened = xarray.open_zarr(
                self._store, group=zone_group(zone), consolidated=True, chunks=self._chunks
            )
            self._opened[zone] = described(opened, zone, self._mosaic)
        return self._opened[zone]

    def region(
        self, west: float, south: float, east: float, north: float, year: int
    ) -> dict[int, xarray.Dataset]:
        """The pixels of one year that cover a degrees box, by zone.

        Each zone gives the smallest window that holds the part of the box which it owns, so a box
        across a zone line comes in two lattices.

        Parameters
        ----------
        west, south, east, north
            Edges of the box in degrees. West beyond east means across the antimeridian.
        year
            Calendar year, one of `years`.

        Returns
        -------
        dict of int to xarray.Dataset
            Datasets without a time axis, by zone; their arrays are (band, y, x) and (y, x).

        Raises
        ------
        BadInput
            If there is no such box, the year was not made, or nothing was made there; says what
            there is instead.
        """
        box = parse_box(f"{west},{south},{east},{north}")
        if year not in self._made:
            self._mosaic.check_made(year)
            self._made.add(year)
        step = self._mosaic.step(year)
        windows = windows_of(self._mosaic, box, "box")
        check_something(self._mosaic, windows, year, "box")
        parts = {}
        for window in windows:
            rows, cols = seen_by(self._mosaic, window)
            parts[window.zone] = self[window.zone].isel(time=step, y=rows, x=cols)
        return parts

    def sel(self, lon: Any, lat: Any, year: int | None = None) -> xarray.Dataset:
        """What there is at longitudes and latitudes, in whatever zones these lie; it is read.

        Parameters
        ----------
        lon, lat
            Degrees: numbers, or arrays of the same shape.
        year
            Calendar year, one of `years`; the newest by default.

        Returns
        -------
        xarray.Dataset
            `embeddings` float32 (point, band), NaN where there are none; the observation counts
            uint16 (point,); `zone`, `x` and `y` of the pixel that holds each place. Without the
            axis `point` where numbers are given.

        Raises
        ------
        BadInput
            If the year was not made, or a place is none.

        Examples
        --------
        >>> found = tm.open_mosaic("valley.zarr").sel(2.996, 50.846)
        >>> found["embeddings"].shape, int(found["zone"])
        ((128,), 31)
        >>> tm.open_mosaic("valley.zarr").sel([2.996, 2.999], [50.846, 50.847]).sizes["point"]
        2
        """
        if year is None:
            year = newest_year(self._mosaic, [])
        self._mosaic.check_made(year)
        return at_places(self._mosaic, lon, lat, year)

    def to_datatree(self) -> xarray.DataTree:
        """All zones as one tree of datasets, `/utm31` and so on.

        Examples
        --------
        >>> list(tm.open_mosaic("valley.zarr").to_datatree().children)
        ['utm31']
        """
        return xarray.DataTree.from_dict({f"/{zone_group(zone)}": self[zone] for zone in self})

    @cached_property
    def _store(self) -> Store:
        storage = self._mosaic.storage
        if storage.folder is not None:
            return _OwnFiles(storage.folder, read_only=True)
        return zarr.storage.FsspecStore.from_url(
            storage.url, storage_options=storage.options, read_only=True
        )


class _OwnFiles(zarr.storage.LocalStore):
    """A local store whose links do not lead out of it, and whose pipes are not waited for."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        path = self.root / key
        refuse_leading_out(self.root, path)
        if path.exists() and not path.is_file():
            return None
        return await super().get(key, prototype, byte_range)


def open_mosaic(url: str, chunks: Chunks = None) -> Zones:
    """Open a mosaic for reading, one of ours or one that somebody else published.

    Parameters
    ----------
    url
        A path, or a URL that fsspec opens.
    chunks
        None for arrays that are read when their values are asked for, without dask; `auto` for dask
        arrays with chunks of some 100 MB; or their sizes by dimension.

    Raises
    ------
    BadInput
        If there is no mosaic.

    Examples
    --------
    >>> zones = tm.open_mosaic("valley.zarr")
    >>> list(zones), zones.years[-1]
    ([31], 2024)
    """
    return Zones(open_any(url), chunks)


def dequantize(dataset: xarray.Dataset, depth: int | None = None) -> xarray.DataArray:
    """Embeddings as float32, NaN where there are none; loads what is not chunked.

    Parameters
    ----------
    dataset
        Dataset of a zone, or a part of one, with `embeddings` (..., band, y, x) and `scales`
        (..., y, x).
    depth
        Number of the first bands to take, where the mosaic stores embeddings of that depth; all
        bands by default.

    Returns
    -------
    xarray.DataArray
        Embeddings, (..., band, y, x), float32, without a unit.

    Raises
    ------
    BadInput
        If the mosaic does not have the depth.

    Examples
    --------
    >>> square = tm.open_mosaic("valley.zarr").region(2.995, 50.845, 3.0, 50.85, year=2024)[31]
    >>> values = tm.dequantize(square)
    >>> values.dims, str(values.dtype)
    (('band', 'y', 'x'), 'float32')
    """
    name = f"embeddings_d{depth}"
    if depth is None or (name not in dataset and dataset.sizes["band"] == depth):
        name = "embeddings"
    if name not in dataset:
        have = sorted(array.sizes[array.dims[-3]] for key, array in _codes(dataset))
        raise BadInput(f"there is no depth {depth}: the mosaic has {have}")
    scales = dataset["scales"].where(np.isfinite(dataset["scales"]))
    values = dataset[name].astype(np.float32) * scales
    values = values.transpose(*dataset[name].dims).rename("embeddings")
    return values.assign_attrs(long_name=EMBEDDING)


def _codes(dataset: xarray.Dataset) -> list[tuple[str, xarray.DataArray]]:
    return [(str(k), v) for k, v in dataset.data_vars.items() if str(k).startswith("embeddings")]
