"""What decides the bytes of a map's years, as far as its records and its checks need it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import listed, member, named, text
from tessera_mosaic.pipeline.ledger.keys import HEAD, MAP_RECIPE
from tessera_mosaic.pipeline.tiling.lattice import Tile, zone_group

MOST_YEARS, MOST_OBJECTS = 1000, 1000
"""Years, and objects of a tile, that a recipe may tell of."""

LOCK = "map"
"""Name of the lock of whoever edits the recipe."""


@dataclass(frozen=True)
class MapYear:
    """A year of a map.

    Parameters
    ----------
    fingerprint
        The digest of all that decides its bytes, which every record carries.
    objects
        Keys of a tile's objects, with `{zone}` (`utm31`), its `{number}`, `{row}`, `{col}` and
        `{tile}` in their places.
    """

    fingerprint: str
    objects: tuple[str, ...]

    def keys(self, tile: Tile) -> tuple[str, ...]:
        """Keys of the objects of a finished tile, in the order in which they are put."""
        names = {
            "zone": zone_group(tile.zone),
            "number": tile.zone,
            "row": tile.row,
            "col": tile.col,
            "tile": tile.name,
        }
        return tuple(template.format(**names) for template in self.objects)


@dataclass(frozen=True)
class MapRecipe:
    """What a map is made by.

    Parameters
    ----------
    command
        The command that makes its tiles.
    files
        Keys of what all of its tiles depend on, such as its head.
    years
        Its calendar years.
    """

    command: str
    files: tuple[str, ...]
    years: Mapping[int, MapYear]


BY_HEAD = MapRecipe("map", (HEAD,), {})
"""What the recipe of a map is that does not say so."""


def read_map_recipe(storage: Storage) -> MapRecipe:
    """What a map is made by.

    Raises
    ------
    FileNotFoundError
        If the store has no recipe of a map.
    BadInput
        If it cannot be read.
    """
    data = storage.read_document(MAP_RECIPE)
    try:
        told = read_json(data)
        years = {
            int(year): MapYear(
                member(of, "fingerprint", text),
                member(of, "objects", lambda keys: listed(keys, text, MOST_OBJECTS)),
            )
            for year, of in member(told, "years", lambda of: named(of, dict, MOST_YEARS)).items()
        }
        command = text(told.get("command", BY_HEAD.command))
        files = listed(told.get("files", list(BY_HEAD.files)), text, MOST_OBJECTS)
        return MapRecipe(command, files, years)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{storage.url}/{MAP_RECIPE} is damaged: {error!r}") from None


def add_map_year(storage: Storage, year: int, told: MapYear, by: MapRecipe = BY_HEAD) -> None:
    """Put a year into a map's recipe, in place of what was told of it before.

    Parameters
    ----------
    storage
        The store of the map.
    year, told
        The calendar year, and what decides its bytes.
    by
        What makes the map: its command, and what more all years depend on than was told before.
    """
    with locked(storage, LOCK):
        try:
            known = read_map_recipe(storage)
        except FileNotFoundError:
            known = replace(by, years={})
        files = tuple(dict.fromkeys((*known.files, *by.files)))
        recipe = MapRecipe(by.command, files, {**known.years, year: told})
        if recipe == known:
            return
        fields = {
            "command": recipe.command,
            "files": list(recipe.files),
            "years": {
                str(each): {"fingerprint": of.fingerprint, "objects": list(of.objects)}
                for each, of in sorted(recipe.years.items())
            },
        }
        storage.write(MAP_RECIPE, (json.dumps(fields, indent=1) + "\n").encode())
