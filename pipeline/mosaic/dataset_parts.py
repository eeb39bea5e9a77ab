"""What xarray datasets of a mosaic say of themselves, and pixels at longitudes and latitudes."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray
from numpy.typing import NDArray
from pyproj import CRS

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, read_pixels
from tessera_mosaic.pipeline.mosaic.identity import fingerprint, model_name
from tessera_mosaic.pipeline.mosaic.layout import count_array
from tessera_mosaic.pipeline.tiling.lattice import (
    NORTH_EDGE,
    NORTH_LIMIT,
    PIXEL,
    SOUTH_LIMIT,
    WEST_EDGE,
    pixels_at,
    zone_crs,
)

GRID = "spatial_ref"
"""Name of the coordinate that tells the reference system, as rioxarray has it."""

EMBEDDING = "TESSERA embedding"

PREFERRED = 1024
"""Side in pixels of chunks that dask is told to take: 134 MB of a mosaic of 128 dimensions."""


def described(dataset: xarray.Dataset, zone: int, mosaic: AnyMosaic) -> xarray.Dataset:
    """A zone as it was opened, with its reference system and plain attributes.

    Attributes of the store are lists and objects, which NetCDF has not, and the encodings of its
    arrays (chunks, shards, codecs) would be taken for those of any file that the dataset is written
    to: both are left out.

    Parameters
    ----------
    dataset
        Dataset of the zone.
    zone
        Number of the zone.
    mosaic
        The mosaic.
    """
    crs = CRS.from_user_input(dataset.attrs.get("proj:code", zone_crs(zone)))
    told = {"long_name": EMBEDDING + ", int8: times its scale it is the vector"}
    dataset = dataset.drop_encoding().drop_attrs()
    wkt = crs.to_wkt()
    grid = xarray.Variable((), 0, crs.to_cf() | {"crs_wkt": wkt, "spatial_ref": wkt})
    dataset = dataset.assign_coords({GRID: grid}).assign_attrs(
        Conventions="CF-1.11",
        crs=f"EPSG:{crs.to_epsg()}",
        utm_zone=zone,
        model=model_name(mosaic.identity),
        fingerprint=fingerprint(mosaic.identity),
    )
    for name, array in dataset.data_vars.items():
        if {"y", "x"} <= set(array.dims):
            array.encoding["grid_mapping"] = GRID
            sizes = {"time": 1, "y": PREFERRED, "x": PREFERRED}
            array.encoding["preferred_chunks"] = {
                str(dim): min(sizes.get(str(dim), size), size) for dim, size in array.sizes.items()
            }
        if str(name).startswith("embeddings"):
            array.attrs.update(told)
    for name in ("x", "y"):
        dataset[name].attrs.update(
            standard_name=f"projection_{name}_coordinate", units="m", axis=name.upper()
        )
    return dataset


def at_places(mosaic: AnyMosaic, lon: Any, lat: Any, year: int) -> xarray.Dataset:
    """What a mosaic holds at longitudes and latitudes, as `Zones.sel` gives it.

    Parameters
    ----------
    mosaic, year
        The mosaic, and the calendar year.
    lon, lat
        Degrees: numbers, or arrays of the same shape.

    Raises
    ------
    BadInput
        If a place is none, or beyond the latitudes that UTM covers.
    """
    given = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    if given[0].shape != given[1].shape:
        raise BadInput(
            f"there are {given[0].size} and {given[1].size}: give as many of each", "lon"
        )
    lons, lats = (values.ravel() for values in given)
    if not ((np.abs(lons) <= 180) & (lats >= SOUTH_LIMIT) & (lats < NORTH_LIMIT)).all():
        raise BadInput(
            "longitudes are -180 to 180, and UTM covers latitudes "
            f"{SOUTH_LIMIT:g} to {NORTH_LIMIT:g}",
            "lon",
        )
    zones, rows, cols = pixels_at(lons, lats)
    found = read_pixels(mosaic, year, zones, rows, cols)
    scales = np.where(np.isfinite(found.scales), found.scales, np.float32(np.nan))
    values: NDArray[np.float32] = found.codes.astype(np.float32) * scales[:, None]
    told = {"long_name": EMBEDDING}
    dataset = xarray.Dataset(
        {
            "embeddings": (("point", "band"), values, told),
            **{count_array(name): ("point", count) for name, count in found.counts.items()},
        },
        {
            "band": np.arange(values.shape[1], dtype=np.int32),
            "lon": ("point", lons),
            "lat": ("point", lats),
            "zone": ("point", zones),
            "x": ("point", WEST_EDGE + (cols + 0.5) * PIXEL),
            "y": ("point", NORTH_EDGE - (rows + 0.5) * PIXEL),
            "time": year,
        },
    )
    return dataset if given[0].ndim else dataset.isel(point=0)
