"""The mosaic as a STAC catalogue: a root, one collection, and an item for each zone and year.

    catalog.json                the root, which clients are given
    stac/collection.json        the mosaic
    stac/utmNN_YYYY.json        a zone and year
    YYYY.zarr/global_rgb        on a disk, a link to the picture, where the viewer of TESSERA looks

The fields of the embedding extension are used as far as they are settled; its draft schema (0.0.1)
still asks for STAC 1.0.0, so it is not declared.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import ATTRIBUTION, COLLECTION, REGISTRY, picture_link
from tessera_mosaic.pipeline.mosaic.metadata import SOURCES
from tessera_mosaic.pipeline.mosaic.preview_pyramid import GROUP
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.publishing.attribution import licence_of, terms
from tessera_mosaic.pipeline.publishing.stac_item import (
    EVERY_TILE,
    IDENTIFIER,
    PARQUET,
    SCIENTIFIC,
    VERSION,
    XARRAY,
    ZARR,
    Extent,
    card_name,
    cited,
    encode_document,
    sources,
    span,
)
from tessera_mosaic.pipeline.tiling.lattice import PIXEL

log = logging.getLogger(__name__)

TITLE = "TESSERA embeddings of Sentinel-1 and Sentinel-2"

OPEN_TREE = {"engine": "zarr", "chunks": "auto", "consolidated": True}
"""Arguments of `xarray.open_datatree` for all zones."""


def make_catalog(mosaic: Mosaic) -> bytes:
    """Make the root of the catalogue, as it is stored.

    Parameters
    ----------
    mosaic
        The mosaic that is catalogued.
    """
    links = [
        {"rel": "root", "href": "./catalog.json", "type": "application/json"},
        {
            "rel": "child",
            "href": f"./{COLLECTION}",
            "type": "application/json",
            "title": TITLE,
        },
    ]
    return encode_document(
        {
            "type": "Catalog",
            "stac_version": VERSION,
            "id": f"{IDENTIFIER}-catalog",
            "title": TITLE,
            "description": f"A mosaic of {card_name(mosaic)}, with an item for each zone and year.",
            "links": links,
        }
    )


def make_collection(mosaic: Mosaic, extents: Mapping[str, Extent]) -> bytes:
    """Make the collection, as it is stored.

    Parameters
    ----------
    mosaic
        The mosaic that is catalogued.
    extents
        What the items cover, by their keys; at least one.
    """
    return encode_document(_collection(mosaic, extents))


def link_picture(storage: Storage, years: Iterable[int]) -> None:
    """Let the picture be found as `YYYY.zarr/global_rgb` beside the root of the catalogue.

    That is where the viewer of TESSERA looks for it. A store on a disk gets a link for each year,
    which costs no byte; elsewhere `docs/readers.md` says what to do.
    """
    if storage.folder is None:
        return
    for year in years:
        link = storage.folder / picture_link(year)
        if not link.exists():
            try:
                link.parent.mkdir(exist_ok=True)
                os.symlink(f"../{GROUP}", link)
            except OSError as error:
                log.warning("%s cannot be made (%s); docs/readers.md says what to do", link, error)
                return


def _collection(mosaic: Mosaic, extents: Mapping[str, Extent]) -> dict[str, Any]:
    boxes = [list(extent.bbox) for extent in extents.values()]
    whole = [min(b[0] for b in boxes), min(b[1] for b in boxes)]
    whole += [max(b[2] for b in boxes), max(b[3] for b in boxes)]
    years = sorted({extent.year for extent in extents.values()})
    spans = [list(span(year)) for year in years]
    interval = [[spans[0][0], spans[-1][1]]]
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": [SCIENTIFIC, XARRAY],
        "id": IDENTIFIER,
        "title": TITLE,
        "description": (
            f"Annual embeddings of {card_name(mosaic)}, {mosaic.layout.dims} dimensions a pixel of "
            f"{PIXEL} m, one UTM zone a group of one Zarr store. {ATTRIBUTION} says whom to credit."
        ),
        "license": licence_of(mosaic.identity),
        **cited(mosaic),
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
        "tessera_mosaic:terms": terms(mosaic.identity),
        **_weights(mosaic),
        "links": [
            {"rel": "root", "href": "../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
            *sources(mosaic),
            *({"rel": "emb:source-data", "href": href} for href in SOURCES.values()),
            *(
                {"rel": "item", "href": f"./{key.split('/')[1]}", "type": "application/geo+json"}
                for key in extents
            ),
        ],
        "assets": {
            "store": {
                "href": "..",
                "type": ZARR,
                "roles": ["data"],
                "title": "The Zarr store, all zones and years",
                "xarray:open_kwargs": OPEN_TREE,
            },
            "registry": {
                "href": f"../{REGISTRY}",
                "type": PARQUET,
                "roles": ["metadata"],
                "title": EVERY_TILE,
            },
        },
    }


def _weights(mosaic: Mosaic) -> dict[str, str]:
    """The digest of the weights, where a run of ours used them."""
    encoder = mosaic.identity.get("encoder")
    return {"tessera_mosaic:weights_sha256": encoder["weights_sha256"]} if encoder else {}
