"""Tables of rows with vectors and targets: CSV, Parquet and NPZ, from anybody."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.vector_files import check_size

FORMATS = (".csv", ".parquet", ".geoparquet", ".npz")
"""Endings of the tables that are read."""

MOST_BYTES = 4 * 2**30
"""Bytes of a table in memory."""

MOST_ROWS = 5_000_000
"""Rows of a table."""

ALPHAEARTH = ("aef", "alphaearth")
"""Names of blocks of whole numbers that are codes of AlphaEarth."""

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class SampleTable:
    """Rows, each a place at a time with what is known of it.

    Parameters
    ----------
    name
        What a message calls it, with the path of the file.
    columns
        Values by name, (rows,): numbers with NaN, words with None, or times.
    blocks
        Vectors by name, float32 (rows, dims).
    """

    name: str
    columns: Columns
    blocks: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        some = next(iter(self.columns.values()), None)
        return len(next(iter(self.blocks.values())) if some is None else some)

    def numbers(self, name: str, parameter: str) -> NDArray[np.float64]:
        """A column of numbers, NaN where there is none.

        Raises
        ------
        BadInput
            If there is no such column, or it holds something else.
        """
        if name not in self.columns:
            raise BadInput(
                f"{self.name} has no such column; it has {shown(self.columns)}", parameter, name
            )
        values = self.columns[name]
        if values.dtype.kind not in "fiub":
            raise BadInput(f"{self.name} has other values than numbers there", parameter, name)
        return values.astype(np.float64)

    def features(self, name: str) -> NDArray[np.float32]:
        """A column, a column of words as ones and zeros, or a block of vectors: (rows, dims).

        A block is an array of an NPZ file, or columns whose names end in a number: `e` is `e0`,
        `e1` and so on, as `extract` writes them.

        Raises
        ------
        BadInput
            If there is no such column or block.
        """
        if name in self.blocks:
            return self.blocks[name]
        if name in self.columns and self.columns[name].dtype.kind in "fiub":
            return self.columns[name].astype(np.float32)[:, None]
        if name in self.columns and self.columns[name].dtype == object:
            words = self.columns[name]
            kinds = sorted({word for word in words.tolist() if word is not None})
            return np.stack([words == kind for kind in kinds], axis=1).astype(np.float32)
        numbered = {
            int(found[1]): column
            for column in self.columns
            if (found := re.fullmatch(rf"{re.escape(name)}_?(\d+)", column))
        }
        if not numbered:
            told = f"{self.name} has no such column or vector; it has {shown(self.columns)}"
            raise BadInput(told, "features", name)
        each = [self.numbers(numbered[number], "features") for number in sorted(numbered)]
        return np.stack(each, axis=1).astype(np.float32)


def shown(names: Mapping[str, Any] | Sequence[str], most: int = 12) -> str:
    """Names for a message, the first of many."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f"{', '.join(listed[:most]) or 'none'}{more}"


def read_table(path: Path, what: str = "table") -> SampleTable:
    """Read a table of rows.

    Parameters
    ----------
    path
        CSV, Parquet, or NPZ with arrays of the same length: those of one axis are columns, those
        of two are vectors. Whole numbers of 8 bits are multiplied with `NAME_scale` where that is
        there; those of `aef` and `alphaearth` are AlphaEarth's codes.
    what
        What the file is to the user, for messages.

    Raises
    ------
    BadInput
        In one line, if it cannot be read or is too large.
    """
    name, kind = f"{what} {path}", path.suffix.lower()
    if kind not in FORMATS:
        raise BadInput(f"{name}: use one of {', '.join(FORMATS)}")
    check_size(path, MOST_BYTES, what)
    try:
        read = _npz(path, name) if kind == ".npz" else SampleTable(name, _arrow(path, name))
    except BadInput:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BadInput(f"{name} cannot be read as {kind[1:].upper()}: {error}") from None
    if not len(read):
        raise BadInput(f"{name} has no rows")
    if len(read) > MOST_ROWS:
        raise BadInput(f"{name} has {len(read):,} rows, and at most {MOST_ROWS:,} are read")
    return read


def _arrow(path: Path, name: str) -> dict[str, NDArray[Any]]:
    """The columns of a CSV or Parquet file, but for geometries and lists."""
    if path.suffix.lower() == ".csv":
        options = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
        table = pyarrow.csv.read_csv(path, convert_options=options)
    else:
        with pq.ParquetFile(path) as file:
            groups = range(file.metadata.num_row_groups)
            if sum(file.metadata.row_group(k).total_byte_size for k in groups) > MOST_BYTES:
                raise BadInput(f"{name} takes more memory than {MOST_BYTES >> 30} GiB")
            table = file.read()
    found = {}
    for each, column in zip(table.column_names, table.columns, strict=True):
        values = _values(column)
        if values is not None:
            found[each.strip()] = values
    return found


def _values(column: pa.ChunkedArray) -> NDArray[Any] | None:
    """A column as numbers, times or words; None of what is none of these."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_temporal(kind) and not (pa.types.is_time(kind) or pa.types.is_duration(kind)):
        return np.asarray(column.cast(pa.timestamp("s"), safe=False)).astype("datetime64[s]")
    if pa.types.is_integer(kind) and not column.null_count:
        return np.asarray(column)
    if pa.types.is_boolean(kind) or pa.types.is_decimal(kind) or pa.types.is_integer(kind):
        column, kind = column.cast(pa.float64()), pa.float64()
    if pa.types.is_floating(kind):
        return np.asarray(column.to_numpy())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array(column.to_pylist(), object)
    return np.full(len(column), np.nan) if pa.types.is_null(kind) else None


def _npz(path: Path, name: str) -> SampleTable:
    """The arrays of an NPZ file, whose sizes are looked at before they are read."""
    with zipfile.ZipFile(path) as archive:
        if sum(each.file_size for each in archive.infolist()) > MOST_BYTES:
            raise BadInput(f"{name} takes more memory than {MOST_BYTES >> 30} GiB")
    with np.load(path, allow_pickle=False) as file:
        arrays: dict[str, NDArray[Any]] = {each: file[each] for each in file.files}
    rows = max((len(each) for each in arrays.values() if each.ndim), default=0)
    arrays = {each: array for each, array in arrays.items() if array.shape[:1] == (rows,)}
    columns, blocks = {}, {}
    for each, array in arrays.items():
        if array.ndim == 2 and array.dtype.kind in "fiu":
            blocks[each] = _block(each, array, arrays.get(f"{each}_scale"))
        elif array.ndim == 1:
            words = array.dtype.kind in "US"
            columns[each] = array.astype(str).astype(object) if words else array
    return SampleTable(name, columns, blocks)


def _block(
    name: str, values: NDArray[Any], scale: NDArray[np.floating] | None
) -> NDArray[np.float32]:
    """Vectors from codes, where they are such."""
    found = values.astype(np.float32)
    if values.dtype != np.int8:
        return found
    if scale is not None and scale.ndim == 1:
        return found * scale.astype(np.float32)[:, None]
    if name.casefold() in ALPHAEARTH:
        # The published coding of AlphaEarth's layout: exact for every code.
        return np.sign(found) * (found / np.float32(127.5)) ** 2
    return found
