"""The Beam graph: tiles in, a shard of the mosaic and a record for each out.

All the work on a tile is one function, `embed_tile`, and one DoFn holds it: a block's stack is
read while the one before it is encoded, the shard is written once, and the record last. Only
zones, tiles and short records are elements; pixels never leave the worker that read them.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared
from numpy.typing import NDArray

from model.encoder import Encoder
from model.observations import Origin
from pipeline import records
from pipeline.encoders import load_encoder
from pipeline.errors import TesseraError
from pipeline.grid import Tile, Window, lonlat_bounds, owned
from pipeline.mosaic import Mosaic, read_mosaic
from pipeline.progress import Tally
from pipeline.rasters import Reader
from pipeline.records import FINISHED, Record, State
from pipeline.scenes import Scene, open_catalogue
from pipeline.stack import AnnualStack, Losses, Rules, read_stack
from pipeline.storage import Storage

log = logging.getLogger(__name__)

METRICS = "tessera"
"""Namespace of the job's Beam counters."""


@dataclass(frozen=True)
class Job:
    """What a worker has to know. Small and picklable: weights and tiles are named, not held.

    Parameters
    ----------
    catalog, year, store
        Where scenes come from, of which year, and where the mosaic goes.
    model, weights, weights_sha256, precision
        The encoder: card, file, its digest and the arithmetic.
    rules
        How pixels become observations.
    fingerprint
        Of the run, for the records.
    request
        Id of the run's list of tiles.
    block, margin
        Side of the blocks in which a tile is read and encoded, and pixels beyond the meridians.
    allow_lost_scenes
        Scenes a tile may lose for good before it fails.
    threads
        That one worker process may keep busy.
    redo
        Names of tiles that are made again although their records say that they are done.
    """

    catalog: str
    year: int
    store: str
    model: str | None
    weights: str | None
    weights_sha256: str
    precision: str
    rules: Rules
    fingerprint: str
    request: str
    block: int
    margin: int
    allow_lost_scenes: int
    threads: int
    redo: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Workshop:
    """What a worker process holds on to from tile to tile, shared by its threads."""

    storage: Storage
    mosaic: Mosaic
    reader: Reader
    encoder: Encoder
    tally: Tally


def open_workshop(job: Job) -> Workshop:
    """Open what a worker needs, once a process."""
    storage = Storage(job.store)
    return Workshop(
        storage,
        read_mosaic(storage),
        Reader(open_catalogue(job.catalog)),
        load_encoder(job.model, job.weights, job.precision, job.threads, job.weights_sha256),
        Tally(storage, job.year, job.request),
    )


def is_done(record: Record | None, job: Job) -> bool:
    """Whether a tile's record says that this run need not make it."""
    return (
        record is not None
        and record.state in FINISHED
        and record.fingerprint == job.fingerprint
        and record.tile not in job.redo
    )


def embed_tile(tile: Tile, job: Job, shop: Workshop) -> Record:
    """Make one tile: find its scenes, embed its blocks, write its shard, record how it went.

    Errors do not escape: they fail the tile, and its record names their class.
    """
    clock = Clock()
    try:
        with clock("find"):
            scenes = shop.reader.source.search(lonlat_bounds(tile.window), job.year)
        record = _embed_scenes(tile, scenes, job, shop, clock)
    except Exception as error:
        if not isinstance(error, TesseraError):
            log.exception("tile %s failed", tile.name)
        record = Record(
            tile.name, job.year, State.FAILED, job.fingerprint, error=records.failure(error)
        )
    record = dataclasses.replace(record, seconds=clock.rounded())
    shop.tally.add(tiles=1, failed=int(record.state is State.FAILED))
    return records.write_record(shop.storage, tile, record)


def _embed_scenes(
    tile: Tile, scenes: Sequence[Scene], job: Job, shop: Workshop, clock: Clock
) -> Record:
    """Embed a tile from the scenes found for it and write its shard."""
    mine = owned(tile.window, job.margin)
    losses = Losses(job.allow_lost_scenes)
    blocks = [b for b in tile.window.blocks(job.block) if mine[b.within(tile.window)].any()]
    shop.tally.add(blocks=blocks_of(tile, job.block) - len(blocks))

    def read(block: Window) -> AnnualStack:
        with clock("read"):
            return read_stack(block, scenes, job.rules, shop.reader, losses)

    seen = Seen()
    with shop.mosaic.writer(tile, job.year) as shard:
        for block, annual in read_ahead(blocks, read, clock):
            keep = mine[block.within(tile.window)]
            with clock("encode"):
                embedding = shop.encoder.embed(
                    annual.stack, Origin(block.zone, block.row, block.col, job.year)
                )
            codes = np.where(keep[..., None], embedding.codes, np.int8(0))
            scales = np.where(keep, embedding.scales, np.float32(np.inf))
            counts = {
                name: np.where(keep, count, np.uint16(0))
                for name, count in annual.stack.counts().items()
            }
            with clock("write"):
                shard.put(block, codes, scales, counts)
            seen.add(annual, scales, counts)
            shop.tally.add(blocks=1, pixels=int(keep.sum()), **clock.since())
        with clock("write"):
            objects = shard.close() if seen.embedded else ()
    return Record(
        tile.name,
        job.year,
        State.DONE if seen.embedded else State.EMPTY,
        job.fingerprint,
        **seen.scenes(scenes),
        observations=seen.observations,
        pixels={"owned": int(mine.sum()), "embedded": seen.embedded},
        objects=tuple(dataclasses.asdict(entry) for entry in objects),
    )


def blocks_of(tile: Tile, block: int) -> int:
    """Number of blocks in which a tile is made."""
    return (-(-tile.side // block)) ** 2


@dataclass
class Seen:
    """What a tile's blocks add up to."""

    embedded: int = 0
    observations: dict[str, dict[str, int]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    unused: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        annual: AnnualStack,
        scales: NDArray[np.float32],
        counts: dict[str, NDArray[np.uint16]],
    ) -> None:
        """Add one block."""
        self.embedded += int(np.isfinite(scales).sum())
        for name, count in counts.items():
            known = self.observations.setdefault(name, {"sum": 0, "max": 0})
            known["sum"] += int(count.sum())
            known["max"] = max(known["max"], int(count.max(initial=0)))
        self.used.update(annual.used)
        self.unused.update(annual.unused)

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


class Clock:
    """Seconds spent on each kind of work, added up over threads."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time within the context under a name."""
        began = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[name] += time.monotonic() - began

    def rounded(self) -> dict[str, float]:
        """Seconds by kind of work, to the millisecond."""
        return {name: round(spent, 3) for name, spent in sorted(self._seconds.items())}

    def since(self) -> dict[str, float]:
        """Seconds by kind of work since the last call, as `seconds_<name>`."""
        with self._lock:
            news = {f"seconds_{n}": s - self._told[n] for n, s in self._seconds.items()}
            self._told = Counter(self._seconds)
        return news


def read_ahead(
    blocks: Iterable[Window], read: Callable[[Window], AnnualStack], clock: Clock
) -> Iterator[tuple[Window, AnnualStack]]:
    """Read the blocks in order, one ahead of the block that is being worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        reading = None
        for block in blocks:
            following = block, pool.submit(read, block)
            if reading is not None:
                with clock("wait"):
                    annual = reading[1].result()
                yield reading[0], annual
            reading = following
        if reading is not None:
            with clock("wait"):
                annual = reading[1].result()
            yield reading[0], annual


# The graph. Each step is a thin coat over a function above.


class EmbedZones(beam.PTransform):
    """Zones -> the same zones, with every tile's shard and record in the store.

    Done tiles are dropped first; the rest is spread over the workers by its keys, so that one
    zone's tiles need not stay together.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, zones: beam.PCollection) -> beam.PCollection:
        tiles = zones | "read request" >> beam.ParDo(ReadRequest(self._job)).with_outputs(
            ReadRequest.DONE, main="to make"
        )
        made = (
            tiles["to make"]
            | "spread over workers" >> beam.Reshuffle()
            | "embed" >> beam.ParDo(EmbedTile(self._job))
        )
        return (
            (made, tiles[ReadRequest.DONE])
            | "all tiles" >> beam.Flatten()
            | "by zone" >> beam.GroupByKey()
            | "summarize" >> beam.ParDo(Summarize(self._job))
        )


class ReadRequest(beam.DoFn):
    """A zone -> the tiles of it that the run has to make, and short records of those done."""

    DONE = "done"

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, zone: int) -> Iterator[Tile | beam.pvalue.TaggedOutput]:
        job = self._job
        storage = Storage(job.store)
        tally = Tally(storage, job.year, job.request, name=f"done-{zone}")
        request = storage.read(records.request_key(job.year, job.request, zone))
        tiles = records.decode_tiles(request)
        for tile, record in records.read_records(storage, job.year, tiles):
            if record is not None and is_done(record, job):
                tally.add(tiles=1, blocks=blocks_of(tile, job.block))
                yield beam.pvalue.TaggedOutput(self.DONE, (zone, record.short()))
            else:
                yield tile


class EmbedTile(beam.DoFn):
    """A tile -> its short record, with the shard and the full record in the store."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._shared = Shared()

    def setup(self) -> None:
        self._shop = self._shared.acquire(lambda: open_workshop(self._job), tag=self._job.request)

    def process(self, tile: Tile) -> Iterator[tuple[int, dict[str, Any]]]:
        # A bundle may run twice, and another launcher may be at work on the same store.
        record = records.read_record(self._shop.storage, self._job.year, tile)
        if record is None or not is_done(record, self._job):
            record = embed_tile(tile, self._job, self._shop)
            Metrics.counter(METRICS, f"tiles_{record.state}").inc()
            Metrics.counter(METRICS, "pixels").inc(record.pixels.get("embedded", 0))
        yield tile.zone, record.short()

    def finish_bundle(self) -> None:
        self._shop.tally.put()


class Summarize(beam.DoFn):
    """The short records of a zone -> one object in the store."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, zone_rows: tuple[int, Iterable[dict[str, Any]]]) -> Iterator[int]:
        zone, rows = zone_rows
        records.merge_summary(Storage(self._job.store), self._job.year, zone, rows)
        yield zone
