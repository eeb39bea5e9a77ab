"""What the plan said of a run, kept in the store, and set beside what came of it.

records/<year>/forecast.json    the plan of the run that was asked for last
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tessera_mosaic.pipeline.console import rounded
from tessera_mosaic.pipeline.io.sealed import seal, unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import forecast_key
from tessera_mosaic.pipeline.ledger.tile_lists import requested_tiles
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile

Ranges = dict[str, list[float]]
"""By name: the value that is expected, and the two between which it is likely to lie."""


def write_forecast(storage: Storage, year: int, request: str, ranges: Ranges) -> None:
    """Keep the forecast of the run that was asked for last."""
    storage.write(forecast_key(year), seal({"request": request, "ranges": ranges}))


def read_forecast(storage: Storage, year: int) -> tuple[str, Ranges]:
    """The request that a year's forecast is of, and the forecast; empty where there is none."""
    try:
        kept = unseal(storage.read(forecast_key(year)))
    except FileNotFoundError:
        return "", {}
    return kept["request"], kept["ranges"]


@dataclass
class Comparison:
    """Adds up what came of the tiles that a forecast is of.

    Parameters
    ----------
    ranges
        The forecast.
    tiles
        That it is of; None for all that there are.
    """

    ranges: Ranges
    tiles: set[Tile] | None
    _sums: Counter[str] = field(default_factory=Counter)
    _encode: float = 0.0

    @classmethod
    def of(cls, storage: Storage, year: int, planned: int) -> Comparison:
        """Of a year's forecast, on a store with so many planned tiles."""
        request, ranges = read_forecast(storage, year)
        everything = not ranges or ranges["tiles"][0] == planned
        return cls(ranges, None if everything else set(requested_tiles(storage, year, request)))

    def add(self, tile: Tile, row: TileSummary) -> None:
        """Add a tile by its short record."""
        if not self.ranges or not (self.tiles is None or tile in self.tiles):
            return
        sums = self._sums
        sums["tiles"] += row.finished
        sums["pixels"] += row.pixels.get("embedded", 0)
        sums["owned"] += row.pixels.get("owned", 0)
        sums["scenes"] += row.scenes_used + row.scenes_unused
        self._encode += row.seconds.get("encode", 0.0)
        for name in ("tokens", "bytes_read", "requests_read", "bytes_written"):
            sums[name] += getattr(row, name)

    def to_json(self) -> dict[str, dict[str, Any]]:
        """By name: what was planned, where it was likely to lie, and what came of it."""
        sums = self._sums
        outcome = {
            **sums,
            "tokens_per_pixel": sums["tokens"] / max(sums["owned"], 1),
            "accelerator_hours": self._encode / 3600,
        }
        return {
            name: {
                "planned": value,
                "likely": [low, high],
                "outcome": rounded(outcome.get(name, 0)),
            }
            for name, (value, low, high) in self.ranges.items()
        }
