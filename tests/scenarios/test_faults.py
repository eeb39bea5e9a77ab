"""What can go wrong while a job runs: the class it gets, how often it is tried, how the job ends.

Each fault is real where that is possible: a disk that is full, a mount turned read-only, a folder
that nobody may write to, a bucket that answers 503. After it is mended, the same command leaves the
store as if nothing had happened.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tessera_mosaic.pipeline.errors import BadInput, BrokenOff, DeviceError, Expired, Throttled
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.beam_options import beam_options
from tessera_mosaic.pipeline.job.device_health import STRIKES
from tessera_mosaic.pipeline.job.launch import job_spec
from tessera_mosaic.pipeline.job.make_tile import make_tile
from tessera_mosaic.pipeline.job.worker import open_worker
from tessera_mosaic.pipeline.ledger import in_progress, records
from tessera_mosaic.pipeline.ledger.records import Record, State
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.tiling.boxes import Box
from tessera_mosaic.pipeline.tiling.lattice import lonlat_bounds, parse_tile
from tests import jobs
from tests.fakes.environment import gcs_here
from tests.jobs import FIRST, LAST, Run, record_of
from tests.makers import (
    OpenedBy,
    Renewing,
    at_block,
    before_blocks,
    broken_device,
    full_device,
    named,
    reading_fails,
    searching,
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount a file system in memory, or mount it again with other options."""
    folder = tmp_path / "disk"

    def mount(options: str) -> Path:
        again = "remount," if os.path.ismount(folder) else ""
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", again + options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a file system in memory can only be mounted by root")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", str(folder)], check=True)


# The store.


def test_a_full_disk(
    archive: Path, finished: Path, small_disk: Callable[..., Path], run: Run
) -> None:
    store = small_disk("size=600k") / "store"
    code, result = run(*jobs.options(archive, store))
    assert code == 3
    assert 0 < result["done"] < 12
    assert set(result["failures"]) == {"store-full"}
    assert result["done"] + result["failed"] + result["missing"] == 12
    small_disk("size=50m")
    assert run(*jobs.options(archive, store))[0] == 0
    assert jobs.contents(store) == jobs.contents(finished)


def test_a_store_that_becomes_read_only(
    archive: Path,
    finished: Path,
    small_disk: Callable[..., Path],
    run: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = jobs.options(archive, small_disk("size=50m") / "store")
    code, result = jobs.launched(words, at_block(5, lambda: small_disk("ro")))
    assert code == 3
    assert set(result["failures"]) == {"store-read-only"}
    assert 0 < result["done"] == 12 - result["failed"]

    assert jobs.run_here(words) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "Read-only file system" in error
    small_disk("rw")
    assert run(*words)[0] == 0
    assert jobs.contents(small_disk("rw") / "store") == jobs.contents(finished)


def test_permission_denied(archive: Path, finished: Path, tmp_path: Path, run: Run) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    for record in sorted(store.glob("records/*/tiles/*/*.json"))[:2]:
        record.unlink()
    folder = next(store.glob("utm31/embeddings/c/*/0/11580"))
    if subprocess.run(["chattr", "+i", str(folder)], capture_output=True).returncode:
        folder.chmod(0o555)
    try:
        code, result = run(*jobs.options(archive, store))
    finally:
        subprocess.run(["chattr", "-i", str(folder)], capture_output=True)
        folder.chmod(0o755)
    assert (code, result["failures"]) == (3, {"store-denied": 2})
    failed = record_of(store, FIRST)
    assert failed.error is not None
    assert "not permitted" in failed.error.message or "denied" in failed.error.message
    assert failed.attempts == 1
    assert run(*jobs.options(archive, store), "--retry-failed")[0] == 0
    assert jobs.contents(store) == jobs.contents(finished)


@pytest.mark.parametrize("fault", [503, 0], ids=["503 in mid-put", "a put torn in the middle"])
def test_a_bucket_that_misbehaves(
    archive: Path,
    finished: Path,
    fault: int,
) -> None:
    with gcs_here() as state:
        words = jobs.options(archive, Path("store"))
        words[3] = "--store=gs://bucket/store"
        fail = at_block(3, lambda: state.faults.extend([fault, fault]))
        code, result = jobs.launched(words, fail)
        assert (code, result["done"]) == (0, 12)
        assert not state.faults
        found = {
            name.removeprefix("store/"): blob.data
            for (_, name), blob in state.blobs.items()
            if not name.startswith("store/records/")
        }
    assert found == jobs.shards(finished)


class Always(deque[int]):
    """Faults without end."""

    def popleft(self) -> int:
        return self[0]


def test_a_bucket_that_is_out_for_good_ends_the_command_in_one_line(
    archive: Path,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def at_once(_: float) -> None:
        """Instead of the client's pauses between its tries."""

    monkeypatch.setattr("gcsfs.retry.asyncio", SimpleNamespace(sleep=at_once))
    with gcs_here() as state:
        words = jobs.options(archive, Path("store"))
        words[3] = "--store=gs://bucket/out"
        words.append("--store-patience=0.5")
        out = at_block(3, lambda: setattr(state, "faults", Always([503])))
        said = "`status` tells what came of it: gs://bucket/out: "
        with pytest.raises(BrokenOff, match=said):
            jobs.launched(words, out)
        state.faults = deque()
        assert run(*words)[0] == 0
        found = {
            name.removeprefix("out/"): blob.data
            for (_, name), blob in state.blobs.items()
            if not name.startswith("out/records/")
        }
    assert found == jobs.shards(finished)


# The encoder.


def test_out_of_memory_fails_the_tile_after_a_second_try(
    archive: Path, finished: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = jobs.options(archive, tmp_path / "store")
    full = before_blocks(full_device(parse_tile(FIRST, jobs.SIDE)))
    code, result = jobs.launched(words, full)
    assert (code, result["done"], result["failures"]) == (3, 11, {"out-of-memory": 1})
    assert record_of(tmp_path / "store", FIRST).attempts == 2
    assert run(*words)[0] == 0
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)


@pytest.mark.parametrize("runner", ["direct", "BundleBasedDirectRunner"])
def test_a_device_that_fails_every_tile_gets_no_more(
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    runner: str,
) -> None:
    words = [*jobs.options(archive, tmp_path / "store"), f"--runner={runner}"]
    with pytest.raises(BrokenOff, match="takes no more work: 3 tiles in a row"):
        jobs.launched(words, before_blocks(broken_device))
    tried = list((tmp_path / "store").glob("records/*/tiles/*/*.json"))
    assert len(tried) == STRIKES - 1
    assert Record.from_json(tried[0].read_bytes()).error.kind == "bad-device"  # type: ignore[index]
    # Another thread may still be at the tile that it had begun.
    deadline = time.monotonic() + 300
    while in_progress.noted(Storage(str(tmp_path / "store")), jobs.YEAR):
        assert time.monotonic() < deadline, "a note is left"
        time.sleep(0.01)


def test_what_a_bad_device_leaves_another_worker_makes(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = jobs.prepared(jobs.options(archive, tmp_path / "store"))
    run.job.tiles.write(Storage(run.job.store), jobs.YEAR)
    job = job_spec(run.job, run.maker, beam_options("direct", 1, []))
    made = [parse_tile(FIRST, jobs.SIDE), parse_tile(LAST, jobs.SIDE)]
    made += [dataclasses.replace(made[0], col=made[0].col + n) for n in (1, 2)]
    broken = dataclasses.replace(job, maker=before_blocks(broken_device)(run.maker))
    bad = open_worker(broken)
    ends = [make_tile(tile, broken, bad) for tile in made[: STRIKES - 1]]
    assert [end.state for end in ends if end] == [State.FAILED] * (STRIKES - 1)
    for tile in made[STRIKES - 1 :]:
        with pytest.raises(DeviceError, match="takes no more work"):
            make_tile(tile, broken, bad)
        assert records.read_record(bad.storage, jobs.YEAR, tile) is None
    good = open_worker(job)
    ends = [make_tile(tile, job, good) for tile in made]
    assert [end.state for end in ends if end] == [State.DONE] * len(made)


def test_memory_that_is_short_while_reading_is_out_of_memory(archive: Path, tmp_path: Path) -> None:
    words = jobs.options(archive, tmp_path / "store")
    short = reading_fails(parse_tile(FIRST, jobs.SIDE))
    code, result = jobs.launched(words, short)
    assert (code, result["done"], result["failures"]) == (3, 11, {"out-of-memory": 1})


def test_an_encoder_that_returns_nan(archive: Path, tmp_path: Path, run: Run) -> None:
    weights = tmp_path / "weights.pt"
    encoder = jobs.weights(weights, seed=0)
    encoder["model"]["dim_reducer.0.weight"] *= 1e38
    torch.save(encoder, weights)
    words = jobs.options(archive, tmp_path / "store", f"--weights={weights}", "--model=v2-nano")
    code, result = run(*words)
    assert (code, result["done"], set(result["failures"])) == (3, 0, {"bad-embedding"})
    failed = record_of(tmp_path / "store", FIRST)
    assert failed.attempts == 1
    assert not failed.objects


# The catalogue.


def test_a_catalogue_that_no_worker_can_open_fails_tiles_not_the_job(
    archive: Path, finished: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out() -> Any:
        raise BadInput("the server is down")

    words = jobs.options(archive, tmp_path / "store")
    closed = OpenedBy(named(out))
    code, result = jobs.launched(
        [*words, "--max-failed-share=1"],
        lambda maker: dataclasses.replace(maker, catalog=closed),
    )
    assert (code, result["failures"]) == (3, {"catalogue": 12})
    assert record_of(tmp_path / "store", FIRST).attempts == 3
    assert run(*words)[0] == 0
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)


def test_scenes_that_vanish_in_mid_run(
    archive: Path,
    finished: Path,
    tmp_path: Path,
    run: Run,
) -> None:
    copy, away = tmp_path / "archive", tmp_path / "away"
    shutil.copytree(archive.parent, copy)
    words = jobs.options(copy / "catalog.json", tmp_path / "store")
    vanish = at_block(4, lambda: (copy / "sentinel-2-l2a").rename(away))
    code, result = jobs.launched(words, vanish)
    assert code == 3
    assert set(result["failures"]) == {"gone"}
    assert 0 < result["done"] < 12
    away.rename(copy / "sentinel-2-l2a")
    assert run(*words)[0] == 0
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)


@pytest.mark.parametrize(
    ("error", "tries", "renewals"), [(Expired, 2, 1), (Throttled, 3, 0)], ids=["expired", "busy"]
)
def test_a_catalogue_that_refuses_for_a_while_and_for_good(
    archive: Path,
    finished: Path,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Expired] | type[Throttled],
    tries: int,
    renewals: int,
) -> None:
    renewed: list[int] = []
    asked: list[Box] = []
    bounds = {name: lonlat_bounds(parse_tile(name, jobs.SIDE).window) for name in (FIRST, LAST)}

    def search_or_fail(real: Callable[..., list[Scene]], box: Box, year: int) -> list[Scene]:
        asked.append(box)
        if box == bounds[LAST] or (box == bounds[FIRST] and asked.count(box) < tries):
            raise error("the server says no")
        return real(box, year)

    words = jobs.options(archive, tmp_path / "store")
    code, result = jobs.launched(
        words, lambda maker: Renewing(searching(search_or_fail)(maker), named(renewed.append))
    )
    assert (code, result["done"], result["failures"]) == (3, 11, {error.kind: 1})
    assert record_of(tmp_path / "store", FIRST).attempts == tries
    assert record_of(tmp_path / "store", LAST).attempts == tries
    assert len(renewed) == 2 * renewals
    assert run(*words)[0] == 0
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)
