"""The page with a map of the mosaic, `index.html`, which needs no server but one for files.

OpenLayers reads the picture and the embeddings in the browser, and zarrita what is at a place. Both
lie beside the page, in `web/`, with their licences; `tools/bundle_map.py` brings them.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from importlib import resources
from string import Template
from typing import Any

from tessera_mosaic.pipeline.mosaic.layout import count_array
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.publishing.attribution import licence_of
from tessera_mosaic.pipeline.publishing.stac_item import Extent, card_name
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, WIDTH, Window, zone_crs, zone_group

DATA = resources.files("tessera_mosaic.pipeline.publishing") / "data"

BESIDE = (
    "map-libraries.js",
    "map-libraries.css",
    "map-libraries.txt",
    "map.js",
    "map.css",
)
"""Files of the package that lie in `web/`."""

TITLES = {
    count_array("s2"): "Sentinel-2 observations",
    count_array("s1_ascending"): "Sentinel-1 observations, ascending",
    count_array("s1_descending"): "Sentinel-1 observations, descending",
}


def map_page(mosaic: Mosaic, extents: Mapping[str, Extent]) -> bytes:
    """The page.

    Parameters
    ----------
    mosaic
        The mosaic that it shows.
    extents
        What the items of the catalogue cover, by their keys; at least one.
    """
    told = _told(mosaic, extents)
    name = mosaic.storage.url.rstrip("/").rpartition("/")[2]
    zones, years = len(told["zones"]), told["years"]
    summary = (
        f"Embeddings of {card_name(mosaic)}, {mosaic.layout.dims} dimensions a pixel of 10 m; "
        f"{zones} UTM {'zone' if zones == 1 else 'zones'}, {', '.join(map(str, years))}. "
        f"Licence of the weights: {licence_of(mosaic.identity)}."
    )
    page = Template((DATA / "map.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(f"{name}: TESSERA embeddings"),
        summary=html.escape(summary),
        # Within a script only this begins what would end it.
        mosaic=json.dumps(told, separators=(",", ":")).replace("<", "\\u003c"),
    )
    return page.encode()


def files_beside() -> Iterator[tuple[str, bytes]]:
    """Keys and bytes of what the page loads."""
    for name in BESIDE:
        yield f"web/{name}", (DATA / name).read_bytes()


def _told(mosaic: Mosaic, extents: Mapping[str, Extent]) -> dict[str, Any]:
    """What the page knows of the mosaic before it reads anything."""
    boxes: dict[int, list[Extent]] = {}
    for key, extent in sorted(extents.items()):
        boxes.setdefault(int(key.split("utm")[1][:2]), []).append(extent)
    return {
        "years": sorted({extent.year for extent in extents.values()}),
        "axis": list(mosaic.years),
        "counts": [count_array(name) for name in mosaic.layout.observed],
        "titles": TITLES,
        "zones": [
            {
                "zone": zone,
                "group": zone_group(zone),
                "code": zone_crs(zone),
                "transform": list(Window(zone, 0, 0, HEIGHT, WIDTH).transform),
                "boxes": _whole_boxes(covered),
            }
            for zone, covered in sorted(boxes.items())
        ],
    }


def _whole_boxes(extents: list[Extent]) -> list[tuple[float, float, float, float]]:
    """Boxes of what was made in any year: one, or two where it reaches across the antimeridian."""
    parts: dict[bool, list[tuple[float, float, float, float]]] = {}
    for extent in extents:
        west, south, east, north = extent.bbox
        if west <= east:
            parts.setdefault(west < 0, []).append(extent.bbox)
        else:
            parts.setdefault(False, []).append((west, south, 180.0, north))
            parts.setdefault(True, []).append((-180.0, south, east, north))
    return [
        (
            min(box[0] for box in boxes),
            min(box[1] for box in boxes),
            max(box[2] for box in boxes),
            max(box[3] for box in boxes),
        )
        for boxes in parts.values()
    ]
