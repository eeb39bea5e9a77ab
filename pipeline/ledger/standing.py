"""How a year of a store stands: planned, done, failed and missing tiles."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import tile_lists
from tessera_mosaic.pipeline.ledger.forecast import Compared, Comparison
from tessera_mosaic.pipeline.ledger.records import Failure, State
from tessera_mosaic.pipeline.ledger.share_lists import ShareNote, latest_shares
from tessera_mosaic.pipeline.ledger.summary import LOOK_UP, find_summaries
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile

log = logging.getLogger(__name__)


@dataclass
class ShareStanding:
    """How the tiles of one share stand, of the list that was divided last.

    Parameters
    ----------
    share
        The share, as `I/N`.
    tiles, done, failed, missing
        Numbers of its tiles, as in `Standing`.
    note
        Who makes it, or did; None where nobody has begun.
    """

    share: str
    tiles: int = 0
    done: int = 0
    failed: int = 0
    missing: int = 0
    note: ShareNote | None = None

    @property
    def state(self) -> str:
        """What became of its launcher."""
        return "not begun" if self.note is None else self.note.state.value

    def add(self, row: TileSummary | None) -> None:
        """Count one of its tiles by its summary, None where it has no record."""
        self.tiles += 1
        self.missing += row is None
        self.done += row is not None and row.finished
        self.failed += row is not None and not row.finished

    def to_json(self) -> dict[str, Any]:
        """An entry of `shares` in `status --json`."""
        numbers = {name: getattr(self, name) for name in ("tiles", "done", "failed", "missing")}
        told = {} if self.note is None else {"by": self.note.by, "last_sign": self.note.at}
        return {"share": self.share, **numbers, "state": self.state, **told}


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
    shares
        How the shares stand of the list that was divided last; empty where none ever was.
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
    shares: list[ShareStanding] = field(default_factory=list)

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
    result.shares, share_of = shares_standing(storage, year)
    for found in find_summaries(storage, year, tiles, LOOK_UP):
        result.add(found.tile, found.summary)
        result.uncertain += not (found.asked or found.finished)
        if found.tile in share_of:
            result.shares[share_of[found.tile]].add(found.summary)
        if found.summary is not None:
            comparison.add(found.tile, found.summary)
    result.comparison = comparison.compared()
    return result


def shares_standing(storage: Storage, year: int) -> tuple[list[ShareStanding], dict[Tile, int]]:
    """The shares of a year's list that was divided last, and of which share each tile is."""
    shares = latest_shares(storage, year)
    if shares is None:
        return [], {}
    notes, share_of = shares.notes(), {}
    for zone in tile_lists.zones_planned(storage, year):
        try:
            share_of.update({t: index for index, of in shares.read(zone).items() for t in of})
        except FileNotFoundError:
            continue
        except Altered as error:
            log.warning("zone %d: %s; how far each share is does not count its tiles", zone, error)
    count = range(shares.count)
    found = [ShareStanding(f"{each}/{shares.count}", note=notes.get(each)) for each in count]
    return found, {tile: index for tile, index in share_of.items() if index < shares.count}
