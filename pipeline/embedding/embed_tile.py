"""All the work on one tile: from its scenes to its shard, and what became of it.

A block's stack is read while the one before it is encoded, the shard is written once, and the
record last. Errors do not escape: a transient one is tried again, and what is left fails the tile
under its class.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.encoder import Embedding, Encoder
from tessera_mosaic.model.observations import Origin
from tessera_mosaic.pipeline.embedding.encoders import encoder_errors
from tessera_mosaic.pipeline.errors import (
    DeviceError,
    Expired,
    NoCatalogue,
    OutOfMemory,
    Poisoned,
    StoreError,
    TesseraError,
    Throttled,
    TimedOut,
)
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.worker import Workshop
from tessera_mosaic.pipeline.ledger import in_progress, keys, records
from tessera_mosaic.pipeline.ledger.in_progress import InProgress
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import FINISHED, Record, State, TileResult
from tessera_mosaic.pipeline.ledger.tally import Tally
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.scenes import Scene
from tessera_mosaic.pipeline.stacks.read_stack import AnnualStack, Losses, read_stack
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, lonlat_bounds

log = logging.getLogger(__name__)

TRIES = {
    Expired.kind: 2,
    NoCatalogue.kind: 3,
    Throttled.kind: 3,
    TimedOut.kind: 2,
    StoreError.kind: 2,
    DeviceError.kind: 2,
    OutOfMemory.kind: 2,
}
"""How often a tile is tried in a row, by class of error; once where none is named. Requests and
reads have been tried again before that, each by itself."""

RETRY_PAUSE = 10.0
"""Seconds before a tile's second try; as many more before each later one."""


def make_tile(tile: Tile, job: JobSpec, shop: Workshop) -> Record | None:
    """Make one tile unless that is done: its shard, its record, its row in the journal.

    Returns
    -------
    Its record; None if the tile was not begun. That of a failure is not in the store and has no
    `written` if the tile stays as it was made before, or, then without a `launch`, if the store
    did not take it.

    Raises
    ------
    DeviceError
        If this process should get no more work. The tile is left to others.
    """
    meter, known = Meter(shop.tally.add), None
    shop.device.check(shop.turns.interrupted)
    try:
        with store_errors(job.store):
            # A bundle may run twice, and another launcher may be at work on the same store.
            known = records.known_record(shop.storage, job.year, tile)
            if shop.stop.asked(shop.tally):
                return None
            row = TileSummary.of(known) if known else None
            if not job.wants(row):
                leave_tile(tile, row, job, shop.tally)
                return known
            suspect = in_progress.read_note(shop.storage, keys.note_key(job.year, tile)) is not None
        # A tile that may have killed a worker takes no other tile along.
        with (
            shop.turns.take(alone=suspect),
            store_errors(job.store),
            in_progress.working_on(shop.storage, job.year, tile, job.launch) as note,
        ):
            record = embed_tile(tile, known, note, job, shop, meter)
            if not shop.device.serves(record):
                raise shop.device.given_up()
            if shop.turns.interrupted.is_set() and record.state is State.FAILED:
                # A process that ends lets its threads start nothing; the tile is not to blame.
                return None
            kept = _finished(tile, job, shop) if record.state is State.FAILED else None
            if kept is not None and kept != known:
                # Somebody else made it while this worker failed on it.
                record = kept
            elif not record.written:
                record = dataclasses.replace(record, launch=job.launch, **meter.fields())
                if kept is None:
                    record = _put(tile, record, job, shop)
                else:
                    message = record.error and record.error.message
                    log.error("tile %s stays as it was: %s", tile.name, message)
    except StoreError as error:
        log.error("tile %s: the store does not take its record: %s", tile.name, error)
        record = _failed(tile, job, error)
        if known is not None and known.state in FINISHED:
            record = dataclasses.replace(record, launch=job.launch)
    else:
        shop.journal.add(tile.zone, TileSummary.of(kept or record))
    if record is known:
        leave_tile(tile, TileSummary.of(record), job, shop.tally)
    else:
        meter.finish(record, blocks_of(tile, job.block))
    return record


def _finished(tile: Tile, job: JobSpec, shop: Workshop) -> Record | None:
    """The tile's record if it is finished, as this job would."""
    now = records.known_record(shop.storage, job.year, tile)
    sound = now is not None and now.state in FINISHED and now.fingerprint == job.fingerprint
    return now if sound else None


def _put(tile: Tile, record: Record, job: JobSpec, shop: Workshop) -> Record:
    """Put a tile's record; take away what was put of its shard if it does not count as done."""
    if record.state is not State.DONE:
        # By a worker that was killed or failed half way, or when the tile had something to see.
        try:
            for key in shop.mosaic.keys(tile, job.year):
                shop.storage.delete(key)
        except (StoreError, OSError) as error:
            log.warning(
                "tile %s: parts of its shard may be left in the store: %s", tile.name, error
            )
    return records.write_record(shop.storage, tile, record)


def embed_tile(
    tile: Tile, known: Record | None, note: InProgress, job: JobSpec, shop: Workshop, meter: Meter
) -> Record:
    """Make a tile's shard, again where a transient error says that this may help.

    Parameters
    ----------
    tile, job, shop, meter
        What to make, how, with what; and what measures it.
    known
        The tile's record so far.
    note
        That it is worked on.
    """
    if note.poisoned:
        error: Exception = Poisoned(f"{note.deaths} workers died on it")
        return dataclasses.replace(_failed(tile, job, error), attempts=note.deaths)
    for attempt in itertools.count(note.deaths + 1):
        try:
            record = _embed_once(tile, known, job, shop, meter)
            return record if record is known else dataclasses.replace(record, attempts=attempt)
        except MemoryError as caught:
            error = OutOfMemory(str(caught) or "MemoryError")
        except Exception as caught:
            error = caught
        if shop.turns.interrupted.is_set():
            return _failed(tile, job, error)
        if not isinstance(error, TesseraError):
            log.error("tile %s failed", tile.name, exc_info=error)
        if attempt - note.deaths >= TRIES.get(records.failure(error).kind, 1):
            return dataclasses.replace(_failed(tile, job, error), attempts=attempt)
        log.warning("tile %s is tried again: %s", tile.name, error)
        if isinstance(error, Expired):
            shop.reader().signer.renew()
        meter.add(**{f"retries_{records.failure(error).kind}": 1})
        with meter("pause"):
            shop.turns.interrupted.wait(RETRY_PAUSE * (attempt - note.deaths))
    raise AssertionError("unreachable")


def _failed(tile: Tile, job: JobSpec, error: Exception) -> Record:
    reason = records.failure(error)
    return Record(tile.name, job.year, State.FAILED, job.fingerprint, error=reason)


def _embed_once(
    tile: Tile, known: Record | None, job: JobSpec, shop: Workshop, meter: Meter
) -> Record:
    """Find a tile's scenes, embed its blocks, write its shard."""
    with meter("find"):
        reader = shop.reader()
        scenes = reader.source.search(lonlat_bounds(tile.window), job.year)
    if (
        known is not None
        and known.state in FINISHED
        and tile.name not in job.redo
        and known.scenes() == {scene.id for scene in scenes}
    ):
        return known
    mine = job.wanted(tile.window)
    losses = Losses(job.allow_lost_scenes)
    blocks = [b for b in tile.window.blocks(job.block) if mine[b.within(tile.window)].any()]
    meter.add(blocks=blocks_of(tile, job.block) - len(blocks))

    reader = reader.told(meter.add)

    def read(block: Window) -> AnnualStack:
        with meter("read"):
            return read_stack(block, scenes, job.rules, reader, losses)

    seen = Seen()
    with store_errors(f"spooling for {job.store}"):
        writer = shop.mosaic.writer(tile, job.year)
    with writer as shard:
        for block, annual in read_ahead(blocks, read, meter):
            keep = mine[block.within(tile.window)]
            with meter("encode"):
                embedding = encode(annual, block, job, shop.encoder)
            codes = np.where(keep[..., None], embedding.codes, np.int8(0))
            scales = np.where(keep, embedding.scales, np.float32(np.inf))
            counts = {
                name: np.where(keep, count, np.uint16(0))
                for name, count in annual.stack.counts().items()
            }
            with meter("write"), store_errors(f"spooling for {job.store}"):
                shard.put(block, codes, scales, counts)
            meter.add(blocks=1, **seen.add(annual, scales, counts, embedding.tokens))
        with meter("write"), store_errors(job.store):
            if known is not None:
                # Until the new record stands, the tile must not count as done.
                shop.storage.delete(keys.record_key(job.year, tile))
            objects = shard.close() if seen.embedded else ()
    result = TileResult(
        State.DONE if seen.embedded else State.EMPTY,
        **seen.scenes(scenes),
        scenes_lost=losses.scenes,
        observations=seen.observations,
        pixels={"owned": int(mine.sum()), "embedded": seen.embedded},
        tokens=seen.tokens,
        objects=objects,
    )
    return Record.of(tile, job.year, job.fingerprint, result)


def encode(annual: AnnualStack, block: Window, job: JobSpec, encoder: Encoder) -> Embedding:
    """Embed a block, with the encoder's errors in our classes.

    Raises
    ------
    BadEmbedding, OutOfMemory, DeviceError
        By whether another encoder, a smaller block or another machine could help.
    """
    with encoder_errors():
        return encoder.embed(annual.stack, Origin(block.zone, block.row, block.col, job.year))


def leave_tile(tile: Tile, row: TileSummary | None, job: JobSpec, tally: Tally) -> None:
    """Count a tile that is left as it is; one that this launch ended was counted then."""
    if row is None or row.launch != job.launch:
        tally.add(tiles_kept=int(job.keeps(row)), blocks_kept=blocks_of(tile, job.block))


def blocks_of(tile: Tile, block: int) -> int:
    """Number of blocks in which a tile is made."""
    return (-(-tile.side // block)) ** 2


@dataclass
class Seen:
    """What a tile's blocks add up to."""

    embedded: int = 0
    tokens: int = 0
    observations: dict[str, dict[str, int]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    unused: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        annual: AnnualStack,
        scales: NDArray[np.float32],
        counts: dict[str, NDArray[np.uint16]],
        tokens: int,
    ) -> dict[str, int]:
        """Add one block; its share of the tile's measures."""
        embedded = int(np.isfinite(scales).sum())
        self.embedded += embedded
        self.tokens += tokens
        measures = {"pixels_embedded": embedded, "tokens": tokens}
        for name, count in counts.items():
            known = self.observations.setdefault(name, {"sum": 0, "max": 0})
            measures[f"observations_{name}"] = seen = int(count.sum())
            known["sum"] += seen
            known["max"] = max(known["max"], int(count.max(initial=0)))
        self.used.update(annual.used)
        self.unused.update(annual.unused)
        return measures

    def scenes(self, found: Iterable[Scene]) -> dict[str, Any]:
        """Every scene found, as used in some block or with the reason why in none."""
        names = [scene.id for scene in found]
        return {
            "scenes_used": tuple(name for name in names if name in self.used),
            "scenes_unused": tuple(
                (name, self.unused.get(name, "no pixel of the tile"))
                for name in names
                if name not in self.used
            ),
        }


def read_ahead(
    blocks: Iterable[Window], read: Callable[[Window], AnnualStack], meter: Meter
) -> Iterator[tuple[Window, AnnualStack]]:
    """Read the blocks in order, one ahead of the block that is being worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        reading = None
        for block in blocks:
            following = block, pool.submit(read, block)
            if reading is not None:
                with meter("wait"):
                    annual = reading[1].result()
                yield reading[0], annual
            reading = following
        if reading is not None:
            with meter("wait"):
                annual = reading[1].result()
            yield reading[0], annual
