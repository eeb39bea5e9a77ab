"""How a runner's processes share a machine: cores are counted once, and nothing forks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.job.beam_options import beam_options, sharing_processes
from tessera_mosaic.pipeline.job.worker import share_of_cores
from tests import jobs

DATAFLOW = ["--gcp_region=europe-west1", "--project=p", "--temp_location=gs://b/t"]


@pytest.mark.parametrize(
    ("runner", "workers", "more", "processes"),
    [
        ("direct", 1, [], 1),
        ("direct", 3, [], 3),
        ("direct", 1, ["--direct_running_mode=multi_threading", "--direct_num_workers=4"], 1),
        ("BundleBasedDirectRunner", 1, [], 1),
        ("PortableRunner", 1, ["--job_endpoint=embed", "--sdk_worker_parallelism=2"], 2),
        ("PortableRunner", 1, ["--job_endpoint=embed"], 1),
    ],
)
def test_processes_that_share_the_cores(
    runner: str, workers: int, more: list[str], processes: int
) -> None:
    assert sharing_processes(beam_options(runner, workers, more)) == processes


def test_dataflow_has_a_process_a_core_unless_it_is_told_otherwise() -> None:
    pytest.importorskip("google.cloud.dataflow")
    assert sharing_processes(beam_options("dataflow", 1, DATAFLOW)) == 0
    one = [*DATAFLOW, "--experiments=no_use_multiple_sdk_containers"]
    assert sharing_processes(beam_options("dataflow", 1, one)) == 1


@pytest.mark.parametrize("cores", [1, 2, 7, 96])
@pytest.mark.parametrize("processes", [0, 1, 2, 5, 200])
def test_processes_do_not_oversubscribe_the_cores(cores: int, processes: int) -> None:
    threads = share_of_cores(processes, cores)
    assert threads >= 1
    assert threads * (processes or cores) <= max(cores, processes)


TELLTALE = """
import os, sys

def tell(word):
    with open({path!r}, "a") as file:
        file.write(word + "\\n")

tell("started")
os.register_at_fork(before=lambda: tell("forked" if "torch" in sys.modules else "early"))
"""


def test_nothing_forks_once_torch_is_there(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "told"
    (tmp_path / "sitecustomize.py").write_text(TELLTALE.format(path=str(path)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    ended = jobs.run_process([*jobs.options(archive, tmp_path / "store"), "--workers=2"])
    assert ended.code == 0, ended.error
    told = path.read_text().split()
    # The command, the runner's process and two workers.
    assert told.count("started") >= 4
    assert "forked" not in told
