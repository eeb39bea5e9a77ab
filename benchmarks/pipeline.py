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
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.standins import ConstantEncoder, constant_embedding
from tessera_mosaic.launching import prepare_run
from tessera_mosaic.model.encoder import Embedding
from tessera_mosaic.model.observations import Origin, Stack
from tessera_mosaic.pipeline.embedding.embed_tile import EmbedMaker
from tessera_mosaic.pipeline.embedding.named_inputs import CatalogName, EncoderName
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.maker import TileMaker
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import Record, TileResult
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, lonlat_bounds
from tessera_mosaic.requests import RunRequest

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
class PartOfJob:
    """Makes a mosaic's tiles with some parts that cost nothing.

    Parameters
    ----------
    whole
        What makes the mosaic.
    part
        One of `PARTS`.
    latency
        Seconds by which each answer of the archive is late.
    stacks
        Folder of the blocks' stacks, for encoding alone.
    times
        Folder in which each process says how long it has worked.
    device
        Seconds a megapixel of an accelerator that stands in for the encoder; 0 for none.
    """

    whole: EmbedMaker
    part: str
    latency: float
    stacks: str
    times: str
    device: float

    @property
    def fingerprint(self) -> str:
        """That of the mosaic."""
        return self.whole.fingerprint

    def steps(self, tile: Tile) -> int:
        """Number of blocks in which a tile is made."""
        return self.whole.steps(tile)

    def open(self, storage: Storage, threads: int) -> TimedMaker:
        """Open what this process needs, in which the other parts are stubs."""
        maker = dataclasses.replace(
            self.whole,
            catalog=LateCatalog(self.whole.catalog, self.latency),
            encoder=PartEncoder(self.whole.encoder, self.device, self.part != "read"),
        )
        if self.part == "encode":
            maker = dataclasses.replace(maker, read=functools.partial(_kept_stacks, self.stacks))
        if self.part != "whole":
            maker = dataclasses.replace(maker, encoder=Unwritten(maker.encoder))
        return TimedMaker(maker.open(storage, threads), Path(self.times) / str(os.getpid()))


class TimedMaker:
    """Says after each tile how long this process has worked since it opened, and on the CPU."""

    def __init__(self, maker: TileMaker, said: Path) -> None:
        self._maker, self._said, self._turn = maker, said, threading.Lock()
        self._began, self._before = time.monotonic(), time.process_time()

    def make(
        self, tile: Tile, before: Record | None, meter: Meter, writing: Callable[[], None]
    ) -> TileResult | None:
        """Make a tile, and say how long."""
        made = self._maker.make(tile, before, meter, writing)
        with self._turn:
            spent = time.monotonic() - self._began, time.process_time() - self._before
            self._said.write_text(json.dumps(spent))
        return made

    def keys(self, tile: Tile) -> Iterable[str]:
        """Those of the mosaic."""
        return self._maker.keys(tile)

    def renew(self) -> None:
        """As the mosaic's maker."""
        self._maker.renew()


@dataclass(frozen=True)
class LateCatalog:
    """A catalogue of which every answer of the archive comes late."""

    catalog: CatalogName
    latency: float

    def open(self) -> Source:
        """The catalogue, read by as many threads as one behind a network."""
        source = self.catalog.open()
        source.remote = LateRemote(source.remote, self.latency)  # type: ignore[assignment]
        return source


class LateRemote:
    """Reads as another does, and waits before each answer."""

    is_local = False

    def __init__(self, remote: Remote, latency: float) -> None:
        self._remote, self._latency = remote, latency

    def __getattr__(self, name: str) -> Any:
        return getattr(self._remote, name)

    def read(self, *args: Any) -> bytes:
        """Read a range, late."""
        time.sleep(self._latency)
        return self._remote.read(*args)


@dataclass(frozen=True)
class PartEncoder:
    """The encoder, an accelerator that stands in for it, or none."""

    encoder: EncoderName
    device: float
    wanted: bool

    def load(self, threads: int) -> Any:
        """Load it."""
        if self.device and self.wanted:
            return StandIn(self.device)
        return self.encoder.load(threads) if self.wanted else ConstantEncoder()


class StandIn:
    """Waits as long as an accelerator takes, one block at a time; its codes compress badly."""

    arithmetic = "none"

    def __init__(self, device: float) -> None:
        self._device, self._turn = device, threading.Lock()
        self.card = ConstantEncoder().card

    def embed(self, stack: Stack, at: Origin | None = None, **_: object) -> Embedding:
        """Wait, and give random codes."""
        height, width = stack.shape
        with self._turn:
            time.sleep(self._device * height * width / 1e6)
        made = constant_embedding(stack.shape, self.card.dims, 0.5)
        codes = np.random.default_rng(0).integers(-127, 128, made.codes.shape, np.int8)
        return dataclasses.replace(made, codes=codes)


@dataclass(frozen=True)
class Unwritten:
    """An encoder whose embeddings come to nothing that has to be written."""

    encoder: EncoderName

    def load(self, threads: int) -> NothingToWrite:
        """Load it."""
        return NothingToWrite(self.encoder.load(threads))


class NothingToWrite:
    """Encodes, and gives a block without embeddings."""

    arithmetic = "none"

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def embed(self, stack: Stack, at: Origin | None = None, **_: object) -> Embedding:
        """Encode, and drop it."""
        self._encoder.embed(stack, at)
        return constant_embedding(stack.shape, self._encoder.card.dims, float("inf"))


def _stack_file(folder: Path, block: Window) -> Path:
    return folder / f"{block.row}-{block.col}.pickle"


def _kept_stacks(
    folder: str, blocks: Sequence[Window], *_: object
) -> Generator[tuple[Window, AnnualStack]]:
    for block in blocks:
        # This process's parent wrote it.
        yield block, pickle.loads(_stack_file(Path(folder), block).read_bytes())  # noqa: S301


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
        prepared = prepare_run(
            RunRequest(
                catalog=str(args.folder / "archive/catalog.json"),
                region=",".join(map(str, bounds)),
                year=YEAR,
                store=f"{store}/mosaic",
                tile=SIDE,
                block=args.block[0],
                workers=args.workers[0],
            )
        )
        prepared.create_store()
        stacks = str(args.folder / "stacks")
        part = PartOfJob(prepared.maker, args.part, args.latency, stacks, times, args.device)
        outcome = launch(prepared.job, part)
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
        stack = read_block(window, scenes, Preprocessing(source.imagery), reader)
        _stack_file(folder / "stacks", window).write_bytes(pickle.dumps(stack))
    reader.close()
