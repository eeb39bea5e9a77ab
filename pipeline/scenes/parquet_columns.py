"""Columns of STAC GeoParquet, in every form that its writers give them, as places, times and items.

Properties are columns, or stand in one column `properties`; PostgreSQL's dumps have the item in one
column `content`. Boxes are structs, lists or missing beside a geometry; assets are structs, maps,
lists of pairs or JSON. Whatever a cell has that makes no sense is as if it were not there.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from tessera_mosaic.model.observations import S1_BANDS
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.scenes.acquisitions import tells_of_acquisition
from tessera_mosaic.pipeline.scenes.offset_claim import BASELINES, OFFSET_APPLIED, PRODUCTS
from tessera_mosaic.pipeline.scenes.scene import S2_ASSETS
from tessera_mosaic.pipeline.scenes.stac_items import (
    BANDS_10M,
    COMMON_NAMES,
    POLARISATIONS,
    TIMES,
)
from tessera_mosaic.pipeline.scenes.times import utc

PROPERTIES = (
    *TIMES,
    "platform",
    "created",
    "proj:code",
    "proj:epsg",
    "s2:generation_time",
    "s2:product_type",
    "processing:datetime",
    "sat:orbit_state",
    "sar:pass_direction",
    "sar:polarizations",
    *BASELINES,
    *PRODUCTS,
    *OFFSET_APPLIED,
)
"""Properties of items that scenes are made of, besides those that tell of the acquisition."""

RED = ("B04", "red")
"""Names of the asset that tells whose imagery an item is."""

NUMBERS = ("raster:bands", "bands", "raster:scale", "raster:offset", "raster:unit", "unit")
"""Fields of an asset that tell of its numbers; one of Sentinel-2's stands for all."""

_NAMES = {name.lower() for name in (*S2_ASSETS, *COMMON_NAMES.values(), *POLARISATIONS)}
ASSETS = {
    *_NAMES,
    *(f"{name}-jp2" for name in _NAMES),
    *(f"{band}_{'10m' if band in BANDS_10M else '20m'}".lower() for band in S2_ASSETS),
}
"""Names of assets that scenes are made of, in lower case."""

SIDES = (
    ("xmin", "minx", "west"),
    ("ymin", "miny", "south"),
    ("xmax", "maxx", "east"),
    ("ymax", "maxy", "north"),
)
"""Fields of boxes: west, south, east and north, each as GeoParquet calls it and as others do."""

NESTED = ("properties", "content")
"""Columns that have properties in them."""


def is_property(name: str) -> bool:
    """Whether a column is a property that scenes are made of."""
    return name in PROPERTIES or tells_of_acquisition(name)


def columns_of(schema: pa.Schema) -> list[str]:
    """Paths of the columns that items are made of, as `pyarrow` selects them."""
    paths = [name for name in ("id", "collection", *NESTED) if name in schema.names]
    paths += [name for name in schema.names if is_property(name)]
    if "assets" in schema.names:
        paths += _asset_paths(schema.field("assets").type)
    return paths


def asset_names(kind: pa.DataType) -> list[str] | None:
    """Names of the assets that a column may have; None where its type does not tell."""
    return [field.name for field in kind] if pa.types.is_struct(kind) else None


def _asset_paths(kind: pa.DataType) -> list[str]:
    names = asset_names(kind)
    if names is None:
        return ["assets"]
    known = [name for name in names if name.lower() in ASSETS] or names
    paths = []
    for name in known:
        asset = kind.field(name).type
        has = {field.name for field in asset} if pa.types.is_struct(asset) else set()
        keys = ("href", "type", *(NUMBERS if name in (*RED, *S1_BANDS) else ()))
        inner = [f"assets.{name}.{key}" for key in keys if key in has]
        paths += inner or [f"assets.{name}"]
    return paths


def boxes_of(table: pa.Table) -> NDArray[np.float64]:
    """Boxes around items, by their column `bbox` and else around their geometry.

    Returns
    -------
    float64 (rows, 4): west, south, east, north in degrees; NaN where nothing tells.
    """
    boxes = np.full((len(table), 4), np.nan)
    if "bbox" in table.column_names:
        column = _storage(table["bbox"])
        if pa.types.is_struct(column.type):
            has = {field.name for field in column.type}
            for side, names in enumerate(SIDES):
                name = next((name for name in names if name in has), None)
                if name is not None:
                    numbers = pc.cast(pc.struct_field(column, name), pa.float64())
                    boxes[:, side] = numbers.to_numpy(zero_copy_only=False)
        else:
            for row, box in enumerate(column.to_pylist()):
                boxes[row] = _box(_from_json(box))
    unknown = np.flatnonzero(~np.isfinite(boxes).all(axis=1))
    if len(unknown) and "geometry" in table.column_names:
        shapes = _storage(table["geometry"]).take(pa.array(unknown)).to_pylist()
        boxes[unknown] = [_bounds(shape) for shape in shapes]
    return boxes


def years_of(table: pa.Table) -> NDArray[np.int64]:
    """Years in UTC of items, int64 (rows,); 0 where no column tells."""
    years = np.zeros(len(table), np.int64)
    columns = {name: table[name] for name in TIMES if name in table.column_names}
    if "properties" in table.column_names and pa.types.is_struct(table["properties"].type):
        has = {field.name for field in table["properties"].type}
        for name in TIMES:
            if name in has:
                columns.setdefault(name, pc.struct_field(table["properties"], name))
    for name in TIMES:
        if name in columns:
            years = np.where(years == 0, _years(columns[name]), years)
    return years


def in_utc(table: pa.Table) -> pa.Table:
    """A table whose times are microseconds in UTC, which Python's own types can hold."""
    for number, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            column = pc.cast(table[number], pa.timestamp("us", "UTC"), safe=False)
            table = table.set_column(number, field.name, column)
    return table


def item_of(
    row: Mapping[str, Any], box: Sequence[float], given: Mapping[str, Any]
) -> dict[str, Any]:
    """A row as the STAC item that it was.

    Parameters
    ----------
    row
        Cells by the names of their columns.
    box
        Box around the item in degrees; NaN where it is not known.
    given
        What the names of the folders tell of all rows of a file.
    """
    content = _mapping(_from_json(row.get("content")))
    properties = {name: value for name, value in given.items() if is_property(name)}
    for source in (content.get("properties"), _from_json(row.get("properties")), row):
        told = ((str(name), _plain(value)) for name, value in _mapping(source).items())
        properties |= {
            name: value for name, value in told if value is not None and is_property(name)
        }
    known = bool(np.isfinite(box).all())
    assets = _assets(row.get("assets")) or _assets(content.get("assets"))
    return {
        "id": row.get("id", content.get("id")),
        "collection": row.get("collection") or content.get("collection") or given.get("collection"),
        "bbox": [float(side) for side in box] if known else content.get("bbox"),
        "geometry": content.get("geometry"),
        "properties": properties,
        "assets": assets,
        "links": links_in(row.get("links")) or content.get("links"),
    }


def links_in(cell: Any) -> list[dict[str, Any]]:
    """Links of an item in a cell; empty if it has none."""
    links = _from_json(cell)
    return [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []


def _assets(cell: Any) -> dict[str, Any]:
    """Assets of an item by name, of whichever form; without those that are empty."""
    cell = _from_json(cell)
    if isinstance(cell, list):
        pairs = [_pair(entry) for entry in cell]
        cell = {name: asset for name, asset in pairs if name}
    found = {}
    for name, asset in _mapping(cell).items():
        asset = _from_json(asset) if isinstance(asset, str) and asset[:1] == "{" else asset
        asset = {"href": asset} if isinstance(asset, str) else asset
        if isinstance(asset, dict) and asset.get("href"):
            found[str(name)] = asset
    return found


def _pair(entry: Any) -> tuple[str, Any]:
    """Name and asset of an entry of a map or a list."""
    if isinstance(entry, tuple | list) and len(entry) == 2:
        return str(entry[0]), entry[1]
    if isinstance(entry, dict):
        name = next((entry[key] for key in ("key", "name", "id") if entry.get(key)), "")
        return str(name), entry.get("value", entry)
    return "", None


def _years(column: pa.ChunkedArray) -> NDArray[np.int64]:
    column = _storage(column)
    if pa.types.is_timestamp(column.type):
        # Casting it to one of no zone gives it in UTC.
        years = pc.year(pc.cast(column, pa.timestamp("us"), safe=False))
    elif pa.types.is_date(column.type):
        years = pc.year(column)
    else:
        texts = (utc(value) for value in column.to_pylist())
        return np.array([int(text[:4]) if text else 0 for text in texts], np.int64)
    return np.asarray(pc.fill_null(years, 0).to_numpy(zero_copy_only=False), np.int64)


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without the type that an extension gives it."""
    if isinstance(column.type, pa.BaseExtensionType):
        kind = column.type.storage_type
        return pa.chunked_array([chunk.storage for chunk in column.chunks], kind)
    return column


def _box(cell: Any) -> list[float]:
    if isinstance(cell, dict):
        cell = [next((cell[n] for n in names if n in cell), None) for names in SIDES]
    if not isinstance(cell, list) or len(cell) not in (4, 6):
        return [np.nan] * 4
    box = [*cell[:2], *cell[len(cell) // 2 :][:2]]
    numbers = all(isinstance(side, int | float) for side in box)
    return [float(side) for side in box] if numbers else [np.nan] * 4


def _bounds(shape: Any) -> list[float]:
    """Box around a geometry: WKB, also as hexadecimal digits, GeoJSON or WKT."""
    try:
        if isinstance(shape, str) and shape.lstrip()[:1] == "{":
            return list(shapely.bounds(shapely.from_geojson(shape)))
        if isinstance(shape, str) and shape.lstrip()[:2] not in ("00", "01"):
            return list(shapely.bounds(shapely.from_wkt(shape)))
        if isinstance(shape, bytes | str):
            return list(shapely.bounds(shapely.from_wkb(shape)))
    except (shapely.errors.ShapelyError, ValueError):
        pass
    return [np.nan] * 4


def _from_json(cell: Any) -> Any:
    """What a cell of JSON says; any other cell as it is."""
    if isinstance(cell, str | bytes):
        try:
            return read_json(cell.encode() if isinstance(cell, str) else cell)
        except ValueError:
            return None
    return cell


def _mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, list):
        return {name: each for name, each in map(_pair, value) if name}
    return value if isinstance(value, Mapping) else {}


def _plain(value: Any) -> Any:
    """A cell as JSON would have it."""
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    return float(value) if isinstance(value, decimal.Decimal) else value
