"""What a worker has to know, what it holds on to, and when it gives up."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from shapely import from_wkb

from model.encoder import Encoder
from pipeline.encoders import load_encoder
from pipeline.errors import DeviceError, OutOfMemory, Poisoned
from pipeline.grid import Window
from pipeline.mosaic import Mosaic, read_mosaic
from pipeline.ownership import owned
from pipeline.progress import Stop, Tally
from pipeline.rasters import Reader
from pipeline.records import FINISHED, Record, State
from pipeline.region import pixels_inside
from pipeline.scenes import open_catalogue
from pipeline.stack import Rules
from pipeline.storage import Storage
from pipeline.summary import Journal, Row
from pipeline.turns import Turns

DEATHS = 3
"""Workers that may die on a tile before it counts as poisoned. A runner that tries a bundle four
times gets past it."""

STRIKES = 3
"""Tiles in a row that may fail by a worker's device before it takes no more work."""


@dataclass(frozen=True)
class Job:
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
    rules: Rules
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

    def open(self) -> Workshop:
        """What a worker process that does this job needs."""
        return open_workshop(self)

    def wanted(self, window: Window) -> NDArray[np.bool_]:
        """Pixels of a window to embed, bool (height, width)."""
        mine = owned(window, self.margin)
        return mine if self.inside is None else mine & pixels_inside(from_wkb(self.inside), window)

    def wants(self, row: Row | None) -> bool:
        """Whether a tile is to be made, by its short record."""
        if row is None:
            return not self.only_failed
        if row["launch"] == self.launch:
            return False
        if row["tile"] in self.redo:
            return True
        if State(row["state"]) is State.FAILED:
            return self.only_failed or row["error"]["class"] != Poisoned.kind
        return not self.only_failed and (self.refresh or row["fingerprint"] != self.fingerprint)

    def keeps(self, row: Row | None) -> bool:
        """Whether another launch has finished a tile, by its short record."""
        return row is not None and row["launch"] != self.launch and State(row["state"]) in FINISHED


@dataclass(frozen=True)
class Workshop:
    """What a worker process holds on to from tile to tile, shared by its threads."""

    storage: Storage
    mosaic: Mosaic
    reader: Reader
    encoder: Encoder
    tally: Tally
    journal: Journal
    stop: Stop
    device: Device
    turns: Turns


def open_workshop(job: Job) -> Workshop:
    """Open what a worker needs, once a process."""
    storage = Storage(job.store)
    threads = share_of_cores(job.processes)
    source = open_catalogue(job.catalog, job.allow_hosts)
    return Workshop(
        storage,
        read_mosaic(storage),
        Reader(source, threads if source.remote.is_local else None),
        load_encoder(
            job.model,
            job.weights,
            job.precision,
            threads,
            job.weights_sha256,
            job.device,
            job.rules.imagery,
        ),
        Tally(storage, job.year, job.launch),
        Journal(storage, job.year),
        Stop(storage, job.year, job.launch),
        Device(),
        Turns(),
    )


def share_of_cores(processes: int) -> int:
    """Cores for one of the processes that share this machine, at least one.

    The encoder computes on so many threads whoever calls it, so the threads in which a runner
    calls its workers do not multiply them.
    """
    cores = len(os.sched_getaffinity(0))
    return max(1, cores // (processes or cores))


class Device:
    """Whether a worker's device still serves: it is given up after `STRIKES` tiles in a row."""

    def __init__(self) -> None:
        self._strikes = 0
        self._lock = threading.Lock()

    def judge(self, record: Record) -> None:
        """Count a tile that was made, or that failed by the device.

        Raises
        ------
        DeviceError
            If that was one too many, and from then on at every tile.
        """
        error = record.error or {"class": "", "message": ""}
        with self._lock:
            if error["class"] in (DeviceError.kind, OutOfMemory.kind):
                self._strikes += 1
            elif self._strikes < STRIKES:
                self._strikes = 0
        if self._strikes >= STRIKES:
            raise DeviceError(
                f"{socket.gethostname()} process {os.getpid()} takes no more work: {STRIKES} tiles "
                f"in a row failed by its device, the last one with {error['message']}"
            )
