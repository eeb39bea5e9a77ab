"""The Beam graph: tiles in, a shard of the mosaic and a record for each out.

Only zones and tiles are elements; pixels never leave the worker that read them, and what became
of a tile lies in the store. Everything may happen twice, at once or be lost half way: each effect
is the same the second time.
"""

from __future__ import annotations

import dataclasses
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

from tessera_mosaic.pipeline.embedding.embed_tile import leave_tile, make_tile
from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.job.beam_metrics import NAMESPACE, count_in_beam
from tessera_mosaic.pipeline.job.beam_options import only_writes_graph, runner_errors
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.neighbourhoods import Numbers, neighbours, tiles_of
from tessera_mosaic.pipeline.job.outcome import STANDING, UNRECORDED
from tessera_mosaic.pipeline.job.tile_slots import SideBySide
from tessera_mosaic.pipeline.ledger import keys, records, tile_lists
from tessera_mosaic.pipeline.ledger.journal import Journal, compact
from tessera_mosaic.pipeline.ledger.records import Record
from tessera_mosaic.pipeline.ledger.summary import read_summary
from tessera_mosaic.pipeline.ledger.tally import Tally
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile

log = logging.getLogger(__name__)


def run_graph(job: JobSpec, zones: list[int], options: PipelineOptions) -> Counter[str]:
    """Run the graph over zones and wait for its end, unless all that is wanted is the graph.

    Returns
    -------
    Failed tiles of whose failure the store has no record, by their counters' names.

    Raises
    ------
    BrokenOff
        If the runner gave up.
    """
    with runner_errors():
        pipeline = beam.Pipeline(options=options)
        _ = pipeline | "zones" >> beam.Create(zones) | "embed zones" >> EmbedZones(job)
        result = pipeline.run()
        if only_writes_graph(options):
            return Counter()
        result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    return Counter(
        {
            found.key.metric.name: found.result
            for found in counters
            if found.key.metric.name.partition(":")[0] in (UNRECORDED, STANDING)
        }
    )


class EmbedZones(beam.PTransform):
    """Zones -> the same zones, with every tile's shard and record in the store.

    Tiles that need not be made are dropped first; the rest is spread over the workers, a few
    neighbours at a time.
    """

    def __init__(self, job: JobSpec) -> None:
        super().__init__()
        self._job = job

    def expand(self, zones: beam.PCollection) -> beam.PCollection:
        made = (
            zones
            | "read request" >> beam.ParDo(ReadRequest(self._job))
            | "spread over workers" >> beam.Reshuffle()
            | "tile by tile" >> beam.FlatMap(tiles_of)
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

    def __init__(self, job: JobSpec) -> None:
        self._job = job

    def process(self, zone: int) -> Iterator[tuple[Numbers, ...]]:
        job = self._job
        storage = Storage(job.store)
        name = f"left-{zone}{'-last' if job.last else ''}"
        tally = Tally(storage, job.year, job.launch, name)
        journal = Journal(storage, job.year)
        wanted = []
        request = storage.read(keys.request_key(job.year, job.request, zone))
        summed_up = read_summary(storage, job.year, zone)
        tiles = filter(job.takes, tile_lists.decode_tiles(request))
        for tile, record in records.read_records(storage, job.year, tiles):
            row = TileSummary.of(record) if record else None
            if job.wants(row):
                wanted.append(tile)
                continue
            leave_tile(tile, row, job, tally)
            if job.keeps(row):
                Metrics.counter(NAMESPACE, "tiles_kept").inc()
            if row is not None and summed_up.get(tile.name) != row:
                journal.add(zone, row)
        journal.put()
        tally.put()
        for near in neighbours(wanted, job.elements):
            yield tuple(dataclasses.astuple(tile) for tile in near)


class EmbedTile(beam.DoFn):
    """Tiles -> the zones that they are of, with their shards and records in the store."""

    def __init__(self, job: JobSpec) -> None:
        self._job = job
        self._shared = Shared()

    def setup(self) -> None:
        self._shop = self._shared.acquire(self._job.open, tag=self._job.launch)
        self._tiles = SideBySide[Record | None](self._shop.turns)

    def start_bundle(self) -> None:
        self._zones: set[int] = set()

    def process(self, tile: Tile) -> None:
        self._zones.add(tile.zone)
        for record in self._tiles.start(make_tile, tile, self._job, self._shop):
            self._count(record)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for record in self._tiles.finish():
            self._count(record)
        self._shop.tally.put()
        self._shop.journal.put()
        for zone in sorted(self._zones):
            yield GlobalWindows.windowed_value((zone, None))

    def teardown(self) -> None:
        self._tiles.close()

    def _count(self, record: Record | None) -> None:
        """Count in Beam's metrics what came of a tile; None where it was not begun."""
        if record is None:
            return
        if self._job.keeps(TileSummary.of(record)):
            Metrics.counter(NAMESPACE, "tiles_kept").inc()
        elif record.launch in ("", self._job.launch):
            count_in_beam(record)
            if record.error and not record.written:
                how = STANDING if record.launch else UNRECORDED
                Metrics.counter(NAMESPACE, f"{how}:{record.error.kind}").inc()


class CompactZone(beam.DoFn):
    """A zone whose tiles have all ended -> the zone, with their rows in its summary."""

    def __init__(self, job: JobSpec) -> None:
        self._job = job

    def process(self, ended: tuple[int, object]) -> Iterator[int]:
        zone, _ = ended
        try:
            with store_errors(self._job.store):
                compact(Storage(self._job.store), self._job.year, zone)
        except StoreError as error:
            log.error("zone %d: its summary is not up to date: %s", zone, error)
        yield zone
