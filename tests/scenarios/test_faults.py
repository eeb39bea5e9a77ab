"""What can go wrong while a job runs: the class it gets, how often it is tried, how the job ends.

Each fault is real where that is possible: a disk that is full, a mount turned read-only, a folder
that nobody may write to, a bucket that answers 503. After it is mended, the same command leaves the
store as if nothing had happened.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.pipeline.embedding import embed_tile
from tessera_mosaic.pipeline.embedding.embed_tile import make_tile
from tessera_mosaic.pipeline.errors import BadInput, BrokenOff, DeviceError, Expired, Throttled
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job import launch, local_runner
from tessera_mosaic.pipeline.job.device_health import STRIKES
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.ledger import in_progress, keys, records
from tessera_mosaic.pipeline.ledger.in_progress import InProgress
from tessera_mosaic.pipeline.ledger.records import Record, State
from tessera_mosaic.pipeline.scenes import Scene
from tessera_mosaic.pipeline.scenes.credentials import Signer
from tessera_mosaic.pipeline.scenes.static_catalog import StaticCatalogue
from tessera_mosaic.pipeline.tiling.lattice import lonlat_bounds, parse_tile
from tests import jobs
from tests.fakes.environment import gcs_here

FIRST, LAST = "utm31-r11580-c1086", "utm31-r11582-c1089"
"""The corner tiles of the job."""


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tessera_mosaic.pipeline.embedding.embed_tile.RETRY_PAUSE", 0.01)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run the command here; its exit code and its result."""

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = jobs.run_here([*words, "--json"])
        return code, json.loads(capsys.readouterr().out or "{}")

    return run


Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def at_block(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Do something when the job comes to its n-th block."""

    def at_block(number: int, action: Callable[[], object]) -> None:
        encode, blocks = embed_tile.encode, iter(range(1, 10**6))

        def counted(*arguments: Any) -> Any:
            if next(blocks) == number:
                action()
            return encode(*arguments)

        monkeypatch.setattr(embed_tile, "encode", counted)

    return at_block


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


def record_of(store: Path, name: str) -> Record:
    found = records.read_record(Storage(str(store)), jobs.YEAR, parse_tile(name, jobs.SIDE))
    assert found is not None
    return found


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
    at_block: Callable[[int, Callable[[], object]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = jobs.options(archive, small_disk("size=50m") / "store")
    at_block(5, lambda: small_disk("ro"))
    code, result = run(*words)
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
    run: Run,
    at_block: Callable[[int, Callable[[], object]], None],
    fault: int,
) -> None:
    with gcs_here() as state:
        words = jobs.options(archive, Path("store"))
        words[3] = "--store=gs://bucket/store"
        at_block(3, lambda: state.faults.extend([fault, fault]))
        code, result = run(*words)
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
    at_block: Callable[[int, Callable[[], object]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def at_once(_: float) -> None:
        """Instead of the client's pauses between its tries."""

    monkeypatch.setattr("gcsfs.retry.asyncio", SimpleNamespace(sleep=at_once))
    with gcs_here() as state:
        words = jobs.options(archive, Path("store"))
        words[3] = "--store=gs://bucket/out"
        at_block(3, lambda: setattr(state, "faults", Always([503])))
        assert jobs.run_here(words) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert "`status` tells what came of it: gs://bucket/out: HttpError: " in said
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
    embed, troubled = Encoder.embed, parse_tile(FIRST, jobs.SIDE).window

    def embed_or_fail(self: Encoder, stack: Any, at: Any, *more: Any) -> Any:
        if (at.row, at.col) == (troubled.row, troubled.col):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return embed(self, stack, at, *more)

    monkeypatch.setattr(Encoder, "embed", embed_or_fail)
    words = jobs.options(archive, tmp_path / "store")
    code, result = run(*words)
    assert (code, result["done"], result["failures"]) == (3, 11, {"out-of-memory": 1})
    assert record_of(tmp_path / "store", FIRST).attempts == 2
    monkeypatch.setattr(Encoder, "embed", embed)
    assert run(*words)[0] == 0
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)


def fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


@pytest.mark.parametrize("runner", ["direct", "BundleBasedDirectRunner"])
def test_a_device_that_fails_every_tile_gets_no_more(
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    runner: str,
) -> None:
    monkeypatch.setattr(Encoder, "embed", fail)
    assert jobs.run_here([*jobs.options(archive, tmp_path / "store"), f"--runner={runner}"]) == 1
    assert "takes no more work: 3 tiles in a row" in capsys.readouterr().err.splitlines()[-1]
    tried = list((tmp_path / "store").glob("records/*/tiles/*/*.json"))
    assert len(tried) == STRIKES - 1
    assert Record.from_json(tried[0].read_bytes()).error.kind == "bad-device"  # type: ignore[union-attr]
    assert not in_progress.noted(Storage(str(tmp_path / "store")), jobs.YEAR)


def test_what_a_bad_device_leaves_another_worker_makes(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[JobSpec] = []

    def keep(job: JobSpec, *_: Any) -> Any:
        begun.append(dataclasses.replace(job, device_hold=0.1))
        raise BrokenOff("to go on by hand")

    monkeypatch.setattr(local_runner, "run_graph", keep)
    assert jobs.run_here(jobs.options(archive, tmp_path / "store")) == 1
    job, made = begun[0], [parse_tile(FIRST, jobs.SIDE), parse_tile(LAST, jobs.SIDE)]
    made += [dataclasses.replace(made[0], col=made[0].col + n) for n in (1, 2)]
    embed, bad = Encoder.embed, job.open()
    monkeypatch.setattr(Encoder, "embed", fail)
    ends = [make_tile(tile, job, bad) for tile in made[: STRIKES - 1]]
    assert [end.state for end in ends if end] == [State.FAILED] * (STRIKES - 1)
    for tile in made[STRIKES - 1 :]:
        with pytest.raises(DeviceError, match="takes no more work"):
            make_tile(tile, job, bad)
        assert records.read_record(bad.storage, jobs.YEAR, tile) is None
    monkeypatch.setattr(Encoder, "embed", embed)
    good = job.open()
    ends = [make_tile(tile, job, good) for tile in made]
    assert [end.state for end in ends if end] == [State.DONE] * len(made)


def test_memory_that_is_short_while_reading_is_out_of_memory(
    archive: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, troubled = embed_tile.read_stack, parse_tile(FIRST, jobs.SIDE).window

    def read_or_fail(window: Any, *more: Any) -> Any:
        if window == troubled:
            raise MemoryError
        return read(window, *more)

    monkeypatch.setattr(embed_tile, "read_stack", read_or_fail)
    code, result = run(*jobs.options(archive, tmp_path / "store"))
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
    def out(*_: Any) -> Any:
        raise BadInput("the server is down")

    words = jobs.options(archive, tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr("tessera_mosaic.pipeline.job.worker.open_catalogue", out)
        code, result = run(*words, "--max-failed-share=1")
    assert (code, result["failures"]) == (3, {"catalogue": 12})
    assert record_of(tmp_path / "store", FIRST).attempts == 3
    assert run(*words)[0] == 0
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)


def test_scenes_that_vanish_in_mid_run(
    archive: Path,
    finished: Path,
    tmp_path: Path,
    run: Run,
    at_block: Callable[[int, Callable[[], object]], None],
) -> None:
    copy, away = tmp_path / "archive", tmp_path / "away"
    shutil.copytree(archive.parent, copy)
    at_block(4, lambda: (copy / "sentinel-2-l2a").rename(away))
    words = jobs.options(copy / "catalog.json", tmp_path / "store")
    code, result = run(*words)
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
    search, renewed, asked = StaticCatalogue.search, [], []
    bounds = {name: lonlat_bounds(parse_tile(name, jobs.SIDE).window) for name in (FIRST, LAST)}

    def search_or_fail(self: StaticCatalogue, box: Any, year: int) -> list[Scene]:
        asked.append(box)
        if box == bounds[LAST] or (box == bounds[FIRST] and asked.count(box) < tries):
            raise error("the server says no")
        return search(self, box, year)

    monkeypatch.setattr(launch, "expect", lambda *_: {})
    monkeypatch.setattr(StaticCatalogue, "search", search_or_fail)
    monkeypatch.setattr(Signer, "renew", lambda self: renewed.append(1))
    words = jobs.options(archive, tmp_path / "store")
    code, result = run(*words)
    assert (code, result["done"], result["failures"]) == (3, 11, {error.kind: 1})
    assert record_of(tmp_path / "store", FIRST).attempts == tries
    assert record_of(tmp_path / "store", LAST).attempts == tries
    assert len(renewed) == 2 * renewals
    monkeypatch.undo()
    assert run(*words)[0] == 0
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)


# The run.


def test_a_hopeless_job_is_stopped(
    archive: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, run_graph, under_way = StaticCatalogue.search, local_runner.run_graph, []

    def search_until_the_job_runs(self: StaticCatalogue, *where: Any) -> list[Scene]:
        if not under_way:
            return search(self, *where)
        time.sleep(0.05)
        raise Expired("the server says no")

    def begin(*arguments: Any) -> Any:
        under_way.append(True)
        return run_graph(*arguments)

    monkeypatch.setattr(StaticCatalogue, "search", search_until_the_job_runs)
    monkeypatch.setattr(local_runner, "run_graph", begin)
    monkeypatch.setattr("tessera_mosaic.pipeline.job.failure_limit.ENOUGH_TILES", 3)
    monkeypatch.setattr("tessera_mosaic.pipeline.ledger.tally.TALLY_SECONDS", 0.02)
    code, result = run(*jobs.options(archive, tmp_path / "store"), "--max-failed-share=0.5")
    assert code == 3
    assert set(result["failures"]) == {"expired-credential"}
    assert result["missing"] > 0


def test_clocks_may_jump(
    archive: Path, finished: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, jumps = time.time, np.random.default_rng(0)

    def jumping() -> float:
        return clock() + float(jumps.uniform(-1e8, 1e8))

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Jumping:
            return cls.fromtimestamp(jumping(), tz)

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(datetime, "datetime", Jumping)
    assert run(*jobs.options(archive, tmp_path / "store"))[0] == 0
    written = [record_of(tmp_path / "store", name).written for name in (FIRST, LAST)]
    told = [datetime.datetime.fromisoformat(when).timestamp() for when in written]
    assert min(abs(when - clock()) for when in told) > 1e5
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)


def test_a_user_who_stops_a_job_is_told_how_to_go_on(
    archive: Path,
    finished: Path,
    tmp_path: Path,
    run: Run,
    at_block: Callable[[int, Callable[[], object]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = jobs.options(archive, tmp_path / "store")
    at_block(4, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert jobs.run_here(words) == 1
    assert "stopped; run it again" in capsys.readouterr().err.splitlines()[-1]
    assert not in_progress.noted(Storage(str(tmp_path / "store")), jobs.YEAR)
    assert run(*words)[0] == 0
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)


def test_a_user_may_stop_a_command_while_it_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("tessera_mosaic.pipeline.cli.build_parser", stop)
    assert jobs.run_here(["status", "--store=s"]) == 1
    assert capsys.readouterr().err == "tessera-mosaic status: stopped; run it again to go on\n"


DEADLY = """
import os, signal, time
if "POISONED_TILE" in os.environ:
    from tessera_mosaic.pipeline.embedding import embed_tile as tiles
    embed, slow = tiles._embed_once, float(os.environ["SLOW"])
    def embed_or_die(tile, *arguments):
        if tile.name == os.environ["POISONED_TILE"]:
            time.sleep(slow / 2)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(slow)
        return embed(tile, *arguments)
    tiles._embed_once = embed_or_die
"""
"""A `sitecustomize` module with which every process dies on one tile, while others take long."""


@pytest.fixture
def poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(DEADLY)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{jobs.ROOT}")
    monkeypatch.setenv("POISONED_TILE", LAST)
    monkeypatch.setenv("SLOW", "0")


def leave_note(store: Path, name: str, launch: str = "an earlier launch") -> None:
    """Leave a tile as a launch does that was killed."""
    left = json.dumps(vars(InProgress(launch, in_progress.DEATHS))).encode()
    key = keys.note_key(jobs.YEAR, parse_tile(name, jobs.SIDE))
    Storage(str(store)).write(key, left)


def test_a_job_that_was_killed_again_and_again_blames_no_tile(
    archive: Path, finished: Path, tmp_path: Path, run: Run
) -> None:
    store = tmp_path / "store"
    for name in (FIRST, LAST):
        leave_note(store, name)
    code, result = run(*jobs.options(archive, store))
    assert (code, result["done"]) == (0, 12)
    assert jobs.contents(store) == jobs.contents(finished)


def test_a_poisoned_tile_costs_itself_alone(
    archive: Path,
    tmp_path: Path,
    run: Run,
    poison: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = jobs.options(archive, tmp_path / "store")
    leave_note(tmp_path / "store", LAST)
    code, result = run(*words)
    assert (code, result["done"], result["failures"]) == (3, 11, {"poisoned": 1})
    assert caplog.text.count("a worker process died") == in_progress.DEATHS
    failed = record_of(tmp_path / "store", LAST)
    assert (failed.state, failed.attempts) == (State.FAILED, in_progress.DEATHS)
    assert in_progress.noted(Storage(str(tmp_path / "store")), jobs.YEAR) == {LAST}


@pytest.mark.soak
def test_a_poisoned_tile_costs_worker_processes_and_itself_alone(
    archive: Path,
    finished: Path,
    tmp_path: Path,
    run: Run,
    poison: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLOW", "2")
    words = jobs.options(archive, tmp_path / "store")
    ended = jobs.run_process([*words, "--workers=2", "--json"])
    assert (ended.code, ended.result["done"]) == (3, 11)
    assert ended.result["failures"] == {"poisoned": 1}
    assert ended.error.count("a worker process died") == in_progress.DEATHS
    monkeypatch.delenv("POISONED_TILE")
    assert run(*words, "--retry-failed")[0] == 0
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)


def test_a_run_mends_lists_and_summaries(
    archive: Path,
    finished: Path,
    tmp_path: Path,
    run: Run,
) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    for kind in ("summary", "planned"):
        path = next(store.glob(f"records/*/{kind}/*.json"))
        path.write_bytes(path.read_bytes()[:-1])
    journal = store / f"records/{jobs.YEAR}/journal/utm31/worker-0.json"
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_bytes(b'[{"tile"')
    assert run("verify", f"--store={store}")[0] == 3
    code, result = run(*jobs.options(archive, store))
    assert (code, result["done"], result["pixels"]) == (0, 12, 0)
    assert jobs.contents(store) == jobs.contents(finished)


def test_what_a_killed_run_left_of_a_tile_that_fails_is_cleared(
    archive: Path, finished: Path, tmp_path: Path, run: Run
) -> None:
    store, copy = tmp_path / "store", tmp_path / "archive"
    shutil.copytree(finished, store)
    shutil.copytree(archive.parent, copy)
    shard = [store / entry.key for entry in record_of(store, FIRST).objects]
    shard[-1].unlink()
    for path in (
        *store.glob(f"records/*/tiles/*/{FIRST}.json"),
        *store.glob("records/*/summary/*"),
    ):
        path.unlink()
    for path in copy.rglob("SCL.tif"):
        path.unlink()
    words = jobs.options(copy / "catalog.json", store)
    code, result = run(*words)
    assert (code, result["failures"]) == (3, {"gone": 1})
    assert not any(path.exists() for path in shard)
    shard[0].write_bytes(b"left by the dead")
    problems = run("verify", f"--store={store}")[1]["problems"]
    assert {(entry["tile"], entry["problem"]) for entry in problems} >= {(FIRST, "record")}
    assert run(*jobs.options(archive, store))[0] == 0
    assert jobs.contents(store) == jobs.contents(finished)


def test_retry_failed_makes_nothing_else(
    archive: Path, finished: Path, tmp_path: Path, run: Run
) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    missing, failed = sorted(store.glob("records/*/tiles/*/*.json"))[:2]
    missing.unlink()
    tile = parse_tile(failed.stem, jobs.SIDE)
    fields = {"state": State.FAILED, "objects": (), "error": records.failure(Throttled("busy"))}
    record = Record(failed.stem, jobs.YEAR, fingerprint="f" * 64, **fields)
    records.write_record(Storage(str(store)), tile, record)
    code, result = run(*jobs.options(archive, store), "--retry-failed")
    assert (code, result["pixels"], result["failed"]) == (0, jobs.SIDE**2, 0)
    assert not missing.exists()
    assert run(*jobs.options(archive, store))[1]["pixels"] == jobs.SIDE**2
    assert jobs.contents(store) == jobs.contents(finished)


def test_overwrite_makes_done_tiles_again(
    archive: Path, finished: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    shard = Path(store, record_of(store, FIRST).objects[-1].key)
    shard.write_bytes(b"damaged")
    words = jobs.options(archive, store)
    assert run(*words)[1]["pixels"] == 0
    code, result = run(*words, "--overwrite", FIRST, LAST)
    assert (code, result["pixels"]) == (0, 2 * jobs.SIDE**2)
    assert jobs.contents(store) == jobs.contents(finished)
    assert jobs.run_here([*words, "--overwrite", "utm31-r00000-c0000"]) == 2
    assert "has no such tile" in capsys.readouterr().err


@pytest.mark.parametrize("how", [["--refresh"], ["--overwrite", FIRST, LAST]])
def test_a_done_tile_that_cannot_be_made_again_stays(
    archive: Path,
    finished: Path,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    how: list[str],
) -> None:
    def refuse(*_: Any) -> Any:
        raise Throttled("the server says no")

    store, again = tmp_path / "store", 2 if "--overwrite" in how else 12
    shutil.copytree(finished, store)
    words = [*jobs.options(archive, store), *how]
    with monkeypatch.context() as patch:
        patch.setattr(launch, "expect", lambda *_: {})
        patch.setattr(StaticCatalogue, "search", refuse)
        code, result = run(*words, "--max-failed-share=1")
    assert (code, result["done"], result["failed"]) == (3, 12 - again, again)
    assert result["failures"] == {"throttled": again}
    assert jobs.shards(store) == jobs.shards(finished)
    assert run("status", f"--store={store}")[1]["done"] == 12
    told = [run("verify", f"--store={place}")[1]["problems"] for place in (store, finished)]
    assert told[0] == told[1]
    assert run(*words)[0] == 0
    assert jobs.contents(store) == jobs.contents(finished)


def test_refresh_makes_tiles_again_whose_scenes_changed(
    archive: Path, finished: Path, tmp_path: Path, run: Run
) -> None:
    store, copy = tmp_path / "store", tmp_path / "archive"
    shutil.copytree(finished, store)
    shutil.copytree(archive.parent, copy)
    words = jobs.options(copy / "catalog.json", store)
    assert run(*words, "--refresh")[1]["pixels"] == 0
    assert jobs.contents(store) == jobs.contents(finished)
    collection = copy / "sentinel-2-l2a/collection.json"
    listed = json.loads(collection.read_text())
    item = next(link for link in listed["links"] if link["rel"] == "item")
    listed["links"].remove(item)
    collection.write_text(json.dumps(listed))
    assert run(*words)[1]["pixels"] == 0
    code, result = run(*words, "--refresh")
    assert (code, result["pixels"]) == (0, 12 * jobs.SIDE**2)
    assert len(record_of(store, FIRST).scenes()) == 7


def test_two_launchers_at_once_share_the_work(
    archive: Path, finished: Path, tmp_path: Path
) -> None:
    words = jobs.options(archive, tmp_path / "store")
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "tessera_mosaic", *words],
            cwd=jobs.ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)
