"""Killed at random moments, and one worker killed at random moments: the store ends the same.

The moments are drawn by how many objects the store holds, from the first to the last, and some
milliseconds more, so that they fall on every stage of the job on fast and slow machines alike.
"""

from __future__ import annotations

import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import jobs

MOST_MILLISECONDS = 300


def end_in_the_same_store(
    archive: Path, finished: Path, folder: Path, seeds: range, worker: bool
) -> None:
    """Kill the job once for each seed, each on a store of its own, then run each again."""
    most = jobs.objects(finished)

    def kill(seed: int) -> int | None:
        dice, store = random.Random(seed), folder / f"{seed}"
        files, more = dice.randint(20 if worker else 0, most - 1), dice.random()

        def ready() -> bool:
            if jobs.objects(store) < files:
                return False
            time.sleep(more * MOST_MILLISECONDS / 1000)
            return True

        words = jobs.options(archive, store, *(["--workers=2"] if worker else []))
        return jobs.kill_when(words, ready, worker)

    with ThreadPoolExecutor(2) as pool:
        ends = zip(seeds, pool.map(kill, seeds), strict=True)
        for seed, code in ends:
            assert code in ((None, 0) if worker else (None, -9)), f"seed {seed}"
            store = folder / f"{seed}"
            assert jobs.run_here(jobs.options(archive, store)) == 0, f"seed {seed}"
            assert jobs.contents(store) == jobs.contents(finished), f"seed {seed}"
            shutil.rmtree(store)


def test_killed_at_any_moment(archive: Path, finished: Path, tmp_path: Path) -> None:
    end_in_the_same_store(archive, finished, tmp_path, range(18), worker=False)


def test_a_worker_killed_at_any_moment(archive: Path, finished: Path, tmp_path: Path) -> None:
    end_in_the_same_store(archive, finished, tmp_path, range(2), worker=True)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_killed_at_a_hundred_moments(archive: Path, finished: Path, tmp_path: Path) -> None:
    end_in_the_same_store(archive, finished, tmp_path, range(100, 180), worker=False)
    end_in_the_same_store(archive, finished, tmp_path, range(180, 200), worker=True)
