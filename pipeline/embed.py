"""The Beam graph: tiles in, a shard of the mosaic and a record for each out.

Only zones and tiles are elements; pixels never leave the worker that read them, and what became
of a tile lies in the store. Everything may happen twice, at once or be lost half way: each effect
is the same the second time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from pipeline import records
from pipeline.errors import BrokenOff, StoreError, store_errors
from pipeline.grid import Tile
from pipeline.progress import Tally
from pipeline.storage import Storage
from pipeline.summary import Journal, compact, read_summary
from pipeline.tiles import blocks_of, make_tile
from pipeline.worker import Job, open_workshop

log = logging.getLogger(__name__)

METRICS = "tessera"
"""Namespace of the job's Beam counters."""

UNRECORDED = "unrecorded:"
"""Begins the names of the counters of failed tiles whose record the store did not take, by class
of error."""


def run_graph(job: Job, zones: list[int], options: PipelineOptions) -> Counter[str]:
    """Run the graph over zones and wait for its end.

    Returns
    -------
    Failed tiles whose record the store did not take, by class of error.

    Raises
    ------
    BrokenOff
        If the runner gave up.
    """
    try:
        pipeline = beam.Pipeline(options=options)
        _ = pipeline | "zones" >> beam.Create(zones) | "embed zones" >> EmbedZones(job)
        result = pipeline.run()
        result.wait_until_finish()
    except Exception as error:
        # A runner's message is a traceback of the worker's; what was raised there stands last.
        lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
        said = lines[-1].split(" [while running")[0]
        raise BrokenOff(f"the runner gave up: {said}") from error
    counters = result.metrics().query(MetricsFilter().with_namespace(METRICS))["counters"]
    return Counter(
        {
            found.key.metric.name.removeprefix(UNRECORDED): found.result
            for found in counters
            if found.key.metric.name.startswith(UNRECORDED)
        }
    )


class EmbedZones(beam.PTransform):
    """Zones -> the same zones, with every tile's shard and record in the store.

    Tiles that need not be made are dropped first; the rest is spread over the workers by its keys,
    so that one zone's tiles need not stay together.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, zones: beam.PCollection) -> beam.PCollection:
        made = (
            zones
            | "read request" >> beam.ParDo(ReadRequest(self._job))
            | "spread over workers" >> beam.Reshuffle()
            | "embed" >> beam.ParDo(EmbedTile(self._job))
        )
        # The grouping waits for a zone's last tile.
        return (
            (zones | "of itself" >> beam.Map(lambda zone: (zone, None)), made)
            | "ended" >> beam.Flatten()
            | "by zone" >> beam.GroupByKey()
            | "compact" >> beam.ParDo(CompactZone(self._job))
        )


class ReadRequest(beam.DoFn):
    """A zone -> the tiles of it that the run has to make."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, zone: int) -> Iterator[Tile]:
        job = self._job
        storage = Storage(job.store)
        tally = Tally(storage, job.year, job.launch, name=f"done-{zone}")
        journal = Journal(storage, job.year)
        request = storage.read(records.request_key(job.year, job.request, zone))
        summed_up = read_summary(storage, job.year, zone)
        tiles = records.decode_tiles(request)
        for tile, record in records.read_records(storage, job.year, tiles):
            row = record.short() if record else None
            if job.wants(row):
                yield tile
                continue
            tally.add(tiles=1, blocks=blocks_of(tile, job.block))
            if row is not None and summed_up.get(tile.name) != row:
                journal.add(zone, row)
        journal.put()
        tally.put()


class EmbedTile(beam.DoFn):
    """A tile -> its zone, with the shard and the record in the store."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._shared = Shared()

    def setup(self) -> None:
        self._shop = self._shared.acquire(lambda: open_workshop(self._job), tag=self._job.launch)

    def process(self, tile: Tile) -> Iterator[tuple[int, None]]:
        record = make_tile(tile, self._job, self._shop)
        if record is not None:
            Metrics.counter(METRICS, f"tiles_{record.state}").inc()
            if record.error and not record.written:
                Metrics.counter(METRICS, UNRECORDED + record.error["class"]).inc()
        yield tile.zone, None

    def finish_bundle(self) -> None:
        self._shop.tally.put()
        self._shop.journal.put()


class CompactZone(beam.DoFn):
    """A zone whose tiles have all ended -> the zone, with their rows in its summary."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, ended: tuple[int, object]) -> Iterator[int]:
        zone, _ = ended
        try:
            with store_errors(self._job.store):
                compact(Storage(self._job.store), self._job.year, zone)
        except StoreError as error:
            log.error("zone %d: its summary is not up to date: %s", zone, error)
        yield zone
