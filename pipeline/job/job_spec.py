"""What a worker has to know of a job."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from shapely import from_wkb

from tessera_mosaic.pipeline.errors import DeviceError, OutOfMemory
from tessera_mosaic.pipeline.job.worker import Workshop, open_workshop
from tessera_mosaic.pipeline.ledger.records import State
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.stacks.read_stack import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window
from tessera_mosaic.pipeline.tiling.region import wanted_pixels

log = logging.getLogger(__name__)


DEVICE_KINDS = (DeviceError.kind, OutOfMemory.kind)
"""Classes of errors by which another worker might not fail."""


@dataclass(frozen=True)
class JobSpec:
    """What a worker has to know. Small and picklable: weights and tiles are named, not held.

    Parameters
    ----------
    catalog, year, store
        Where scenes come from, of which year, and where the mosaic goes.
    allow_hosts
        Hosts of private addresses that the catalogue may point to.
    model, weights, weights_sha256, precision, device
        The encoder: card, file, its digest, the arithmetic, and where workers compute.
    rules
        How pixels become observations.
    fingerprint
        Of the run, for the records.
    request
        Id of the run's list of tiles.
    launch
        Id of this launch of it.
    block, margin
        Side of the blocks in which a tile is read and encoded, and pixels beyond the meridians.
    inside
        The region as WKB where only its own pixels are wanted; None for whole tiles.
    allow_lost_scenes
        Scenes a tile may lose for good before it fails.
    processes
        Of workers that share the cores of a machine; 0 for one a core.
    elements
        Of a zone that a runner should have to spread before workers are given several tiles each.
    redo
        Names of tiles that are made again although their records say that they are done.
    refresh
        Whether done tiles are made again whose scenes are not those the catalogue lists now.
    only_failed
        Whether nothing is made but the tiles that failed.
    max_failed_share
        Of the tiles made that may fail before no more are begun.
    device_hold
        Seconds for which a worker whose device failed keeps what it is handed.
    suspects
        Names of tiles that were begun and never ended.
    last
        Whether the suspects are made, rather than all others.
    """

    catalog: str
    allow_hosts: tuple[str, ...]
    year: int
    store: str
    model: str | None
    weights: str | None
    weights_sha256: str
    precision: str
    device: str
    rules: Preprocessing
    fingerprint: str
    request: str
    launch: str
    block: int
    margin: int
    inside: bytes | None
    allow_lost_scenes: int
    processes: int
    elements: int = 1
    redo: frozenset[str] = frozenset()
    refresh: bool = False
    only_failed: bool = False
    device_hold: float = 0.0
    suspects: frozenset[str] = frozenset()
    last: bool = False
    max_failed_share: float = 1.0

    def open(self) -> Workshop:
        """What a worker process that does this job needs."""
        return open_workshop(self)

    def wanted(self, window: Window) -> NDArray[np.bool_]:
        """Pixels of a window to embed, bool (height, width)."""
        inside = None if self.inside is None else from_wkb(self.inside)
        return wanted_pixels(window, self.margin, inside)

    def takes(self, tile: Tile) -> bool:
        """Whether it is a tile's turn: suspects are made last."""
        return (tile.name in self.suspects) == self.last

    def wants(self, row: TileSummary | None) -> bool:
        """Whether a tile is to be made, by its short record."""
        if row is None:
            return not self.only_failed
        failed = row.state is State.FAILED
        if row.launch == self.launch:
            return row.error is not None and row.error.kind in DEVICE_KINDS
        if failed or row.tile in self.redo:
            return True
        return not self.only_failed and (self.refresh or row.fingerprint != self.fingerprint)

    def keeps(self, row: TileSummary | None) -> bool:
        """Whether another launch has finished a tile, by its short record."""
        return row is not None and row.launch != self.launch and row.finished
