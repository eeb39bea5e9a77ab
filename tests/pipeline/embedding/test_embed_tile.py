"""What crosses the graph, in which portions, and that nothing counts twice."""

from __future__ import annotations

import copyreg
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam import coders
from apache_beam.coders import coder_impl
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult
from apache_beam.runners.worker.bundle_processor import DataInputOperation

from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job import local_runner
from tessera_mosaic.pipeline.job.graph import CompactZone, ReadRequest
from tessera_mosaic.pipeline.job.heartbeat import Heartbeat
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.monitor import made
from tessera_mosaic.pipeline.job.neighbourhoods import MOST_NEIGHBOURS, tiles_of
from tessera_mosaic.pipeline.ledger import keys, records, tile_lists
from tessera_mosaic.pipeline.ledger.keys import summary_key
from tessera_mosaic.pipeline.ledger.records import Record, State
from tessera_mosaic.pipeline.ledger.tally import read_tallies
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tests import jobs
from tests.pipeline.ledger.test_metrics import beam_sums

MEGABYTE = 2**20

ZONE = 31


def a_job(store: Path, tiles: list[Tile], **more: Any) -> JobSpec:
    """A job over some tiles whose request lies in the store."""
    request = keys.request_key(jobs.YEAR, "asked", ZONE)
    Storage(str(store)).write(request, tile_lists.encode_tiles(tiles))
    return JobSpec(
        catalog="none",
        allow_hosts=(),
        year=jobs.YEAR,
        store=str(store),
        model=None,
        weights=None,
        weights_sha256="",
        precision="fp32",
        device="cpu",
        rules=Preprocessing("mpc"),
        fingerprint="f",
        request="asked",
        launch="this",
        block=32,
        margin=0,
        inside=None,
        allow_lost_scenes=0,
        processes=1,
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


def test_no_element_of_a_request_of_any_size_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_made(_: Storage, __: int, tiles: Iterator[Tile]) -> Iterator[tuple[Tile, None]]:
        return ((tile, None) for tile in tiles)

    monkeypatch.setattr(records, "read_records", none_made)
    tiles = square(2_000, 200, side=512)
    given = list(ReadRequest(a_job(tmp_path, tiles, elements=1_000)).process(ZONE))
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


def watched(
    monkeypatch: pytest.MonkeyPatch, store: Path
) -> tuple[list[Counter[str]], list[PipelineResult]]:
    """Sums of the tallies at the end of launches, and results of graphs."""
    tallies: list[Counter[str]] = []
    results: list[PipelineResult] = []
    leave, run = Heartbeat.leave, beam.Pipeline.run

    def told(presence: Heartbeat) -> None:
        tallies.append(read_tallies(Storage(str(store)), jobs.YEAR, presence._launch))
        leave(presence)

    def kept(pipeline: beam.Pipeline, *args: Any) -> PipelineResult:
        results.append(run(pipeline, *args))
        return results[-1]

    monkeypatch.setattr(Heartbeat, "leave", told)
    monkeypatch.setattr(beam.Pipeline, "run", kept)
    return tallies, results


def test_a_second_pass_counts_nothing_twice(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert jobs.run_here(jobs.options(archive, tmp_path)) == 0
    for path in sorted(tmp_path.glob("records/*/tiles/*/*.json"))[:8]:
        path.unlink()
    for path in tmp_path.glob("records/*/summary/*.json"):
        path.unlink()
    tallies, results = watched(monkeypatch, tmp_path)
    once = local_runner.run_graph

    def twice(*arguments: Any) -> Counter[str]:
        # As when a worker died, and the graph is run again.
        once(*arguments)
        return once(*arguments)

    monkeypatch.setattr(local_runner, "run_graph", twice)
    assert jobs.run_here(jobs.options(archive, tmp_path)) == 0
    (counts,) = tallies
    assert (counts["tiles_kept"], counts["blocks_kept"]) == (4, 4)
    assert (made(counts), counts["blocks"]) == (8, 8)
    first, second = map(beam_sums, results)
    assert (first["tiles_kept"], first["tiles_done"]) == (4, 8)
    assert second == {"tiles_kept": 4}


def test_tiles_that_a_refresh_leaves_are_kept(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert jobs.run_here(jobs.options(archive, tmp_path)) == 0
    tallies, results = watched(monkeypatch, tmp_path)
    assert jobs.run_here(jobs.options(archive, tmp_path, "--refresh")) == 0
    assert tallies[0]["tiles_kept"] == tallies[0]["blocks_kept"] == 12
    assert beam_sums(results[0]) == {"tiles_kept": 12}


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


Process = Callable[[Any, Any], Iterator[Any]]


def lost_and_at_once(process: Process) -> Process:
    """Work of which the first attempt is lost, and two more run at once."""

    def run(dofn: Any, element: Any) -> Iterator[Any]:
        first = list(process(dofn, element))
        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(lambda _: list(process(dofn, element)), range(2)))
        assert both == [first, first]
        yield from first

    return run


def test_bundles_of_zones_may_be_lost_and_run_at_once(
    archive: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dofn in (ReadRequest, CompactZone):
        monkeypatch.setattr(dofn, "process", lost_and_at_once(dofn.process))
    for gone in (12, 4):
        assert jobs.run_here(jobs.options(archive, tmp_path)) == 0
        assert jobs.contents(tmp_path) == jobs.contents(finished), gone
        for path in sorted(tmp_path.glob("records/*/tiles/*/*.json"))[:gone]:
            path.unlink()


def test_a_summary_may_be_broken_off_anywhere(
    archive: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenOffError(BaseException):
        """The process ends."""

    compact_zone, broken = CompactZone.process, []

    def breaking(verb: Callable[..., Any], marker: str) -> Callable[..., Any]:
        def run(storage: Storage, key: str, *data: bytes) -> Any:
            if marker in key and marker not in broken:
                broken.append(marker)
                raise BrokenOffError
            return verb(storage, key, *data)

        return run

    def again_and_again(dofn: CompactZone, ended: tuple[int, object]) -> Iterator[int]:
        while True:
            try:
                yield from list(compact_zone(dofn, ended))
                return
            except BrokenOffError:
                continue

    summary = summary_key(jobs.YEAR, ZONE)
    monkeypatch.setattr(CompactZone, "process", again_and_again)
    monkeypatch.setattr(Storage, "write", breaking(Storage.write, summary))
    monkeypatch.setattr(Storage, "delete", breaking(Storage.delete, "/journal/"))
    assert jobs.run_here(jobs.options(archive, tmp_path)) == 0
    assert broken == [summary, "/journal/"]
    assert jobs.contents(tmp_path) == jobs.contents(finished)
