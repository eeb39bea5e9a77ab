"""The mosaic as a STAC catalogue: one collection, and an item for each zone and year.

The fields of the embedding extension are used as far as they are settled; its draft schema (0.0.1)
still asks for STAC 1.0.0, so it is not declared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.ledger.keys import ATTRIBUTION, REGISTRY, item_key
from tessera_mosaic.pipeline.mosaic.identity import model_name
from tessera_mosaic.pipeline.mosaic.layout import count_array
from tessera_mosaic.pipeline.mosaic.metadata import SOURCES
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.publishing.attribution import licence_of, model_page
from tessera_mosaic.pipeline.publishing.registry import Row
from tessera_mosaic.pipeline.tiling.lattice import (
    HEIGHT,
    PIXEL,
    WIDTH,
    Window,
    zone_crs,
    zone_group,
)

VERSION = "1.1.0"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
IDENTIFIER = "tessera-mosaic"

PARQUET = "application/vnd.apache.parquet"
EVERY_TILE = "Every tile and year, with state, counts, size and digest"

MAX_CORNERS = 2000
"""Corners that an item's geometry has at most; beyond that its bounds stand for it."""


@dataclass(frozen=True)
class Extent:
    """What an item covers.

    Parameters
    ----------
    bbox
        West, south, east and north in degrees; west is greater than east across the antimeridian.
    year
        Calendar year.
    """

    bbox: tuple[float, float, float, float]
    year: int


@dataclass(frozen=True)
class Item:
    """The item of a zone and year.

    Parameters
    ----------
    key
        Its place in the store.
    extent
        What it covers.
    data
        The item as it is stored.
    """

    key: str
    extent: Extent
    data: bytes


def make_item(mosaic: Mosaic, zone: int, year: int, made: Sequence[Row]) -> Item:
    """Make the item of a zone and year.

    Parameters
    ----------
    mosaic
        The mosaic that is catalogued.
    zone, year
        Number of the zone, and calendar year.
    made
        Rows of the tiles that are done, at least one.
    """
    geometry = _outline(made)
    extent = Extent(_bbox(geometry), year)
    document = _item(mosaic, zone, extent, geometry, made)
    return Item(item_key(zone, year), extent, _encode(document))


def make_collection(mosaic: Mosaic, extents: Mapping[str, Extent]) -> bytes:
    """Make the collection, as it is stored.

    Parameters
    ----------
    mosaic
        The mosaic that is catalogued.
    extents
        What the items cover, by their keys; at least one.
    """
    return _encode(_collection(mosaic, extents))


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode()


def _item(
    mosaic: Mosaic, zone: int, extent: Extent, geometry: BaseGeometry, made: Sequence[Row]
) -> dict[str, Any]:
    year, window = extent.year, Window(zone, 0, 0, HEIGHT, WIDTH)
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [PROJECTION],
        "id": f"{zone_group(zone)}-{year}",
        "collection": IDENTIFIER,
        "geometry": shapely.geometry.mapping(geometry),
        "bbox": list(extent.bbox),
        "properties": {
            "datetime": None,
            "start_datetime": _span(year)[0],
            "end_datetime": _span(year)[1],
            "updated": _utc(max(row.written or "" for row in made)),
            "gsd": PIXEL,
            "proj:code": zone_crs(zone),
            "proj:shape": [HEIGHT, WIDTH],
            "proj:transform": list(window.transform),
            "proj:bbox": list(window.bounds),
            "emb:quantization": {
                "method": "per_pixel_scale",
                "original_dtype": "float32",
                "quantized_dtype": "int8",
            },
            "emb:runtime_parameters": mosaic.identity,
            "tessera_mosaic:tiles": len(made),
            "tessera_mosaic:pixels": sum(row.pixels_embedded or 0 for row in made),
        },
        "links": [
            {"rel": "collection", "href": "./collection.json", "type": "application/json"},
            {"rel": "parent", "href": "./collection.json", "type": "application/json"},
            {"rel": "root", "href": "./collection.json", "type": "application/json"},
            *_sources(mosaic),
        ],
        "assets": {
            array: {
                "href": f"../{zone_group(zone)}/{array}",
                "type": "application/vnd.zarr; version=3",
                "roles": ["data"],
                "title": title,
            }
            for array, title in _arrays(mosaic).items()
        },
    }


def _arrays(mosaic: Mosaic) -> dict[str, str]:
    """Titles of a zone's arrays, by their names."""
    titles = {a.name: f"{a.bands} dimensions, int8" for a in mosaic.layout.embeddings}
    titles["scales"] = "Scale of each pixel; +inf: nothing here, NaN: water"
    for name, title in (
        ("s2", "Sentinel-2 observations"),
        ("s1_ascending", "ascending Sentinel-1 observations"),
        ("s1_descending", "descending Sentinel-1 observations"),
    ):
        if name not in mosaic.layout.observed:
            continue
        titles[count_array(name)] = f"Number of {title} of each pixel"
    return titles


def _sources(mosaic: Mosaic) -> list[dict[str, str]]:
    """Links to what lies behind the pixels: the tiles' registry, the model, and whom to credit."""
    return [
        {"rel": "related", "href": f"../{REGISTRY}", "type": PARQUET, "title": EVERY_TILE},
        {"rel": "emb:model", "href": model_page(mosaic.identity), "title": card_name(mosaic)},
        {"rel": "license", "href": f"../{ATTRIBUTION}", "type": "text/markdown"},
    ]


def card_name(mosaic: Mosaic) -> str:
    """Name of the card of the model that made a mosaic."""
    return model_name(mosaic.identity)


def _weights(mosaic: Mosaic) -> dict[str, str]:
    """The digest of the weights, where a run of ours used them."""
    encoder = mosaic.identity.get("encoder")
    return {"tessera_mosaic:weights_sha256": encoder["weights_sha256"]} if encoder else {}


def _collection(mosaic: Mosaic, extents: Mapping[str, Extent]) -> dict[str, Any]:
    boxes = [list(extent.bbox) for extent in extents.values()]
    whole = [min(b[0] for b in boxes), min(b[1] for b in boxes)]
    whole += [max(b[2] for b in boxes), max(b[3] for b in boxes)]
    years = sorted({extent.year for extent in extents.values()})
    spans = [list(_span(year)) for year in years]
    interval = [[spans[0][0], spans[-1][1]]]
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": [],
        "id": IDENTIFIER,
        "title": "TESSERA embeddings of Sentinel-1 and Sentinel-2",
        "description": (
            f"Annual embeddings of {card_name(mosaic)}, {mosaic.layout.dims} dimensions a pixel of "
            f"{PIXEL} m, one UTM zone a group of one Zarr store. {ATTRIBUTION} says whom to credit."
        ),
        "license": licence_of(mosaic.identity),
        "extent": {
            "spatial": {"bbox": [whole, *boxes] if len(boxes) > 1 else [whole]},
            # Years between these may not have been made.
            "temporal": {"interval": [*interval, *spans] if len(spans) > 1 else interval},
        },
        "data_type": "int8",
        "gsd": PIXEL,
        "emb:type": "pixel",
        "emb:dimensions": mosaic.layout.dims,
        "emb:temporal_resolution": "P1Y",
        "tessera_mosaic:years": years,
        **_weights(mosaic),
        "links": [
            {"rel": "root", "href": "./collection.json", "type": "application/json"},
            *_sources(mosaic),
            *({"rel": "emb:source-data", "href": href} for href in SOURCES.values()),
            *(
                {"rel": "item", "href": f"./{key.split('/')[1]}", "type": "application/geo+json"}
                for key in extents
            ),
        ],
        "assets": {
            "store": {
                "href": "..",
                "type": "application/vnd.zarr; version=3",
                "roles": ["data"],
                "title": "The Zarr store",
            },
            "registry": {
                "href": f"../{REGISTRY}",
                "type": PARQUET,
                "roles": ["metadata"],
                "title": EVERY_TILE,
            },
        },
    }


def _outline(made: Sequence[Row]) -> BaseGeometry:
    """The tiles' ground, or its bounds where that would be too many corners."""
    ground = shapely.union_all(shapely.from_wkb([row.geometry for row in made]))
    corners = shapely.get_num_coordinates(ground)
    if corners <= MAX_CORNERS:
        return ground
    return shapely.union_all([shapely.envelope(part) for part in _halves(ground)])


def _halves(ground: BaseGeometry) -> list[BaseGeometry]:
    """The ground west and east of Greenwich: apart at the antimeridian, together elsewhere."""
    low, _, high, _ = ground.bounds
    if high - low < 180.0:
        return [ground]
    return [
        shapely.clip_by_rect(ground, -180, -90, 0, 90),
        shapely.clip_by_rect(ground, 0, -90, 180, 90),
    ]


def _bbox(geometry: BaseGeometry) -> tuple[float, float, float, float]:
    """Bounds in degrees; west is greater than east across the antimeridian."""
    parts = _halves(geometry)
    if len(parts) == 1:
        west, south, east, north = geometry.bounds
        return west, south, east, north
    _, south, _, north = geometry.bounds
    return parts[1].bounds[0], south, parts[0].bounds[2], north


def _span(year: int) -> tuple[str, str]:
    """First and last second of a year."""
    return f"{year}-01-01T00:00:00Z", f"{year}-12-31T23:59:59Z"


def _utc(text: str) -> str:
    """An ISO time in UTC as STAC wants it."""
    return text.replace("+00:00", "Z")
