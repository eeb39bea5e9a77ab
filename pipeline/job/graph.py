"""The Beam graph of a tile job: zones in, the objects and the record of each tile out.

Only zones and tiles are elements; pixels never leave the worker that read them, and what became
of a tile lies in the store. Everything may happen twice, at once or be lost half way: each effect
is the same the second time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from tessera_mosaic.pipeline.errors import Stopped, StoreError
from tessera_mosaic.pipeline.io.stop_sign import stop_sign
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.job.beam_metrics import NAMESPACE, count_in_beam
from tessera_mosaic.pipeline.job.beam_options import only_writes_graph, runner_errors
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.make_tile import leave_tile, make_tile
from tessera_mosaic.pipeline.job.neighbourhoods import Numbers, elements_of, tiles_of
from tessera_mosaic.pipeline.job.outcome import STANDING, STOPPED, UNRECORDED
from tessera_mosaic.pipeline.job.tile_slots import SideBySide
from tessera_mosaic.pipeline.job.worker import open_worker
from tessera_mosaic.pipeline.ledger.journal import Journal, compact
from tessera_mosaic.pipeline.ledger.records import Record, read_records
from tessera_mosaic.pipeline.ledger.summary import read_summary
from tessera_mosaic.pipeline.ledger.tally import Tally
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile

log = logging.getLogger(__name__)


def run_graph(
    job: JobSpec,
    zones: list[int],
    options: PipelineOptions,
    told: Callable[[PipelineResult], object] | None = None,
    step: Callable[[beam.DoFn], beam.PTransform] = beam.ParDo,
) -> Counter[str]:
    """Run the graph over zones and wait for its end, unless all that is wanted is the graph.

    Parameters
    ----------
    job, zones, options
        What is made, the zones that have tiles of it, and the runner.
    told
        Called with the runner's result at the end.
    step
        Makes a step of the graph from what is done with a zone.

    Returns
    -------
    Failed tiles of whose failure the store has no record, and what was left because the job was
    stopped, by their counters' names.

    Raises
    ------
    BrokenOff
        If the runner gave up.
    """
    with runner_errors():
        pipeline = beam.Pipeline(options=options)
        _ = pipeline | "zones" >> beam.Create(zones) | "make zones" >> MakeZones(job, step)
        result = pipeline.run()
        if only_writes_graph(options):
            return Counter()
        result.wait_until_finish()
        if told is not None:
            told(result)
    counters = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    return Counter(
        {
            found.key.metric.name: found.result
            for found in counters
            if found.key.metric.name.partition(":")[0] in (UNRECORDED, STANDING, STOPPED)
        }
    )


class MakeZones(beam.PTransform):
    """Zones -> the same zones, with every tile's objects and record in the store.

    Tiles that need not be made are dropped first; the rest is spread over the workers, a few
    neighbours at a time.
    """

    def __init__(
        self, job: JobSpec, step: Callable[[beam.DoFn], beam.PTransform] = beam.ParDo
    ) -> None:
        super().__init__()
        self._job, self._step = job, step

    def expand(self, zones: beam.PCollection) -> beam.PCollection:
        made = (
            zones
            | "read request" >> self._step(ReadRequest(self._job))
            | "spread over workers" >> beam.Reshuffle()
            | "tile by tile" >> beam.FlatMap(tiles_of)
            | "make" >> beam.ParDo(MakeTile(self._job))
        )
        # The grouping waits for a zone's last tile.
        return (
            (zones | "of itself" >> beam.Map(lambda zone: (zone, None)), made)
            | "ended" >> beam.Flatten()
            | "by zone" >> beam.GroupByKey()
            | "compact" >> self._step(CompactZone(self._job))
        )


class ReadRequest(beam.DoFn):
    """A zone -> the tiles of it that the job has to make, a few neighbours at a time."""

    def __init__(self, job: JobSpec) -> None:
        self._job = job

    def process(self, zone: int) -> Iterator[tuple[Numbers, ...]]:
        job, stop = self._job, stop_sign()
        storage = job.open_store()
        name = f"left-{zone}{'-last' if job.last else ''}"
        tally = Tally(storage, job.year, job.launch, name)
        journal = Journal(storage, job.year)
        wanted = []
        tiles = filter(job.takes, job.tiles_of(storage, zone))
        summed_up = read_summary(storage, job.year, zone)
        for tile, record in read_records(storage, job.year, tiles):
            if stop.asked:
                Metrics.counter(NAMESPACE, STOPPED).inc()
                return
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
        yield from elements_of(wanted, job.elements)


class MakeTile(beam.DoFn):
    """Tiles -> the zones that they are of, with their objects and records in the store."""

    def __init__(self, job: JobSpec) -> None:
        self._job = job
        self._shared = Shared()

    def setup(self) -> None:
        job = self._job
        self._worker = self._shared.acquire(lambda: open_worker(job), tag=job.launch)
        self._tiles = SideBySide[Record | None]()

    def start_bundle(self) -> None:
        self._zones: set[int] = set()

    def process(self, tile: Tile) -> None:
        self._zones.add(tile.zone)
        for record in self._tiles.start(make_tile, tile, self._job, self._worker):
            self._count(record)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for record in self._tiles.finish():
            self._count(record)
        self._worker.tally.put()
        self._worker.journal.put()
        for zone in sorted(self._zones):
            yield GlobalWindows.windowed_value((zone, None))

    def teardown(self) -> None:
        self._tiles.close()

    def _count(self, record: Record | None) -> None:
        """Count in Beam's metrics what came of a tile; None where it was left."""
        if record is None:
            if self._worker.stop.asked:
                Metrics.counter(NAMESPACE, STOPPED).inc()
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
            # Where the store does not exclude, the launcher alone edits summaries.
            if self._job.excludes:
                with store_errors(self._job.store):
                    compact(self._job.open_store(), self._job.year, zone)
        except (StoreError, Stopped) as error:
            log.error("zone %d: its summary is not up to date: %s", zone, error)
        yield zone
