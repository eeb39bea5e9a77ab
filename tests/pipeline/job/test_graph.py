"""What crosses the graph, in which portions, and that nothing counts twice."""

from __future__ import annotations

import copyreg
import itertools
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import pytest
from apache_beam import coders
from apache_beam.coders import coder_impl
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult
from apache_beam.runners.worker.bundle_processor import DataInputOperation

from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.beam_metrics import NAMESPACE
from tessera_mosaic.pipeline.job.graph import ReadRequest, run_graph
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.local_runner import GraphRuns
from tessera_mosaic.pipeline.job.monitor import made
from tessera_mosaic.pipeline.job.neighbourhoods import MOST_NEIGHBOURS, elements_of, tiles_of
from tessera_mosaic.pipeline.ledger import keys, records, tile_lists
from tessera_mosaic.pipeline.ledger.journal import Journal, compact
from tessera_mosaic.pipeline.ledger.metrics import MEASURES, measures_of
from tessera_mosaic.pipeline.ledger.records import Record, State
from tessera_mosaic.pipeline.ledger.tally import read_tallies
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tests import jobs
from tests.makers import Nothing

MEGABYTE = 2**20

ZONE = 31


def a_job(store: Path, tiles: list[Tile], **more: Any) -> JobSpec:
    """A job over some tiles whose request lies in the store."""
    request = keys.request_key(jobs.YEAR, "asked", ZONE)
    Storage(str(store)).write(request, tile_lists.encode_tiles(tiles))
    return JobSpec(
        maker=Nothing(),
        store=str(store),
        year=jobs.YEAR,
        request="asked",
        launch="this",
        **more,
    )


def square(rows: int, cols: int, side: int = 2048) -> list[Tile]:
    return [Tile(ZONE, 100 + row, 10 + col, side) for row in range(rows) for col in range(cols)]


def elements(job: JobSpec) -> list[tuple[Tile, ...]]:
    """What the job's workers are given of the zone."""
    return [tuple(tiles_of(element)) for element in ReadRequest(job).process(ZONE)]


@pytest.mark.parametrize(("wanted", "most"), [(1, 8), (100, 8), (200, 5), (1_000, 1)])
def test_tiles_go_out_with_their_neighbours(tmp_path: Path, wanted: int, most: int) -> None:
    tiles = square(50, 20)
    given = elements(a_job(tmp_path, tiles, elements=wanted))
    assert sorted(itertools.chain(*given)) == tiles
    assert max(map(len, given)) == most <= MOST_NEIGHBOURS
    assert len(given) >= wanted
    for near in given:
        steps = [abs(a.row - b.row) + abs(a.col - b.col) for a, b in itertools.pairwise(near)]
        assert all(step <= 1 for step in steps)
    # Workers that begin at even distances begin far from one another.
    starts = [given[len(given) * worker // 4][0] for worker in range(4)]
    assert all(
        abs(a.row - b.row) + abs(a.col - b.col) > 8 for a, b in itertools.combinations(starts, 2)
    )


def test_the_few_tiles_that_are_left_of_many_go_out_singly(tmp_path: Path) -> None:
    tiles = square(10, 20)
    storage = Storage(str(tmp_path))
    for tile in tiles[16:]:
        record = Record(tile.name, jobs.YEAR, State.DONE, "f", launch="earlier")
        records.write_record(storage, tile, record)
    given = elements(a_job(tmp_path, tiles, elements=16))
    assert sorted(given) == [(tile,) for tile in tiles[:16]]


def encoded_size(element: object) -> int:
    return len(coders.registry.get_coder(Any).encode(element))


def test_no_element_of_a_request_of_any_size_is_large() -> None:
    tiles = square(2_000, 200, side=512)
    given = list(elements_of(tiles, 1_000))
    assert sum(map(len, given)) == 400_000
    assert max(map(encoded_size, given[::100])) < 20 * MOST_NEIGHBOURS
    # At worst, a runner makes each tile a bundle of its own, and each tells of its zone.
    assert encoded_size((ZONE, [None] * 400_000)) < MEGABYTE


def test_no_pixels_leave_their_worker(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    pickled: list[tuple[int, ...]] = []
    process = DataInputOperation.process_encoded

    def measured(self: DataInputOperation, data: bytes) -> None:
        stream = coder_impl.create_InputStream(data)
        while left := stream.size():
            self.windowed_coder_impl.decode_from_stream(stream, True)
            sizes.append(left - stream.size())
        process(self, data)

    def told(array: np.ndarray) -> Any:
        pickled.append(array.shape)
        return array.__reduce__()

    monkeypatch.setattr(DataInputOperation, "process_encoded", measured)
    monkeypatch.setitem(copyreg.dispatch_table, np.ndarray, told)
    assert jobs.run_here(jobs.options(archive, tmp_path)) == 0
    assert len(sizes) > 12
    assert max(sizes) < 1024
    assert not pickled
    # Nor would they have gone unseen between two steps of a stage.
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        _ = pipeline | beam.Create([1]) | beam.Map(np.zeros) | beam.Map(len)
    assert pickled


def beam_sums(result: PipelineResult) -> dict[str, float]:
    """Beam's metrics of a job, each summed up."""
    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    counters = {counter.key.metric.name: counter.result for counter in found["counters"]}
    return counters | {each.key.metric.name: each.result.sum for each in found["distributions"]}


@dataclass
class Watched:
    """Runs the graph, and keeps the sums of the tallies after it and what Beam counted."""

    store: Path
    times: int = 1
    tallies: Counter[str] = field(default_factory=Counter)
    results: list[PipelineResult] = field(default_factory=list)

    @property
    def runs(self) -> GraphRuns:
        """How the local runner runs the graph."""
        return GraphRuns(here=self._here)

    def _here(self, job: JobSpec, zones: list[int], options: PipelineOptions) -> Counter[str]:
        for _ in range(self.times):
            # More than once as when a worker died, and the graph is run again.
            unrecorded = run_graph(job, zones, options, self.results.append)
        self.tallies = read_tallies(Storage(str(self.store)), jobs.YEAR, job.launch)
        return unrecorded


def test_all_places_agree(archive: Path, tmp_path: Path) -> None:
    """What is measured has the same names and sums in records, tallies, Beam and `--json`."""
    watched = Watched(tmp_path)
    code, printed = jobs.launched(jobs.options(archive, tmp_path), runs=watched.runs)
    assert code == 0
    paths = sorted(tmp_path.glob("records/*/tiles/*/*.json"))
    found = [Record.from_json(path.read_bytes()) for path in paths]
    summed: Counter[str] = Counter()
    for record in found:
        summed.update(measures_of(TileSummary.of(record)))
    from_beam = beam_sums(watched.results[0])

    assert len(paths) == summed["tiles_done"] == 12
    assert summed["pixels_embedded"] == 12 * jobs.SIDE**2
    assert summed["bytes_read"] > 0
    assert summed["bytes_written"] == sum(
        (tmp_path / entry.key).stat().st_size for record in found for entry in record.objects
    )
    assert set(summed) <= set(MEASURES) <= set(printed)
    for name, value in summed.items():
        if name.startswith("seconds_"):
            thousandths = from_beam[name.replace("seconds", "milliseconds")]
            assert thousandths / 1000 == pytest.approx(value, abs=0.1)
        else:
            assert from_beam[name] == value
        assert watched.tallies[name] == pytest.approx(value, abs=0.1)
        assert printed[name] == pytest.approx(value, abs=0.1)


def test_a_second_pass_counts_nothing_twice(archive: Path, tmp_path: Path) -> None:
    assert jobs.run_here(jobs.options(archive, tmp_path)) == 0
    for path in sorted(tmp_path.glob("records/*/tiles/*/*.json"))[:8]:
        path.unlink()
    for path in tmp_path.glob("records/*/summary/*.json"):
        path.unlink()
    watched = Watched(tmp_path, times=2)
    assert jobs.launched(jobs.options(archive, tmp_path), runs=watched.runs)[0] == 0
    counts = watched.tallies
    assert (counts["tiles_kept"], counts["blocks_kept"]) == (4, 4)
    assert (made(counts), counts["blocks"]) == (8, 8)
    first, second = map(beam_sums, watched.results)
    assert (first["tiles_kept"], first["tiles_done"]) == (4, 8)
    assert second == {"tiles_kept": 4}


def test_tiles_that_a_refresh_leaves_are_kept(archive: Path, tmp_path: Path) -> None:
    assert jobs.run_here(jobs.options(archive, tmp_path)) == 0
    watched = Watched(tmp_path)
    words = jobs.options(archive, tmp_path, "--refresh")
    assert jobs.launched(words, runs=watched.runs)[0] == 0
    assert watched.tallies["tiles_kept"] == watched.tallies["blocks_kept"] == 12
    assert beam_sums(watched.results[0]) == {"tiles_kept": 12}


def test_what_is_neither_made_nor_finished_is_not_kept(tmp_path: Path) -> None:
    storage, tiles = Storage(str(tmp_path)), square(1, 4, side=32)
    corrupt = records.failure(Corrupt("half a file"))
    for tile, state, error in (
        (tiles[0], State.DONE, None),
        (tiles[1], State.EMPTY, None),
        (tiles[2], State.FAILED, corrupt),
    ):
        record = Record(tile.name, jobs.YEAR, state, "f", error=error, launch="earlier")
        records.write_record(storage, tile, record)

    def told(**more: Any) -> tuple[list[Tile], Counter[str]]:
        given = elements(a_job(tmp_path, tiles, **more))
        return list(itertools.chain(*given)), read_tallies(storage, jobs.YEAR, "this")

    assert told() == (tiles[2:], Counter(tiles_kept=2, blocks_kept=2))
    # Only failed ones are made: the missing one is none, and needs no work either.
    assert told(only_failed=True) == ([tiles[2]], Counter(tiles_kept=2, blocks_kept=3))


class Twice(beam.PTransform):
    """A step of which the first attempt at each element is lost, and two more run at once."""

    def __init__(self, dofn: beam.DoFn) -> None:
        super().__init__()
        self._dofn = dofn

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        return elements | beam.FlatMap(lost_and_at_once, self._dofn)


def lost_and_at_once(element: Any, dofn: beam.DoFn) -> list[Any]:
    """What two attempts at once give after one that was lost."""
    first = list(dofn.process(element))
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: list(dofn.process(element)), range(2)))
    assert both == [first, first]
    return first


def test_bundles_of_zones_may_be_lost_and_run_at_once(
    archive: Path, finished: Path, tmp_path: Path
) -> None:
    def here(job: JobSpec, zones: list[int], options: PipelineOptions) -> Counter[str]:
        return run_graph(job, zones, options, step=Twice)

    for gone in (12, 4):
        words = jobs.options(archive, tmp_path)
        assert jobs.launched(words, runs=GraphRuns(here=here))[0] == 0
        assert jobs.contents(tmp_path) == jobs.contents(finished), gone
        for path in sorted(tmp_path.glob("records/*/tiles/*/*.json"))[:gone]:
            path.unlink()


class BrokenOffError(BaseException):
    """The process ends."""


class BreakingStorage(Storage):
    """A store whose process ends once at each of two moments."""

    broken: ClassVar[list[str]] = []

    def write(self, key: str, data: bytes) -> None:
        self._break(key, keys.summary_key(jobs.YEAR, ZONE))
        super().write(key, data)

    def delete(self, key: str) -> None:
        self._break(key, "/journal/")
        super().delete(key)

    def _break(self, key: str, marker: str) -> None:
        if marker in key and marker not in self.broken:
            self.broken.append(marker)
            raise BrokenOffError


def test_a_summary_may_be_broken_off_anywhere(finished: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    storage = BreakingStorage(str(store))
    journal = Journal(storage, jobs.YEAR)
    for tile in tile_lists.planned_tiles(storage, jobs.YEAR):
        record = records.read_record(storage, jobs.YEAR, tile)
        assert record is not None
        journal.add(ZONE, TileSummary.of(record))
    journal.put()
    Path(store, keys.summary_key(jobs.YEAR, ZONE)).unlink()
    for _ in range(2):
        with pytest.raises(BrokenOffError):
            compact(storage, jobs.YEAR, ZONE)
    compact(storage, jobs.YEAR, ZONE)
    assert len(storage.broken) == 2
    assert jobs.contents(store) == jobs.contents(finished)
