"""A window of a mosaic as NetCDF or Zarr, as xarray and GDAL open them.

Both have the same variables: `embeddings` (band, y, x), `scales` (y, x) beside int8 codes, the
observation counts, pixel centres, and `spatial_ref`, the reference system as CF has it.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr
from pyproj import CRS
from zarr.errors import ZarrUserWarning

from tessera_mosaic.pipeline.console import install_hint
from tessera_mosaic.pipeline.downstream.export_geotiff import Blocks, codes_of, known_scales
from tessera_mosaic.pipeline.downstream.export_request import ExportValues
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.mosaic.layout import count_array
from tessera_mosaic.pipeline.tiling.lattice import PIXEL, Window

SIDE = 256
"""Side in pixels of a chunk."""

BANDS = 16
"""Dimensions of a chunk."""

Attributes = dict[str, Any]

GRID: Attributes = {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"}
"""Attributes by which readers find the reference system of an array: GDAL, xarray, rioxarray."""


class _Sink(Protocol):
    """A file of arrays that is being written."""

    def create(
        self,
        name: str,
        dims: tuple[str, ...],
        shape: tuple[int, ...],
        dtype: str,
        fill: Any,
        attributes: Attributes,
    ) -> Any:
        """A new array, to which values are assigned by slices."""


def write_arrays(
    path: Path,
    window: Window,
    blocks: Blocks,
    dims: Sequence[int],
    values: ExportValues,
    observed: Sequence[str],
    tags: Mapping[str, str],
    tell: Callable[[], None] = lambda: None,
) -> int:
    """Write a window into a NetCDF file or a Zarr store, by the ending of its path.

    Parameters
    ----------
    path
        The file or store.
    window
        Pixels of the lattice that it covers.
    blocks
        What is in it.
    dims
        Dimensions of the embeddings.
    values
        `float32` embeddings, NaN where there are none; or `int8` codes with their scales.
    observed
        Names of the observation counts that are known.
    tags
        What the file says of itself.
    tell
        Called after each block.

    Returns
    -------
    Number of pixels that have an embedding.
    """
    embedded, coded = 0, values is ExportValues.INT8
    with _opened(path, tags) as sink:
        _write_coordinates(sink, window, dims)
        plane = ("y", "x"), window.shape
        codes = sink.create(
            "embeddings",
            ("band", "y", "x"),
            (len(dims), *window.shape),
            "int8" if coded else "float32",
            None if coded else np.nan,
            GRID | {"long_name": "TESSERA embedding"},
        )
        scales = sink.create("scales", *plane, "float32", np.nan, GRID) if coded else None
        counts = {
            name: sink.create(count_array(name), *plane, "uint16", None, GRID) for name in observed
        }
        for block, pixels in blocks:
            if pixels is not None:
                at = block.within(window)
                scale = known_scales(pixels)
                if np.isfinite(scale).any():
                    embedded += int(np.isfinite(scale).sum())
                    for start in range(0, len(dims), BANDS):
                        part = codes_of(pixels, dims[start : start + BANDS])
                        bands = slice(start, start + len(part))
                        codes[(bands, *at)] = part if coded else part * scale
                    if scales is not None:
                        scales[at] = scale
                for name, array in counts.items():
                    array[at] = pixels.counts[name]
            tell()
    return embedded


def _write_coordinates(sink: _Sink, window: Window, dims: Sequence[int]) -> None:
    east = window.west + (np.arange(window.width) + 0.5) * PIXEL
    north = window.north - (np.arange(window.height) + 0.5) * PIXEL
    for name, centres in (("x", east), ("y", north)):
        told = {
            "standard_name": f"projection_{name}_coordinate",
            "units": "m",
            "axis": name.upper(),
        }
        sink.create(name, (name,), (len(centres),), "float64", None, told)[:] = centres
    sink.create("band", ("band",), (len(dims),), "int32", None, {})[:] = np.array(dims, "i4")
    a, b, c, d, e, f = window.transform
    crs = CRS.from_user_input(window.crs)
    told = crs.to_cf() | {"GeoTransform": f"{c} {a} {b} {f} {d} {e}", "spatial_ref": crs.to_wkt()}
    sink.create("spatial_ref", (), (), "int32", None, told)


@contextmanager
def _opened(path: Path, tags: Mapping[str, str]) -> Iterator[_Sink]:
    """A file of arrays to write, which takes its place when the block ends without an error."""
    make_directory(path.parent)
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)
    told = {"Conventions": "CF-1.11", **{name.lower(): value for name, value in tags.items()}}
    try:
        opened = _zarr_sink if path.suffix.lower() == ".zarr" else _netcdf_sink
        with opened(partial, told) as sink:
            yield sink
        os.replace(partial, path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


@contextmanager
def _zarr_sink(path: Path, told: Attributes) -> Iterator[_Sink]:
    root = zarr.create_group(path, attributes=told)

    class ZarrSink:
        def create(
            self,
            name: str,
            dims: tuple[str, ...],
            shape: tuple[int, ...],
            dtype: str,
            fill: Any,
            attributes: Attributes,
        ) -> Any:
            # Readers of Zarr take the fill value of what is not there; xarray takes `_FillValue`.
            known = {} if fill is None else {"_FillValue": _as_json(fill)}
            array = root.create_array(
                name,
                shape=shape,
                dtype=dtype,
                chunks=_chunks(dims, shape) or "auto",
                fill_value=0 if fill is None else fill,
                dimension_names=dims,
                attributes=attributes | known,
            )
            return array

    yield ZarrSink()
    with warnings.catch_warnings():
        # Zarr's format has no words on consolidated metadata yet, which all readers know.
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(root.store)


def _as_json(fill: Any) -> Any:
    from xarray.backends.zarr import FillValueCoder

    return FillValueCoder.encode(fill, np.dtype("f4"))


@contextmanager
def _netcdf_sink(path: Path, told: Attributes) -> Iterator[_Sink]:
    try:
        import h5netcdf
        import h5py  # noqa: F401
    except ModuleNotFoundError:
        raise BadInput(
            f"NetCDF needs h5netcdf and h5py ({install_hint('netcdf')}): or write .tif or .zarr",
            "out",
            path.name.strip(".").removesuffix(".partial"),
        ) from None
    with h5netcdf.File(path, "w") as file:
        file.attrs.update(told)

        class NetcdfSink:
            def create(
                self,
                name: str,
                dims: tuple[str, ...],
                shape: tuple[int, ...],
                dtype: str,
                fill: Any,
                attributes: Attributes,
            ) -> Any:
                for dim, size in zip(dims, shape, strict=True):
                    if dim not in file.dimensions:
                        file.dimensions[dim] = size
                packed: Attributes = {}
                if len(dims) > 1:
                    packed = {
                        "chunks": _chunks(dims, shape),
                        "compression": "gzip",
                        "compression_opts": 1,
                        "shuffle": True,
                        "fillvalue": fill,
                    }
                variable = file.create_variable(name, dims, np.dtype(dtype), **packed)
                variable.attrs.update(attributes)
                return variable

        yield NetcdfSink()


def _chunks(dims: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    most = {"band": BANDS, "y": SIDE, "x": SIDE} if len(dims) > 1 else {}
    return tuple(min(most.get(dim, size), size) for dim, size in zip(dims, shape, strict=True))
