"""Vectors of a mosaic at points and parcels, as a table that statistics packages read.

A row is a pixel, or a place, and a year. Rows are written in parts as they come, so that a run that
was killed goes on; places that lie together are read together, each inner chunk once.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from tessera_mosaic.pipeline.contracts.state import (
    LON_LAT,
    STATE,
    Input,
    Kind,
    Numbers,
    State,
    beside,
    encode_state,
)
from tessera_mosaic.pipeline.downstream.place_files import read_places
from tessera_mosaic.pipeline.downstream.places import PlacePixels, Places, pixels_of
from tessera_mosaic.pipeline.downstream.vector_table import GEOMETRY, Statistic, VectorTable
from tessera_mosaic.pipeline.errors import BadInput, choose
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, open_any, state_of
from tessera_mosaic.pipeline.mosaic.identity import fingerprint
from tessera_mosaic.pipeline.tiling.lattice import CHUNK

FORMATS = (".parquet", ".geoparquet", ".csv")
"""Endings of the tables that are written."""

BATCH = 50_000
"""Pixels, in whole chunks, that are read at once."""

READERS = 4
"""Batches that are read at once."""


@dataclass(frozen=True)
class ExtractRequest:
    """Vectors to take out of a mosaic.

    Parameters
    ----------
    store
        Path or URL of the mosaic, of ours or published by somebody else.
    at
        Path of a file with points or polygons: CSV with the columns `lon` and `lat`, GeoJSON,
        GeoPackage, GeoParquet, Shapefile or FlatGeobuf.
    out
        Path of the table: `.parquet`, `.geoparquet` or `.csv`.
    years
        Calendar years; without any, all that were made.
    statistic
        `pixel` for a row a pixel; `mean` or `median` for a row a place.

    Raises
    ------
    BadInput
        If the table has another ending, or there is no such statistic.

    Examples
    --------
    >>> tm.ExtractRequest("valley.zarr", "fields.gpkg", "vectors.parquet").statistic.value
    'pixel'
    """

    store: str
    at: str | Path
    out: str | Path
    years: tuple[int, ...] = ()
    statistic: Statistic = Statistic.PIXEL

    def __post_init__(self) -> None:
        choose(self, statistic=Statistic)
        if Path(self.out).suffix.lower() not in FORMATS:
            raise BadInput(f"use one of {', '.join(FORMATS)}", "out", self.out)
        if len(set(self.years)) < len(self.years):
            raise BadInput("name each year once", "years", ",".join(map(str, self.years)))


@dataclass(frozen=True)
class Extracted:
    """What came of an extraction.

    Parameters
    ----------
    out
        Path of the table.
    places, rows
        Number of places in the file, and of rows of the table.
    vectors
        Number of rows that have a vector.
    empty
        Number of the other rows by the reason why they have none.
    """

    out: str
    places: int
    rows: int
    vectors: int
    empty: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """The fields of `extract --json`."""
        return vars(self)


def extract(
    request: ExtractRequest, tell: Callable[[int, int], None] = lambda done, all_: None
) -> Extracted:
    """Write the vectors of a mosaic at the places of a file; run again, it goes on.

    Columns of the table: `place` (counted from 0 in the order of the file) and all columns of the
    file; `year`; `zone`, `row` and `col` of the pixel; `lon` and `lat`; `pixels` of the place and
    how many are `embedded`; observation counts, where they are known; `why` a row has no vector;
    `e0`, `e1` and so on, float32. Rows come in the order of where they lie.

    Parameters
    ----------
    request
        The mosaic, the places and the table.
    tell
        Called with the number of parts that are done, and of all.

    Returns
    -------
    Extracted
        Numbers of places and rows, and why rows are empty.

    Raises
    ------
    BadInput
        If the mosaic, the places or the table cannot be used.
    StoreError
        If the mosaic cannot be read.

    Examples
    --------
    >>> _ = open("at.csv", "w").write("lon,lat,crop\\n2.996,50.846,wheat\\n20,50,maize\\n")
    >>> found = tm.extract(tm.ExtractRequest("valley.zarr", "at.csv", "vectors.csv"))
    >>> found.places, found.rows, found.empty
    (2, 2, {'no tile': 1})
    """
    mosaic = open_any(request.store)
    years = request.years or mosaic.years_made()
    for year in request.years:
        mosaic.check_made(year)
    if not years:
        raise BadInput(f"{request.store} has no year yet that was made")
    places = read_places(request.at)
    pixels = pixels_of(places)
    geometry = Path(request.out).suffix.lower() == ".geoparquet"
    table = VectorTable.of(mosaic, places, request.statistic, geometry)
    batches = list(batches_of(pixels, mosaic.layout.side, request.statistic))
    lost = np.setdiff1d(np.arange(len(places)), pixels.place)
    parts = [(year, batch) for year in years for batch in batches]
    parts += [(year, lost) for year in years if len(lost)]
    digest = hashlib.sha256(Path(request.at).read_bytes()).hexdigest()
    folder = _begun(request, mosaic, years, digest)
    state = vectors_state(mosaic, places, digest, years)

    def write(numbered: tuple[int, tuple[int, NDArray[np.int64]]]) -> None:
        number, (year, batch) = numbered
        path = folder / f"{number:06d}.parquet"
        if path.exists():
            return
        rows = table.without(year, batch) if batch is lost else table.rows(pixels, batch, year)
        pq.write_table(rows, path.with_suffix(".partial"), compression="zstd")
        os.replace(path.with_suffix(".partial"), path)

    with ThreadPoolExecutor(READERS, thread_name_prefix="extract") as pool:
        for done, _ in enumerate(pool.map(write, enumerate(parts)), 1):
            tell(done, len(parts))
    counted = _join(folder, len(parts), Path(request.out), table, state)
    shutil.rmtree(folder)
    empty = {why: count for why, count in counted.items() if why}
    rows = sum(counted.values())
    return Extracted(str(request.out), len(places), rows, rows - sum(empty.values()), empty)


def batches_of(
    pixels: PlacePixels, side: int, statistic: Statistic, most: int = BATCH
) -> Iterator[NDArray[np.int64]]:
    """Numbers of pixels that are read together: whole chunks, and whole places where they count.

    Parameters
    ----------
    pixels
        Pixels of all places.
    side
        Side in pixels of the mosaic's tiles.
    statistic
        What makes a row.
    most
        Pixels, about, that are read at once.
    """
    if not len(pixels):
        return
    row, col = pixels.row.astype(np.int64), pixels.col.astype(np.int64)
    where = np.stack(
        [pixels.zone, row // side, col // side, row // CHUNK, col // CHUNK], axis=1
    ).astype(np.int64)
    if statistic is not Statistic.PIXEL:
        # A place goes with its first pixel, so that none is cut.
        _, first, of = np.unique(pixels.place, return_index=True, return_inverse=True)
        where = where[first][of]
    order = np.lexsort((np.arange(len(pixels)), *where.T[::-1]))
    new = np.flatnonzero((np.diff(where[order], axis=0) != 0).any(axis=1)) + 1
    begin = 0
    for stop in [*new.tolist(), len(order)]:
        if stop - begin >= most or stop == len(order):
            yield order[begin:stop]
            begin = stop


def vectors_state(mosaic: AnyMosaic, places: Places, digest: str, years: Sequence[int]) -> State:
    """What a table of vectors says of itself.

    Parameters
    ----------
    mosaic, years
        Where they are from, and of which calendar years.
    places, digest
        The places, and the digest of their file.
    """
    sound = places.shapes[places.sound]
    west, south, east, north = shapely.total_bounds(sound).tolist()
    return replace(
        state_of(mosaic).leads_to(Kind.VECTORS, Input(Kind.PLACES, digest)),
        crs=(LON_LAT,),
        extent=(west, south, east, north) if len(sound) else None,
        years=tuple(sorted(years)),
        dtype="float32",
        numbers=Numbers.VALUES,
        nodata=math.nan,
    )


def _begun(request: ExtractRequest, mosaic: AnyMosaic, years: Sequence[int], digest: str) -> Path:
    """The folder of the parts, which is empty unless the same extraction was begun in it."""
    out = Path(request.out)
    if out.is_dir():
        raise BadInput("it is a folder: name a file", "out", out)
    same = {
        "store": request.store,
        "fingerprint": fingerprint(mosaic.identity),
        "at": digest,
        "years": list(years),
        "statistic": request.statistic.value,
        "format": out.suffix.lower(),
        "batch": BATCH,
    }
    folder = out.with_name(f"{out.name}.parts")
    told = folder / "request.json"
    text = json.dumps(same, sort_keys=True)
    if not told.is_file() or told.read_text() != text:
        shutil.rmtree(folder, ignore_errors=True)
        make_directory(folder)
        told.write_text(text)
    return folder


def _join(folder: Path, parts: int, out: Path, table: VectorTable, state: State) -> dict[str, int]:
    """Put the parts together in one file; how many rows there are by the reason they are empty."""
    partial = folder / "whole.partial"
    counted: dict[str, int] = {}
    first = pq.read_schema(folder / "000000.parquet")
    told = {STATE: encode_state(state)}
    if table.geometry:
        column = {"encoding": "WKB", "geometry_types": []}
        geo = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
        told["geo"] = json.dumps(geo)
    first = first.with_metadata(told)
    if out.suffix.lower() == ".csv":
        Path(beside(str(out))).write_text(f"{told[STATE]}\n", encoding="utf-8")
        writer: Any = pyarrow.csv.CSVWriter(partial, first)
    else:
        writer = pq.ParquetWriter(partial, first, compression="zstd")
    with writer:
        for number in range(parts):
            rows = pq.read_table(folder / f"{number:06d}.parquet")
            for entry in rows["why"].value_counts().to_pylist():
                why = entry["values"] or ""
                counted[why] = counted.get(why, 0) + entry["counts"]
            writer.write_table(rows.cast(first))
    os.replace(partial, out)
    return dict(sorted(counted.items()))
