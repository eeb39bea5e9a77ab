"""What is in the mosaic, tile by tile and year by year, as one GeoParquet file.

It is put together from a file for each zone, with the same columns, which are the memory of
`publish`: a tile whose row is as its record tells need not be looked at again.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.ledger.records import NOT_THERE, TAKEN_OUT, Record
from tessera_mosaic.pipeline.mosaic.layout import COUNTS
from tessera_mosaic.pipeline.publishing.manifest import AFRESH
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, lonlat_bounds

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
        ("observations_s2_mean", pa.float64()),
        ("observations_s2_max", pa.int64()),
        ("observations_s1_ascending_mean", pa.float64()),
        ("observations_s1_ascending_max", pa.int64()),
        ("observations_s1_descending_mean", pa.float64()),
        ("observations_s1_descending_max", pa.int64()),
        ("scenes_used", pa.int32()),
        ("scenes_unused", pa.int32()),
        ("offsets_taken_out", pa.int32()),
        ("offsets_not_there", pa.int32()),
        ("code_power", pa.float64()),
        ("scale_median", pa.float64()),
        ("bytes", pa.int64()),
        ("bytes_by_array", pa.string()),
        ("seconds", pa.float64()),
        ("seconds_by_step", pa.string()),
        ("digest", pa.string()),
        ("written", pa.string()),
        ("fingerprint", pa.string()),
        ("absent_sensors", pa.string()),
    ]
)
"""Columns of a zone's part, in order: the fields of `Row`."""

BOX = pa.struct([(edge, pa.float64()) for edge in ("xmin", "ymin", "xmax", "ymax")])

REGISTRY_SCHEMA = pa.schema([*SCHEMA, ("bbox", BOX)])
"""Columns of the registry: those of its parts, and the bounds of each geometry, by which readers
skip what they do not need."""


class TileState(enum.StrEnum):
    """How a planned tile stands, in the order in which people are told."""

    DONE = "done"
    EMPTY = "empty"
    FAILED = "failed"
    MISSING = "missing"
    """It has no record."""


class RowKey(NamedTuple):
    """Which row: a tile's name and a year."""

    tile: str
    year: int


@dataclass(frozen=True)
class Row:
    """A tile and year in the registry; what has no record, or no pixels, leaves fields open.

    Parameters
    ----------
    tile, year
        Name of the tile, and calendar year.
    zone, row, col, side
        Place of the tile, and its side in pixels.
    geometry
        Ground in degrees, as WKB: of the embedded pixels of a tile that is done, which is the tile
        itself where these reach all its edges; of the tile of any other.
    state
        How the tile stands.
    error_class, error
        Kind and message of what failed it.
    pixels_owned, pixels_embedded
        Number of its pixels that its zone owns, with the margin, and that have an embedding.
    observations_s2_mean, observations_s1_ascending_mean, observations_s1_descending_mean
        Observations of a pixel, as a mean over its embedded pixels.
    observations_s2_max, observations_s1_ascending_max, observations_s1_descending_max
        Observations of the pixel that was seen most often.
    scenes_used, scenes_unused
        Numbers of scenes.
    offsets_taken_out, offsets_not_there
        Numbers of scenes whose radiometric offset was not as the reference takes it to be.
    code_power
        Mean square of the embedded codes, which only the tile itself tells.
    scale_median
        Median of the scales, which only the tile itself tells.
    bytes, bytes_by_array
        Size in bytes of its objects together, and by array as JSON.
    seconds, seconds_by_step
        Time in seconds that its work took together, and by kind of work as JSON.
    digest
        sha256 over the keys, sizes and digests of its objects, as 64 hex digits.
    written, fingerprint
        The fields of the same names of its record.
    absent_sensors
        Names of the sensors that gave no observation, such as `s1`; empty where there is none.
    """

    tile: str
    year: int
    zone: int
    row: int
    col: int
    side: int
    geometry: bytes
    state: TileState
    error_class: str | None = None
    error: str | None = None
    pixels_owned: int | None = None
    pixels_embedded: int | None = None
    observations_s2_mean: float | None = None
    observations_s2_max: int | None = None
    observations_s1_ascending_mean: float | None = None
    observations_s1_ascending_max: int | None = None
    observations_s1_descending_mean: float | None = None
    observations_s1_descending_max: int | None = None
    scenes_used: int | None = None
    scenes_unused: int | None = None
    offsets_taken_out: int | None = None
    offsets_not_there: int | None = None
    code_power: float | None = None
    scale_median: float | None = None
    bytes: int | None = None
    bytes_by_array: str | None = None
    seconds: float | None = None
    seconds_by_step: str | None = None
    digest: str | None = None
    written: str | None = None
    fingerprint: str | None = None
    absent_sensors: str | None = None

    @property
    def key(self) -> RowKey:
        """Which row it is."""
        return RowKey(self.tile, self.year)

    @property
    def done(self) -> bool:
        """Whether the tile is in the mosaic."""
        return self.state is TileState.DONE

    @classmethod
    def missing(cls, tile: Tile, year: int) -> Row:
        """The row of a tile that was planned and has no record."""
        ground = shapely.to_wkb(footprint(tile.window))
        place = (tile.zone, tile.row, tile.col, tile.side)
        return cls(tile.name, year, *place, ground, TileState.MISSING)

    def on(self, window: Window) -> Row:
        """The row of what has other ground."""
        return replace(self, geometry=shapely.to_wkb(footprint(window)))

    @classmethod
    def of(cls, tile: Tile, year: int, record: Record) -> Row:
        """The row of a tile as far as its record tells it."""
        sizes = {stored.key.split("/")[1]: stored.size for stored in record.objects}
        embedded = max(record.pixels.get("embedded", 0), 1)
        offsets = Counter(what for _, what, _ in record.offset_by_evidence)
        counts: dict[str, Any] = {}
        for name in COUNTS:
            if record.state == TileState.DONE.value and name not in record.observations:
                # Embeddings that were made elsewhere may come without.
                continue
            seen = record.observations.get(name, {"sum": 0, "max": 0})
            counts[f"observations_{name}_mean"] = seen["sum"] / embedded
            counts[f"observations_{name}_max"] = seen["max"]
        return replace(
            cls.missing(tile, year),
            state=TileState(record.state),
            error_class=record.error.kind if record.error else None,
            error=record.error.message if record.error else None,
            pixels_owned=record.pixels.get("owned", 0),
            pixels_embedded=record.pixels.get("embedded", 0),
            **counts,
            scenes_used=len(record.scenes_used),
            scenes_unused=len(record.scenes_unused),
            offsets_taken_out=offsets[TAKEN_OUT],
            offsets_not_there=offsets[NOT_THERE],
            bytes=sum(sizes.values()),
            bytes_by_array=json.dumps(sizes),
            seconds=round(sum(record.seconds.values()), 3),
            seconds_by_step=json.dumps(record.seconds),
            digest=objects_digest(record),
            written=record.written,
            fingerprint=record.fingerprint,
            absent_sensors=",".join(record.absent_sensors),
        )


def objects_digest(record: Record) -> str:
    """sha256 over the keys, sizes and digests of a tile's objects, as 64 hex digits."""
    listed = [vars(stored) for stored in record.objects]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def embedded_window(tile: Tile, known: NDArray[np.bool_]) -> Window:
    """The smallest window that holds the embedded pixels of a tile; the tile's where it has none.

    Parameters
    ----------
    tile
        The tile.
    known : bool (side, side)
        Which of its pixels have an embedding.
    """
    if not known.any():
        return tile.window
    rows, cols = (np.flatnonzero(known.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(cols[0])
    size = int(rows[-1]) - top + 1, int(cols[-1]) - left + 1
    return Window(tile.zone, tile.window.row + top, tile.window.col + left, *size)


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
    ordered = sorted(rows, key=lambda row: (row.year, row.row, row.col))
    plain = [vars(row) | {"state": row.state.value} for row in ordered]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(plain, schema=SCHEMA), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def decode_rows(data: bytes) -> dict[RowKey, Row]:
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
    try:
        rows = [Row(**row | {"state": TileState(row["state"])}) for row in table.to_pylist()]
    except ValueError as error:
        raise StoreError(f"rows of the registry cannot be read: {error}; {AFRESH}") from None
    return {row.key: row for row in rows}


def join_parts(parts: Iterable[bytes]) -> bytes:
    """The registry as GeoParquet 1.1, a row group or more a zone; one zone's rows in memory."""
    sink, shapes = pa.BufferOutputStream(), Shapes()
    # Readers that find Arrow's own schema in the file look for `geo` there, where it is not yet.
    with pq.ParquetWriter(sink, REGISTRY_SCHEMA, compression="zstd", store_schema=False) as writer:
        for part in parts:
            table = pq.read_table(pa.BufferReader(part), schema=SCHEMA)
            bounds = shapes.add(shapely.from_wkb(table["geometry"].to_numpy()))
            boxes = pa.StructArray.from_arrays(list(bounds.T), fields=list(BOX))
            writer.write_table(table.append_column(REGISTRY_SCHEMA.field("bbox"), boxes))
        writer.add_key_value_metadata({"geo": json.dumps(shapes.to_json())})
    return sink.getvalue().to_pybytes()


class Shapes:
    """What GeoParquet tells of a column of geometries."""

    def __init__(self) -> None:
        self._types: set[str] = set()
        self._boxes: list[list[float]] = []

    def add(self, geometries: NDArray[np.object_]) -> NDArray[np.float64]:
        """Take some of the column's geometries.

        Returns
        -------
        float64 (geometries, 4)
            West, south, east and north in degrees of each; of one that reaches across the
            antimeridian from -180 to 180, so that nobody who looks for it misses it.
        """
        self._types.update(shape.geom_type for shape in geometries)
        if len(geometries):
            self._boxes.append(shapely.total_bounds(geometries).tolist())
        bounds: NDArray[np.float64] = shapely.bounds(geometries).reshape(-1, 4)
        return bounds

    def to_json(self) -> dict[str, Any]:
        """The file's metadata."""
        column: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": sorted(self._types),
            "covering": {"bbox": {field.name: ["bbox", field.name] for field in BOX}},
        }
        if self._boxes:
            low, high = np.min(self._boxes, axis=0), np.max(self._boxes, axis=0)
            column["bbox"] = [*low[:2].tolist(), *high[2:].tolist()]
        return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
