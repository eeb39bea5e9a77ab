"""What is in the mosaic, tile by tile and year by year, as one GeoParquet file.

It is put together from a file for each zone, with the same columns, which are the memory of
`publish`: a tile whose row is as its record tells need not be looked at again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.ledger.records import Record
from tessera_mosaic.pipeline.mosaic.layout import COUNTS
from tessera_mosaic.pipeline.publishing.manifest import AFRESH
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, lonlat_bounds

Row = dict[str, Any]

Key = tuple[str, int]
"""Of a row: a tile's name and a year."""

_COUNTS = [
    (f"observations_{name}_{of}", pa.float64() if of == "mean" else pa.int64())
    for name in COUNTS
    for of in ("mean", "max")
]

SCHEMA = pa.schema(
    [
        ("tile", pa.string()),
        ("year", pa.int32()),
        ("zone", pa.int32()),
        ("row", pa.int32()),
        ("col", pa.int32()),
        ("side", pa.int32()),
        ("geometry", pa.binary()),
        ("state", pa.string()),
        ("error_class", pa.string()),
        ("error", pa.string()),
        ("pixels_owned", pa.int64()),
        ("pixels_embedded", pa.int64()),
        *_COUNTS,
        ("scenes_used", pa.int32()),
        ("scenes_unused", pa.int32()),
        ("code_power", pa.float64()),
        ("scale_median", pa.float64()),
        ("bytes", pa.int64()),
        ("bytes_by_array", pa.string()),
        ("seconds", pa.float64()),
        ("seconds_by_step", pa.string()),
        ("digest", pa.string()),
        ("written", pa.string()),
        ("fingerprint", pa.string()),
    ]
)
"""Columns, in order. `code_power` is the mean square of the embedded codes and `scale_median` the
median of the scales; both come from the tile itself. Counts are means over embedded pixels."""


def make_row(tile: Tile, year: int, record: Record) -> Row:
    """A tile's row as far as its record tells it, without `code_power` and `scale_median`."""
    sizes = {stored.key.split("/")[1]: stored.size for stored in record.objects}
    embedded = max(record.pixels.get("embedded", 0), 1)
    counts: Row = {}
    for name in COUNTS:
        seen = record.observations.get(name, {"sum": 0, "max": 0})
        counts[f"observations_{name}_mean"] = seen["sum"] / embedded
        counts[f"observations_{name}_max"] = seen["max"]
    return missing_row(tile, year) | {
        "state": record.state.value,
        "error_class": record.error and record.error.kind,
        "error": record.error and record.error.message,
        "pixels_owned": record.pixels.get("owned", 0),
        "pixels_embedded": record.pixels.get("embedded", 0),
        **counts,
        "scenes_used": len(record.scenes_used),
        "scenes_unused": len(record.scenes_unused),
        "bytes": sum(sizes.values()),
        "bytes_by_array": json.dumps(sizes),
        "seconds": round(sum(record.seconds.values()), 3),
        "seconds_by_step": json.dumps(record.seconds),
        "digest": digest(record),
        "written": record.written,
        "fingerprint": record.fingerprint,
    }


def missing_row(tile: Tile, year: int) -> Row:
    """The row of a tile that was planned and has no record."""
    return dict.fromkeys(SCHEMA.names) | {
        "tile": tile.name,
        "year": year,
        "zone": tile.zone,
        "row": tile.row,
        "col": tile.col,
        "side": tile.side,
        "geometry": shapely.to_wkb(footprint(tile.window)),
        "state": "missing",
    }


def digest(record: Record) -> str:
    """sha256 over the keys, sizes and digests of a tile's objects."""
    listed = [vars(stored) for stored in record.objects]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def footprint(window: Window) -> BaseGeometry:
    """A window's bounds in degrees, as two boxes where it reaches across the antimeridian."""
    west, south, east, north = lonlat_bounds(window)
    if east > 180.0:
        parts = [(west, 180.0), (-180.0, east - 360.0)]
    elif west < -180.0:
        parts = [(west + 360.0, 180.0), (-180.0, east)]
    else:
        return shapely.box(west, south, east, north)
    return shapely.multipolygons([shapely.box(low, south, high, north) for low, high in parts])


def encode_rows(rows: Iterable[Row]) -> bytes:
    """A zone's rows as Parquet, by year and place."""
    ordered = sorted(rows, key=lambda row: (row["year"], row["row"], row["col"]))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ordered, schema=SCHEMA), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def decode_rows(data: bytes) -> dict[Key, Row]:
    """A zone's rows by tile and year.

    Raises
    ------
    StoreError
        If the bytes are no such rows.
    """
    try:
        table = pq.read_table(pa.BufferReader(data), schema=SCHEMA)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"rows of the registry cannot be read: {error}; {AFRESH}") from None
    return {(row["tile"], row["year"]): row for row in table.to_pylist()}


def join_parts(parts: Iterable[bytes]) -> bytes:
    """The registry as GeoParquet 1.1, a row group or more a zone; one zone's rows in memory."""
    sink, shapes = pa.BufferOutputStream(), Shapes()
    # Readers that find Arrow's own schema in the file look for `geo` there, where it is not yet.
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", store_schema=False) as writer:
        for part in parts:
            table = pq.read_table(pa.BufferReader(part), schema=SCHEMA)
            shapes.add(shapely.from_wkb(table["geometry"].to_numpy()))
            writer.write_table(table)
        writer.add_key_value_metadata({"geo": json.dumps(shapes.to_json())})
    return sink.getvalue().to_pybytes()


class Shapes:
    """What GeoParquet tells of a column of geometries."""

    def __init__(self) -> None:
        self._types: set[str] = set()
        self._boxes: list[list[float]] = []

    def add(self, geometries: NDArray[np.object_]) -> None:
        """Take some of the column's geometries."""
        self._types.update(shape.geom_type for shape in geometries)
        if len(geometries):
            self._boxes.append(shapely.total_bounds(geometries).tolist())

    def to_json(self) -> dict[str, Any]:
        """The file's metadata."""
        column: dict[str, Any] = {"encoding": "WKB", "geometry_types": sorted(self._types)}
        if self._boxes:
            low, high = np.min(self._boxes, axis=0), np.max(self._boxes, axis=0)
            column["bbox"] = [*low[:2].tolist(), *high[2:].tolist()]
        return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
