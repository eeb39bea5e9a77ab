"""A job small enough to be run many times: twelve tiles of a simulated land, and how to run it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tessera_mosaic.launching import PreparedRun, prepare_run
from tessera_mosaic.model.checkpoints.checkpoint import random_checkpoint
from tessera_mosaic.model.sizes import Sizes
from tessera_mosaic.pipeline.cli import main, some_failed, with_values
from tessera_mosaic.pipeline.commands.run import run_arguments, run_request
from tessera_mosaic.pipeline.embedding.embed_tile import EmbedMaker
from tessera_mosaic.pipeline.errors import ExitCode
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job import runner_process
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.local_runner import GraphRuns
from tessera_mosaic.pipeline.job.maker import Maker
from tessera_mosaic.pipeline.job.pacing import Pacing
from tessera_mosaic.pipeline.ledger.records import Record, read_record
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.tiling.lattice import parse_tile

ROOT = Path(__file__).resolve().parents[1]

SIDE = 32
YEAR = 2024

GRANULE = Footprint("31UDS", 32631, 499_360, 5_633_280, 96, 128)
"""Its north-west corner is that of a tile, so that it holds three rows of four whole tiles."""

REGION = "2.9911,50.8429,3.0086,50.8510"
"""A box that touches these twelve tiles and no other."""

FIRST, LAST = "utm31-r11580-c1086", "utm31-r11582-c1089"
"""The corner tiles of the job."""

Run = Callable[..., tuple[int, dict[str, Any]]]
"""What the fixture `run` gives."""

TIMES = (
    "seconds",
    "bytes_read",
    "requests_read",
    "retries",
    "written",
    "attempts",
    "launch",
    "sha256",
)
"""Fields of a record that another run of the same job writes otherwise, and its seal over them."""


def archive(out: Path, seed: int = 0) -> Path:
    """The catalogue of a year with four days of each sensor, made once."""
    spec = Simulation((GRANULE,), years=(YEAR,), s2_days=4, s1_days=4, seed=seed)
    return simulate_archive(out, spec)


def options(catalog: Path, store: Path, *more: str) -> list[str]:
    """The command's words."""
    places = [f"--catalog={catalog}", f"--region={REGION}", f"--store={store}"]
    return ["run", *places, f"--year={YEAR}", f"--tile={SIDE}", *more]


def weights(path: Path, seed: int) -> dict[str, Any]:
    """Write a checkpoint in the published payload, smaller than any published; its payload."""
    sizes = Sizes(latent=8, layers=1, heads=2, feedforward=16, representation=128, qk_norm=False)
    names = ("latent_dim", "num_layers", "nhead", "dim_feedforward", "repr_dim", "enable_qk_norm")
    arguments = dict(zip(names, dataclasses.astuple(sizes), strict=True))
    payload = {"model": random_checkpoint(sizes, seed).state, "args": arguments}
    torch.save(payload, path)
    return payload


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    error: str

    @property
    def result(self) -> dict[str, Any]:
        """The object that `--json` printed."""
        return json.loads(self.out)


def run_process(words: list[str], timeout: float = 300) -> Ended:
    """Run the command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tessera_mosaic", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


QUICK = Pacing(pauses=0.001, device_hold=0.1)
"""For jobs whose tiles fail and are tried again."""


def prepared(words: list[str], pacing: Pacing = QUICK) -> PreparedRun:
    """The run that a command's words ask for, with its store made."""
    parser = argparse.ArgumentParser()
    run_arguments(parser)
    args, args.beam_arguments = parser.parse_known_args(with_values(words[1:]))
    run = prepare_run(dataclasses.replace(run_request(args), pacing=pacing))
    run.create_store()
    return run


def launched(
    words: list[str],
    change: Callable[[EmbedMaker], Maker] = lambda maker: maker,
    pacing: Pacing = QUICK,
    runs: GraphRuns | None = None,
) -> tuple[int, dict[str, Any]]:
    """Run the job that a command's words ask for with another maker; its exit code and result.

    Parameters
    ----------
    words
        The command's.
    change
        Makes the maker of the tiles from that of the mosaic.
    pacing, runs
        Of the job.
    """
    run = prepared(words, pacing)
    result = launch(run.job, change(run.maker), runs).to_json()
    return (ExitCode.SOME_TILES_FAILED if some_failed(result) else ExitCode.DONE), result


def run_here(words: list[str]) -> int:
    """Run the command in this process; its exit code."""
    return main(words)


def kill_when(
    words: list[str], ready: Callable[[], bool], whom: str = "job", timeout: float = 300
) -> int | None:
    """Start the command in a process group of its own and kill it at a moment.

    Parameters
    ----------
    words
        The command's.
    ready
        Whether the moment has come.
    whom
        "job": the whole group. "worker": one of the job's worker processes; the command goes on.
        "launcher": the launcher of a job with processes of its own, which have to end by
        themselves.
    timeout
        Seconds for all of it.

    Returns
    -------
    The command's exit code, negative if it was killed; None if it had ended before anybody was.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "tessera_mosaic", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + timeout
        others: list[int] = []
        while process.poll() is None:
            assert time.monotonic() < deadline, "the moment to kill the job never came"
            time.sleep(0.001)
            if whom != "job":
                others = descendants(process.pid, *RUNNING[whom])
            if (others or whom == "job") and ready():
                break
        if process.poll() is not None:
            return None
        if whom == "worker":
            with contextlib.suppress(ProcessLookupError):
                os.kill(others[0], signal.SIGKILL)
        else:
            others = descendants(process.pid)
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait(timeout)
        while whom != "worker" and any(_lives(other) for other in others):
            assert time.monotonic() < deadline, "a process outlives its launcher"
            time.sleep(0.01)
        return code


RUNNING = {
    "worker": (b"apache_beam.runners.worker.sdk_worker_main",),
    "launcher": (runner_process.PROGRAM.encode(),),
}
"""Words of the processes that have to run before somebody is killed."""


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int, *words: bytes) -> list[int]:
    """A process's descendants, or those with one of some words in their command."""
    parents, found = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if not words or set(words) & set(command):
            found.append(int(folder.name))

    def descends(child: int) -> bool:
        parent = parents.get(child)
        return parent is not None and (parent == pid or descends(parent))

    return [one for one in found if descends(one)]


def objects(store: Path) -> int:
    """How many files lie in a store."""
    return sum(len(files) for _, _, files in os.walk(store))


def contents(store: Path) -> dict[str, Any]:
    """All that a store holds, by key: bytes, and of records all but their times."""
    found: dict[str, Any] = {}
    for path in sorted(store.rglob("*")):
        if path.is_file() and "/progress/" not in str(path):
            key = str(path.relative_to(store))
            data = path.read_bytes()
            found[key] = _without_times(key, json.loads(data)) if _is_record(key) else data
    return found


def shards(store: Path) -> dict[str, Any]:
    """The mosaic of a store, without the records."""
    return {key: data for key, data in contents(store).items() if not key.startswith("records/")}


def _is_record(key: str) -> bool:
    return key.startswith("records/") and ("/tiles/" in key or "/summary/" in key)


def _without_times(key: str, fields: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in fields.items() if name not in TIMES}
    if "/summary/" in key:
        return {tile: _without_times("", row) for tile, row in kept.items()}
    return kept


def record_of(store: Path, name: str) -> Record:
    """The record of a tile, which has to be there."""
    found = read_record(Storage(str(store)), YEAR, parse_tile(name, SIDE))
    assert found is not None
    return found
