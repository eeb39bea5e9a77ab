"""What a search leaves: the table of hits, and the record of what was looked for and where."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from tessera_mosaic.pipeline.contracts.state import (
    LON_LAT,
    STATE,
    Extent,
    Input,
    Kind,
    Numbers,
    State,
    encode_state,
)
from tessera_mosaic.pipeline.downstream.places import PlacePixels
from tessera_mosaic.pipeline.downstream.search_heap import Hits, joined
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.urls import folder_and_key
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, read_pixels, state_of
from tessera_mosaic.pipeline.mosaic.layout import count_array
from tessera_mosaic.pipeline.mosaic.part_reader import by_square, read_chunks
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.lattice import Tile

GEOMETRY = "geometry"

NUMBERS = re.compile(r"\[[-+.eE0-9,\s]+\]")

DEGREES = 7
"""Decimals of a degree that GeoJSON is written with: a centimetre."""


@dataclass(frozen=True)
class Ranked:
    """The hits of a query, with what is told of them.

    Parameters
    ----------
    query
        Name of the query.
    hits
        The hits, ranked.
    percentile : float64 (hits,)
        Share of the ground, 0 to 100, that scores no more.
    """

    query: str
    hits: Hits
    percentile: NDArray[np.float64]


def place_of(url: str, patience: float) -> tuple[Storage, str]:
    """The folder of a file at a path or URL, and its key there."""
    folder, key = folder_and_key(url)
    return Storage(folder, patience=patience), key


def hits_table(found: Sequence[Ranked], mosaic: AnyMosaic, year: int, with_query: bool) -> pa.Table:
    """The hits of all queries as rows: longitude, latitude, tile, scores, observation counts.

    Parameters
    ----------
    found
        Hits of each query, in the order of the queries.
    mosaic, year
        Where they were found, and of which calendar year.
    with_query
        Whether rows name their query.
    """
    hits = joined(each.hits for each in found)
    none = np.zeros(len(hits), np.int32)
    lon, lat = PlacePixels(none, hits.zone, hits.row, hits.col).centres()
    side = mosaic.layout.side
    columns: dict[str, Any] = {}
    if with_query:
        columns["query"] = pa.array(
            [each.query for each in found for _ in range(len(each.hits))], pa.string()
        )
    columns |= {
        "lon": lon,
        "lat": lat,
        "tile": pa.array(
            [
                Tile(zone, row // side, col // side, side).name
                for zone, row, col in zip(
                    hits.zone.tolist(), hits.row.tolist(), hits.col.tolist(), strict=True
                )
            ],
            pa.string(),
        ),
        "score": hits.score,
        "percentile": np.concatenate([np.zeros(0), *(each.percentile for each in found)]),
    }
    counts = counts_at(mosaic, year, hits)
    columns |= {count_array(name): counts[name] for name in mosaic.layout.observed}
    return pa.table(columns)


def counts_at(mosaic: AnyMosaic, year: int, hits: Hits) -> dict[str, NDArray[np.uint16]]:
    """Observation counts of pixels by name, uint16 (hits,), as far as they are known."""
    if not isinstance(mosaic, Mosaic):
        return read_pixels(mosaic, year, hits.zone, hits.row, hits.col).counts
    layout, step = mosaic.layout, mosaic.step(year)
    counts = {name: np.zeros(len(hits), np.uint16) for name in layout.observed}
    side, row, col = layout.side, hits.row.astype(np.int64), hits.col.astype(np.int64)
    for zone in np.unique(hits.zone):
        mine = np.flatnonzero(hits.zone == zone)
        for part in by_square(row[mine], col[mine], side):
            at = mine[part]
            tile = Tile(int(zone), int(row[at[0]]) // side, int(col[at[0]]) // side, side)
            for name, array in zip(layout.observed, layout.counts, strict=True):
                n = array.inner
                down, across = row[at] % side, col[at] % side
                wanted = {
                    (int(down[of[0]]) // n, int(across[of[0]]) // n): of
                    for of in by_square(down, across, n)
                }
                for place, chunk in read_chunks(mosaic, array, tile, step, wanted):
                    of = wanted[place]
                    counts[name][at[of]] = chunk[down[of] % n, across[of] % n]
    return counts


def hits_state(
    mosaic: AnyMosaic, year: int, like_year: int | None, head: str | None, table: pa.Table
) -> State:
    """What hits say of themselves.

    Parameters
    ----------
    mosaic, year
        Where they were found, and of which calendar year.
    like_year
        Year to whose mean the embeddings were shifted; None where they were not.
    head
        Digest of the head that was looked for; None with examples.
    table
        The hits.
    """
    lon, lat = table["lon"].to_numpy(), table["lat"].to_numpy()
    extent: Extent | None = None
    if len(table):
        extent = float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())
    by = () if head is None else (Input(Kind.HEAD, head),)
    return replace(
        state_of(mosaic).leads_to(Kind.HITS, *by),
        crs=(LON_LAT,),
        extent=extent,
        years=(year,),
        matched=None if like_year is None else {year: like_year},
        numbers=Numbers.VALUES,
        uncertainty="percentile",
    )


def encode_table(table: pa.Table, url: str, state: State) -> bytes:
    """The table in the format that the ending of a path or URL names, and the hits' state in it."""
    if PurePosixPath(url).suffix.lower() == ".geojson":
        return _geojson(table, state)
    points = shapely.points(table["lon"].to_numpy(), table["lat"].to_numpy())
    geometry = pa.array(shapely.to_wkb(points).tolist(), pa.binary())
    column = {"encoding": "WKB", "geometry_types": ["Point"]}
    geo = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
    whole = table.append_column(GEOMETRY, geometry)
    sink = pa.BufferOutputStream()
    pq.write_table(
        whole.replace_schema_metadata({"geo": json.dumps(geo), STATE: encode_state(state)}),
        sink,
        compression="zstd",
    )
    return bytes(sink.getvalue())


def _geojson(table: pa.Table, state: State) -> bytes:
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Point",
                "coordinates": [round(row["lon"], DEGREES), round(row["lat"], DEGREES)],
            },
            "properties": row,
        }
        for row in table.to_pylist()
    ]
    told = {"type": "FeatureCollection", STATE: state.to_json(), "features": features}
    return json.dumps(told, indent=1).encode()


def encode_record(told: Mapping[str, Any]) -> bytes:
    """The record of a search as JSON that people read, too: a list of numbers is one line."""
    text = json.dumps(told, indent=1, ensure_ascii=False)
    text = NUMBERS.sub(lambda found: re.sub(r"\s+", " ", found[0]), text)
    return f"{text}\n".encode()
