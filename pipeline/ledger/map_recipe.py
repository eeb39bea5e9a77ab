"""What decides the bytes of a map's years, as far as its records and its checks need it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import MAP_RECIPE
from tessera_mosaic.pipeline.tiling.lattice import Tile, zone_group

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
        Keys of a tile's objects, with `{zone}`, `{row}`, `{col}`, `{tile}` in their places.
    """

    fingerprint: str
    objects: tuple[str, ...]

    def keys(self, tile: Tile) -> tuple[str, ...]:
        """Keys of the objects of a finished tile, in the order in which they are put."""
        names = {
            "zone": zone_group(tile.zone),
            "row": tile.row,
            "col": tile.col,
            "tile": tile.name,
        }
        return tuple(template.format(**names) for template in self.objects)


def read_map_recipe(storage: Storage) -> dict[int, MapYear]:
    """The years of a map.

    Raises
    ------
    FileNotFoundError
        If the store has no recipe of a map.
    BadInput
        If it cannot be read.
    """
    data = storage.read_document(MAP_RECIPE)
    try:
        return {
            int(year): MapYear(str(told["fingerprint"]), tuple(map(str, told["objects"])))
            for year, told in read_json(data)["years"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{storage.url}/{MAP_RECIPE} is damaged: {error!r}") from None


def add_map_year(storage: Storage, year: int, told: MapYear) -> None:
    """Put a year into a map's recipe, in place of what was told of it before."""
    with locked(storage, LOCK):
        try:
            years: Mapping[int, MapYear] = read_map_recipe(storage)
        except FileNotFoundError:
            years = {}
        if years.get(year) == told:
            return
        fields = {
            str(each): {"fingerprint": of.fingerprint, "objects": list(of.objects)}
            for each, of in sorted({**years, year: told}.items())
        }
        storage.write(MAP_RECIPE, (json.dumps({"years": fields}, indent=1) + "\n").encode())
