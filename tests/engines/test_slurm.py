"""The project's own Slurm scripts on the real Slurm: bytes of one process, whatever dies."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.yearly import last_complete_year
from tests import jobs
from tests.engines.slurm import Slurm, missing, slurm_here

pytestmark = [
    pytest.mark.engines,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

YEAR = last_complete_year(datetime.datetime.now(datetime.UTC).date())
"""The year that the scripts make where none is named."""

GRANULES = (
    Footprint("31UDS", 32631, 499_360, 5_633_280, 96, 128),
    Footprint("32UMB", 32632, 499_360, 5_633_280, 96, 128),
)

TILES = [
    f"utm{zone}-r{row}-c{col}"
    for zone in (31, 32)
    for row in (11580, 11581)
    for col in range(1086, 1090)
]

PROGRAM = Path(sys.executable).parent / "tessera-mosaic"


@dataclass(frozen=True)
class Work:
    """Sixteen tiles of two zones, and the store that one process makes of them."""

    folder: Path
    catalog: Path
    alone: Path

    def words(self, store: Path) -> list[str]:
        """The job's options, but for the year."""
        region = f"--region={self.folder / 'tiles.txt'}"
        return [f"--catalog={self.catalog}", region, f"--store={store}", "--tile=32"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("work")
    spec = Simulation(GRANULES, years=(YEAR,), s2_days=4, s1_days=4, seed=0)
    made = Work(folder, simulate_archive(folder / "archive", spec), folder / "alone")
    (folder / "tiles.txt").write_text("".join(f"{name}\n" for name in TILES))
    ended = jobs.run_process(["run", *made.words(made.alone), f"--year={YEAR}"])
    assert ended.code == 0, ended.error
    return made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with slurm_here(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


def made(store: Path) -> dict[str, Any]:
    """The tiles of a store with their records and summaries."""
    ours = ("utm31/", "utm32/", f"records/{YEAR}/tiles/", f"records/{YEAR}/summary/")
    found = jobs.contents(store)
    return {key: value for key, value in found.items() if (key.startswith(ours) and "/c" in key) or
            key.startswith(ours[2:])}  # fmt: skip


@dataclass(frozen=True)
class Submitted:
    """An array and its closing job."""

    array: str
    closing: str
    logs: Path

    @property
    def said(self) -> str:
        """All that the tasks and the closing job wrote."""
        return "".join(path.read_text() for path in sorted(self.logs.glob("*.log")))

    @property
    def closed(self) -> str:
        """What the closing job wrote."""
        return next(self.logs.glob("*-closing.log")).read_text()


def script(folder: Path, work: Work, store: Path, shares: int, catalog: Path | None = None) -> Path:
    """The script for CPU nodes with a site's variables, which are all that is edited."""
    place = folder / "slurm"
    if not place.is_dir():
        shutil.copytree(jobs.ROOT / "deploy" / "slurm", place)
    values = {
        "TESSERA": PROGRAM,
        "STORE": store,
        "CATALOG": catalog or work.catalog,
        "REGION": work.folder / "tiles.txt",
        "OPTIONS": "(--tile 32)",
        "SHARES": shares,
        "LOGS": folder / "logs",
        "NOTICE": 60,
    }
    text = (jobs.ROOT / "deploy" / "slurm" / "cpu.sh").read_text()
    for name, value in values.items():
        text, changed = re.subn(f"^{name}=.*", f"{name}={value}", text, flags=re.MULTILINE)
        assert changed == 1, name
    text = re.sub(r"^SITE=\(.*?^\)", "SITE=(--cpus-per-task=1 --time=30)", text, flags=re.M | re.S)
    path = place / "cpu.sh"
    path.write_text(text)
    return path


def submit(cluster: Slurm, path: Path) -> Submitted:
    done = subprocess.run(
        ["bash", str(path)], env=cluster.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    numbers = re.search(r"array (\d+): .* closing job (\d+)", done.stdout)
    assert numbers is not None, done.stdout
    return Submitted(numbers[1], numbers[2], path.parents[1] / "logs")


def records(store: Path) -> list[Path]:
    return list((store / f"records/{YEAR}/tiles").glob("*/*.json"))


def status(store: Path) -> tuple[int, str]:
    ended = jobs.run_process(["status", f"--store={store}"])
    return ended.code, ended.out


def at_work_on(cluster: Slurm, node: str) -> list[str]:
    return cluster.ask("squeue", "-h", "-t", "R", "-w", node, "-o", "%i").split()


def states(cluster: Slurm, array: str, shares: Sequence[int]) -> list[str]:
    return [cluster.job(f"{array}_{share}")["JobState"] for share in shares]


def test_an_array_makes_what_one_process_makes(cluster: Slurm, work: Work, tmp_path: Path) -> None:
    store = tmp_path / "store"
    submitted = submit(cluster, script(tmp_path, work, store, 8))
    cluster.wait_for_jobs()
    assert states(cluster, submitted.array, range(8)) == ["COMPLETED"] * 8, submitted.said
    assert made(store) == made(work.alone)
    said = submitted.said
    assert "another launcher" not in said
    assert "all shares have ended: 16 of 16 tiles done" in said
    assert len(set(re.findall(r"share (\d)/8: 2 of 2 tiles done", said))) == 8
    assert f"{YEAR}: 16 of 16 tiles done" in submitted.closed
    assert "published" in submitted.closed
    assert status(store)[0] == 0
    assert {cluster.job(f"{submitted.array}_{n}")["NodeList"] for n in range(8)} == {"n1", "n2"}


def test_a_node_that_dies_loses_nothing(cluster: Slurm, work: Work, tmp_path: Path) -> None:
    """Slurm queues its tasks again, and they go on a minute after their predecessors' last sign."""
    store = tmp_path / "store"
    submitted = submit(cluster, script(tmp_path, work, store, 8))
    try:
        cluster.wait_for(lambda: len(records(store)) > 3 and bool(at_work_on(cluster, "n1")))
        (lost,) = at_work_on(cluster, "n1")
        cluster.kill_node("n1")
        cluster.wait_for(lambda: cluster.job(lost)["Restarts"] == "1")
    finally:
        cluster.start_node("n1")
    cluster.wait_for_jobs()
    assert cluster.job(lost)["JobState"] == "COMPLETED"
    assert made(store) == made(work.alone)
    assert f"{YEAR}: 16 of 16 tiles done" in submitted.closed
    assert status(store)[0] == 0


def test_a_task_near_its_time_limit_is_queued_again(
    cluster: Slurm, work: Work, tmp_path: Path
) -> None:
    """Slurm's signal before the limit comes to the script alone; here it is sent at once."""
    store = tmp_path / "store"
    submitted = submit(cluster, script(tmp_path, work, store, 2))
    cluster.wait_for(lambda: len(records(store)) > 3 and bool(at_work_on(cluster, "n1")))
    (near,) = at_work_on(cluster, "n1")
    cluster.ask("scancel", "--batch", "--signal=USR1", near)
    cluster.wait_for(lambda: cluster.job(near)["Restarts"] == "1")
    assert len(records(store)) < 16
    cluster.wait_for_jobs()
    assert states(cluster, submitted.array, range(2)) == ["COMPLETED"] * 2, submitted.said
    assert submitted.said.count("the time limit is near") == 1
    assert made(store) == made(work.alone)
    assert f"{YEAR}: 16 of 16 tiles done" in submitted.closed


def test_another_number_of_shares_goes_on(cluster: Slurm, work: Work, tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = submit(cluster, script(tmp_path, work, store, 2))
    cluster.wait_for(lambda: len(records(store)) > 3)
    cluster.ask("scancel", first.array, first.closing)
    cluster.wait_for_jobs()
    assert 0 < len(records(store)) < 16
    # Both were at work, and stopped by themselves at the end of a block.
    assert first.said.count("stopped") == 2, first.said
    code, told = status(store)
    assert code == 3
    assert "of 2 shares are done" in told
    second = submit(cluster, script(tmp_path, work, store, 3))
    cluster.wait_for_jobs()
    assert made(store) == made(work.alone)
    assert "16 of 16 tiles done" in second.closed


def test_cron_makes_the_last_complete_year(cluster: Slurm, work: Work, tmp_path: Path) -> None:
    """With the year left open and cron's few variables; the second date finds nothing to make."""
    store = tmp_path / "store"
    path = script(tmp_path, work, store, 2)
    assert re.search("^YEAR= ", path.read_text(), re.MULTILINE)
    kept = ("SLURM_CONF", "PATH", "HOME", "PYTHONPATH", "OMP_NUM_THREADS")
    few = {name: cluster.environment[name] for name in kept if name in cluster.environment}
    for date in ("20 January", "20 February"):
        done = subprocess.run(["bash", str(path)], cwd="/", env=few, capture_output=True, text=True)
        assert done.returncode == 0, (date, done.stderr)
        cluster.wait_for_jobs()
        made_at = {key: (store / key).stat().st_mtime_ns for key in made(store) if "/c/" in key}
        if date == "20 January":
            first = made_at
    assert made_at == first
    assert made(store) == made(work.alone)
    assert status(store)[0] == 0
    assert (store / "stac").is_dir()


def test_what_fails_for_good_is_told(cluster: Slurm, work: Work, tmp_path: Path) -> None:
    """A raster of zone 31 is gone: its shares fail, and those of zone 32 come to their ends."""
    store, hurt = tmp_path / "store", tmp_path / "hurt"
    shutil.copytree(work.catalog.parent, hurt)
    gone = sorted(path for path in hurt.rglob("*B04*") if "31UDS" in str(path))[0]
    gone.unlink()
    submitted = submit(cluster, script(tmp_path, work, store, 8, hurt / work.catalog.name))
    cluster.wait_for_jobs()
    assert sorted(states(cluster, submitted.array, range(8))) == ["COMPLETED"] * 4 + ["FAILED"] * 4
    assert cluster.job(submitted.closing)["ExitCode"] == "3:0"
    done = re.search(rf"{YEAR}: (\d+) of 16 tiles done", submitted.closed)
    # A tile that the scene does not reach is made.
    assert done is not None
    assert 8 <= int(done[1]) < 16
    assert f"gone: {16 - int(done[1])}, such as utm31" in submitted.closed
    code, told = status(store)
    assert code == 3
    assert "4 of 8 shares are done" in told
    right = {key: value for key, value in made(work.alone).items() if "utm32" in key}
    assert {key: value for key, value in made(store).items() if "utm32" in key} == right
