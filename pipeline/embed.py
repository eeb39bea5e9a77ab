"""The Beam graph: tiles in, a shard of the mosaic and a record for each out.

Only zones and tiles are elements; pixels never leave the worker that read them, and what became
of a tile lies in the store. Everything may happen twice, at once or be lost half way: each effect
is the same the second time.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import records
from pipeline.errors import StoreError, runner_errors, store_errors
from pipeline.grid import Tile
from pipeline.measures import NAMESPACE, count_in_beam
from pipeline.options import only_writes_graph
from pipeline.outcome import STANDING, UNRECORDED
from pipeline.progress import Tally
from pipeline.records import Record
from pipeline.storage import Storage
from pipeline.summary import Journal, compact, read_summary
from pipeline.tiles import leave_tile, make_tile
from pipeline.turns import SideBySide
from pipeline.worker import Job

log = logging.getLogger(__name__)

MOST_NEIGHBOURS = 8
"""Tiles that a worker is given at a time, at most: hours of work on a CPU, minutes on a GPU."""

NEIGHBOURHOOD = 16_384
"""Side in pixels of the squares whose tiles are made one after the other: 164 km, one and a half
Sentinel-2 scenes."""

Numbers = tuple[int, int, int, int]
"""A tile as an element: the local runner holds all elements at once, and several times, and
numbers take a sixth of what a pickled tile does."""


def run_graph(job: Job, zones: list[int], options: PipelineOptions) -> Counter[str]:
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

    def __init__(self, job: Job) -> None:
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

    def __init__(self, job: Job) -> None:
        self._job = job

    def process(self, zone: int) -> Iterator[tuple[Numbers, ...]]:
        job = self._job
        storage = Storage(job.store)
        name = f"left-{zone}{'-last' if job.last else ''}"
        tally = Tally(storage, job.year, job.launch, name)
        journal = Journal(storage, job.year)
        wanted = []
        request = storage.read(records.request_key(job.year, job.request, zone))
        summed_up = read_summary(storage, job.year, zone)
        tiles = filter(job.takes, records.decode_tiles(request))
        for tile, record in records.read_records(storage, job.year, tiles):
            row = record.short() if record else None
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


def tiles_of(element: tuple[Numbers, ...]) -> Iterator[Tile]:
    """The tiles that an element stands for."""
    return (Tile(*numbers) for numbers in element)


def neighbours(tiles: Iterable[Tile], elements: int) -> Iterator[tuple[Tile, ...]]:
    """Tiles of a zone as they go out to the workers: a few neighbours at a time.

    Row by row, back and forth, so that each tile finds the scenes of the one before in the caches.
    Neighbourhoods come in an order that has nothing to do with where they are, so that workers ask
    for different parts of the archive. That order is the local runner's; others choose their own.

    Parameters
    ----------
    tiles
        That have to be made.
    elements
        That should come of them: as long as there are no more tiles, they go out singly.
    """
    ordered = sorted(
        tiles, key=lambda t: (*_neighbourhood(t), t.row, t.col if t.row % 2 == 0 else -t.col)
    )
    most = min(MOST_NEIGHBOURS, max(1, len(ordered) // elements))
    for _, members in itertools.groupby(ordered, _neighbourhood):
        near = tuple(members)
        parts = -(-len(near) // most)
        for part in range(parts):
            yield near[part * len(near) // parts : (part + 1) * len(near) // parts]


def _neighbourhood(tile: Tile) -> tuple[int, int, int]:
    step = max(1, NEIGHBOURHOOD // tile.side)
    row, col = tile.row // step, tile.col // step
    return zlib.crc32(f"{tile.zone} {row} {col}".encode()), row, col


class EmbedTile(beam.DoFn):
    """Tiles -> the zones that they are of, with their shards and records in the store."""

    def __init__(self, job: Job) -> None:
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
        if self._job.keeps(record.short()):
            Metrics.counter(NAMESPACE, "tiles_kept").inc()
        elif record.launch in ("", self._job.launch):
            count_in_beam(record)
            if record.error and not record.written:
                how = STANDING if record.launch else UNRECORDED
                Metrics.counter(NAMESPACE, f"{how}:{record.error['class']}").inc()


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
