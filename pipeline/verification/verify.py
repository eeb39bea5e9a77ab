"""Check all that a job wrote, whether it embedded pixels, drew d-pixels or made a map."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.patience import PATIENCE
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import before_work
from tessera_mosaic.pipeline.ledger.keys import MAP_RECIPE, RECIPE
from tessera_mosaic.pipeline.ledger.map_recipe import read_map_recipe
from tessera_mosaic.pipeline.ledger.tile_lists import years_planned
from tessera_mosaic.pipeline.mosaic.store import ROOT, mosaic_in
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
    store: str,
    year: int | None = None,
    tell: Callable[[Problem], None] = tell_nobody,
    store_patience: float = PATIENCE,
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
    store_patience
        Seconds for which a store is asked again that is busy or does not answer.

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
    storage = Storage(store, patience=store_patience)
    storage.check_listable()
    with before_work():
        findings = Findings(years=_years(storage, year))
    findings.take(check_store(storage, year), tell)
    return findings


def _years(storage: Storage, year: int | None) -> tuple[int, ...]:
    """Years that are checked: the one that is asked for, or all that were ever planned or made."""
    if year is not None:
        return (year,)
    if storage.exists(MAP_RECIPE):
        return tuple(read_map_recipe(storage).years)
    try:
        mosaic = mosaic_in(storage)
    except BadInput:
        return ()
    known = set(years_planned(storage)) or mosaic.years_made()
    return tuple(each for each in mosaic.years if each in known)


def check_store(storage: Storage, year: int | None = None) -> Iterator[Checked]:
    """Everything that a store holds, or the root alone where that of a mosaic cannot be read."""
    with before_work():
        mapped = storage.exists(MAP_RECIPE)
    if mapped:
        yield from check_map(storage, year)
        return
    try:
        mosaic = mosaic_in(storage)
    except BadInput as error:
        with before_work():
            drawn = not storage.exists(ROOT) and storage.exists(RECIPE)
        if drawn:
            yield from check_dpixels(storage, year)
        elif any(re.fullmatch(r"utm\d\d", name) for name in storage.folders()):
            yield unsound(ROOT, ProblemKind.METADATA, f"the root's metadata is lost: {error}")
        else:
            raise
        return
    if year is not None and year not in years_planned(storage):
        # A plan that was lost is a problem of the tiles that are there, and is told as one.
        mosaic.check_made(year)
    yield from check_mosaic(mosaic, mosaic.years if year is None else [year])
