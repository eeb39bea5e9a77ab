"""What a worker has to know of a job, and which tiles it makes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tessera_mosaic.pipeline.errors import FAULTS, Fault
from tessera_mosaic.pipeline.io.patience import PATIENCE
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.maker import Maker
from tessera_mosaic.pipeline.job.pacing import Pacing
from tessera_mosaic.pipeline.job.shares import Share
from tessera_mosaic.pipeline.ledger.keys import request_key
from tessera_mosaic.pipeline.ledger.records import FINISHED, Record, State
from tessera_mosaic.pipeline.ledger.share_lists import Shares
from tessera_mosaic.pipeline.ledger.tile_lists import decode_tiles
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile


@dataclass(frozen=True)
class JobSpec:
    """What a worker has to know. Small and picklable: weights and tiles are named, not held.

    Parameters
    ----------
    maker
        What is made of each tile.
    store, year
        Path or URL of the store, and the calendar year.
    request
        Id of the list of tiles in the store.
    share
        The share of the list that is made; None for all of it.
    launch
        Id of this launch of the job.
    processes
        Number of worker processes that share the cores of a machine; 0 for one a core.
    elements
        Number of elements of a zone that a runner should have to spread before workers are given
        several tiles each.
    redo
        Names of tiles that are made again although their records say that they are done.
    refresh
        Whether done tiles are made again whose sources are others now.
    only_failed
        Whether nothing is made but the tiles that failed.
    max_failed_share
        Share, 0 to 1, of the tiles made that may fail before no more are begun.
    suspects
        Names of tiles that were begun and never ended.
    last
        Whether the suspects are made, rather than all others.
    patience
        Seconds for which the store is asked again that is busy or does not answer.
    excludes
        Whether the store puts an object only where there is none; where it does not, workers
        edit nothing that they share.
    pacing
        The waiting times of the job.
    """

    maker: Maker
    store: str
    year: int
    request: str
    launch: str
    share: Share | None = None
    processes: int = 1
    elements: int = 1
    redo: frozenset[str] = frozenset()
    refresh: bool = False
    only_failed: bool = False
    max_failed_share: float = 1.0
    suspects: frozenset[str] = frozenset()
    last: bool = False
    patience: float = PATIENCE
    excludes: bool = True
    pacing: Pacing = field(default_factory=Pacing)

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the bytes of a tile."""
        return self.maker.fingerprint

    def open_store(self) -> Storage:
        """The store, as it was settled when the job was launched."""
        return Storage(self.store, patience=self.patience, excludes=self.excludes)

    def tiles_of(self, storage: Storage, zone: int) -> Iterable[Tile]:
        """The tiles of a zone that this launch was asked for, as the store has them.

        Raises
        ------
        Altered
            If their list cannot be read.
        """
        if self.share is None:
            return decode_tiles(storage.read(request_key(self.year, self.request, zone)))
        shares = Shares(storage, self.year, self.request, self.share.count)
        return sorted(shares.read(zone).get(self.share.index, ()))

    def takes(self, tile: Tile) -> bool:
        """Whether it is a tile's turn: suspects are made last."""
        return (tile.name in self.suspects) == self.last

    def wants(self, row: TileSummary | None) -> bool:
        """Whether a tile is to be made, by the summary of its record."""
        if row is None:
            return not self.only_failed
        failed = row.state is State.FAILED
        if row.launch == self.launch:
            return failed and row.error is not None and failed_by_device(row.error.kind)
        if failed or row.tile in self.redo:
            return True
        return not self.only_failed and (self.refresh or row.fingerprint != self.fingerprint)

    def keeps(self, row: TileSummary | None) -> bool:
        """Whether another launch has finished a tile, by the summary of its record."""
        return row is not None and row.launch != self.launch and row.finished

    def may_stand(self, record: Record | None) -> bool:
        """Whether a finished tile may stay as it is if the maker finds it the same."""
        return record is not None and record.state in FINISHED and record.tile not in self.redo


def failed_by_device(kind: str) -> bool:
    """Whether a tile failed in a way in which it might not fail on another worker."""
    return FAULTS.get(kind) is Fault.DEVICE
