"""How far each share is of the list that was divided last."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import tile_lists
from tessera_mosaic.pipeline.ledger.share_lists import ShareNote, latest_shares
from tessera_mosaic.pipeline.ledger.summary import LOOK_UP, find_summaries
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile

log = logging.getLogger(__name__)


@dataclass
class ShareStanding:
    """How the tiles of one share stand.

    Parameters
    ----------
    share
        The share, as `I/N`.
    tiles, done, failed, missing
        Numbers of its tiles, as in `ledger.standing`.
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


def shares_standing(storage: Storage, year: int) -> list[ShareStanding]:
    """Count the tiles of each share of a year's list that was divided last by state.

    Parameters
    ----------
    storage
        The store that holds the records.
    year
        Calendar year of the tiles.

    Returns
    -------
    The shares in order; none where no list ever was divided.
    """
    shares = latest_shares(storage, year)
    if shares is None:
        return []
    notes, share_of = shares.notes(), dict[Tile, int]()
    for zone in tile_lists.zones_planned(storage, year):
        try:
            divided = shares.read(zone)
        except FileNotFoundError:
            continue
        except Altered as error:
            log.warning("zone %d: %s; its tiles are counted in no share", zone, error)
            continue
        of_zone = {t: each for each, of in divided.items() if each < shares.count for t in of}
        share_of.update(sorted(of_zone.items()))
    names = (f"{each}/{shares.count}" for each in range(shares.count))
    standing = [ShareStanding(name, note=notes.get(each)) for each, name in enumerate(names)]
    for found in find_summaries(storage, year, share_of, LOOK_UP):
        standing[share_of[found.tile]].add(found.summary)
    return standing
