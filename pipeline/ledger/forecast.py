"""What was planned of a run, kept in the store, and set beside what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tessera_mosaic.pipeline.console import rounded
from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.sealed import seal, unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import listed, member, named, number, text
from tessera_mosaic.pipeline.ledger.keys import forecast_key
from tessera_mosaic.pipeline.ledger.tile_lists import requested_tiles
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile

SECONDS_AN_HOUR = 3600


class Range(NamedTuple):
    """What is expected of a number, and the two between which it is likely to lie."""

    expected: float
    low: float
    high: float


MOST_NAMES = 100
"""Most numbers of one forecast."""

Forecast = dict[str, Range]
"""What is expected of a run, by name: `tiles`, `pixels`, `scenes` and so on."""


def write_forecast(storage: Storage, year: int, request: str, forecast: Forecast) -> None:
    """Keep the forecast of the run that was asked for last."""
    storage.write(forecast_key(year), seal({"request": request, "ranges": forecast}))


def read_forecast(storage: Storage, year: int) -> tuple[str, Forecast]:
    """The request that a year's forecast is of, and the forecast; empty where there is none."""
    try:
        kept = unseal(storage.read_document(forecast_key(year)))
        ranges = member(kept, "ranges", lambda value: named(value, _range, MOST_NAMES))
        if ranges and "tiles" not in ranges:
            raise ValueError("it does not say how many tiles")
        return member(kept, "request", text), ranges
    except FileNotFoundError:
        return "", {}
    except ValueError as error:
        raise Altered(f"{forecast_key(year)}: no forecast can be read: {error}") from None


def _range(value: Any) -> Range:
    values = listed(value, lambda each: number(each, most=1e30), 3)
    if len(values) != 3:
        raise ValueError("three numbers belong there")
    return Range(*values)


@dataclass(frozen=True)
class Compared:
    """A number that was planned, and what came of it.

    Parameters
    ----------
    planned
        What was expected, and where it was likely to lie.
    outcome
        What came of it so far.
    """

    planned: Range
    outcome: float

    def to_json(self) -> dict[str, Any]:
        """An entry of `plan` in `status --json`."""
        expected, low, high = self.planned
        return {"planned": expected, "likely": [low, high], "outcome": self.outcome}


@dataclass
class Comparison:
    """Adds up what came of the tiles that a forecast is of.

    Parameters
    ----------
    forecast
        What was expected.
    tiles
        The tiles that it is of; None for all that there are.
    """

    forecast: Forecast
    tiles: set[Tile] | None
    _sums: Counter[str] = field(default_factory=Counter)
    _encoding: float = 0.0

    @classmethod
    def of(cls, storage: Storage, year: int, planned: int) -> Comparison:
        """Begin with a year's forecast, in a store with so many planned tiles."""
        request, forecast = read_forecast(storage, year)
        everything = not forecast or forecast["tiles"].expected == planned
        return cls(forecast, None if everything else set(requested_tiles(storage, year, request)))

    def add(self, tile: Tile, row: TileSummary) -> None:
        """Add what came of a tile."""
        if not self.forecast or not (self.tiles is None or tile in self.tiles):
            return
        sums = self._sums
        sums["tiles"] += row.finished
        sums["pixels"] += row.pixels.get("embedded", 0)
        sums["owned"] += row.pixels.get("owned", 0)
        sums["scenes"] += row.scenes_used + row.scenes_unused
        sums["tokens"] += row.tokens
        sums["bytes_read"] += row.bytes_read
        sums["requests_read"] += row.requests_read
        sums["bytes_written"] += row.bytes_written
        self._encoding += row.seconds.get("encode", 0.0)

    def compared(self) -> dict[str, Compared]:
        """What was planned beside what came of it, by name."""
        outcome = {
            **self._sums,
            "tokens_per_pixel": self._sums["tokens"] / max(self._sums["owned"], 1),
            "accelerator_hours": self._encoding / SECONDS_AN_HOUR,
        }
        return {
            name: Compared(planned, rounded(outcome.get(name, 0)))
            for name, planned in self.forecast.items()
        }
