"""The outline inside which a mosaic's pixels are made, as its store keeps it."""

from __future__ import annotations

import shapely
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.sealed import seal, unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import member, text
from tessera_mosaic.pipeline.ledger.keys import FIRST_REGION, REGION
from tessera_mosaic.pipeline.ledger.records import MOST_DIGITS


def write_outline(storage: Storage, outline: BaseGeometry) -> None:
    """Put a store's outline, a polygon in degrees, in place of the one it had."""
    storage.write(REGION, seal({"wkb": shapely.to_wkb(outline, hex=True)}))


def outline_kept(storage: Storage) -> BaseGeometry:
    """A store's outline in degrees.

    Raises
    ------
    FileNotFoundError
        If it has none.
    Altered
        If it cannot be read.
    """
    try:
        data = storage.read_document(REGION)
    except FileNotFoundError:
        return _polygon(storage.read_document(FIRST_REGION), FIRST_REGION)
    try:
        told = member(unseal(data), "wkb", lambda value: text(value, MOST_DIGITS))
    except ValueError as error:
        raise Altered(f"{REGION} cannot be read: {error}") from None
    return _polygon(told, REGION)


def first_outline(storage: Storage) -> BaseGeometry | None:
    """The only outline of a store that was made before stores could grow; None of others."""
    try:
        return _polygon(storage.read_document(FIRST_REGION), FIRST_REGION)
    except (FileNotFoundError, Altered):
        return None


def _polygon(wkb: bytes | str, key: str) -> BaseGeometry:
    try:
        outline = shapely.from_wkb(wkb)
    except (ShapelyError, ValueError) as error:
        raise Altered(f"{key} cannot be read: {error}") from None
    if outline.geom_type not in ("Polygon", "MultiPolygon"):
        raise Altered(f"{key} is no polygon")
    return outline
