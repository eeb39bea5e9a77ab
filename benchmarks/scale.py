"""`scale`: seconds and memory a tile as the number of tiles grows.

The command's own graph runs, with the store, shards, records, notes, journals, summaries and
tallies it always has. Stubs are: the catalogue, which has one scene; reading, which gives one
constant observation; and the encoder, which returns a constant. Tiles are small, so that what is
measured is what a tile costs beside its pixels.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.chart import Chart, draw_chart
from benchmarks.standins import ConstantEncoder, ConstantSource, constant_stack
from pipeline.grid import Window, to_lonlat
from pipeline.launch import launch, run_arguments
from pipeline.stack import AnnualStack
from pipeline.status import standing
from pipeline.storage import Storage

SIDE = 32
"""Of a tile in pixels."""

ZONE_TILES = 6_400
"""Tiles of a zone, at most: what the land of the globe has, spread over 60 zones."""

NORTH, MIDDLE = 384_000, 32_000
"""Row and column of the lattice at which each zone's tiles begin, near 49 degrees north."""

YEAR = 2024


def main(argv: list[str]) -> None:
    """Run jobs of growing size, each in a process of its own, and tell what a tile cost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument(
        "--tiles", type=int, nargs="+", default=[100, 1_000, 10_000], help="sizes of the jobs"
    )
    parser.add_argument("--picture", type=Path, help="PNG of the curves to write")
    parser.add_argument("--folder", type=Path, help="where the mosaics are made for a while")
    parser.add_argument("--json", action="store_true", help="print one JSON object a job")
    parser.add_argument("--job", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.job:
        print(json.dumps(measure(args.job, args.folder)))
        return
    fixed = _in_own_process(1, args.folder)
    found = []
    for tiles in args.tiles:
        one = _in_own_process(tiles, args.folder)
        # What starting costs, whatever the number of tiles, is known from the job of one tile.
        for name, spent in (("ms", "job_s"), ("cpu_ms", "cpu_s")):
            one[f"{name}_a_tile"] = 1000 * (one[spent] - fixed[spent]) / (one["tiles"] - 1)
        found.append(one)
        print(json.dumps(one) if args.json else _told(one), flush=True)
    if args.picture:
        _draw(args.picture, found)


def measure(tiles: int, place: Path | None) -> dict[str, Any]:
    """Make a mosaic of so many tiles, and say what that took.

    Returns
    -------
    Seconds of the whole command and on the CPU, of its job, of a rerun that finds all done, and of
    `status`; the process's memory in MB when one, five and nine tenths of the tiles were done.
    """
    folder = Path(tempfile.mkdtemp(prefix="tessera-scale-", dir=place))
    watch = _Watch(tiles)
    try:
        with (
            mock.patch("pipeline.launch.open_catalogue", return_value=ConstantSource()),
            mock.patch("pipeline.worker.open_catalogue", return_value=ConstantSource()),
            mock.patch("pipeline.launch.choose_encoder", return_value=ConstantEncoder()),
            mock.patch("pipeline.worker.load_encoder", return_value=ConstantEncoder()),
            mock.patch("pipeline.tiles.read_stack", watch.read_stack),
        ):
            return _measure(folder, tiles, watch)
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path, tiles: int, watch: _Watch) -> dict[str, Any]:
    region, store = folder / "region.json", folder / "mosaic.zarr"
    region.write_text(json.dumps(_region(tiles)))
    parser = argparse.ArgumentParser()
    run_arguments(parser)
    words = ["--catalog=stand-in", f"--region={region}", f"--store={store}", f"--year={YEAR}"]
    args = parser.parse_args([*words, f"--tile={SIDE}"])
    began, before = time.monotonic(), time.process_time()
    outcome = launch(args, [])
    command, cpu = time.monotonic() - began, time.process_time() - before
    assert outcome.failed == 0, outcome.failures
    began = time.monotonic()
    assert launch(args, []).done == outcome.tiles
    again = time.monotonic() - began
    began = time.monotonic()
    assert standing(Storage(str(store)), YEAR).done == outcome.tiles
    status = time.monotonic() - began
    return {
        "tiles": outcome.tiles,
        "command_s": round(command, 2),
        "job_s": round(outcome.seconds, 2),
        "rerun_s": round(again, 2),
        "status_s": round(status, 2),
        "cpu_s": round(cpu, 2),
        "tenth_mb": round(watch.resident.get(1, 0.0), 1),
        "half_mb": round(watch.resident.get(5, 0.0), 1),
        "end_mb": round(watch.resident.get(9, 0.0), 1),
        "objects_a_tile": sum(len(files) for _, _, files in os.walk(store)) / outcome.tiles,
    }


def _region(tiles: int) -> dict[str, Any]:
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


class _Watch:
    """Looks at this process's memory whenever another tenth of the tiles was read."""

    def __init__(self, tiles: int) -> None:
        self._tiles, self._read = tiles, 0
        self._lock = threading.Lock()
        self.resident: dict[int, float] = {}

    def read_stack(self, window: Window, *_: object) -> AnnualStack:
        """The constant stack of a tile."""
        with self._lock:
            self._read += 1
            tenth, before = (10 * n // self._tiles for n in (self._read, self._read - 1))
            if tenth > before:
                self.resident[tenth] = _resident()
        return constant_stack(window)


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _in_own_process(tiles: int, folder: Path | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks", "scale", f"--job={tiles}"]
    command += [f"--folder={folder}"] if folder else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _told(one: dict[str, Any]) -> str:
    return (
        f"{one['tiles']:>7} tiles: {one['ms_a_tile']:.1f} ms a tile, {one['cpu_ms_a_tile']:.1f} on "
        f"the CPU; memory {one['tenth_mb']:.0f} MB after a tenth of them, {one['half_mb']:.0f} "
        f"after half, {one['end_mb']:.0f} near the end; command {one['command_s']:.0f} s, rerun "
        f"{one['rerun_s']:.1f} s, status {one['status_s']:.1f} s"
    )


def _draw(path: Path, found: list[dict[str, Any]]) -> None:
    across = [one["tiles"] for one in found]

    def curve(name: str) -> list[float]:
        return [one[name] for one in found]

    draw_chart(
        path,
        "What a tile costs as jobs grow",
        f"The whole graph with stubs for reading and encoding; tiles of {SIDE} px; one process.",
        [
            Chart(
                "ms a tile",
                across,
                {"elapsed": curve("ms_a_tile"), "on the CPU": curve("cpu_ms_a_tile")},
            ),
            Chart(
                "memory in MB",
                across,
                {
                    "after a tenth of the tiles": curve("tenth_mb"),
                    "after nine tenths": curve("end_mb"),
                },
            ),
        ],
        "tiles",
    )
