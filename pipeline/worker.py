"""What a worker has to know, what it holds on to, and when it gives up."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from shapely import from_wkb

from model.cores import usable_cores
from model.encoder import Encoder
from pipeline.encoders import load_encoder
from pipeline.errors import BadInput, DeviceError, NoCatalogue, OutOfMemory
from pipeline.grid import Tile, Window
from pipeline.mosaic import Mosaic, read_mosaic
from pipeline.progress import Stop, Tally
from pipeline.rasters import Reader
from pipeline.records import FINISHED, Record, State
from pipeline.region import wanted_pixels
from pipeline.scenes import open_catalogue
from pipeline.stack import Rules
from pipeline.storage import Storage
from pipeline.summary import Journal, Row
from pipeline.turns import Turns

STRIKES = 3
"""Tiles in a row that may fail by a worker's device before it takes no more work."""

DEVICE_HOLD = 600.0
"""Seconds for which a worker without a device keeps what a runner of many machines hands it. If it
gave that back at once it would be handed the same again, until the runner gives up the job."""

DEVICE_KINDS = (DeviceError.kind, OutOfMemory.kind)
"""Classes of errors by which another worker might not fail."""


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

    def wants(self, row: Row | None) -> bool:
        """Whether a tile is to be made, by its short record."""
        if row is None:
            return not self.only_failed
        failed = State(row["state"]) is State.FAILED
        if row["launch"] == self.launch:
            return failed and row["error"]["class"] in DEVICE_KINDS
        if failed or row["tile"] in self.redo:
            return True
        return not self.only_failed and (self.refresh or row["fingerprint"] != self.fingerprint)

    def keeps(self, row: Row | None) -> bool:
        """Whether another launch has finished a tile, by its short record."""
        return row is not None and row["launch"] != self.launch and State(row["state"]) in FINISHED


@dataclass(frozen=True)
class Workshop:
    """What a worker process holds on to from tile to tile, shared by its threads."""

    storage: Storage
    mosaic: Mosaic
    reader: Callable[[], Reader]
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
    return Workshop(
        storage,
        read_mosaic(storage),
        Opener(job, threads),
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
        Stop(storage, job.year, job.launch, job.max_failed_share),
        Device(job.device_hold),
        Turns(),
    )


class Opener:
    """Opens the catalogue when the first tile needs it, so that an outage fails tiles, not the job.

    Parameters
    ----------
    job
        Whose catalogue.
    threads
        That read where the catalogue is on this machine.
    """

    def __init__(self, job: Job, threads: int) -> None:
        self._job, self._threads = job, threads
        self._reader: Reader | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Reader:
        """The process's one reader.

        Raises
        ------
        NoCatalogue
            If the catalogue cannot be opened now. The launcher opened it, so it may come back.
        """
        with self._lock:
            if self._reader is None:
                try:
                    source = open_catalogue(self._job.catalog, self._job.allow_hosts)
                except BadInput as error:
                    raise NoCatalogue(str(error)) from error
                self._reader = Reader(source, self._threads if source.remote.is_local else None)
            return self._reader


def share_of_cores(processes: int) -> int:
    """Cores for one of the processes that share this machine, at least one.

    The encoder computes on so many threads whoever calls it, so the threads in which a runner
    calls its workers do not multiply them.
    """
    cores = usable_cores()
    return max(1, cores // (processes or cores))


class Device:
    """Whether a worker's device still serves: it is given up after `STRIKES` tiles in a row.

    Parameters
    ----------
    hold
        Seconds for which work is kept that comes after that.
    """

    def __init__(self, hold: float = 0.0) -> None:
        self._hold = hold
        self._strikes = 0
        self._said = ""
        self._lock = threading.Lock()

    def check(self, interrupted: threading.Event) -> None:
        """Refuse work once the device is given up.

        Raises
        ------
        DeviceError
            After the hold, which an interruption ends.
        """
        if self._strikes >= STRIKES:
            interrupted.wait(self._hold)
            raise self.given_up()

    def serves(self, record: Record) -> bool:
        """Count a tile that was made, or that failed by the device; whether that may go on."""
        error = record.error or {"class": "", "message": ""}
        with self._lock:
            if error["class"] in DEVICE_KINDS:
                self._strikes += 1
                self._said = error["message"]
            elif self._strikes < STRIKES:
                self._strikes = 0
            return self._strikes < STRIKES

    def given_up(self) -> DeviceError:
        """What to raise instead of taking more work."""
        return DeviceError(
            f"{socket.gethostname()} process {os.getpid()} takes no more work: {STRIKES} tiles in "
            f"a row failed by its device, the last one with {self._said}"
        )
