"""Check all that a job wrote, whether it embedded pixels, drew d-pixels or made a map."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import MAP_RECIPE, RECIPE
from tessera_mosaic.pipeline.ledger.map_recipe import read_map_recipe
from tessera_mosaic.pipeline.ledger.tile_lists import ever_planned
from tessera_mosaic.pipeline.mosaic.store import ROOT, mosaic_in
from tessera_mosaic.pipeline.tiling.lattice import zone_group
from tessera_mosaic.pipeline.verification.dpixel_checks import check_dpixels
from tessera_mosaic.pipeline.verification.findings import (
    Checked,
    Findings,
    Problem,
    ProblemKind,
    tell_nobody,
    unsound,
)
from tessera_mosaic.pipeline.verification.map_checks import check_map
from tessera_mosaic.pipeline.verification.mosaic_checks import check_mosaic


def verify(
    store: str, year: int | None = None, tell: Callable[[Problem], None] = tell_nobody
) -> Findings:
    """Check every planned tile against its record and its bytes, and all that stands beside them.

    Parameters
    ----------
    store
        Path or URL of a mosaic, of a map, or of a folder of d-pixels.
    year
        Calendar year to check; None for all years.
    tell
        Called with each problem as it is found.

    Returns
    -------
    Findings
        Numbers of tiles and objects that were looked at, and what is wrong with them.

    Raises
    ------
    BadInput
        If there is no mosaic, no map and no folder of d-pixels, or nothing of the year was planned
        or made.

    Examples
    --------
    >>> findings = tm.verify("valley.zarr", year=2024)
    >>> findings.checked - findings.ok
    1
    >>> findings.problems[0].kind.value  # the tiles of this mosaic are small: a suspicion
    'border'
    """
    findings = Findings(years=_years(Storage(store), year))
    findings.take(check_store(Storage(store), year), tell)
    return findings


def _years(storage: Storage, year: int | None) -> tuple[int, ...]:
    """Years that are checked: the one that is asked for, or all that were ever planned or made."""
    if year is not None:
        return (year,)
    if storage.exists(MAP_RECIPE):
        return tuple(read_map_recipe(storage))
    try:
        mosaic = mosaic_in(storage)
    except BadInput:
        return ()
    made = mosaic.years_made()
    return tuple(
        each for each in mosaic.years if each in made or ever_planned(storage, each, mosaic.zones)
    )


def check_store(storage: Storage, year: int | None = None) -> Iterator[Checked]:
    """Everything that a store holds, or the root alone where that of a mosaic cannot be read."""
    if storage.exists(MAP_RECIPE):
        yield from check_map(storage, year)
        return
    try:
        mosaic = mosaic_in(storage)
    except BadInput as error:
        if not storage.exists(ROOT) and storage.exists(RECIPE):
            yield from check_dpixels(storage, year)
        elif any(storage.exists(f"{zone_group(zone)}/{ROOT}") for zone in range(1, 61)):
            yield unsound(ROOT, ProblemKind.METADATA, f"the root's metadata is lost: {error}")
        else:
            raise
        return
    if year is not None and not ever_planned(storage, year, mosaic.zones):
        # A plan that was lost is a problem of the tiles that are there, and is told as one.
        mosaic.check_made(year)
    yield from check_mosaic(mosaic, mosaic.years if year is None else [year])
