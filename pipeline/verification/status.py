"""How a store stands, by its records alone: what was planned, what came of it, and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.patience import PATIENCE
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import before_work
from tessera_mosaic.pipeline.ledger.keys import MAP_RECIPE, RECIPE
from tessera_mosaic.pipeline.ledger.map_recipe import read_map_recipe
from tessera_mosaic.pipeline.ledger.recipe import read_recipe
from tessera_mosaic.pipeline.ledger.share_standing import ShareStanding, shares_standing
from tessera_mosaic.pipeline.ledger.standing import Standing, standing
from tessera_mosaic.pipeline.ledger.tile_lists import years_planned
from tessera_mosaic.pipeline.mosaic.store import mosaic_in

SUMS = ("planned", "done", "failed", "missing", "empty", "pixels", "uncertain")
"""Numbers that are summed over the years."""


@dataclass(frozen=True)
class Status:
    """How the tiles of a store stand.

    Parameters
    ----------
    years
        How those of each calendar year stand for which any were planned.
    of_map
        Whether it is a map, whose pixels are mapped and not embedded.
    shares
        How the shares stand of each year's list that was divided last, where one was.
    """

    years: Mapping[int, Standing]
    of_map: bool = False
    shares: Mapping[int, Sequence[ShareStanding]] = field(default_factory=dict)

    @property
    def planned(self) -> int:
        """Number of tiles that any run was asked for."""
        return self._sum("planned")

    @property
    def done(self) -> int:
        """Number of tiles that are finished; those with nothing to see are among them."""
        return self._sum("done")

    @property
    def failed(self) -> int:
        """Number of tiles that could not be made."""
        return self._sum("failed")

    @property
    def missing(self) -> int:
        """Number of tiles without a record."""
        return self._sum("missing")

    @property
    def failures(self) -> dict[str, int]:
        """Number of failed tiles by class of error, the most frequent first."""
        failures: Counter[str] = Counter()
        for found in self.years.values():
            failures.update(found.failures)
        return dict(failures.most_common())

    @property
    def without(self) -> dict[str, int]:
        """Number of done tiles that are from one sensor, by the sensor that they are without."""
        without: Counter[str] = Counter()
        for found in self.years.values():
            without.update(found.without)
        return dict(without)

    def to_json(self) -> dict[str, Any]:
        """The fields of `status --json`."""
        return {
            **{name: self._sum(name) for name in SUMS},
            "failures": self.failures,
            "tiles_without": self.without,
            "years": list(self.years),
            "shares": {
                str(year): [each.to_json() for each in shares]
                for year, shares in self.shares.items()
            },
            "plan": {
                str(year): {name: entry.to_json() for name, entry in found.comparison.items()}
                for year, found in self.years.items()
            },
        }

    def _sum(self, name: str) -> int:
        return sum(getattr(found, name) for found in self.years.values())


def status(store: str, year: int | None = None, store_patience: float = PATIENCE) -> Status:
    """Count the planned tiles of a store by what became of them.

    Only records are read, so it is quick whatever the store holds, and may be asked while a job is
    at work.

    Parameters
    ----------
    store
        Path or URL of a mosaic, of a map, or of a folder of d-pixels.
    year
        Calendar year; None for all years.
    store_patience
        Seconds for which a store is asked again that is busy or does not answer.

    Returns
    -------
    Status
        Numbers of tiles by what became of them, in all and by year.

    Raises
    ------
    BadInput
        If there is no mosaic, no map and no folder of d-pixels, or the year was never planned.

    Examples
    --------
    >>> found = tm.status("valley.zarr", year=2024)
    >>> found.planned, found.done, found.failures
    (12, 12, {})
    """
    storage = Storage(store, patience=store_patience)
    storage.check_listable()
    with before_work():
        of_map = storage.exists(MAP_RECIPE)
        years = tuple(read_map_recipe(storage).years) if of_map else _years(storage)
    wanted = [each for each in years if year in (None, each)]
    found = {each: standing(storage, each) for each in wanted}
    planned = {each: of for each, of in found.items() if of.planned}
    if year is not None and not planned:
        raise BadInput(f"{store} has no tiles planned for {year}")
    shares = {each: shares_standing(storage, each) for each in planned}
    return Status(planned, of_map, {each: of for each, of in shares.items() if of})


def _years(storage: Storage) -> tuple[int, ...]:
    """Years that a mosaic or a folder of d-pixels may have tiles of."""
    try:
        _ = mosaic_in(storage)
        return tuple(years_planned(storage))
    except BadInput:
        if not storage.exists(RECIPE):
            raise
        return (read_recipe(storage).year,)
