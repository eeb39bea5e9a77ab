"""A part of a mosaic as a folder that the viewer of TESSERA (TZE) opens, with pixels whole.

    catalog.json                a STAC catalogue, whose address the viewer is given
    stac/collection.json, stac/utmNN_YYYY.json
    YYYY.zarr/utmNN             a zone: `embeddings` (y, x, band), `scales` and `rgb` (y, x, ...)
    YYYY.zarr/global_rgb        the part of the store's picture of the world

The viewer reads embeddings as (y, x, band) alone, which is the layout of the convention `tessera:`
(github.com/ucam-eo/zarr-convention-tessera), one store a year; a scale is NaN where nothing is.
"""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.errors import ZarrUserWarning

from tessera_mosaic.pipeline import __version__
from tessera_mosaic.pipeline.downstream.export_geotiff import edges_of, known_scales
from tessera_mosaic.pipeline.downstream.export_request import ExportedFile
from tessera_mosaic.pipeline.downstream.selection import BLOCK, Selection
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.mosaic.identity import model_name
from tessera_mosaic.pipeline.mosaic.metadata import pyramid_objects, zone_attributes
from tessera_mosaic.pipeline.mosaic.preview_pyramid import (
    LEVELS,
    SIDE,
    STEP,
    Colours,
    chunk_key,
    level_shape,
)
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.lattice import (
    CHUNK,
    PIXEL,
    Window,
    lonlat_bounds,
    zone_crs,
    zone_group,
)

log = logging.getLogger(__name__)

CONVENTION = {
    "uuid": "e7f90d5f-019e-4a38-802f-9fa695e26c71",
    "name": "tessera:",
    "description": "Quantised geospatial embedding vectors with per-pixel dequantisation scales",
    "spec_url": "https://github.com/ucam-eo/zarr-convention-tessera/blob/v1/README.md",
    "schema_url": (
        "https://raw.githubusercontent.com/ucam-eo/zarr-convention-tessera/refs/tags/v1/schema.json"
    ),
}
"""How a node declares the convention of the layout."""

VERSION = "v1"
"""Of the layout, by the convention."""

STAC = "1.1.0"


def write_viewer_folder(
    out: Path, chosen: Selection, tell: Callable[[], None] = lambda: None
) -> list[ExportedFile]:
    """Write a region of a mosaic for the viewer; the folder must be empty.

    Parameters
    ----------
    out
        The folder.
    chosen
        The region.
    tell
        Called after each block.

    Returns
    -------
    The groups of the zones.
    """
    year, mosaic = chosen.year, chosen.mosaic
    make_directory(out)
    store = out / f"{year}.zarr"
    told = {"tessera:dataset_version": VERSION, "tessera:year": year}
    root = zarr.create_group(store, attributes={"zarr_conventions": [CONVENTION], **told})
    colours = mosaic.colours if isinstance(mosaic, Mosaic) else None
    files = []
    for window in chosen.windows:
        embedded = _write_zone(root, chosen, window, colours, tell)
        path, edges = store / zone_group(window.zone), edges_of(window)
        files.append(ExportedFile(str(path), window.crs, edges, *window.shape, embedded))
    if colours is None:
        log.warning("%s has no preview, so the viewer shows none: publish it first", mosaic.storage)
    elif isinstance(mosaic, Mosaic):
        _copy_picture(store, mosaic, colours, chosen)
    with warnings.catch_warnings():
        # Zarr's format has no words on consolidated metadata yet, which all readers know.
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(root.store)
    _write_catalogue(out, chosen)
    return files


def _write_zone(
    root: zarr.Group,
    chosen: Selection,
    window: Window,
    colours: Colours | None,
    tell: Callable[[], None],
) -> int:
    """Write the group of a zone; how many of its pixels are embedded."""
    dims, embedded = chosen.mosaic.layout.dims, 0
    place = zone_attributes(window.zone) | {
        "spatial:shape": list(window.shape),
        "spatial:transform": list(window.transform),
        "spatial:bbox": [float(edge) for edge in window.bounds],
    }
    group = root.create_group(
        zone_group(window.zone),
        attributes=place
        | {
            "zarr_conventions": [CONVENTION, *place["zarr_conventions"]],
            "tessera:dataset_version": VERSION,
            "tessera:year": chosen.year,
            "tessera:utm_zone": window.zone,
            "tessera:n_bands": dims,
            "tessera:n_tiles": len(chosen.tiles),
            "tessera:model_version": model_name(chosen.mosaic.identity),
            "tessera:build_version": f"tessera-mosaic-{__version__}",
            "tessera:has_rgb_preview": colours is not None,
        },
    )
    east = window.west + (np.arange(window.width) + 0.5) * PIXEL
    north = window.north - (np.arange(window.height) + 0.5) * PIXEL
    for name, values in (("x", east), ("y", north), ("band", np.arange(dims, dtype=np.int32))):
        group.create_array(name, data=values, dimension_names=[name])

    def planes(name: str, dtype: str, fill: Any, bands: tuple[int, ...] = ()) -> Any:
        return group.create_array(
            name,
            shape=(*window.shape, *bands),
            dtype=dtype,
            chunks=(CHUNK, CHUNK, *bands),
            shards=(BLOCK, BLOCK, *bands),
            fill_value=fill,
            compressors=BloscCodec(cname="zstd", clevel=3),
            dimension_names=("y", "x", "band")[: 2 + len(bands)],
        )

    codes = planes("embeddings", "int8", 0, (dims,))
    scales = planes("scales", "float32", np.nan)
    rgb = planes("rgb", "uint8", 0, (4,)) if colours is not None else None
    for block, pixels in chosen.read(window):
        if pixels is not None:
            at = block.within(window)
            scale = known_scales(pixels)
            known = np.isfinite(scale)
            if known.any():
                embedded += int(known.sum())
                codes[at], scales[at] = pixels.codes, scale
                if colours is not None and rgb is not None:
                    image = np.zeros((*block.shape, 4), np.uint8)
                    values = pixels.codes[known].astype(np.float32) * scale[known][:, None]
                    image[known, :3], image[known, 3] = colours.paint(values), 255
                    rgb[at] = image
        tell()
    return embedded


def _copy_picture(store: Path, mosaic: Mosaic, colours: Colours, chosen: Selection) -> None:
    """Copy the chunks of the store's picture of the world that show the region."""
    for key, data in pyramid_objects(colours):
        _write(store / key, data)
    boxes = [lonlat_bounds(window) for window in chosen.windows]
    for level in range(LEVELS):
        step, (high, wide) = STEP * 2**level * SIDE, level_shape(level)
        places = {
            (row, col % -(-wide // SIDE))
            for west, south, east, north in boxes
            for row in range(math.floor((90 - north) / step), math.floor((90 - south) / step) + 1)
            for col in range(math.floor((west + 180) / step), math.floor((east + 180) / step) + 1)
            if row * SIDE < high
        }
        for row, col in sorted(places):
            try:
                data = mosaic.storage.read(chunk_key(level, row, col))
            except FileNotFoundError:
                continue
            _write(store / chunk_key(level, row, col), data)


def _write_catalogue(out: Path, chosen: Selection) -> None:
    """Write the catalogue, its collection, and an item a zone."""
    year = chosen.year
    title = f"{model_name(chosen.mosaic.identity)}, {year}"
    span = [f"{year}-01-01T00:00:00Z", f"{year}-12-31T23:59:59Z"]
    boxes = {window: list(lonlat_bounds(window)) for window in chosen.windows}
    names = {window: f"{zone_group(window.zone)}_{year}" for window in chosen.windows}
    root = {"rel": "root", "type": "application/json"}
    for window, box in boxes.items():
        west, south, east, north = box
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        item = {
            "type": "Feature",
            "stac_version": STAC,
            "id": names[window],
            "collection": "export",
            "bbox": box,
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {
                "datetime": None,
                "start_datetime": span[0],
                "end_datetime": span[1],
                "utm_zone": window.zone,
                "proj:code": zone_crs(window.zone),
            },
            "links": [
                root | {"href": "../catalog.json"},
                {"rel": "collection", "href": "./collection.json", "type": "application/json"},
                {"rel": "parent", "href": "./collection.json", "type": "application/json"},
            ],
            "assets": {
                "zarr": {
                    "href": f"../{year}.zarr/{zone_group(window.zone)}",
                    "type": "application/vnd.zarr; version=3",
                    "roles": ["data"],
                }
            },
        }
        _write_json(out / "stac" / f"{names[window]}.json", item)
    whole = [min(b[0] for b in boxes.values()), min(b[1] for b in boxes.values())]
    whole += [max(b[2] for b in boxes.values()), max(b[3] for b in boxes.values())]
    collection = {
        "type": "Collection",
        "stac_version": STAC,
        "id": "export",
        "title": title,
        "description": f"A part of a mosaic of {title}.",
        "license": "other",
        "extent": {"spatial": {"bbox": [whole]}, "temporal": {"interval": [span]}},
        "links": [
            root | {"href": "../catalog.json"},
            {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
            *(
                {"rel": "item", "href": f"./{name}.json", "type": "application/geo+json"}
                for name in names.values()
            ),
        ],
    }
    _write_json(out / "stac" / "collection.json", collection)
    catalogue = {
        "type": "Catalog",
        "stac_version": STAC,
        "id": "export-catalog",
        "title": title,
        "description": collection["description"],
        "links": [
            root | {"href": "./catalog.json"},
            {"rel": "child", "href": "./stac/collection.json", "type": "application/json"},
        ],
    }
    _write_json(out / "catalog.json", catalogue)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    _write(path, json.dumps(document, indent=1).encode())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
