"""The job on the real Prism: bytes of one process, and clear words whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import jobs
from tests.engines.prism import PRISM, Cable, Pool, free_port, missing, worker_pool

needs_prism = pytest.mark.skipif(bool(missing()), reason=missing())
really = pytest.mark.engines

ON_PRISM = ("--runner=prism", f"--prism_location={PRISM}")


@needs_prism
def test_prism_makes_the_same_store(archive: Path, finished: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    ended = jobs.run_process(jobs.options(archive, store, *ON_PRISM))
    assert ended.code == 0, ended.error
    assert jobs.contents(store) == jobs.contents(finished)
    # What Beam says of programs that it starts and ends is no news.
    assert "prism" not in ended.error.lower()


def test_without_the_program_nothing_is_fetched(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = jobs.options(archive, tmp_path / "store", "--runner=prism")
    assert jobs.run_here(words) == 2
    assert "--prism_location" in capsys.readouterr().err
    assert jobs.run_here([*words, "--prism_location=/nowhere/prism"]) == 2
    assert "/nowhere/prism" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@needs_prism
@really
def test_a_worker_pool_makes_the_same_store(archive: Path, finished: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with worker_pool(tmp_path) as pool:
        ended = jobs.run_process([*jobs.options(archive, store, *ON_PRISM), *pool.options])
        assert ended.code == 0, ended.error
    assert jobs.contents(store) == jobs.contents(finished)


@needs_prism
@really
def test_two_pools_make_a_share_each(archive: Path, finished: Path, tmp_path: Path) -> None:
    """Prism gives a job one worker process: two processes are two shares."""
    store = tmp_path / "store"
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with worker_pool(tmp_path / "one") as one, worker_pool(tmp_path / "two") as two:
        at_work = [
            start([*jobs.options(archive, store, *ON_PRISM), *pool.options, f"--share={share}/2"])
            for share, pool in enumerate((one, two))
        ]
        said = [process.communicate(timeout=300)[1] for process in at_work]
        assert [process.returncode for process in at_work] == [0, 0], said
    made = {key: value for key, value in jobs.contents(store).items() if "/shares/" not in key}
    assert made == jobs.contents(finished)


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tessera_mosaic", *words],
        cwd=jobs.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_worker(pool: Pool, cable: Cable) -> None:
    os.kill(pool.workers()[0], signal.SIGKILL)


def kill_pool(pool: Pool, cable: Cable) -> None:
    os.killpg(pool.process.pid, signal.SIGKILL)


def cut(pool: Pool, cable: Cable) -> None:
    cable.cut.set()


@needs_prism
@really
@pytest.mark.parametrize("strike", [kill_worker, kill_pool, cut], ids=["worker", "pool", "cable"])
def test_what_dies_is_told_and_the_same_command_goes_on(
    archive: Path,
    finished: Path,
    tmp_path: Path,
    strike: Callable[[Pool, Cable], None],
) -> None:
    store, port = tmp_path / "store", free_port()
    words = [*jobs.options(archive, store, *ON_PRISM), f"--job_port={port}"]
    cable = Cable(to=port)
    with worker_pool(tmp_path, control=f'"localhost:{cable.port}"') as pool:
        job = start([*words, *pool.options])
        deadline = time.monotonic() + 200
        while len(list(store.glob("records/*/tiles/*/*.json"))) < 2:
            assert job.poll() is None, job.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        strike(pool, cable)
        _, said = job.communicate(timeout=200)
        assert job.returncode in (0, 1), said
        if job.returncode == 1:
            last = said.strip().splitlines()[-1]
            assert "the runner gave up" in last
            assert "the same command goes on" in last
            assert "Traceback" not in said
    cable.close()
    with worker_pool(tmp_path) as pool:
        ended = jobs.run_process([*words, *pool.options])
        assert ended.code == 0, ended.error
    assert jobs.contents(store) == jobs.contents(finished)
