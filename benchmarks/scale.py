"""`scale`: seconds and memory a tile as the number of tiles grows.

The command's own graph runs, with the store, shards, records, notes, journals, summaries and
tallies it always has. Stubs are: the catalogue, which has one scene; reading, which gives one
constant observation; and the encoder, which returns a constant. Tiles are small, so that what is
measured is what a tile costs beside its pixels.

Each job runs twice: in one process, which gives the time and what a laptop needs; and with its
worker in a process of its own, which tells the worker's memory from the launcher's.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chart import Chart, draw_chart
from benchmarks.standins import (
    ConstantCatalog,
    ConstantEncoder,
    ConstantEncoderName,
    constant_stack,
    standin_identity,
)
from tessera_mosaic.pipeline.embedding.embed_tile import EmbedMaker
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.job_request import JobRequest
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.ledger.standing import standing
from tessera_mosaic.pipeline.ledger.tile_lists import TileList
from tessera_mosaic.pipeline.mosaic.identity import fingerprint
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import create_store
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.area import AreaRequest, read_area
from tessera_mosaic.pipeline.tiling.lattice import Window, to_lonlat

SIDE = 32
"""Of a tile in pixels."""

ZONE_TILES = 6_400
"""Tiles of a zone, at most: what the land of the globe has, spread over 60 zones."""

NORTH, MIDDLE = 384_000, 32_000
"""Row and column of the lattice at which each zone's tiles begin, near 49 degrees north."""

YEAR = 2024

REPEATED, REPEATS = 1_000, 3
"""Jobs of up to so many tiles are over in seconds, so the median of some is told."""

APART = ("--direct_running_mode=multi_processing", "--direct_num_workers=1")
"""Beam's options for a worker in a process of its own."""


def main(argv: list[str]) -> None:
    """Run jobs of growing size, each in processes of its own, and tell what a tile cost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument(
        "--tiles", type=int, nargs="+", default=[100, 1_000, 10_000], help="sizes of the jobs"
    )
    parser.add_argument("--picture", type=Path, help="PNG of the curves to write")
    parser.add_argument("--folder", type=Path, help="where the mosaics are made for a while")
    parser.add_argument("--json", action="store_true", help="print one JSON object a job")
    parser.add_argument("--job", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.job:
        print(json.dumps(measure(args.job, args.folder, args.apart)))
        return
    fixed = _job(1, args.folder)
    found = []
    for size in args.tiles:
        one = _job(size, args.folder)
        # What starting costs, whatever the number of tiles, is known from the job of one tile.
        for name, spent in (("ms", "job_s"), ("cpu_ms", "cpu_s")):
            one[f"{name}_a_tile"] = 1000 * (one[spent] - fixed[spent]) / (one["tiles"] - 1)
        apart = _in_own_process(size, args.folder, apart=True)
        one |= {f"apart_{name}": apart[name] for name in ("worker_mb", "launcher_mb")}
        found.append(one)
        print(json.dumps(one) if args.json else _told(one), flush=True)
    if args.picture:
        _draw(args.picture, found)


@dataclass(frozen=True)
class WatchedReading:
    """Gives a constant stack, and says how much memory the process holds as tiles go by.

    Parameters
    ----------
    tiles
        Number of tiles of the job.
    resident
        Folder in which a worker says how much memory it holds when another tenth of the tiles was
        read.
    """

    tiles: int
    resident: str

    def __call__(
        self, blocks: Sequence[Window], *_: object
    ) -> Generator[tuple[Window, AnnualStack]]:
        """The constant stack of a tile."""
        with COUNTING:
            number = next(READ)
            tenth, before = (10 * n // self.tiles for n in (number, number - 1))
            if tenth > before:
                Path(self.resident, str(tenth)).write_text(str(_resident()))
        for window in blocks:
            yield window, constant_stack(window)


READ, COUNTING = itertools.count(1), threading.Lock()
"""Numbers the tiles that this process has read."""


def measure(tiles: int, place: Path | None, apart: bool = False) -> dict[str, Any]:
    """Make a mosaic of so many tiles, and say what that took.

    Returns
    -------
    Seconds of the whole command and on the CPU, of its job, of a rerun that finds all done, and of
    `status`. Memory in MB: the worker's when one, five and nine tenths of the tiles were read, and
    the most that the launcher had.
    """
    with tempfile.TemporaryDirectory(prefix="tessera-scale-", dir=place) as folder:
        resident = Path(folder) / "resident"
        resident.mkdir()
        return _measure(Path(folder), tiles, APART if apart else ())


def _measure(folder: Path, tiles: int, beam_arguments: tuple[str, ...]) -> dict[str, Any]:
    region, store = folder / "region.json", folder / "mosaic.zarr"
    region.write_text(json.dumps(some_region(tiles)))
    asked = read_area(AreaRequest(str(region), SIDE))
    identity = standin_identity(asked.margin)
    maker = EmbedMaker(
        catalog=ConstantCatalog(),
        encoder=ConstantEncoderName(),
        year=YEAR,
        rules=Preprocessing("mpc"),
        fingerprint=fingerprint(identity),
        block=SIDE,
        margin=asked.margin,
        read=WatchedReading(tiles, str(folder / "resident")),
    )
    began, before = time.monotonic(), time.process_time()
    job = JobRequest(str(store), YEAR, TileList.of(asked.tiles()), beam_options=beam_arguments)
    layout = Layout(SIDE, ConstantEncoder().card.dims, ())
    create_store(Storage(str(store)), layout, identity, [YEAR], job.tiles.zones)
    outcome = launch(job, maker)
    command, cpu = time.monotonic() - began, time.process_time() - before
    launcher = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert outcome.failed == 0, outcome.failures
    began = time.monotonic()
    assert launch(dataclasses.replace(job, beam_options=()), maker).done == outcome.tiles
    again = time.monotonic() - began
    began = time.monotonic()
    assert standing(Storage(str(store)), YEAR).done == outcome.tiles
    status = time.monotonic() - began
    told = {int(path.name): float(path.read_text()) for path in folder.glob("resident/*")}
    return {
        "tiles": outcome.tiles,
        "command_s": round(command, 2),
        "job_s": round(outcome.seconds, 2),
        "rerun_s": round(again, 2),
        "status_s": round(status, 2),
        "cpu_s": round(cpu, 2),
        "worker_mb": [round(told[tenth], 1) for tenth in (1, 5, 9) if tenth in told],
        "launcher_mb": round(launcher, 1),
        "objects_a_tile": sum(len(files) for _, _, files in os.walk(store)) / outcome.tiles,
    }


def some_region(tiles: int) -> dict[str, Any]:
    """About so many tiles, in a square a zone, as one GeoJSON geometry."""
    squares = []
    for zone in range(1, -(-tiles // ZONE_TILES) + 1):
        count = min(ZONE_TILES, tiles - (zone - 1) * ZONE_TILES)
        rows = math.isqrt(count)
        # Ten metres inside, so that no neighbour is touched.
        west, south, east, north = Window(
            zone, NORTH + 1, MIDDLE + 1, rows * SIDE - 2, count // rows * SIDE - 2
        ).bounds
        corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
        squares.append([[to_lonlat(zone).transform(*corner) for corner in corners]])
    return {"type": "MultiPolygon", "coordinates": squares}


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _job(size: int, folder: Path | None) -> dict[str, Any]:
    """Of a job in one process; the one of median time, where it is so short that it is repeated."""
    times = REPEATS if size <= REPEATED else 1
    found = [_in_own_process(size, folder, apart=False) for _ in range(times)]
    middle = statistics.median_low(one["job_s"] for one in found)
    return next(one for one in found if one["job_s"] == middle)


def _in_own_process(size: int, folder: Path | None, apart: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks", "scale", f"--job={size}"]
    command += [f"--folder={folder}"] if folder else []
    command += ["--apart"] if apart else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _told(one: dict[str, Any]) -> str:
    after = " then ".join(f"{used:.0f}" for used in one["worker_mb"])
    apart = " then ".join(f"{used:.0f}" for used in one["apart_worker_mb"])
    return (
        f"{one['tiles']:>7} tiles: {one['ms_a_tile']:.2f} ms a tile, {one['cpu_ms_a_tile']:.2f} on "
        f"the CPU; command {one['command_s']:.0f} s, rerun {one['rerun_s']:.1f} s, status "
        f"{one['status_s']:.1f} s; MB after 1, 5 and 9 tenths: {after} in one process, {apart} "
        f"in a worker apart, whose launcher had {one['apart_launcher_mb']:.0f} at most"
    )


def _draw(path: Path, found: list[dict[str, Any]]) -> None:
    across = [one["tiles"] for one in found]

    def curve(name: str) -> list[float]:
        return [one[name] for one in found]

    def last(name: str) -> list[float]:
        return [one[name][-1] for one in found]

    draw_chart(
        path,
        "What a tile costs as jobs grow",
        f"The whole graph with stubs for reading and encoding; tiles of {SIDE} px.",
        [
            Chart(
                "ms a tile, in one process",
                across,
                {"elapsed": curve("ms_a_tile"), "on the CPU": curve("cpu_ms_a_tile")},
            ),
            Chart(
                "memory in MB near the end",
                across,
                {
                    "one process": last("worker_mb"),
                    "a worker apart": last("apart_worker_mb"),
                    "its launcher": curve("apart_launcher_mb"),
                },
            ),
        ],
        "tiles",
    )
