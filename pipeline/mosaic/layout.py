"""What a mosaic looks like as Zarr: its arrays, their keys, and the metadata of every node.

One group a zone holds the zone's lattice. A tile is one shard of each array of its zone; a year is
one step of the time axis. The metadata follows the geoembeddings, spatial and proj conventions,
and what the TESSERA client expects of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numcodecs import Blosc
from numpy.typing import NDArray

from pipeline.errors import BadInput, StoreError
from pipeline.grid import (
    CHUNK,
    DEFAULT_SIDE,
    HEIGHT,
    PIXEL,
    WIDTH,
    Tile,
    Window,
    check_side,
    zone_crs,
    zone_group,
)
from pipeline.identity import Identity, fingerprint

FIRST_YEAR = 2017
"""Where the time axis begins unless an earlier year is asked for: Sentinel-2's first full year."""

LAST_YEARS = 64
"""Length of the time coordinate's one chunk, so that a year is added without changing it."""

COUNTS = ("s2", "s1_ascending", "s1_descending")
"""Observation counts, in the order in which their arrays `observations_<name>` are stored."""

LEVEL = 1
"""Of zstd, behind a bit shuffle: embeddings hardly gain from more (`benchmarks.write`)."""

DEPTH_CHUNK_VALUES = 131_072
"""Values in an inner chunk of a nested depth: those of the full depth's 128 x 32 x 32."""

PLANE_CHUNK = 64
"""Side of the inner chunk of scales and counts: the cheapest point read (`benchmarks.write`)."""

SOURCES = (
    "https://sentiwiki.copernicus.eu/web/sentinel-1",
    "https://sentiwiki.copernicus.eu/web/sentinel-2",
)


@dataclass(frozen=True)
class Array:
    """An array of pixels in a zone's group.

    Parameters
    ----------
    name
        In the group.
    dtype
        Of a value.
    fill
        Value of pixels that were never written.
    bands
        Embedding dimensions; 0 where the array has no such axis.
    inner
        Side of the inner chunk in pixels.
    side
        Of the shard in pixels.
    """

    name: str
    dtype: np.dtype[Any]
    fill: float
    bands: int
    inner: int
    side: int

    @property
    def band_dim(self) -> str:
        """Name of the axis of embedding dimensions; each depth has its own."""
        return self.name.replace("embeddings", "band")

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes."""
        return ("time", self.band_dim, "y", "x") if self.bands else ("time", "y", "x")

    @property
    def across(self) -> int:
        """Inner chunks along a side of the shard."""
        return self.side // self.inner

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of an inner chunk, without time."""
        return (*self._bands, self.inner, self.inner)

    @property
    def _bands(self) -> tuple[int, ...]:
        return (self.bands,) if self.bands else ()

    @property
    def codec(self) -> Blosc:
        """Compressor of an inner chunk."""
        return Blosc("zstd", LEVEL, Blosc.BITSHUFFLE)

    def key(self, tile: Tile, step: int) -> str:
        """Key of a tile's shard at a step of the time axis."""
        band = "0/" if self.bands else ""
        return f"{zone_group(tile.zone)}/{self.name}/c/{step}/{band}{tile.row}/{tile.col}"

    def metadata(self, steps: int) -> dict[str, Any]:
        """The array's Zarr metadata for a time axis of so many steps."""
        bytes_codec: dict[str, Any] = {"name": "bytes"}
        if self.dtype.itemsize > 1:
            bytes_codec["configuration"] = {"endian": "little"}
        sharding = {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": [1, *self.chunk_shape],
                "codecs": [bytes_codec, _blosc(self.dtype)],
                "index_codecs": [
                    {"name": "bytes", "configuration": {"endian": "little"}},
                    {"name": "crc32c"},
                ],
                "index_location": "end",
            },
        }
        return _array(
            (steps, *self._bands, HEIGHT, WIDTH),
            (1, *self._bands, self.side, self.side),
            self.dtype,
            "Infinity" if math.isinf(self.fill) else int(self.fill),
            self.dims,
            [sharding],
        )


@dataclass(frozen=True)
class Layout:
    """How a mosaic is cut.

    Parameters
    ----------
    side
        Of tiles and shards, in pixels.
    dims
        Embedding dimensions stored.
    depths
        Nested depths stored beside them, each the first values of an embedding.
    """

    side: int = DEFAULT_SIDE
    dims: int = 128
    depths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_side(self.side)
        if list(self.depths) != sorted(set(self.depths)) or not all(
            0 < depth < self.dims for depth in self.depths
        ):
            raise BadInput(f"depths {self.depths} do not ascend from 1 to less than {self.dims}")

    @property
    def counts(self) -> tuple[Array, ...]:
        """Observation counts, in the order of `COUNTS`."""
        return tuple(
            Array(count_array(name), np.dtype("<u2"), 0, 0, min(PLANE_CHUNK, self.side), self.side)
            for name in COUNTS
        )

    @property
    def scales(self) -> Array:
        """Scale of each pixel, or the sentinel that says why there is none."""
        inner = min(PLANE_CHUNK, self.side)
        return Array("scales", np.dtype("<f4"), math.inf, 0, inner, self.side)

    @property
    def embeddings(self) -> tuple[Array, ...]:
        """Codes of every depth, ascending, the full one last."""
        nested = tuple(
            Array(f"embeddings_d{d}", np.dtype("i1"), 0, d, self._inner(d), self.side)
            for d in self.depths
        )
        return (*nested, Array("embeddings", np.dtype("i1"), 0, self.dims, CHUNK, self.side))

    @property
    def arrays(self) -> tuple[Array, ...]:
        """Every array of pixels, in the order in which a shard's objects are written."""
        return (*self.counts, self.scales, *self.embeddings)

    def _inner(self, depth: int) -> int:
        side = CHUNK
        while depth * (2 * side) ** 2 <= DEPTH_CHUNK_VALUES and 2 * side <= self.side:
            side *= 2
        return side


def count_array(name: str) -> str:
    """Name of the array of an observation count."""
    return f"observations_{name}"


def zone_nodes(layout: Layout, zone: int, steps: int) -> dict[str, dict[str, Any]]:
    """Zarr metadata of a zone's group and arrays, by path."""
    group = zone_group(zone)
    nodes = {group: _group(_zone_attributes(zone))}
    for name, values, dim in _coordinates(layout, range(steps)):
        chunk = LAST_YEARS if name == "time" else len(values)
        nodes[f"{group}/{name}"] = _array(
            values.shape, (chunk,), values.dtype, 0, (dim,), _codecs(values.dtype)
        )
    for array in layout.arrays:
        nodes[f"{group}/{array.name}"] = array.metadata(steps)
    return nodes


def zone_objects(layout: Layout, zone: int, years: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """Keys and bytes of all that a zone needs before its first shard, the group's own last."""
    group = zone_group(zone)
    for name, values, _ in _coordinates(layout, years):
        chunk = np.zeros(LAST_YEARS, values.dtype) if name == "time" else values
        chunk[: len(values)] = values
        yield f"{group}/{name}/c/0", Blosc("zstd", LEVEL, Blosc.BITSHUFFLE).encode(chunk)
    nodes = zone_nodes(layout, zone, len(years))
    for path in reversed(nodes):
        yield f"{path}/zarr.json", encode_json(nodes[path])


def root_node(
    layout: Layout, identity: Identity, years: Sequence[int], zones: Sequence[int], version: str
) -> dict[str, Any]:
    """The root's Zarr metadata, with that of every node below it."""
    below: dict[str, dict[str, Any]] = {}
    for zone in zones:
        below |= zone_nodes(layout, zone, len(years))
    consolidated = {"kind": "inline", "must_understand": False, "metadata": below}
    attributes = _root_attributes(layout, identity, years, zones, version)
    return _group(attributes) | {"consolidated_metadata": consolidated}


def parse_root(node: dict[str, Any]) -> tuple[Layout, Identity, tuple[int, ...], tuple[int, ...]]:
    """Layout, identity, years and zones that a root's metadata tells.

    Raises
    ------
    StoreError
        If the metadata is not that of a mosaic of ours.
    """
    try:
        attributes = node["attributes"]
        depths = [entry["dimensions"] for entry in attributes.get("geoemb:depths", [])[:-1]]
        layout = Layout(
            int(attributes["tessera_mosaic:tile_side"]),
            int(attributes["geoemb:dimensions"]),
            tuple(depths),
        )
        years = tuple(int(year) for year in attributes["tessera_mosaic:years"])
        zones = tuple(int(zone) for zone in attributes["tessera_mosaic:zones"])
        return layout, attributes["tessera_mosaic:identity"], years, zones
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"its metadata is not that of a mosaic: {error!r}") from None


def encode_json(node: dict[str, Any]) -> bytes:
    """Metadata as bytes, the same for the same content."""
    return json.dumps(node, separators=(",", ":")).encode()


def _root_attributes(
    layout: Layout, identity: Identity, years: Sequence[int], zones: Sequence[int], version: str
) -> dict[str, Any]:
    digest = identity["encoder"]["weights_sha256"]
    attributes: dict[str, Any] = {
        "zarr_conventions": [GEOEMB],
        "geoemb:type": "pixel",
        "geoemb:dimensions": layout.dims,
        "geoemb:model": f"urn:tessera-mosaic:weights:sha256:{digest}",
        "geoemb:source_data": list(SOURCES),
        "geoemb:data_type": "int8",
        "geoemb:gsd": float(PIXEL),
        "geoemb:spatial_layout": "utm_zones",
        "geoemb:build_version": version,
        "geoemb:quantization": {
            "method": "per_pixel_scale",
            "original_dtype": "float32",
            "quantized_dtype": "int8",
            "scale": {"type": "array", "array_name": "scales", "nodata": "+inf"},
        },
    }
    if layout.depths:
        attributes["geoemb:depths"] = [
            {"dimensions": array.bands, "array": array.name} for array in layout.embeddings
        ]
    return attributes | {
        "tessera_mosaic:fingerprint": fingerprint(identity),
        "tessera_mosaic:identity": identity,
        "tessera_mosaic:tile_side": layout.side,
        "tessera_mosaic:margin": identity["margin"],
        "tessera_mosaic:years": list(years),
        "tessera_mosaic:zones": list(zones),
    }


def _zone_attributes(zone: int) -> dict[str, Any]:
    window = Window(zone, 0, 0, HEIGHT, WIDTH)
    return {
        "zarr_conventions": [SPATIAL, PROJ],
        "proj:code": zone_crs(zone),
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": [HEIGHT, WIDTH],
        "spatial:transform": list(window.transform),
        "spatial:transform_type": "affine",
        "spatial:bbox": [float(edge) for edge in window.bounds],
        "spatial:registration": "pixel",
    }


def _coordinates(layout: Layout, years: Sequence[int]) -> Iterator[tuple[str, NDArray[Any], str]]:
    """Name, values and axis of each coordinate; pixels are placed by their centres."""
    west, _, _, north = Window(1, 0, 0, HEIGHT, WIDTH).bounds
    yield "time", np.asarray(years, "<i4"), "time"
    yield "y", north - PIXEL * (np.arange(HEIGHT, dtype="<f8") + 0.5), "y"
    yield "x", west + PIXEL * (np.arange(WIDTH, dtype="<f8") + 0.5), "x"
    for array in layout.embeddings:
        yield array.band_dim, np.arange(array.bands, dtype="<i4"), array.band_dim


def _group(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _array(
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
    fill: int | str,
    dims: tuple[str, ...],
    codecs: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": float(fill) if dtype.kind == "f" and fill != "Infinity" else fill,
        "codecs": codecs,
        "attributes": {},
        "dimension_names": list(dims),
        "storage_transformers": [],
    }


def _codecs(dtype: np.dtype[Any]) -> list[dict[str, Any]]:
    return [{"name": "bytes", "configuration": {"endian": "little"}}, _blosc(dtype)]


def _blosc(dtype: np.dtype[Any]) -> dict[str, Any]:
    return {
        "name": "blosc",
        "configuration": {
            "cname": "zstd",
            "clevel": LEVEL,
            "shuffle": "bitshuffle",
            "typesize": dtype.itemsize,
            "blocksize": 0,
        },
    }


GEOEMB = {
    "uuid": "61c12cc5-0e28-4056-999a-480cf3fb7e4c",
    "name": "geoemb:",
    "description": (
        "Geoembeddings convention for geospatial embedding arrays with model provenance"
    ),
    "spec_url": ("https://github.com/geo-embeddings/embeddings-zarr-convention/blob/v1/README.md"),
    "schema_url": (
        "https://raw.githubusercontent.com/geo-embeddings/embeddings-zarr-convention"
        "/refs/tags/v1/schema.json"
    ),
}

SPATIAL = {
    "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
    "name": "spatial",
    "description": "Spatial coordinate information",
    "spec_url": "https://github.com/zarr-conventions/spatial/blob/v0.1/README.md",
    "schema_url": (
        "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v0.1/schema.json"
    ),
}

PROJ = {
    "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "name": "proj",
    "description": "Coordinate reference system information for geospatial data",
    "spec_url": "https://github.com/zarr-conventions/proj/blob/v0.1/README.md",
    "schema_url": (
        "https://raw.githubusercontent.com/zarr-conventions/proj/refs/tags/v0.1/schema.json"
    ),
}
