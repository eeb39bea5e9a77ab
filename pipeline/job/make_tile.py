"""All that happens around the making of one tile: whether, how often, and what is recorded.

Errors do not escape: a transient one is tried again as its class says, and what is left fails the
tile under its class. The record is written last.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging

from tessera_mosaic.pipeline.errors import (
    Expired,
    Poisoned,
    Stopped,
    StoreError,
    TesseraError,
    Unforeseen,
    classed,
)
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.worker import Worker
from tessera_mosaic.pipeline.ledger import in_progress, records
from tessera_mosaic.pipeline.ledger.in_progress import InProgress
from tessera_mosaic.pipeline.ledger.keys import record_key
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import FINISHED, Record, State
from tessera_mosaic.pipeline.ledger.tally import Tally
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile

log = logging.getLogger(__name__)


def make_tile(tile: Tile, job: JobSpec, worker: Worker) -> Record | None:
    """Make one tile unless that is done: its objects, its record, its row in the journal.

    Returns
    -------
    Record or None
        The tile's record; None if the tile was not begun, or the job was stopped in it. That of a
        failure is not in the store and has no `written` if the tile stays as it was made before,
        or, then without a `launch`, if the store did not take it.

    Raises
    ------
    DeviceError
        If this process should get no more work. The tile is left to others.
    """
    try:
        return _make_tile(tile, job, worker)
    except Stopped:
        return None


def _make_tile(tile: Tile, job: JobSpec, worker: Worker) -> Record | None:
    """Make one tile, unless the job is stopped."""
    meter, known = Meter(worker.tally.add, worker.stop), None
    worker.stop.check()
    worker.device.check(worker.stop)
    try:
        with store_errors(job.store):
            # A bundle may run twice, and another launcher may be at work on the same store.
            known = records.known_record(worker.storage, job.year, tile)
            if worker.limit.reached(worker.tally):
                return None
            row = TileSummary.of(known) if known else None
            if not job.wants(row):
                leave_tile(tile, row, job, worker.tally)
                return known
        # A tile that may have killed a worker takes no other tile along.
        with (
            store_errors(job.store),
            in_progress.working_on(worker.storage, job.year, tile, job.launch) as note,
            worker.slots.take(alone=note.suspect),
        ):
            record = _try_tile(tile, known, note, job, worker, meter)
            if not worker.device.serves(record):
                raise worker.device.given_up()
            if record.state is State.FAILED:
                # What is cut short is not to blame, and a process that ends starts no threads.
                worker.stop.check()
            kept = _finished(tile, job, worker) if record.state is State.FAILED else None
            if kept is not None and kept != known:
                # Somebody else made it while this worker failed on it.
                record = kept
            elif not record.written:
                record = dataclasses.replace(record, launch=job.launch, **vars(meter.effort()))
                if kept is None:
                    record = _put_record(tile, record, worker)
                else:
                    message = record.error.message if record.error else ""
                    log.error("tile %s stays as it was: %s", tile.name, message)
    except StoreError as error:
        log.error("tile %s: the store does not take its record: %s", tile.name, error)
        record = _failed(tile, job, error)
        if known is not None and known.state in FINISHED:
            record = dataclasses.replace(record, launch=job.launch)
    else:
        worker.journal.add(tile.zone, TileSummary.of(kept or record))
    if record is known:
        leave_tile(tile, TileSummary.of(record), job, worker.tally)
    else:
        meter.finish(record, job.maker.steps(tile))
    return record


def leave_tile(tile: Tile, row: TileSummary | None, job: JobSpec, tally: Tally) -> None:
    """Count a tile that is left as it is; one that this launch ended was counted then."""
    if row is None or row.launch != job.launch:
        tally.add(tiles_kept=int(job.keeps(row)), blocks_kept=job.maker.steps(tile))


def _try_tile(
    tile: Tile, known: Record | None, note: InProgress, job: JobSpec, worker: Worker, meter: Meter
) -> Record:
    """Make a tile, again where the class of the error says that this may help."""
    if note.poisoned:
        poisoned = _failed(tile, job, Poisoned(f"{note.deaths} workers died on it"))
        return dataclasses.replace(poisoned, attempts=note.deaths)
    for attempt in itertools.count(1):
        begun = note.deaths + attempt
        try:
            record = _make_once(tile, known, job, worker, meter)
            return record if record is known else dataclasses.replace(record, attempts=begun)
        except Stopped:
            raise
        except Exception as caught:
            error, cause = classed(caught), caught
        worker.stop.check()
        if isinstance(error, Unforeseen):
            log.error("tile %s failed", tile.name, exc_info=cause)
        if attempt >= error.tries:
            return dataclasses.replace(_failed(tile, job, error), attempts=begun)
        log.warning("tile %s is tried again: %s", tile.name, error)
        if isinstance(error, Expired):
            worker.maker.renew()
        meter.add(**{f"retries_{error.kind}": 1})
        with meter("pause"):
            worker.stop.wait(error.pause * attempt * job.pacing.pauses)
    raise AssertionError("unreachable")


def _make_once(
    tile: Tile, known: Record | None, job: JobSpec, worker: Worker, meter: Meter
) -> Record:
    def writing() -> None:
        if known is not None:
            worker.storage.delete(record_key(job.year, tile))

    before = known if job.may_stand(known) else None
    made = worker.maker.make(tile, before, meter, writing)
    if made is None:
        if before is None:
            raise RuntimeError("the maker left a tile that has to be made")
        return before
    return Record.of(tile, job.year, job.fingerprint, made)


def _failed(tile: Tile, job: JobSpec, error: TesseraError) -> Record:
    reason = records.failure(error)
    return Record(tile.name, job.year, State.FAILED, job.fingerprint, error=reason)


def _finished(tile: Tile, job: JobSpec, worker: Worker) -> Record | None:
    """The tile's record if it is finished, as this job would."""
    now = records.known_record(worker.storage, job.year, tile)
    sound = now is not None and now.state in FINISHED and now.fingerprint == job.fingerprint
    return now if sound else None


def _put_record(tile: Tile, record: Record, worker: Worker) -> Record:
    """Put a tile's record; take away what was put of its objects if it does not count as done."""
    if record.state is not State.DONE:
        # By a worker that was killed or failed half way, or when the tile had something to see.
        try:
            for key in worker.maker.keys(tile):
                worker.storage.delete(key)
        except (StoreError, OSError) as error:
            log.warning(
                "tile %s: parts of its objects may be left in the store: %s", tile.name, error
            )
    return records.write_record(worker.storage, tile, record)
