"""The STAC item of a zone and year: the ground it covers, and how its arrays are opened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.ledger.keys import ATTRIBUTION, REGISTRY, item_key
from tessera_mosaic.pipeline.mosaic.identity import model_name
from tessera_mosaic.pipeline.mosaic.layout import Array, count_array
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.publishing.attribution import (
    CITATION,
    licence_of,
    model_page,
    publications,
)
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
"""Of STAC."""

EXTENSIONS = "https://stac-extensions.github.io"
PROJECTION = f"{EXTENSIONS}/projection/v2.0.0/schema.json"
RASTER = f"{EXTENSIONS}/raster/v2.0.0/schema.json"
SCIENTIFIC = f"{EXTENSIONS}/scientific/v1.0.0/schema.json"
XARRAY = f"{EXTENSIONS}/xarray-assets/v1.0.0/schema.json"

IDENTIFIER = "tessera-mosaic"
"""Of the collection."""

PARQUET = "application/vnd.apache.parquet"
ZARR = "application/vnd.zarr; version=3"
EVERY_TILE = "Every tile and year, with state, counts, size and digest"

OPEN_ZONE = {"engine": "zarr", "chunks": "auto", "consolidated": True}
"""Arguments of `xarray.open_dataset` with which a zone opens at once: by default xarray makes a
task of every inner chunk, of which a zone has a billion."""

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
    return Item(item_key(zone, year), extent, encode_document(document))


def encode_document(document: dict[str, Any]) -> bytes:
    """A document of the catalogue as it is stored."""
    return json.dumps(document, indent=1).encode()


def _item(
    mosaic: Mosaic, zone: int, extent: Extent, geometry: BaseGeometry, made: Sequence[Row]
) -> dict[str, Any]:
    year, window = extent.year, Window(zone, 0, 0, HEIGHT, WIDTH)
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [PROJECTION, RASTER, SCIENTIFIC, XARRAY],
        "id": f"{zone_group(zone)}_{year}",
        "collection": IDENTIFIER,
        "geometry": shapely.geometry.mapping(geometry),
        "bbox": list(extent.bbox),
        "properties": {
            "title": f"UTM zone {zone}, {year}",
            "datetime": None,
            "start_datetime": span(year)[0],
            "end_datetime": span(year)[1],
            "updated": _utc(max(row.written or "" for row in made)),
            "license": licence_of(mosaic.identity),
            "gsd": PIXEL,
            "utm_zone": zone,
            "proj:code": zone_crs(zone),
            "proj:shape": [HEIGHT, WIDTH],
            "proj:transform": list(window.transform),
            "proj:bbox": list(window.bounds),
            **cited(mosaic),
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
            {"rel": "root", "href": "../catalog.json", "type": "application/json"},
            *sources(mosaic),
        ],
        "assets": {
            "zarr": {
                "href": f"../{zone_group(zone)}",
                "type": ZARR,
                "roles": ["data"],
                "title": f"All arrays of the zone; {year} is a step of the axis `time`",
                "xarray:open_kwargs": OPEN_ZONE,
                "raster:spatial_resolution": PIXEL,
            },
            **{array.name: _array_asset(zone, array) for array in mosaic.layout.arrays},
        },
    }


def _array_asset(zone: int, array: Array) -> dict[str, Any]:
    """The asset of an array of a zone."""
    nodata: dict[str, Any] = {"nodata": "inf"} if array.name == "scales" else {}
    return {
        "href": f"../{zone_group(zone)}/{array.name}",
        "type": ZARR,
        "roles": ["data"],
        "title": _title(array),
        "data_type": array.dtype.name,
        **nodata,
        "raster:sampling": "area",
        "raster:spatial_resolution": PIXEL,
    }


def _title(array: Array) -> str:
    """What an array holds."""
    if array.bands:
        return f"{array.bands} dimensions, int8"
    counted = {
        count_array("s2"): "Sentinel-2 observations",
        count_array("s1_ascending"): "ascending Sentinel-1 observations",
        count_array("s1_descending"): "descending Sentinel-1 observations",
    }
    if array.name in counted:
        return f"Number of {counted[array.name]} of each pixel"
    return "Scale of each pixel; +inf: nothing here, NaN: water"


def sources(mosaic: Mosaic) -> list[dict[str, str]]:
    """Links to what lies behind the pixels: the tiles' registry, the model, and whom to credit."""
    return [
        {"rel": "related", "href": f"../{REGISTRY}", "type": PARQUET, "title": EVERY_TILE},
        {"rel": "emb:model", "href": model_page(mosaic.identity), "title": card_name(mosaic)},
        {"rel": "license", "href": f"../{ATTRIBUTION}", "type": "text/markdown"},
    ]


def cited(mosaic: Mosaic) -> dict[str, Any]:
    """How the model is cited, by the scientific extension."""
    return {"sci:citation": CITATION, "sci:publications": publications(mosaic.identity)}


def card_name(mosaic: Mosaic) -> str:
    """Name of the card of the model that made a mosaic."""
    return model_name(mosaic.identity)


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


def span(year: int) -> tuple[str, str]:
    """First and last second of a year."""
    return f"{year}-01-01T00:00:00Z", f"{year}-12-31T23:59:59Z"


def _utc(text: str) -> str:
    """An ISO time in UTC as STAC wants it."""
    return text.replace("+00:00", "Z")
