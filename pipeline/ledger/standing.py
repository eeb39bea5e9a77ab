"""How a year of a store stands: planned, done, failed and missing tiles."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tessera_mosaic.pipeline.errors import StoreMismatch
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import tile_lists
from tessera_mosaic.pipeline.ledger.forecast import Compared, Comparison
from tessera_mosaic.pipeline.ledger.records import Failure, State
from tessera_mosaic.pipeline.ledger.summary import LOOK_UP, find_summaries, read_summary
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile


@dataclass
class Standing:
    """How the tiles of a year stand.

    Parameters
    ----------
    planned
        Number of tiles that any run was asked for.
    done
        Number of those that are finished; those with nothing to see are among them.
    failed
        Number of those that could not be made.
    missing
        Number of those without a record.
    empty
        Number of finished tiles with nothing to see.
    without
        Number of done tiles that are from one sensor, by the sensor that they are without.
    failures
        Number of failed tiles by class of error.
    examples
        One failed tile and its message for each class of error.
    pixels
        Number of pixels that are embedded.
    uncertain
        Number of failed and missing tiles that a run may have made since the last summary.
    comparison
        What was planned of the latest run beside what came of it, by name.
    """

    planned: int = 0
    done: int = 0
    failed: int = 0
    missing: int = 0
    empty: int = 0
    without: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    pixels: int = 0
    uncertain: int = 0
    comparison: dict[str, Compared] = field(default_factory=dict)

    def add(self, tile: Tile, row: TileSummary | None) -> None:
        """Count one planned tile by its summary, None where it has no record."""
        self.planned += 1
        if row is None:
            self.missing += 1
        elif row.finished:
            self.done += 1
            self.empty += row.state is State.EMPTY
            self.pixels += row.pixels.get("embedded", 0)
            self.without.update([row.lacks] if row.lacks else [])
        else:
            self.failed += 1
            error = row.error or Failure("unknown")
            self.failures[error.kind] += 1
            self.examples.setdefault(error.kind, f"{tile.name}: {error.message}")


def standing(storage: Storage, year: int) -> Standing:
    """Count a year's planned tiles by state.

    While a run is at work, or after one that was killed, some rows may not be in the summaries
    yet: up to `LOOK_UP` tiles are then asked one by one. Any others are as in the summaries, and
    `uncertain` counts them.

    Parameters
    ----------
    storage
        The store that holds the records.
    year
        Calendar year of the tiles.
    """
    result = Standing()
    tiles = list(tile_lists.planned_tiles(storage, year))
    comparison = Comparison.of(storage, year, len(tiles))
    for found in find_summaries(storage, year, tiles, LOOK_UP):
        result.add(found.tile, found.summary)
        result.uncertain += not (found.asked or found.finished)
        if found.summary is not None:
            comparison.add(found.tile, found.summary)
    result.comparison = comparison.compared()
    return result


def check_made_by(storage: Storage, fingerprint: str) -> None:
    """Refuse a store whose tiles another run has made, where nothing else tells whose they are.

    Raises
    ------
    StoreMismatch
        If a summary tells so.
    """
    for year in tile_lists.years_planned(storage):
        for zone in tile_lists.zones_planned(storage, year):
            rows = read_summary(storage, year, zone).values()
            if other := next((row for row in rows if row.finished), None):
                if other.fingerprint != fingerprint:
                    raise StoreMismatch(
                        f"{storage.url} has a damaged root, and tiles of another run: give the "
                        "command that made them, which writes the root anew"
                    )
                return
