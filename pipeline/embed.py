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
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import records
from pipeline.errors import BrokenOff, StoreError, store_errors
from pipeline.grid import Tile
from pipeline.land import work_order
from pipeline.measures import NAMESPACE, count_in_beam
from pipeline.options import only_writes_graph
from pipeline.progress import Tally
from pipeline.records import Record
from pipeline.storage import Storage
from pipeline.summary import Journal, compact, read_summary
from pipeline.tiles import blocks_of, make_tile
from pipeline.turns import SideBySide
from pipeline.worker import Job

log = logging.getLogger(__name__)

UNRECORDED = "unrecorded:"
"""Begins the names of the counters of failed tiles whose record the store did not take, by class
of error."""


def run_graph(job: Job, zones: list[int], options: PipelineOptions) -> Counter[str]:
    """Run the graph over zones and wait for its end, unless all that is wanted is the graph.

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
        if only_writes_graph(options):
            return Counter()
        result.wait_until_finish()
    except Exception as error:
        # A runner's message is a traceback of the worker's; what was raised there stands last.
        lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
        said = lines[-1].split(" [while running")[0]
        raise BrokenOff(f"the runner gave up: {said}") from error
    counters = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    return Counter(
        {
            found.key.metric.name.removeprefix(UNRECORDED): found.result
            for found in counters
            if found.key.metric.name.startswith(UNRECORDED)
        }
    )


class EmbedZones(beam.PTransform):
    """Zones -> the same zones, with every tile's shard and record in the store.

    Tiles that need not be made are dropped first; the rest is spread over the workers, a few
    neighbours at a time.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def expand(self, zones: beam.PCollection) -> beam.PCollection:
        made = (
            zones
            | "read request" >> beam.ParDo(ReadRequest(self._job))
            | "spread over workers" >> beam.Reshuffle()
            | "tile by tile" >> beam.FlatMap(lambda neighbours: neighbours)
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
    """A zone -> the tiles of it that the run has to make, a few neighbours at a time."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, zone: int) -> Iterator[tuple[Tile, ...]]:
        job = self._job
        storage = Storage(job.store)
        tally = Tally(storage, job.year, job.launch, name=f"done-{zone}")
        journal = Journal(storage, job.year)
        wanted = []
        request = storage.read(records.request_key(job.year, job.request, zone))
        summed_up = read_summary(storage, job.year, zone)
        tiles = records.decode_tiles(request)
        for tile, record in records.read_records(storage, job.year, tiles):
            row = record.short() if record else None
            if job.wants(row):
                wanted.append(tile)
                continue
            Metrics.counter(NAMESPACE, "tiles_kept").inc()
            tally.add(tiles_kept=1, blocks_kept=blocks_of(tile, job.block))
            if row is not None and summed_up.get(tile.name) != row:
                journal.add(zone, row)
        journal.put()
        tally.put()
        wanted.sort(key=work_order)
        for first in range(0, len(wanted), job.neighbours):
            yield tuple(wanted[first : first + job.neighbours])


class EmbedTile(beam.DoFn):
    """A tile -> its zone, with the shard and the record in the store."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._shared = Shared()

    def setup(self) -> None:
        self._shop = self._shared.acquire(self._job.open, tag=self._job.launch)
        self._tiles = SideBySide[tuple[Tile, Record | None]](self._shop.turns)

    def process(self, tile: Tile) -> Iterator[tuple[int, None]]:
        for ended in self._tiles.start(self._make, tile):
            yield self._count(*ended)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for ended in self._tiles.finish():
            yield GlobalWindows.windowed_value(self._count(*ended))
        self._shop.tally.put()
        self._shop.journal.put()

    def teardown(self) -> None:
        self._tiles.close()

    def _make(self, tile: Tile) -> tuple[Tile, Record | None]:
        return tile, make_tile(tile, self._job, self._shop)

    def _count(self, tile: Tile, record: Record | None) -> tuple[int, None]:
        if record is not None and record.launch in ("", self._job.launch):
            count_in_beam(record)
            if record.error and not record.written:
                Metrics.counter(NAMESPACE, UNRECORDED + record.error["class"]).inc()
        return tile.zone, None


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
