"""The job, one of its workers or its launcher killed at random moments: the store ends the same.

The moments are drawn by how many objects the store holds, from the first to the last, and some
milliseconds more, so that they fall on every stage of the job on fast and slow machines alike.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from tessera_mosaic.pipeline.job.graph import run_graph
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.local_runner import GraphRuns
from tests import jobs

MOST_MILLISECONDS = 300


def in_this_process(job: JobSpec, zones: list[int], flags: dict[str, Any]) -> Counter[str]:
    """Run the graph here: another process takes seconds to start, and `test_resumed` has it."""
    return run_graph(job, zones, PipelineOptions.from_dictionary(flags))


SUSPECTS_HERE = GraphRuns(apart=in_this_process)
"""Reruns make the tiles that were under way in this process."""


def end_in_the_same_store(
    archive: Path, finished: Path, folder: Path, seeds: range, whom: str
) -> None:
    """Kill the job once for each seed, each on a store of its own, then run each again."""
    most = jobs.objects(finished)
    first, last = {"job": (0, most - 1), "worker": (20, most - 30), "launcher": (0, most - 30)}[
        whom
    ]

    def kill(seed: int) -> int | None:
        dice, store = random.Random(seed), folder / f"{seed}"
        # The first launcher dies as soon as it has started a process.
        files = 0 if whom == "launcher" and seed == seeds[0] else dice.randint(first, last)
        more = dice.random()

        def ready() -> bool:
            if jobs.objects(store) < files:
                return False
            time.sleep(more * MOST_MILLISECONDS / 1000)
            return True

        words = jobs.options(archive, store, *([] if whom == "job" else ["--workers=2"]))
        return jobs.kill_when(words, ready, whom)

    with ThreadPoolExecutor(2) as pool:
        ends = list(zip(seeds, pool.map(kill, seeds), strict=True))
    for seed, code in ends:
        assert code in (None, 0 if whom == "worker" else -9), f"seed {seed}"
        store = folder / f"{seed}"
        code, _ = jobs.launched(jobs.options(archive, store), runs=SUSPECTS_HERE)
        assert code == 0, f"seed {seed}"
        assert jobs.contents(store) == jobs.contents(finished), f"seed {seed}"
        shutil.rmtree(store)
    killed = [seed for seed, code in ends if code is not None]
    assert len(killed) > len(seeds) / 2, "most jobs ended before anybody was killed"


def test_killed_at_any_moment(archive: Path, finished: Path, tmp_path: Path) -> None:
    end_in_the_same_store(archive, finished, tmp_path, range(16), "job")


@pytest.mark.parametrize("whom", ["worker", "launcher"])
def test_some_of_its_processes_killed_at_any_moment(
    archive: Path, finished: Path, tmp_path: Path, whom: str
) -> None:
    end_in_the_same_store(archive, finished, tmp_path, range(2), whom)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("whom", "seeds"),
    [
        *(("job", range(start, start + 20)) for start in (100, 120, 140)),
        ("worker", range(160, 180)),
        ("launcher", range(180, 200)),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.start),
)
def test_killed_at_a_hundred_moments(
    archive: Path, finished: Path, tmp_path: Path, whom: str, seeds: range
) -> None:
    end_in_the_same_store(archive, finished, tmp_path, seeds, whom)
