"""The Zarr metadata of a mosaic's nodes.

It follows the geoembeddings, spatial and proj conventions, and what the TESSERA client expects:
one group a zone, pixels placed by their centres, years as plain integers, no attribute on arrays
but where they lie, and the metadata of every node inlined in the root's.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np

from tessera_mosaic.pipeline.contracts.state import STATE
from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.strict import check_format, listed, member, shallow, text, whole
from tessera_mosaic.pipeline.mosaic.conventions import (
    BRIEF_PLACE,
    GEOEMB,
    PLACE,
    place_attributes,
)
from tessera_mosaic.pipeline.mosaic.identity import (
    Identity,
    adopted_model,
    checked_identity,
    fingerprint,
)
from tessera_mosaic.pipeline.mosaic.layout import (
    BYTES,
    COUNTS,
    PLAIN,
    Compression,
    Layout,
    array_node,
    group_node,
)
from tessera_mosaic.pipeline.mosaic.mosaic_state import mosaic_state
from tessera_mosaic.pipeline.mosaic.preview_pyramid import (
    GROUP,
    MOST_DIMS,
    Colours,
    pyramid_coordinates,
    pyramid_nodes,
)
from tessera_mosaic.pipeline.tiling.lattice import (
    HEIGHT,
    PIXEL,
    WIDTH,
    Window,
    zone_crs,
    zone_group,
)

YEARS_CHUNK = 64
"""Length of the time coordinate's one chunk, so that a year is added without changing it."""

SOURCES = {
    "Sentinel-2 Level-2A": "https://sentiwiki.copernicus.eu/web/sentinel-2",
    "Sentinel-1 GRD": "https://sentiwiki.copernicus.eu/web/sentinel-1",
}
"""Missions whose data the embeddings come from, and where they are described."""


FORMAT = 1
"""Version of the format of stores, raised when a reader of an earlier one would read it wrongly."""

OBSERVATIONS = "tessera_mosaic:observations"
"""Attribute of the root with the names of the observation counts, where some are not known."""

DIGEST = "tessera_mosaic:sha256"
"""Attribute of the root with the digest of all the rest of it, in hex digits."""


def zone_nodes(layout: Layout, zone: int, steps: int) -> dict[str, dict[str, Any]]:
    """Zarr metadata of a zone's group and arrays, by path."""
    group = zone_group(zone)
    nodes = {group: group_node(zone_attributes(zone))}
    for name, length, dtype in _axes(layout, steps):
        chunk = YEARS_CHUNK if name == "time" else length
        codecs = [BYTES, PLAIN.metadata(dtype)]
        nodes[f"{group}/{name}"] = array_node((length,), (chunk,), dtype, 0, (name,), codecs)
    for array in layout.arrays:
        nodes[f"{group}/{array.name}"] = array.metadata(steps, array_attributes(zone))
    return nodes


def zone_objects(layout: Layout, zone: int, years: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """Keys and bytes of all that a zone needs before its first shard, the group's own last."""
    group = zone_group(zone)
    for name, length, _ in _axes(layout, len(years)):
        yield f"{group}/{name}/c/0", coordinate(name, tuple(years) if name == "time" else length)
    yield from _documents(zone_nodes(layout, zone, len(years)))


@dataclass(frozen=True)
class MosaicMetadata:
    """All that a mosaic's metadata tells.

    Parameters
    ----------
    layout
        How it is cut.
    identity
        What decides its bytes.
    years
        Calendar years of the time axis, ascending without a gap.
    zones
        Numbers of the zones that have a group, ascending.
    version
        Version of the software that made the store.
    colours
        How its picture is coloured; None before there is one.
    """

    layout: Layout
    identity: Identity
    years: tuple[int, ...]
    zones: tuple[int, ...]
    version: str
    colours: Colours | None = None


def root_node(told: MosaicMetadata) -> dict[str, Any]:
    """The root's Zarr metadata, with that of every node below it, and its own digest."""
    below: dict[str, dict[str, Any]] = {}
    for zone in told.zones:
        below |= zone_nodes(told.layout, zone, len(told.years))
    if told.colours is not None:
        below |= pyramid_nodes(told.colours)
    attributes = _root_attributes(told)
    node = with_inline(group_node(attributes), below)
    attributes[DIGEST] = _digest(node)
    return node


def written_nodes(root: bytes) -> dict[str, dict[str, Any]] | None:
    """Metadata of every node, by path, as a root tells it that any version wrote.

    Returns
    -------
    dict or None
        None if the root is not as it was written, by its own digest.

    Raises
    ------
    StoreError
        If the root is none of ours.
    """
    parse_root(root)
    node = json.loads(root)
    digest = node["attributes"].pop(DIGEST, None)
    below: dict[str, dict[str, Any]] = node["consolidated_metadata"]["metadata"]
    return below if digest == _digest(node) else None


def _digest(root: dict[str, Any]) -> str:
    """Digest of a root's metadata without the digest itself."""
    return hashlib.sha256(encode_json(root)).hexdigest()


def with_inline(group: dict[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    """A group's metadata with that of the nodes below it, by their paths from there.

    So a group opens by one request, and where nothing can be listed.
    """
    inline = {"kind": "inline", "must_understand": False, "metadata": dict(below)}
    return group | {"consolidated_metadata": inline}


def own_document(path: str, nodes: Mapping[str, dict[str, Any]]) -> bytes:
    """What the `zarr.json` of a node holds, among the nodes of the root by path.

    Of a zone, and of the picture, it has the metadata of all that lies in it.
    """
    node, start = nodes[path], f"{path}/"
    if node["node_type"] == "group" and "/" not in path:
        below = {of.removeprefix(start): nodes[of] for of in nodes if of.startswith(start)}
        node = with_inline(node, below)
    return encode_json(node)


def _documents(nodes: dict[str, dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """Keys and bytes of the metadata of a group and of all in it, the group's own last."""
    for path in reversed(nodes):
        yield f"{path}/zarr.json", own_document(path, nodes)


def pyramid_objects(colours: Colours) -> Iterator[tuple[str, bytes]]:
    """Keys and bytes of all that the picture needs before its first chunk."""
    yield from pyramid_coordinates()
    yield from _documents(pyramid_nodes(colours))


def parse_root(data: bytes) -> MosaicMetadata:
    """What a root's metadata tells.

    Raises
    ------
    StoreError
        If it is not that of a mosaic of ours.
    BadInput
        If it is that of a later format.
    """
    try:
        node = shallow(read_json(data), 40)
        attributes = node["attributes"]
        check_format(attributes, "tessera_mosaic:format", FORMAT, "the mosaic")
        depths = [entry["dimensions"] for entry in attributes.get("geoemb:depths", [])[:-1]]
        below = node["consolidated_metadata"]["metadata"]
        zones = member(attributes, "tessera_mosaic:zones", _zones)
        codes = below[f"{zone_group(zones[0])}/embeddings"]
        pyramid = below.get(GROUP)
        return MosaicMetadata(
            Layout(
                member(attributes, "tessera_mosaic:tile_side", whole),
                member(attributes, "geoemb:dimensions", lambda dims: whole(dims, 1, MOST_DIMS)),
                listed(depths, lambda depth: whole(depth, 1, MOST_DIMS), MOST_DIMS),
                Compression.of_metadata(codes),
                _observed(attributes.get(OBSERVATIONS, list(COUNTS))),
            ),
            member(attributes, "tessera_mosaic:identity", checked_identity),
            member(attributes, "tessera_mosaic:years", _years),
            zones,
            member(attributes, "geoemb:build_version", text),
            pyramid and Colours.from_json(pyramid["attributes"]["tessera_mosaic:colours"]),
        )
    except BadInput:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, StoreError) as error:
        raise StoreError(f"its metadata is not that of a mosaic: {error!r}") from None


def _zones(value: Any) -> tuple[int, ...]:
    zones = listed(value, lambda zone: whole(zone, 1, 60), 60)
    if not zones or list(zones) != sorted(set(zones)):
        raise ValueError("zones ascend, and there is at least one")
    return zones


def _years(value: Any) -> tuple[int, ...]:
    years = listed(value, lambda year: whole(year, 1, 9999), YEARS_CHUNK)
    if not years or years != tuple(range(years[0], years[0] + len(years))):
        raise ValueError("years ascend without a gap, and there is at least one")
    return years


def _observed(value: Any) -> tuple[str, ...]:
    names = listed(value, text, len(COUNTS))
    if names != tuple(name for name in COUNTS if name in names):
        raise ValueError(f"counts are some of {', '.join(COUNTS)}, in this order")
    return names


def model_uri(identity: Identity) -> str:
    """A name of the weights that no others have, or the given one of embeddings made elsewhere."""
    if (model := adopted_model(identity)) is not None:
        return model if "://" in model else f"urn:tessera-mosaic:adopted:{quote(model, safe='')}"
    return f"urn:tessera-mosaic:weights:sha256:{identity['encoder']['weights_sha256']}"


def encode_json(node: dict[str, Any]) -> bytes:
    """Metadata as bytes, the same for the same content."""
    return json.dumps(node, separators=(",", ":")).encode()


def _root_attributes(told: MosaicMetadata) -> dict[str, Any]:
    layout, identity = told.layout, told.identity
    attributes: dict[str, Any] = {
        "zarr_conventions": [GEOEMB],
        "geoemb:type": "pixel",
        "geoemb:dimensions": layout.dims,
        "geoemb:model": model_uri(identity),
        "geoemb:source_data": list(SOURCES.values()),
        "geoemb:data_type": "int8",
        "geoemb:gsd": float(PIXEL),
        "geoemb:spatial_layout": "utm_zones",
        "geoemb:build_version": told.version,
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
    if layout.observed != COUNTS:
        attributes[OBSERVATIONS] = list(layout.observed)
    return attributes | {
        "tessera_mosaic:format": FORMAT,
        "tessera_mosaic:fingerprint": fingerprint(identity),
        "tessera_mosaic:identity": identity,
        "tessera_mosaic:tile_side": layout.side,
        "tessera_mosaic:margin": identity["margin"],
        "tessera_mosaic:years": list(told.years),
        "tessera_mosaic:zones": list(told.zones),
        STATE: mosaic_state(layout, identity, told.zones).to_json(),
    }


def zone_attributes(zone: int) -> dict[str, Any]:
    """What a zone's group says of its ground, and the number of the zone."""
    return _place(zone, PLACE) | {"utm_zone": zone}


def array_attributes(zone: int) -> dict[str, Any]:
    """What an array of a zone's pixels says of its ground: those of the group do not reach it."""
    return _place(zone, BRIEF_PLACE)


def _place(zone: int, declared: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    window = Window(zone, 0, 0, HEIGHT, WIDTH)
    return place_attributes(declared, zone_crs(zone), ("y", "x"), window.shape, window.transform)


def _axes(layout: Layout, steps: int) -> Iterator[tuple[str, int, np.dtype[Any]]]:
    """Name, length and type of each coordinate."""
    yield "time", steps, np.dtype("<i4")
    yield "y", HEIGHT, np.dtype("<f8")
    yield "x", WIDTH, np.dtype("<f8")
    for array in layout.embeddings:
        yield array.band_dim, array.bands, np.dtype("<i4")


@functools.cache
def coordinate(name: str, of: int | tuple[int, ...]) -> bytes:
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
    return bytes(PLAIN.codec.encode(values))
