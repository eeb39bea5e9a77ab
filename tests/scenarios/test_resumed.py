"""A job that was stopped, killed or poisoned, and what later runs make of what it left."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessera_mosaic.pipeline.errors import Expired, Throttled
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import in_progress, keys, records
from tessera_mosaic.pipeline.ledger.in_progress import InProgress
from tessera_mosaic.pipeline.ledger.records import Record, State
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.tiling.lattice import parse_tile
from tests import jobs
from tests.jobs import FIRST, LAST, Run, record_of
from tests.makers import Deadly, searching


def test_a_hopeless_job_is_stopped(
    archive: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search_or_fail(*_: Any) -> list[Scene]:
        time.sleep(0.05)
        raise Expired("the server says no")

    words = [*jobs.options(archive, tmp_path / "store"), "--max-failed-share=0.5"]
    pacing = dataclasses.replace(jobs.QUICK, enough_tiles=3, tally_seconds=0.02)
    code, result = jobs.launched(words, searching(search_or_fail), pacing)
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
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(jobs.ROOT), prepend=os.pathsep)
    words = jobs.options(archive, tmp_path / "store")
    leave_note(tmp_path / "store", LAST)
    code, result = jobs.launched(words, lambda maker: Deadly(maker, LAST))
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
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(jobs.ROOT), prepend=os.pathsep)
    words = jobs.options(archive, tmp_path / "store")
    code, result = jobs.launched(
        [*words, "--workers=2"], lambda maker: Deadly(maker, LAST, slow=2.0)
    )
    assert (code, result["done"], result["failures"]) == (3, 11, {"poisoned": 1})
    assert caplog.text.count("a worker process died") == in_progress.DEATHS
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
    how: list[str],
) -> None:
    def refuse(*_: Any) -> list[Scene]:
        raise Throttled("the server says no")

    store, again = tmp_path / "store", 2 if "--overwrite" in how else 12
    shutil.copytree(finished, store)
    words = [*jobs.options(archive, store), *how]
    code, result = jobs.launched([*words, "--max-failed-share=1"], searching(refuse))
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
