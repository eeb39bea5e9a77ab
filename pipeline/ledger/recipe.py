"""What the d-pixels of a folder are drawn from, as far as its records and its checks need it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import member, whole
from tessera_mosaic.pipeline.ledger.keys import RECIPE


@dataclass(frozen=True)
class Recipe:
    """What a folder's d-pixels are drawn from.

    Parameters
    ----------
    year
        Calendar year of the observations.
    fingerprint
        The digest of all that decides the d-pixels, which every record of the folder carries.
    """

    year: int
    fingerprint: str


def read_recipe(storage: Storage) -> Recipe:
    """The recipe of a folder of d-pixels.

    Raises
    ------
    FileNotFoundError
        If the folder has none.
    BadInput
        If it cannot be read.
    """
    data = storage.read_document(RECIPE)
    try:
        return Recipe(member(read_json(data), "year", whole), recipe_fingerprint(data))
    except ValueError as error:
        raise BadInput(f"{storage.url}/{RECIPE} is damaged: {error}") from None


def recipe_fingerprint(data: bytes) -> str:
    """The digest of a recipe: sha256 over its bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()
