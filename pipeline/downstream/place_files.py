"""Files of points and polygons, which are untrusted: tables, GeoJSON, and what GDAL reads apart."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from tessera_mosaic.pipeline.downstream.places import Places, places_of
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.gdal_sandbox import read_layer
from tessera_mosaic.pipeline.tiling.vector_files import (
    MAX_BYTES,
    MAX_MARKS,
    WGS84,
    check_file,
    check_size,
    declared_crs,
    geojson_crs,
)

MOST_PLACES = 2_000_000
"""Places that a file may have."""

MOST_TABLE_BYTES = 2 * 2**30
"""Bytes of a Parquet file's columns in memory, as its own footer counts them."""

FORMATS = (".csv", ".geojson", ".json", ".gpkg", ".parquet", ".geoparquet", ".shp", ".fgb")
"""Endings of the files that are opened."""

Columns = dict[str, list[Any]]


def read_places(path: str | Path, what: str = "places") -> Places:
    """Read the points and polygons of a file, with its columns.

    Parameters
    ----------
    path
        Path of a CSV file with the columns `lon` and `lat`, or of a GeoJSON, GeoPackage,
        GeoParquet, Shapefile or FlatGeobuf file. A Parquet file without geometries needs the
        columns `lon` and `lat`, too.
    what
        What the file is to the user, for messages.

    Returns
    -------
    Places
        In the order of the file, with those that cannot be used and the reason why.

    Raises
    ------
    BadInput
        In one line, if the file is too large, cannot be read, says no reference system, or has no
        place that can be used.
    """
    path, name = Path(path), f"{what} {path}"
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise BadInput(f"{name}: use one of {', '.join(FORMATS)}")
    if kind == ".csv":
        check_size(path, MAX_BYTES, what)
        return _of_columns(_csv(path, name), name)
    if kind in (".parquet", ".geoparquet"):
        check_size(path, MOST_TABLE_BYTES, what)
        return _parquet(path, name)
    if check_file(path, what=what) == "GeoJSON":
        return _geojson(path.read_bytes(), name)
    layer = read_layer(path, columns=True, what=what)
    shapes = [None if shape is None else bytes.fromhex(shape) for shape in layer["shapes"]]
    return places_of(_wkb(shapes, name), declared_crs(layer["crs"], name), name, layer["columns"])


def _csv(path: Path, name: str) -> Columns:
    """The columns of a CSV file, whose values are words; None where there is none."""
    try:
        rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        header = [word.strip() for word in next(rows, [])]
        values = [row for row in rows if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(f"{name} is no CSV file: {error}") from None
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise BadInput(f"{name} is not separated by commas: save it with commas")
    if len(set(header)) < len(header):
        raise BadInput(f"{name} has two columns of the same name in its first line")
    _check_count(len(values), name)
    for number, row in enumerate(values, 2):
        if len(row) != len(header):
            raise BadInput(f"{name}: row {number} has {len(row)} values, not {len(header)}")
    return {
        word: [row[k].strip() or None for row in values] for k, word in enumerate(header) if word
    }


def _of_columns(columns: Columns, name: str) -> Places:
    """Points whose longitudes and latitudes stand in columns."""
    at = {}
    for wanted in ("lon", "lat"):
        found = [word for word in columns if word.casefold() == wanted]
        if len(found) != 1:
            raise BadInput(
                f"{name} needs the columns lon and lat, in degrees; it has "
                f"{', '.join(columns) or 'none'}"
            )
        at[wanted] = np.array([_number(value) for value in columns[found[0]]], np.float64)
    shapes = np.asarray(shapely.points(at["lon"], at["lat"]), object)
    return places_of(shapes, CRS(WGS84), name, columns)


def _number(value: Any) -> float:
    """A coordinate; NaN where it is none, which is told of the place."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _geojson(data: bytes, name: str) -> Places:
    """The features of a GeoJSON document, with their properties."""
    if sum(data.count(mark) for mark in b"[{") > MAX_MARKS:
        raise BadInput(f"{name} has more corners than are read: simplify it")
    try:
        document = json.loads(data)
        if document["type"] == "FeatureCollection":
            features = list(document["features"])
        elif document["type"] == "Feature":
            features = [document]
        else:
            features = [{"type": "Feature", "geometry": document, "properties": {}}]
        geometries = [feature["geometry"] for feature in features]
        said = [feature.get("properties") or {} for feature in features]
        words = dict.fromkeys(word for each in said for word in each)
        columns = {word: [_plain(each.get(word)) for each in said] for word in words}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadInput(f"{name} is no GeoJSON file") from None
    _check_count(len(features), name)
    text = [None if each is None else json.dumps(each) for each in geometries]
    shapes = shapely.from_geojson(np.array(text, object), on_invalid="ignore")
    return places_of(shapes, declared_crs(geojson_crs(document, name), name), name, columns)


def _plain(value: Any) -> Any:
    """A value of a column; None for lists and objects."""
    return value if isinstance(value, str | int | float | bool) else None


def _parquet(path: Path, name: str) -> Places:
    """The rows of a Parquet file, with geometries or with longitudes and latitudes."""
    try:
        with pq.ParquetFile(path) as file:
            meta = file.metadata
            _check_count(meta.num_rows, name)
            groups = range(meta.num_row_groups)
            if sum(meta.row_group(group).total_byte_size for group in groups) > MOST_TABLE_BYTES:
                raise BadInput(f"{name} takes more memory than {MOST_TABLE_BYTES >> 30} GiB")
            geo = json.loads((meta.metadata or {}).get(b"geo", b"{}"))
            primary = geo.get("primary_column")
            plain = [
                field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)
            ]
            of = geo["columns"][primary] if primary else {}
            if primary and (of.get("encoding") != "WKB" or primary not in plain):
                raise BadInput(f"{name}: only geometries that are encoded as WKB are read")
            others = [word for word in plain if word not in geo.get("columns", {})]
            table = file.read(columns=[*others, *([primary] if primary else [])])
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{name} is no Parquet file that can be read") from None
    columns = {word: [_plain(each) for each in table[word].to_pylist()] for word in others}
    if not primary:
        return _of_columns(columns, name)
    declared = of.get("crs", WGS84)
    text = json.dumps(declared) if isinstance(declared, dict) else declared
    return places_of(
        _wkb(table[primary].to_pylist(), name), declared_crs(text, name), name, columns
    )


def _wkb(shapes: list[bytes | None], name: str) -> NDArray[np.object_]:
    """Shapes of WKB; None where there is none, and where it is broken."""
    _check_count(len(shapes), name)
    found: NDArray[np.object_] = shapely.from_wkb(np.array(shapes, object), on_invalid="ignore")
    return found


def _check_count(count: int, name: str) -> None:
    if count > MOST_PLACES:
        raise BadInput(f"{name} has {count:,} places, and at most {MOST_PLACES:,} are read")
