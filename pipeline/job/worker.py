"""What a worker has to know, what it holds on to, and when it gives up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.pipeline.embedding.encoders import load_encoder
from tessera_mosaic.pipeline.errors import BadInput, NoCatalogue, SceneError
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.device_health import DeviceHealth
from tessera_mosaic.pipeline.job.failure_limit import FailureLimit
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.tile_slots import TileSlots
from tessera_mosaic.pipeline.ledger.journal import Journal
from tessera_mosaic.pipeline.ledger.tally import Tally
from tessera_mosaic.pipeline.mosaic.store import Mosaic, read_mosaic
from tessera_mosaic.pipeline.scenes import open_catalogue


@dataclass(frozen=True)
class Workshop:
    """What a worker process holds on to from tile to tile, shared by its threads."""

    storage: Storage
    mosaic: Mosaic
    reader: Callable[[], SceneReader]
    encoder: Encoder
    tally: Tally
    journal: Journal
    stop: FailureLimit
    device: DeviceHealth
    turns: TileSlots


def open_workshop(job: JobSpec) -> Workshop:
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
        FailureLimit(storage, job.year, job.launch, job.max_failed_share),
        DeviceHealth(job.device_hold),
        TileSlots(),
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

    def __init__(self, job: JobSpec, threads: int) -> None:
        self._job, self._threads = job, threads
        self._reader: SceneReader | None = None
        self._lock = threading.Lock()

    def __call__(self) -> SceneReader:
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
                except (BadInput, SceneError) as error:
                    raise NoCatalogue(str(error)) from error
                self._reader = SceneReader(
                    source, self._threads if source.remote.is_local else None
                )
            return self._reader


def share_of_cores(processes: int) -> int:
    """Cores for one of the processes that share this machine, at least one.

    The encoder computes on so many threads whoever calls it, so the threads in which a runner
    calls its workers do not multiply them.
    """
    cores = usable_cores()
    return max(1, cores // (processes or cores))
