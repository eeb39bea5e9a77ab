"""Files of a STAC GeoParquet index: where they lie, and what each has of a place and a year."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.scenes.parquet_columns import boxes_of, columns_of, in_utc, years_of
from tessera_mosaic.pipeline.scenes.times import utc
from tessera_mosaic.pipeline.tiling.boxes import Box

SUFFIXES = (".parquet", ".geoparquet", ".parq")
"""How the names of files of an index end."""

LIMITS = ("collection", "datetime", "bbox.xmin", "bbox.ymin", "bbox.xmax", "bbox.ymax")

MAX_GROUP_BYTES = 2**30
"""Most bytes of the columns that are read of a row group, uncompressed."""

MAX_GROUP_ROWS = 2**21
"""Most rows of a row group that is read: writers make groups of half as many at most, and a few
bytes can stand for any number of equal rows."""

AMPLE = 140.0
"""Degrees of longitude up to which no scene reaches across the antimeridian."""

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""What folders of a partition are called whose rows have no value."""


def files_below(folder: str) -> list[str]:
    """Paths of the files of an index in a folder of this machine, at any depth, by name."""
    root = Path(folder)
    return sorted(
        str(path)
        for path in root.rglob("*")
        if is_part(str(path.relative_to(root))) and path.is_file()
    )


def is_part(path: str) -> bool:
    """Whether a path below an index's folder is that of one of its files, and not of its notes."""
    hidden = any(part.startswith(("_", ".")) for part in path.split("/"))
    return path.lower().endswith(SUFFIXES) and not hidden


def partition_of(path: str) -> dict[str, str]:
    """What the folders on a path say of all rows of a file: `collection=sentinel-2-l2a`."""
    parts = [part.partition("=") for part in path.split("/")[:-1] if "=" in part]
    return {name: unquote(value) for name, _, value in parts if value != NO_VALUE}


@dataclass(frozen=True)
class Places:
    """Boxes and years of the rows of a group.

    Parameters
    ----------
    boxes : float64 (rows, 4)
        West, south, east and north in degrees; NaN where they are not known.
    years : int64 (rows,)
        Years in UTC; 0 where they are not known.
    """

    boxes: NDArray[np.float64]
    years: NDArray[np.int64]

    def find(self, room: Box, year: int) -> NDArray[np.intp]:
        """Numbers of the rows that may be wanted."""
        # What is not a number is not less, and stays.
        near = ~((self.boxes[:, 1] > room[3]) | (self.boxes[:, 3] < room[1]))
        return np.flatnonzero(near & ((self.years == year) | (self.years == 0)))


class ParquetPart:
    """One file of an index, whose row groups are read when they are asked for.

    Parameters
    ----------
    url
        Path or address of the file.
    remote
        Fetches it.
    given
        What the names of its folders tell of all its rows.
    most_rows, most_bytes
        Rows that a group may have of which something is read, and bytes of what is read of it.

    Raises
    ------
    Corrupt
        If it is no Parquet file.
    SceneError
        If it cannot be fetched.
    """

    def __init__(
        self,
        url: str,
        remote: Remote,
        given: Mapping[str, str],
        most_rows: int = MAX_GROUP_ROWS,
        most_bytes: int = MAX_GROUP_BYTES,
    ) -> None:
        self.name, self.given = plain(url), given
        self._most_rows, self._most_bytes = most_rows, most_bytes
        with damage_in("its footer"):
            self._file = pq.ParquetFile(
                _RemoteFile(url, remote), pre_buffer=False, page_checksum_verification=True
            )
        self.schema = self._file.schema_arrow
        self._limits = [
            _statistics(self._file.metadata.row_group(group)) for group in range(self.groups)
        ]

    @property
    def groups(self) -> int:
        """Number of its row groups."""
        return int(self._file.num_row_groups)

    def collection_of(self, group: int) -> str:
        """The one collection that a row group is of; empty where it may be of several."""
        first, last = self._limits[group].get("collection", (None, None))
        return first if isinstance(first, str) and first == last else ""

    def may_have(self, group: int, room: Box, year: int) -> bool:
        """Whether a row group can hold scenes of a year that touch a box, by its statistics."""
        limits, unknown = self._limits[group], (None, None)
        first, last = (_year(value) for value in limits.get("datetime", unknown))
        if first and last and not first[0] <= year <= last[1]:
            return False
        south, north = limits.get("bbox.ymin", unknown)[0], limits.get("bbox.ymax", unknown)[1]
        if south is not None and north is not None and (south > room[3] or north < room[1]):
            return False
        if max(abs(room[0]), abs(room[2])) > AMPLE:
            return True
        west, east = limits.get("bbox.xmin", unknown)[0], limits.get("bbox.xmax", unknown)[1]
        return west is None or east is None or (west <= room[2] and east >= room[0])

    def places(self, group: int) -> Places:
        """Boxes and years of the rows of a group."""
        names = ("bbox", "geometry", "datetime", "start_datetime", "end_datetime", "properties")
        wanted = [name for name in names if name in self.schema.names]
        if "bbox" in wanted and self._knows_boxes(group):
            wanted.remove("geometry") if "geometry" in wanted else None
        table = self._read(group, wanted)
        return Places(boxes_of(table), years_of(table))

    def table(self, group: int, columns: list[str] | None = None) -> pa.Table:
        """Columns of a row group, by default all that items are made of."""
        return in_utc(self._read(group, columns or columns_of(self.schema)))

    def _read(self, group: int, columns: list[str]) -> pa.Table:
        """Columns of a row group that is not too large.

        Raises
        ------
        Corrupt
            If it is.
        """
        told = self._file.metadata.row_group(group)
        if told.num_rows > self._most_rows:
            size = f"{told.num_rows:,} rows"
        elif (count := _bytes_of(told, columns)) > self._most_bytes:
            size = f"{count:,} bytes"
        else:
            return self._file.read_row_group(group, columns=columns)
        raise Corrupt(
            f"{self.name}: a row group has {size}: write the index anew with groups of 10,000 rows"
        )

    def _knows_boxes(self, group: int) -> bool:
        """Whether statistics say that every row of a group has a box."""
        return all(name in self._limits[group] for name in LIMITS[2:])


@contextlib.contextmanager
def damage_in(what: str) -> Iterator[None]:
    """Give what each decoder raises at a damaged page, in its own way, the class `Corrupt`."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError, TypeError, KeyError) as error:
        raise Corrupt(f"{what} cannot be read: {' '.join(str(error).split())[:200]}") from None


def _bytes_of(group: Any, columns: list[str]) -> int:
    """Bytes of some columns of a row group, and of all below them, uncompressed."""
    leaves = (group.column(number) for number in range(group.num_columns))
    below = tuple(f"{name}." for name in columns)
    return sum(
        max(leaf.total_uncompressed_size, 0)
        for leaf in leaves
        if f"{leaf.path_in_schema}.".startswith(below)
    )


def _statistics(group: Any) -> dict[str, tuple[Any, Any]]:
    """Least and greatest value of the columns that are searched, where no row is without one."""
    limits = {}
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema in LIMITS and column.is_stats_set:
            stats = column.statistics
            if stats.has_min_max and stats.has_null_count and not stats.null_count:
                limits[column.path_in_schema] = (stats.min, stats.max)
    return limits


def _year(value: Any) -> tuple[int, int] | None:
    """First and last year in UTC that a least or greatest time may be of; None if it is none."""
    if hasattr(value, "year"):
        return value.year, value.year
    text = utc(value)
    # Texts are in the order of time only as far as they are of one zone.
    return (int(text[:4]) - 1, int(text[:4]) + 1) if text else None


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
        return bytes(data)
