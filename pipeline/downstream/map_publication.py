"""What stands beside a map's arrays once its tiles are made: virtual rasters, STAC, a report."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.geometry import mapping

from tessera_mosaic.model.heads.head import Head
from tessera_mosaic.pipeline.downstream.map_figures import Totals, totals_of
from tessera_mosaic.pipeline.downstream.map_rasters import (
    band_description,
    class_names,
    encode_vrt,
)
from tessera_mosaic.pipeline.downstream.map_report import write_report
from tessera_mosaic.pipeline.downstream.map_store import MapStore
from tessera_mosaic.pipeline.ledger.keys import COLLECTION, cog_key, map_item_key, vrt_key
from tessera_mosaic.pipeline.tiling.lattice import Tile, lonlat_bounds

STAC_VERSION = "1.1.0"
EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
)
COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@dataclass(frozen=True)
class MapFound:
    """What a year of a map holds, and where it is told.

    Parameters
    ----------
    pixels, square_metres
        Pixels of each class by its name, and their true size.
    report
        Path or URL of the report.
    """

    pixels: Mapping[str, int]
    square_metres: Mapping[str, int]
    report: str


def publish_map(made: MapStore, year: int, head: Head, notes: Sequence[str]) -> MapFound:
    """Write what stands beside a map's tiles.

    Parameters
    ----------
    made
        The map.
    year
        Calendar year.
    head
        That it was made with.
    notes
        What has to be said of it.
    """
    about = About(
        "Map of " + (", ".join(each.name for each in head.classes) or head.unit or "values"),
        f"Made from embeddings of {head.model or 'an unnamed model'} by a {head.kind} head; counts "
        "of its pixels are no estimates of areas.",
    )
    totals = publish_rasters(made, year, about)
    report = write_report(made, year, notes)
    names = class_names(made.layout)
    return MapFound(
        {names.get(code, str(code)): count for code, count in sorted(totals.pixels.items())},
        {names.get(code, str(code)): size for code, size in sorted(totals.square_metres.items())},
        made.storage.locate(report),
    )


@dataclass(frozen=True)
class About:
    """What a catalogue says of a map.

    Parameters
    ----------
    title, description
        Some words, and some sentences.
    """

    title: str
    description: str


def publish_rasters(made: MapStore, year: int, about: About) -> Totals:
    """Write the virtual rasters and the STAC catalogue of a map's year; what it adds up to."""
    totals = totals_of(made, year)
    for zone, tiles in itertools.groupby(totals.tiles, lambda tile: tile.zone):
        made.storage.write(vrt_key(zone, year), encode_vrt(made.layout, list(tiles), year))
    for key, document in stac_documents(made, year, about, totals.tiles):
        made.storage.write(key, (json.dumps(document, indent=1) + "\n").encode())
    return totals


def stac_documents(
    made: MapStore, year: int, about: About, tiles: Sequence[Tile]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys and contents of the STAC items of a map's tiles, and of their collection."""
    boxes = []
    for tile in tiles:
        box = lonlat_bounds(tile.window)
        boxes.append(box)
        yield map_item_key(tile, year), _item(made, tile, year, box)
    if not tiles:
        return
    links = [{"rel": "root", "href": "./collection.json", "type": "application/json"}]
    links += [
        {
            "rel": "item",
            "href": f"./{map_item_key(tile, each).rpartition('/')[2]}",
            "type": "application/geo+json",
        }
        for each in _years(made, year)
        for tile in (tiles if each == year else made.tiles(each))
    ]
    west, south, east, north = shapely.MultiPoint(
        [corner for box in boxes for corner in (box[:2], box[2:])]
    ).bounds
    years = _years(made, year)
    yield (
        COLLECTION,
        {
            "type": "Collection",
            "stac_version": STAC_VERSION,
            "stac_extensions": list(EXTENSIONS),
            "id": made.storage.url.rstrip("/").rpartition("/")[2],
            "title": about.title,
            "description": about.description,
            "license": "other",
            "extent": {
                "spatial": {"bbox": [[west, south, east, north]]},
                "temporal": {
                    "interval": [[f"{min(years)}-01-01T00:00:00Z", f"{max(years)}-12-31T23:59:59Z"]]
                },
            },
            "item_assets": {
                "map": {"type": COG, "roles": ["data"], "bands": [band_description(made.layout)]}
            },
            "links": links,
        },
    )


def _item(
    made: MapStore, tile: Tile, year: int, box: tuple[float, float, float, float]
) -> dict[str, Any]:
    """The STAC item of a tile."""
    window = tile.window
    properties: dict[str, Any] = {
        "datetime": None,
        "start_datetime": f"{year}-01-01T00:00:00Z",
        "end_datetime": f"{year}-12-31T23:59:59Z",
        "proj:code": window.crs,
        "proj:shape": list(window.shape),
        "proj:transform": list(window.transform),
    }
    if year in made.matched:
        properties["tessera_mosaic:matched_to_year"] = made.matched[year]
    if year in made.compared:
        properties["tessera_mosaic:compared_with_year"] = made.compared[year]
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(EXTENSIONS),
        "id": f"{tile.name}-{year}",
        "collection": made.storage.url.rstrip("/").rpartition("/")[2],
        "geometry": mapping(shapely.box(*box)),
        "bbox": list(box),
        "properties": properties,
        "assets": {
            "map": {
                "href": f"../{cog_key(tile, year)}",
                "type": COG,
                "roles": ["data"],
                "bands": [band_description(made.layout)],
            }
        },
        "links": [
            {"rel": rel, "href": "./collection.json", "type": "application/json"}
            for rel in ("root", "parent", "collection")
        ],
    }


def _years(made: MapStore, year: int) -> list[int]:
    """Years of the map that have tiles, and the one at hand."""
    return sorted({year, *(each for each in made.years if next(made.tiles(each), None))})
