"""Vectors of blocks of 320 m: the mean of their pixels' embeddings and the spread around it.

They are what a database, a browser or a notebook searches in a second: a row in place of a thousand
pixels. A block is an inner chunk of the mosaic, so that no pixel is read twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from tessera_mosaic.pipeline.contracts.state import (
    LON_LAT,
    STATE,
    Kind,
    Numbers,
    State,
    encode_state,
)
from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, state_of
from tessera_mosaic.pipeline.mosaic.layout import count_array
from tessera_mosaic.pipeline.tiling.lattice import CHUNK, PIXEL, Tile, Window, to_lonlat

METRES = CHUNK * PIXEL
"""Side of a block on the ground."""

LARGEST = 127
"""Largest value that a code of 8 bits takes here."""


@dataclass(frozen=True)
class BlockVector:
    """A block.

    Parameters
    ----------
    row, col
        Row and column of its north-west pixel on the zone's lattice.
    pixels
        Number of its pixels that are embedded and that the zone owns.
    mean, spread : int8 (dims,)
        Mean and standard deviation of their embeddings, in units of a scale each.
    mean_scale, spread_scale
        These scales: embeddings are codes times the scale.
    counts
        Mean observation counts of these pixels by name, as far as they are known.
    """

    row: int
    col: int
    pixels: int
    mean: NDArray[np.int8]
    mean_scale: float
    spread: NDArray[np.int8]
    spread_scale: float
    counts: Mapping[str, float]


def block_vector(
    row: int,
    col: int,
    codes: NDArray[np.int8],
    scales: NDArray[np.float32],
    counts: Mapping[str, NDArray[np.uint16]],
) -> BlockVector:
    """The vector of a block.

    Parameters
    ----------
    row, col
        Row and column of its north-west pixel on the zone's lattice.
    codes : int8 (dims, pixels)
        Embeddings of the pixels that count, at least one.
    scales : float32 (pixels,)
        Their finite scales.
    counts : uint16 (pixels,) by name
        Their observation counts.

    Examples
    --------
    >>> found = block_vector(0, 0, np.int8([[100, 50], [0, 50]]), np.float32([0.5, 1.0]), {})
    >>> (found.mean * found.mean_scale).round(1).tolist(), found.pixels
    ([50.0, 25.2], 2)
    >>> (found.spread * found.spread_scale).round(1).tolist()
    [0.0, 25.0]
    """
    values = codes.astype(np.float64) * scales.astype(np.float64)
    mean, spread = values.mean(axis=1), values.std(axis=1)
    told = {name: float(np.float32(of.mean())) for name, of in counts.items()}
    return BlockVector(row, col, codes.shape[1], *_coded(mean), *_coded(spread), told)


def _coded(values: NDArray[np.float64]) -> tuple[NDArray[np.int8], float]:
    """Values as codes of 8 bits and the scale that makes values of them again."""
    scale = float(np.float32(np.abs(values).max(initial=0.0) / LARGEST))
    codes = np.rint(values / scale) if scale else np.zeros_like(values)
    return np.clip(codes, -LARGEST, LARGEST).astype(np.int8), scale


def blocks_state(mosaic: AnyMosaic, year: int) -> State:
    """What the blocks of a mosaic's year say of themselves."""
    return replace(
        state_of(mosaic).leads_to(Kind.BLOCKS),
        crs=(LON_LAT,),
        pixel=float(METRES),
        years=(year,),
        dtype="int8",
        numbers=Numbers.CODES_AND_SCALES,
        uncertainty="spread",
    )


def encode_blocks(tile: Tile, blocks: Sequence[BlockVector], state: State) -> bytes:
    """The blocks of a tile as GeoParquet, at least one; their point is their centre.

    Parameters
    ----------
    tile
        The tile.
    blocks
        Its blocks, row after row.
    state
        What they say of themselves.
    """
    half = CHUNK / 2 * PIXEL
    corners = [Window(tile.zone, of.row, of.col, CHUNK, CHUNK) for of in blocks]
    lon, lat = to_lonlat(tile.zone).transform(
        [corner.west + half for corner in corners], [corner.north - half for corner in corners]
    )
    lon = (np.asarray(lon) + 180.0) % 360.0 - 180.0
    columns: dict[str, Any] = {
        "tile": pa.array([tile.name] * len(blocks), pa.string()),
        "row": np.array([of.row for of in blocks], np.int32),
        "col": np.array([of.col for of in blocks], np.int32),
        "lon": lon,
        "lat": np.asarray(lat),
        "pixels": np.array([of.pixels for of in blocks], np.int32),
        "mean": _vectors([of.mean for of in blocks]),
        "mean_scale": np.array([of.mean_scale for of in blocks], np.float32),
        "spread": _vectors([of.spread for of in blocks]),
        "spread_scale": np.array([of.spread_scale for of in blocks], np.float32),
    }
    for name in blocks[0].counts:
        columns[count_array(name)] = np.array([of.counts[name] for of in blocks], np.float32)
    points = shapely.to_wkb(shapely.points(columns["lon"], columns["lat"]))
    columns["geometry"] = pa.array(points.tolist(), pa.binary())
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Point"]}},
    }
    table = pa.table(columns).replace_schema_metadata(
        {"geo": json.dumps(geo), STATE: encode_state(state)}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _vectors(codes: Sequence[NDArray[np.int8]]) -> pa.Array:
    flat = pa.array(np.concatenate(codes), pa.int8())
    return pa.FixedSizeListArray.from_arrays(flat, len(codes[0]))


@dataclass(frozen=True)
class BlockTable:
    """The blocks of a tile as they are read back.

    Parameters
    ----------
    row, col, pixels : int32 (blocks,)
        As in `BlockVector`.
    lon, lat : float64 (blocks,)
        Their centres in degrees.
    mean : int8 (dims, blocks)
        Their means, dimension after dimension, as chunks of a mosaic have pixels.
    scale : float32 (blocks,)
        The scales of the means.
    """

    row: NDArray[np.int32]
    col: NDArray[np.int32]
    pixels: NDArray[np.int32]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    mean: NDArray[np.int8]
    scale: NDArray[np.float32]


def decode_blocks(data: bytes) -> BlockTable:
    """The blocks of a tile.

    Raises
    ------
    StoreError
        If the bytes are no file of blocks.
    """
    names = ["row", "col", "pixels", "lon", "lat", "mean", "mean_scale"]
    try:
        table = pq.read_table(pa.BufferReader(data), columns=names, partitioning=None)
        plain = {name: table[name].combine_chunks() for name in names}
        means = np.asarray(plain["mean"].flatten(), np.int8).reshape(len(table), -1)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise StoreError(f"it is no file of blocks: {error}") from None
    return BlockTable(
        row=np.asarray(plain["row"]),
        col=np.asarray(plain["col"]),
        pixels=np.asarray(plain["pixels"]),
        lon=np.asarray(plain["lon"]),
        lat=np.asarray(plain["lat"]),
        mean=np.ascontiguousarray(means.T),
        scale=np.asarray(plain["mean_scale"]),
    )
