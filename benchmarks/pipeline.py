"""`pipeline`: how reading, encoding and writing overlap.

The command's own job runs over a simulated archive: as it is, then reading alone and encoding
alone. Every answer of the archive comes late, as over a network. Each process is timed from when it
is ready for its first tile to its last record, so starting counts nowhere; writing counts in the
whole job alone.

Where reading and encoding share cores that are short, overlap wins little: `cores busy` tells.
With `--device` an accelerator stands in for the encoder, which takes its time and no core.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.standins import constant_embedding
from tessera_mosaic.model.encoder import Embedding
from tessera_mosaic.pipeline.commands.run import run_arguments
from tessera_mosaic.pipeline.embedding import embed_tile
from tessera_mosaic.pipeline.imagery.scene_reader import REMOTE_THREADS, SceneReader
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.worker import Workshop
from tessera_mosaic.pipeline.ledger import records
from tessera_mosaic.pipeline.ledger.records import Record
from tessera_mosaic.pipeline.scenes import open_catalogue
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.stacks.read_stack import AnnualStack, Preprocessing, read_stack
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, lonlat_bounds

YEAR, ZONE = 2024, 31

SIDE = 128
"""Of a tile in pixels."""

FIRST = Tile(ZONE, 2896, 271, SIDE)
"""The north-west tile of the land, near 51 degrees north."""

DAYS = 20
"""Of each sensor in the simulated year."""

PARTS = ("whole", "read", "encode")
"""Of the job that are real."""


@dataclass(frozen=True)
class PartOfJob(JobSpec):
    """A job of which some parts cost nothing.

    Parameters
    ----------
    part
        One of `PARTS`.
    latency
        Seconds by which each answer of the archive is late.
    stacks
        Folder of the blocks' stacks, for encoding alone.
    times
        Folder in which each process says how long it has worked.
    stand_in
        Seconds a megapixel of an accelerator that stands in for the encoder; 0 for none.
    """

    part: str = "whole"
    latency: float = 0.0
    stacks: str = ""
    times: str = ""
    stand_in: float = 0.0

    def open(self) -> Workshop:
        """The workshop of this process, in which the other parts are stubs."""
        shop = super().open()
        source = shop.reader().source
        source.remote.read = _late(source.remote.read, self.latency)  # type: ignore[method-assign]
        # As many at once as where each read waits for a network.
        reader = SceneReader(source, REMOTE_THREADS)
        shop = dataclasses.replace(shop, reader=lambda: reader)
        if self.part == "encode":
            embed_tile.read_stack = functools.partial(_kept_stack, Path(self.stacks))
        if self.stand_in:
            embed_tile.encode = functools.partial(_on_device, threading.Lock(), self.stand_in)
        if self.part != "whole":
            embed_tile.encode = functools.partial(_encode, embed_tile.encode, self.part == "encode")
        said = Path(self.times) / str(os.getpid())
        records.write_record = _timed(records.write_record, said)
        return shop


def _timed(write: Callable[..., Record], said: Path) -> Callable[..., Record]:
    """Say after each record how long this process has worked since now, and on the CPU."""
    began, before, turn = time.monotonic(), time.process_time(), threading.Lock()

    def write_timed(*args: Any) -> Record:
        written = write(*args)
        with turn:
            spent = time.monotonic() - began, time.process_time() - before
            said.write_text(json.dumps(spent))
        return written

    return write_timed


def _on_device(
    turn: threading.Lock, device: float, annual: AnnualStack, block: Window, *rest: Any
) -> Embedding:
    """Wait as long as an accelerator takes, one block at a time; codes that compress badly."""
    with turn:
        time.sleep(device * block.height * block.width / 1e6)
    made = constant_embedding(block.shape, rest[1].card.dims, 0.5)
    codes = np.random.default_rng(0).integers(-127, 128, made.codes.shape, np.int8)
    return dataclasses.replace(made, codes=codes)


def _late(read: Callable[..., bytes], latency: float) -> Callable[..., bytes]:
    def read_late(*args: Any) -> bytes:
        time.sleep(latency)
        return read(*args)

    return read_late


def _stack_file(folder: Path, block: Window) -> Path:
    return folder / f"{block.row}-{block.col}.pickle"


def _kept_stack(folder: Path, block: Window, *_: object) -> AnnualStack:
    # This process's parent wrote it.
    kept: AnnualStack = pickle.loads(_stack_file(folder, block).read_bytes())  # noqa: S301
    return kept


def _encode(
    real: Callable[..., Embedding], wanted: bool, annual: AnnualStack, block: Window, *rest: Any
) -> Embedding:
    """Embed or not, and give nothing to write."""
    if wanted:
        real(annual, block, *rest)
    return constant_embedding(block.shape, rest[1].card.dims, float("inf"))


def main(argv: list[str]) -> None:
    """Run the parts for each number of workers and side of blocks, and tell how they compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks pipeline", description=__doc__)
    parser.add_argument("--tiles", type=int, nargs=2, default=(2, 4), metavar=("ROWS", "COLS"))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--block", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--latency", type=float, default=0.05, help="seconds of each answer")
    parser.add_argument("--device", type=float, default=0.0, help="stand-in's seconds a megapixel")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.part:
        print(json.dumps(_run(args)))
        return
    with tempfile.TemporaryDirectory(prefix="tessera-pipeline-") as folder:
        args.folder = Path(folder)
        _simulate(args.folder, *args.tiles)
        for block in args.block:
            _keep_stacks(args.folder, block, *args.tiles)
            for workers in args.workers:
                found = _compare(args, workers, block)
                print(json.dumps(found) if args.json else _told(found), flush=True)


def _compare(args: argparse.Namespace, workers: int, block: int) -> dict[str, Any]:
    """Run each part in a process of its own."""
    found = {}
    for part in PARTS:
        words = [f"--part={part}", f"--workers={workers}", f"--block={block}"]
        words += [f"--latency={args.latency}", f"--device={args.device}"]
        words += [f"--folder={args.folder}"]
        words += ["--tiles", *map(str, args.tiles)]
        command = [sys.executable, "-m", "benchmarks", "pipeline", *words]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        found[part] = json.loads(done.stdout.splitlines()[-1])
    seconds = {part: found[part]["seconds"] for part in PARTS}
    slower = max(seconds["read"], seconds["encode"])
    return {
        "workers": workers,
        "block": block,
        **{f"{part}_s": round(spent, 2) for part, spent in seconds.items()},
        "over_slower": round(seconds["whole"] / slower, 3),
        "one_after_another": round((seconds["read"] + seconds["encode"]) / slower, 3),
        "cores_busy": round(found["whole"]["cpu"] / found["whole"]["seconds"], 2),
        "write_s": found["whole"]["write"],
    }


def _told(found: dict[str, Any]) -> str:
    return (
        f"workers {found['workers']}, blocks of {found['block']} px: whole {found['whole_s']:.1f} "
        f"s, reading alone {found['read_s']:.1f}, encoding alone {found['encode_s']:.1f}; "
        f"{found['over_slower']:.2f} of the slower (one after the other "
        f"{found['one_after_another']:.2f}); {found['cores_busy']:.1f} of {os.cpu_count()} cores "
        "busy"
    )


def _run(args: argparse.Namespace) -> dict[str, float]:
    """One part of the job in this process."""
    rows, cols = args.tiles
    # A metre inside, so that no neighbour is touched.
    bounds = lonlat_bounds(_land(rows, cols, inset=4))
    with (
        tempfile.TemporaryDirectory(dir=args.folder) as store,
        tempfile.TemporaryDirectory(dir=args.folder) as times,
    ):
        parser = argparse.ArgumentParser()
        run_arguments(parser)
        words = [f"--catalog={args.folder / 'archive/catalog.json'}", f"--store={store}/mosaic"]
        words += [f"--region={','.join(map(str, bounds))}", f"--year={YEAR}", f"--tile={SIDE}"]
        words += [f"--workers={args.workers[0]}", f"--block={args.block[0]}"]
        job = functools.partial(
            PartOfJob,
            part=args.part,
            latency=args.latency,
            stacks=str(args.folder / "stacks"),
            times=times,
            stand_in=args.device,
        )
        with mock.patch("tessera_mosaic.pipeline.job.launch.Job", job):
            outcome = launch(parser.parse_args(words), [])
        assert outcome.done == outcome.tiles == rows * cols, outcome
        spent = [json.loads(said.read_text()) for said in Path(times).iterdir()]
        return {
            "seconds": max(seconds for seconds, _ in spent),
            "cpu": sum(cpu for _, cpu in spent),
            "write": outcome.measures["seconds_write"],
        }


def _land(rows: int, cols: int, inset: int = 0) -> Window:
    corner = FIRST.window
    return Window(
        ZONE,
        corner.row + inset,
        corner.col + inset,
        rows * SIDE - 2 * inset,
        cols * SIDE - 2 * inset,
    )


def _simulate(folder: Path, rows: int, cols: int) -> None:
    land = _land(rows, cols)
    granule = Footprint("31UDS", 32600 + ZONE, land.west, land.north, land.width, land.height)
    spec = Simulation((granule,), years=(YEAR,), s2_days=DAYS, s1_days=DAYS, seed=0)
    simulate_archive(folder / "archive", spec)


def _keep_stacks(folder: Path, block: int, rows: int, cols: int) -> None:
    """Read the blocks' stacks once, for encoding alone."""
    (folder / "stacks").mkdir(exist_ok=True)
    source = open_catalogue(str(folder / "archive/catalog.json"))
    reader = SceneReader(source)
    for window in _land(rows, cols).blocks(block):
        scenes = source.search(lonlat_bounds(window), YEAR)
        stack = read_stack(window, scenes, Preprocessing(source.imagery), reader)
        _stack_file(folder / "stacks", window).write_bytes(pickle.dumps(stack))
    reader.close()
