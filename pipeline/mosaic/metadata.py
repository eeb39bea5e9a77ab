"""The Zarr metadata of a mosaic's nodes.

It follows the geoembeddings, spatial and proj conventions, and what the TESSERA client expects:
one group a zone, pixels placed by their centres, years as plain integers, no attribute on arrays,
and the metadata of every node inlined in the root's.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.errors import StoreError
from pipeline.grid import HEIGHT, PIXEL, WIDTH, Window, zone_crs, zone_group
from pipeline.identity import Identity, fingerprint
from pipeline.mosaic.layout import Layout, array_node, blosc_codec, compressor

YEARS_CHUNK = 64
"""Length of the time coordinate's one chunk, so that a year is added without changing it."""

SOURCES = (
    "https://sentiwiki.copernicus.eu/web/sentinel-1",
    "https://sentiwiki.copernicus.eu/web/sentinel-2",
)

BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def zone_nodes(layout: Layout, zone: int, steps: int) -> dict[str, dict[str, Any]]:
    """Zarr metadata of a zone's group and arrays, by path."""
    group = zone_group(zone)
    nodes = {group: _group(_zone_attributes(zone))}
    for name, length, dtype in _axes(layout, steps):
        chunk = YEARS_CHUNK if name == "time" else length
        codecs = [BYTES, blosc_codec(dtype)]
        nodes[f"{group}/{name}"] = array_node((length,), (chunk,), dtype, 0, (name,), codecs)
    for array in layout.arrays:
        nodes[f"{group}/{array.name}"] = array.metadata(steps)
    return nodes


def zone_objects(layout: Layout, zone: int, years: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """Keys and bytes of all that a zone needs before its first shard, the group's own last."""
    group = zone_group(zone)
    for name, length, _ in _axes(layout, len(years)):
        yield f"{group}/{name}/c/0", _coordinate(name, tuple(years) if name == "time" else length)
    nodes = zone_nodes(layout, zone, len(years))
    for path in reversed(nodes):
        yield f"{path}/zarr.json", encode_json(nodes[path])


def root_node(
    layout: Layout, identity: Identity, years: Sequence[int], zones: Sequence[int], version: str
) -> dict[str, Any]:
    """The root's Zarr metadata, with that of every node below it, and its own digest."""
    below: dict[str, dict[str, Any]] = {}
    for zone in zones:
        below |= zone_nodes(layout, zone, len(years))
    consolidated = {"kind": "inline", "must_understand": False, "metadata": below}
    attributes = _root_attributes(layout, identity, years, zones, version)
    node = _group(attributes) | {"consolidated_metadata": consolidated}
    attributes["tessera_mosaic:sha256"] = hashlib.sha256(encode_json(node)).hexdigest()
    return node


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


def _axes(layout: Layout, steps: int) -> Iterator[tuple[str, int, np.dtype[Any]]]:
    """Name, length and type of each coordinate."""
    yield "time", steps, np.dtype("<i4")
    yield "y", HEIGHT, np.dtype("<f8")
    yield "x", WIDTH, np.dtype("<f8")
    for array in layout.embeddings:
        yield array.band_dim, array.bands, np.dtype("<i4")


@functools.cache
def _coordinate(name: str, of: int | tuple[int, ...]) -> bytes:
    """A coordinate's one chunk: years, pixel centres, or the numbers of the dimensions."""
    west, _, _, north = Window(1, 0, 0, HEIGHT, WIDTH).bounds
    if isinstance(of, tuple):
        values = np.zeros(YEARS_CHUNK, "<i4")
        values[: len(of)] = of
    elif name == "y":
        values = north - PIXEL * (np.arange(of, dtype="<f8") + 0.5)
    elif name == "x":
        values = west + PIXEL * (np.arange(of, dtype="<f8") + 0.5)
    else:
        values = np.arange(of, dtype="<i4")
    return bytes(compressor().encode(values))


def _group(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


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
