"""What decides which d-pixels are drawn, by content: however files and addresses are spelt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.model.checkpoints.files import file_digest
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.io.urls import is_local, local_path
from tessera_mosaic.pipeline.ledger.keys import RECIPE
from tessera_mosaic.pipeline.mosaic.root import refuse_others
from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule

EARLIER = ("catalog", "region", "year", "fraction", "seed", "labels", "fields", "tile")
"""Order in which earlier versions kept what the options said, by which they told recipes apart."""


def recipe_by_content(
    asked: Mapping[str, object],
    catalog: str,
    region: BaseGeometry,
    rasters: Mapping[str, str | None],
) -> bytes:
    """A recipe as the folder of its d-pixels keeps it.

    Parameters
    ----------
    asked
        Numbers and rules by name.
    catalog
        Address of the catalogue.
    region
        Polygon in degrees.
    rasters
        Paths of the rasters of labels and fields, by name.
    """
    ground = hashlib.sha256(shapely.to_wkb(region.normalize(), byte_order=1)).hexdigest()
    recipe = {
        "catalog": str(Path(local_path(catalog)).expanduser().resolve())
        if is_local(catalog)
        else catalog.rstrip("/"),
        "region": {"bounds": list(region.bounds), "sha256": ground},
        **{
            name: None if path is None else {"sha256": file_digest(Path(path).expanduser())}
            for name, path in rasters.items()
        },
        **asked,
    }
    return _encoded(recipe)


def recipe_by_spelling(asked: Mapping[str, object]) -> bytes:
    """The recipe that earlier versions kept: with what the options said."""
    named = {name: asked[name] for name in EARLIER}
    return _encoded(named | dict(asked))


def settle_recipe(storage: Storage, recipe: bytes, earlier: bytes) -> tuple[bytes, bool]:
    """Keep a folder's recipe, or see that the one it has is the same.

    Parameters
    ----------
    storage
        The folder.
    recipe, earlier
        The recipe, and how earlier versions would have kept it.

    Returns
    -------
    The recipe that the folder has, and whether it had it before.

    Raises
    ------
    BadInput
        If it has another one, or none and something else is there.
    """
    if not storage.exists(RECIPE):
        refuse_others(storage, RECIPE)
    if storage.create(RECIPE, recipe):
        return recipe, False
    found = storage.read_document(RECIPE)
    if found in (recipe, earlier):
        return found, True
    raise BadInput(
        f"{storage.url} holds d-pixels drawn with other options{_others(found, recipe)} (see its "
        f"{RECIPE}): name another folder"
    )


def offset_of_folder(storage: Storage) -> OffsetRule | None:
    """Rule by which a folder's d-pixels had the offset taken out; None where there are none."""
    try:
        with store_errors(storage.url):
            return OffsetRule(read_json(storage.read_document(RECIPE))["offset"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _others(found: bytes, recipe: bytes) -> str:
    """What differs between two recipes, in words; empty where that cannot be told."""
    try:
        known, asked = read_json(found), json.loads(recipe)
        names = [name for name in asked if name not in known or known[name] != asked[name]]
    except (ValueError, TypeError):
        return ""
    return f" or files: another {' and '.join(names)}" if names else ""


def _encoded(recipe: Mapping[str, object]) -> bytes:
    return (json.dumps(recipe, indent=1) + "\n").encode()
