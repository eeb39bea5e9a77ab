"""What a worker process holds on to from tile to tile."""

from __future__ import annotations

from dataclasses import dataclass

from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.pipeline.io.stop_sign import StopSign, stop_sign
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.device_health import DeviceHealth
from tessera_mosaic.pipeline.job.failure_limit import FailureLimit
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.maker import TileMaker
from tessera_mosaic.pipeline.job.tile_slots import TileSlots
from tessera_mosaic.pipeline.ledger.journal import Journal
from tessera_mosaic.pipeline.ledger.tally import Tally


@dataclass(frozen=True)
class Worker:
    """What the threads of a worker process share."""

    storage: Storage
    maker: TileMaker
    tally: Tally
    journal: Journal
    limit: FailureLimit
    device: DeviceHealth
    slots: TileSlots
    stop: StopSign


def open_worker(job: JobSpec) -> Worker:
    """Open what a worker needs, once a process."""
    storage = job.open_store()
    tally_seconds = job.pacing.tally_seconds
    return Worker(
        storage,
        job.maker.open(storage, share_of_cores(job.processes)),
        Tally(storage, job.year, job.launch, seconds=tally_seconds),
        Journal(storage, job.year),
        FailureLimit(storage, job.year, job.launch, job.max_failed_share, job.pacing),
        DeviceHealth(job.pacing.device_hold),
        TileSlots(),
        stop_sign(),
    )


def share_of_cores(processes: int, cores: int | None = None) -> int:
    """Number of cores for one of the processes that share this machine, at least one.

    The encoder computes on so many threads whoever calls it, so the threads in which a runner
    calls its workers do not multiply them.

    Parameters
    ----------
    processes
        Number of processes that share the machine; 0 for one a core.
    cores
        Number of cores of the machine; by default those that this process may use.
    """
    cores = usable_cores() if cores is None else cores
    return max(1, cores // (processes or cores))
