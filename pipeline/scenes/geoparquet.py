"""A STAC GeoParquet index: one file for millions of items, of which few are ever looked at."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tessera_mosaic.model.observations import S1_BANDS
from tessera_mosaic.pipeline.errors import BadInput, Corrupt
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.scenes.imagery_kind import ImageryKind
from tessera_mosaic.pipeline.scenes.offset_claim import BASELINES, OFFSET_APPLIED, PRODUCTS
from tessera_mosaic.pipeline.scenes.scene import S2_ASSETS, Scene, settle
from tessera_mosaic.pipeline.scenes.source import opening
from tessera_mosaic.pipeline.scenes.stac_items import (
    COMMON_NAMES,
    KEEPING_OFFSET,
    POLARISATIONS,
    scene_of_item,
)
from tessera_mosaic.pipeline.tiling.boxes import Box, padded, touches

PROPERTIES = (
    "datetime",
    "start_datetime",
    "platform",
    "created",
    "proj:code",
    "proj:epsg",
    "grid:code",
    "s2:mgrs_tile",
    "s2:generation_time",
    "sat:orbit_state",
    "sar:polarizations",
    *BASELINES,
    *PRODUCTS,
    *OFFSET_APPLIED,
)
"""Properties of items that scenes are made of."""

ASSETS = (*S2_ASSETS, *COMMON_NAMES.values(), *POLARISATIONS)

RED = ("B04", "red")
"""Names of the asset that tells whose imagery an item is."""

NUMBERS = ("raster:bands", "bands", "raster:scale", "raster:offset", "raster:unit", "unit")
"""Fields of an asset that tell of its numbers; one of Sentinel-2's stands for all."""

LIMITS = ("collection", "datetime", "bbox.xmin", "bbox.ymin", "bbox.xmax", "bbox.ymax")

MAX_GROUP_BYTES = 2**30
"""Largest row group that is read, uncompressed."""

AMPLE = 140.0
"""Degrees of longitude up to which no scene reaches across the antimeridian."""


class ParquetIndex:
    """A STAC GeoParquet file, whose row groups are read when a search needs them.

    Parameters
    ----------
    url
        Path or address of the file.
    remote
        Fetches the file and what it points to.

    Raises
    ------
    BadInput
        If the file is no such index.
    Unavailable
        If its provider asks for patience or does not answer.
    """

    def __init__(self, url: str, remote: Remote) -> None:
        self.name, self.remote = plain(url), remote
        with opening(self.name, "STAC GeoParquet index"), _damage_in("its footer"):
            self._file = pq.ParquetFile(
                _RemoteFile(url, remote), pre_buffer=False, page_checksum_verification=True
            )
        schema = self._file.schema_arrow
        if not {"id", "bbox", "assets", "datetime"} <= set(schema.names):
            raise BadInput(
                f"catalogue {self.name} is no STAC GeoParquet index: it needs the columns id, "
                "bbox, assets and datetime"
            )
        assets = schema.field("assets").type
        known = {field.name for field in assets} if pa.types.is_struct(assets) else set()
        self._assets = [name for name in ASSETS if name in known]
        self._properties = [name for name in PROPERTIES if name in schema.names]
        if not self._assets:
            raise BadInput(f"catalogue {self.name} has no assets of Sentinel-1 or Sentinel-2")
        self._numbers = [
            f"assets.{field.name}.{part.name}"
            for field in assets
            if field.name in (*RED, *S1_BANDS) and pa.types.is_struct(field.type)
            for part in field.type
            if part.name in NUMBERS
        ]
        with opening(self.name), _damage_in("its columns of assets"):
            kind = self._imagery_kind(known)
        self.imagery = kind.decide()
        self.keeps_offset = any(
            _statistics(self._file.metadata.row_group(group)).get("collection")
            == (KEEPING_OFFSET, KEEPING_OFFSET)
            for group in range(self._file.num_row_groups)
        )
        self._lock = threading.Lock()
        self._table = functools.lru_cache(maxsize=2)(self._read_table)
        self._places = functools.lru_cache(maxsize=16)(self._read_places)

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All scenes of a year that touch a box.

        Raises
        ------
        SceneError
            If the index cannot be read.
        """
        room = padded(bounds)
        found = []
        for group in range(self._file.num_row_groups):
            if not self._may_have(group, room, year):
                continue
            rows, items = self._rows(group, room, year)
            found += [
                scene_of_item(self._item(row), f"{self.name}#{group}.{number}")
                for number, row in zip(rows, items, strict=True)
            ]
        scenes = (scene for scene in found if scene is not None)
        return settle((scene for scene in scenes if touches(scene.bbox, room)), year)

    def refresh(self, scene: Scene) -> Scene:
        """The scene as it is."""
        return scene

    def _rows(self, group: int, room: Box, year: int) -> tuple[list[int], list[dict[str, Any]]]:
        """Numbers and contents of the rows of a group that may be wanted."""
        with self._lock, _damage_in(f"{self.name}: row group {group}"):
            rows = self._places(group).find(room, year)
            items = self._table(group).take(pa.array(rows)).to_pylist() if len(rows) else []
        return rows.tolist(), items

    def _may_have(self, group: int, room: Box, year: int) -> bool:
        """Whether a row group can hold scenes of a year that touch a box, by its statistics."""
        limits = _statistics(self._file.metadata.row_group(group))
        unknown = (None, None)
        first, last = limits.get("datetime", unknown)
        if first is not None and last is not None and not first.year <= year <= last.year:
            return False
        south, north = limits.get("bbox.ymin", unknown)[0], limits.get("bbox.ymax", unknown)[1]
        if south is not None and north is not None and (south > room[3] or north < room[1]):
            return False
        if max(abs(room[0]), abs(room[2])) > AMPLE:
            return True
        west, east = limits.get("bbox.xmin", unknown)[0], limits.get("bbox.xmax", unknown)[1]
        return west is None or east is None or (west <= room[2] and east >= room[0])

    def _imagery_kind(self, known: set[str]) -> ImageryKind:
        """What the assets that its items have say of whose imagery it is."""
        kind = ImageryKind(self.name)
        tells = any(key in self._file.schema_arrow.names for key in OFFSET_APPLIED)
        names = [name for name in RED if name in known]
        for group in range(self._file.num_row_groups) if len(names) > 1 else ():
            table = self._file.read_row_group(group, columns=[f"assets.{n}.href" for n in names])
            there = [
                np.asarray(pc.is_valid(pc.struct_field(table["assets"], [name, "href"])))
                for name in names
            ]
            for pattern in {tuple(row) for row in np.stack(there, axis=1).tolist()}:
                kind.add_names("", [n for n, has in zip(names, pattern, strict=True) if has], tells)
        if len(names) <= 1:
            kind.add_names("", names, tells)
        return kind

    def _read_places(self, group: int) -> _Places:
        table = self._file.read_row_group(group, columns=["bbox", "datetime"])
        box = table["bbox"].combine_chunks()
        years = (
            pc.year(table["datetime"]) if pa.types.is_timestamp(table["datetime"].type) else None
        )
        return _Places(
            np.asarray(box.field("ymin"), np.float64),
            np.asarray(box.field("ymax"), np.float64),
            np.asarray(pc.fill_null(years, 0)) if years is not None else None,
        )

    def _read_table(self, group: int) -> pa.Table:
        size = self._file.metadata.row_group(group).total_byte_size
        if size > MAX_GROUP_BYTES:
            raise Corrupt(
                f"{self.name}: a row group has {size:,} bytes: write the index anew with "
                "groups of 10,000 rows"
            )
        hrefs = (f"assets.{name}.href" for name in self._assets)
        columns = ["id", "bbox", *self._properties, *hrefs, *self._numbers]
        columns += ["collection"] if "collection" in self._file.schema_arrow.names else []
        return self._file.read_row_group(group, columns=columns)

    def _item(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row as the STAC item that it was."""
        properties = {
            name: value.isoformat() if isinstance(value, dt.datetime) else value
            for name in self._properties
            if (value := row[name]) is not None
        }
        box = row["bbox"]
        return {
            "id": row["id"],
            "collection": row.get("collection"),
            "bbox": [box[side] for side in ("xmin", "ymin", "xmax", "ymax")] if box else None,
            "properties": properties,
            "assets": {name: asset for name, asset in (row["assets"] or {}).items() if asset},
        }


@dataclass(frozen=True)
class _Places:
    """Latitudes and years of the rows of a group; no years where they cannot be told."""

    souths: NDArray[np.float64]
    norths: NDArray[np.float64]
    years: NDArray[np.int64] | None

    def find(self, room: Box, year: int) -> NDArray[np.intp]:
        """Numbers of the rows that may be wanted."""
        # What is not a number is not less, and stays.
        near = ~((self.souths > room[3]) | (self.norths < room[1]))
        if self.years is not None:
            near &= (self.years == year) | (self.years == 0)
        return np.flatnonzero(near)


@contextlib.contextmanager
def _damage_in(what: str) -> Iterator[None]:
    """Give what each decoder raises at a damaged page, in its own way, the class `Corrupt`."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise Corrupt(f"{what} cannot be read: {' '.join(str(error).split())[:200]}") from None


def _statistics(group: Any) -> dict[str, tuple[Any, Any]]:
    """Least and greatest value of the columns that are searched, where the file tells."""
    limits = {}
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema in LIMITS and column.is_stats_set:
            stats = column.statistics
            if stats.has_min_max and not stats.null_count:
                limits[column.path_in_schema] = (stats.min, stats.max)
    return limits


class _RemoteFile(io.RawIOBase):
    """A file behind an address, for readers that jump about in it."""

    def __init__(self, url: str, remote: Remote) -> None:
        self._url, self._remote, self._at = url, remote, 0
        self._size = remote.persist(lambda: remote.size(Access(url)), url)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence, self._size)
        return self._at

    def read(self, size: int = -1) -> bytes:
        length = min(size if size >= 0 else self._size, self._size - self._at)
        if length <= 0:
            return b""
        data = self._remote.persist(
            lambda: self._remote.read(Access(self._url), self._at, length), self._url
        )
        self._at += len(data)
        return data
