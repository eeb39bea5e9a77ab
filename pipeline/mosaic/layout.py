"""How a mosaic is cut into arrays, shards and inner chunks.

A tile is one shard of each array of its zone's group; a year is one step of the time axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numcodecs.blosc
import numpy as np
from numcodecs import Blosc

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.lattice import (
    CHUNK,
    DEFAULT_SIDE,
    HEIGHT,
    WIDTH,
    Tile,
    check_side,
    zone_group,
)

COUNTS = ("s2", "s1_ascending", "s1_descending")
"""Observation counts, in the order in which their arrays `observations_<name>` are stored."""

DEPTH_CHUNK_VALUES = 131_072
"""Values in an inner chunk of a nested depth, at most: those of the full one's 128 x 32 x 32."""

PLANE_CHUNK = 64
"""Side in pixels of the inner chunks of scales and counts: a point is then read with the fewest
bytes (`benchmarks.write`)."""

BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
"""Zarr codec of values of more than one byte."""


@dataclass(frozen=True)
class Compression:
    """How chunks are compressed: by blosc, behind a bit shuffle.

    Parameters
    ----------
    name
        Name of the compressor, as blosc has it.
    level
        Its level, 0 to 9.
    """

    name: str
    level: int

    def __post_init__(self) -> None:
        if self.name not in numcodecs.blosc.list_compressors() or self.level not in range(10):
            raise ValueError(f"blosc has no {self.name} of level {self.level}")

    @classmethod
    def of_metadata(cls, node: Mapping[str, Any]) -> Compression:
        """What compresses the inner chunks of an array, by its Zarr metadata.

        Raises
        ------
        ValueError, KeyError, TypeError, IndexError
            If it is nothing that mosaics have.
        """
        last = node["codecs"][0]["configuration"]["codecs"][-1]
        if last["name"] != "blosc" or last["configuration"]["shuffle"] != "bitshuffle":
            raise ValueError(f"its chunks are compressed by {last['name']}")
        return cls(last["configuration"]["cname"], last["configuration"]["clevel"])

    @property
    def codec(self) -> Blosc:
        """What does it."""
        return Blosc(self.name, self.level, Blosc.BITSHUFFLE)

    def metadata(self, dtype: np.dtype[Any]) -> dict[str, Any]:
        """The same as Zarr metadata."""
        return {
            "name": "blosc",
            "configuration": {
                "cname": self.name,
                "clevel": self.level,
                "shuffle": "bitshuffle",
                "typesize": dtype.itemsize,
                "blocksize": 0,
            },
        }


SHARDS = Compression("zstd", 3)
"""What compresses the shards of a new mosaic (`benchmarks.codec`); an older one keeps its own."""

PLAIN = Compression("zstd", 1)
"""What compresses coordinates and pictures, and the shards of the first mosaics."""


@dataclass(frozen=True)
class Array:
    """An array of pixels in a zone's group.

    Parameters
    ----------
    name
        Name of the array in the group.
    dtype
        Type of its values.
    fill
        Value of pixels that were never written.
    bands
        Number of embedding dimensions; 0 where the array has no such axis.
    inner
        Side in pixels of its inner chunks.
    side
        Side in pixels of its shards.
    compression
        How its inner chunks are compressed.
    """

    name: str
    dtype: np.dtype[Any]
    fill: float
    bands: int
    inner: int
    side: int
    compression: Compression

    @property
    def band_dim(self) -> str:
        """Name of the axis of embedding dimensions, of which each depth has its own."""
        return self.name.replace("embeddings", "band")

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes, in order."""
        return ("time", self.band_dim, "y", "x") if self.bands else ("time", "y", "x")

    @property
    def across(self) -> int:
        """Number of inner chunks along a side of a shard."""
        return self.side // self.inner

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of an inner chunk, without the time axis."""
        return (*self._bands, self.inner, self.inner)

    @property
    def _bands(self) -> tuple[int, ...]:
        return (self.bands,) if self.bands else ()

    @property
    def _told_fill(self) -> int | str:
        """The fill as metadata tells it, which has words for what JSON has no number for."""
        if math.isnan(self.fill):
            return "NaN"
        return "Infinity" if math.isinf(self.fill) else int(self.fill)

    @property
    def codec(self) -> Blosc:
        """What compresses an inner chunk."""
        return self.compression.codec

    def key(self, tile: Tile, step: int) -> str:
        """Key of a tile's shard at a step of the time axis."""
        band = "0/" if self.bands else ""
        return f"{self.prefix(tile.zone, step)}{band}{tile.row}/{tile.col}"

    def prefix(self, zone: int, step: int) -> str:
        """Begin of the keys of a zone's shards at a step of the time axis."""
        return f"{zone_group(zone)}/{self.name}/c/{step}/"

    def metadata(self, steps: int, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """The array's Zarr metadata, for a time axis of so many years."""
        raw = BYTES if self.dtype.itemsize > 1 else {"name": "bytes"}
        sharding = {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": [1, *self.chunk_shape],
                "codecs": [raw, self.compression.metadata(self.dtype)],
                "index_codecs": [BYTES, {"name": "crc32c"}],
                "index_location": "end",
            },
        }
        return array_node(
            (steps, *self._bands, HEIGHT, WIDTH),
            (1, *self._bands, self.side, self.side),
            self.dtype,
            self._told_fill,
            self.dims,
            [sharding],
            attributes,
        )


def depths_to_store(asked: bool, depths: tuple[int, ...], model: str) -> tuple[int, ...]:
    """Nested depths that a store has: none, unless they are asked for.

    Parameters
    ----------
    asked
        Whether nested depths are to be stored.
    depths
        Numbers of first values that are embeddings of the model, too.
    model
        Name of the model, for the message.

    Raises
    ------
    BadInput
        If they are asked for and the model has none.
    """
    if asked and not depths:
        raise BadInput(f"the first values of {model} are no embeddings", "depths")
    return depths if asked else ()


@dataclass(frozen=True)
class Layout:
    """How a mosaic is cut.

    Parameters
    ----------
    side
        Side in pixels of tiles and shards.
    dims
        Number of embedding dimensions.
    depths
        Nested depths that are stored beside them: numbers of first values that are an embedding by
        themselves, ascending.
    compression
        How its shards are compressed.
    observed
        Names of the observation counts that are known, some of `COUNTS`: embeddings that were made
        elsewhere may come without, and have no array for what nobody knows.
    """

    side: int = DEFAULT_SIDE
    dims: int = 128
    depths: tuple[int, ...] = ()
    compression: Compression = SHARDS
    observed: tuple[str, ...] = COUNTS

    def __post_init__(self) -> None:
        check_side(self.side)
        if list(self.depths) != sorted(set(self.depths)) or not all(
            0 < depth < self.dims for depth in self.depths
        ):
            raise BadInput(f"depths {self.depths} do not ascend from 1 to less than {self.dims}")

    @property
    def counts(self) -> tuple[Array, ...]:
        """The arrays of the observation counts that are known, in the order of `COUNTS`."""
        return tuple(self._plane(count_array(name), "<u2", 0) for name in self.observed)

    @property
    def scales(self) -> Array:
        """The array of scales, or of the sentinels that say why a pixel has none."""
        return self._plane("scales", "<f4", math.inf)

    @property
    def embeddings(self) -> tuple[Array, ...]:
        """The arrays of codes of every depth, ascending, the full one last."""
        nested = tuple(self._codes(f"embeddings_d{d}", d, self._inner(d)) for d in self.depths)
        return (*nested, self._codes("embeddings", self.dims, CHUNK))

    @property
    def arrays(self) -> tuple[Array, ...]:
        """Every array of pixels, in the order in which a shard's objects are written."""
        return (*self.counts, self.scales, *self.embeddings)

    def _plane(self, name: str, dtype: str, fill: float) -> Array:
        inner = min(PLANE_CHUNK, self.side)
        return Array(name, np.dtype(dtype), fill, 0, inner, self.side, self.compression)

    def _codes(self, name: str, bands: int, inner: int) -> Array:
        return Array(name, np.dtype("i1"), 0, bands, inner, self.side, self.compression)

    def _inner(self, depth: int) -> int:
        side = CHUNK
        while depth * (2 * side) ** 2 <= DEPTH_CHUNK_VALUES and 2 * side <= self.side:
            side *= 2
        return side


def count_array(name: str) -> str:
    """Name of the array of an observation count."""
    return f"observations_{name}"


def array_node(
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
    fill: int | str,
    dims: tuple[str, ...],
    codecs: list[dict[str, Any]],
    attributes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Zarr metadata of an array.

    Its attributes tell where it lies, if anything: some readers would take others for CF, which
    has scales and fill values of its own.
    """
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": float(fill) if dtype.kind == "f" and not isinstance(fill, str) else fill,
        "codecs": codecs,
        "attributes": dict(attributes or {}),
        "dimension_names": list(dims),
        "storage_transformers": [],
    }


def group_node(attributes: dict[str, Any]) -> dict[str, Any]:
    """Zarr metadata of a group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}
