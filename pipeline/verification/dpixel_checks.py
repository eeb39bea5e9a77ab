"""Whether a folder of d-pixels is whole: its tiles, their records and files, and its index."""

from __future__ import annotations

from collections.abc import Iterator

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.stored_object import Damaged, check_object
from tessera_mosaic.pipeline.ledger.keys import INDEX, RECIPE, dpixels_key
from tessera_mosaic.pipeline.ledger.recipe import read_recipe
from tessera_mosaic.pipeline.ledger.records import Record, State
from tessera_mosaic.pipeline.ledger.tile_lists import zones_planned
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tessera_mosaic.pipeline.verification.findings import Checked, ProblemKind, sound, unsound
from tessera_mosaic.pipeline.verification.record_checks import (
    ABSENT,
    Survey,
    TileCheck,
    TileReport,
    check_zone,
)

COMMAND = "sample"
"""The command that makes a folder of d-pixels."""


def check_dpixels(storage: Storage, year: int | None) -> Iterator[Checked]:
    """Check a folder of d-pixels.

    Parameters
    ----------
    storage
        The folder, which holds a recipe.
    year
        Calendar year to check; None for the one that the recipe names.

    Raises
    ------
    BadInput
        If the folder has no such year, or was made before `sample` kept records.
    """
    recipe = read_recipe(storage)
    drawn = recipe.year
    if year not in (None, drawn):
        raise BadInput(f"{storage.url} has no year {year}: its d-pixels are of {drawn}")
    zones = zones_planned(storage, drawn)
    if not zones:
        raise BadInput(
            f"{storage.url} has no records of its tiles: run `{COMMAND}` again with the options "
            f"that its {RECIPE} names, which adds them"
        )
    yield sound(RECIPE)
    check = TileCheck(
        storage=storage,
        year=drawn,
        command=COMMAND,
        fingerprint=recipe.fingerprint,
        keys=lambda tile: (dpixels_key(tile, drawn),),
        survey=lambda tile, record: survey_objects(storage, record),
    )
    drawn_of: dict[str, int] = {}

    def tell(tile: Tile, report: TileReport) -> None:
        if report.summary is not None and report.summary.state is State.DONE:
            drawn_of[dpixels_key(tile, drawn)] = report.summary.pixels.get("drawn", 0)

    for zone in zones:
        yield from check_zone(check, zone, tell)
    yield check_index(storage, drawn_of)


def check_index(storage: Storage, drawn_of: dict[str, int]) -> Checked:
    """Compare a folder's index with what its records come to.

    Parameters
    ----------
    storage
        The folder of d-pixels.
    drawn_of
        Number of d-pixels of every tile that is done, by the key of its file.
    """
    remedy = f"the next `{COMMAND}` writes it again"
    try:
        same = read_json(storage.read_document(INDEX))["files"] == drawn_of
    except FileNotFoundError:
        return unsound(INDEX, ProblemKind.MISSING, f"{ABSENT}; {remedy}")
    except (ValueError, KeyError, TypeError) as error:
        return unsound(INDEX, ProblemKind.METADATA, f"it cannot be read: {error!r}; {remedy}")
    if not same:
        other = f"its files are not those of the records; {remedy}"
        return unsound(INDEX, ProblemKind.METADATA, other)
    return sound(INDEX)


def survey_objects(storage: Storage, record: Record) -> Survey:
    """Compare the bytes of a tile's objects with their sizes and digests in its record."""
    problems = []
    for stored in record.objects:
        try:
            check_object(storage, stored)
        except Damaged as damaged:
            problems.append((ProblemKind(damaged.damage), str(damaged)))
    return Survey(tuple(problems))
