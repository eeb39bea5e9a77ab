"""Whether a map is whole: its tiles, their records and objects."""

from __future__ import annotations

from collections.abc import Iterator

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import MAP_RECIPE
from tessera_mosaic.pipeline.ledger.map_recipe import read_map_recipe
from tessera_mosaic.pipeline.ledger.tile_lists import zones_planned
from tessera_mosaic.pipeline.verification.dpixel_checks import survey_objects
from tessera_mosaic.pipeline.verification.findings import Checked, ProblemKind, sound, unsound
from tessera_mosaic.pipeline.verification.record_checks import ABSENT, TileCheck, check_zone


def check_map(storage: Storage, year: int | None) -> Iterator[Checked]:
    """Check a map.

    Parameters
    ----------
    storage
        The store, which holds the recipe of a map.
    year
        Calendar year to check; None for all years.

    Raises
    ------
    BadInput
        If the map has no such year, or its recipe is damaged.
    """
    recipe = read_map_recipe(storage)
    years, command = recipe.years, recipe.command
    if year is not None and year not in years:
        have = ", ".join(map(str, years))
        raise BadInput(f"{storage.url} is a map of {have}, not of {year}")
    yield sound(MAP_RECIPE)
    for key in recipe.files:
        if storage.exists(key):
            yield sound(key)
        else:
            yield unsound(key, ProblemKind.MISSING, f"{ABSENT}; the next `{command}` writes it")
    for each in years if year is None else (year,):
        check = TileCheck(
            storage=storage,
            year=each,
            command=command,
            fingerprint=years[each].fingerprint,
            keys=years[each].keys,
            survey=lambda tile, record: survey_objects(storage, record),
        )
        for zone in zones_planned(storage, each):
            yield from check_zone(check, zone)
