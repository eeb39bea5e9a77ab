"""Annual stacks from a local server: this reader beside others, for a block and for a whole tile.

    python -m benchmarks read [--side PX] [--days N] [--latency MS ...] [--rounds N] [--tile PX]
                              [--scenes N ...]

Each reader runs in a process of its own against a light server in another one, in rounds that take
all readers in turn, so that what else the machine does meets all of them; times are medians. All
make the same arrays, of which the pixels are compared (lazycogs takes the nearest pixels of 20 m
bands, so some of its differ). Printed are seconds on the clock and of a processor, how often
faster this reader was in the same round, bytes of bodies over those of the COG blocks that the
stack cannot do without, requests, and memory above what the result takes. A tile has the days
and passes of a busy year, and its memory is that of the whole process above what it began with.
The last table has years of more and more scenes, read within one budget of memory.

Readers that are not installed are left out and named; `make bench` installs them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.light_server import Served, serving_lightly
from benchmarks.processor import machine_line
from benchmarks.readers import IN_FLIGHT, READERS, YEAR, Arrays
from tessera_mosaic.model.observations import S2_BANDS
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
    from_lonlat,
    lonlat_bounds,
    window_of_bounds,
)

LON, LAT = 3.0, 50.8
OURS = "tessera-mosaic"
BLOCK = 256
"""Side of the blocks that a tile is cut into."""

TILE_DAYS, TILE_PASSES = 73, 100
"""Days and passes over a tile: those of two satellites each at middle latitudes."""

GROWING_SIDE, GROWING_BLOCK, GROWING_MEMORY = 256, 64, 50_000_000
"""Side of the tile and of the blocks of the table by scenes, and the bytes that stacks may take."""


def window_around(side: int) -> Window:
    """A block that lies on the COGs' blocks as it happens to."""
    x, y = from_lonlat(31).transform(LON, LAT)
    reach = side * 5
    return replace(
        window_of_bounds(31, (x - reach, y - reach, x + reach, y + reach)), height=side, width=side
    )


def run_reader(name: str, url: str, window: Window, out: Path, talk: Connection) -> None:
    """Read in this process; keep the arrays and tell how much memory that took."""
    read = READERS[name].start(url, window)
    talk.send("ready")
    talk.recv()
    told, arrays = measured(read)
    np.savez(out, **arrays)
    talk.send({**told, "result": sum(array.nbytes for array in arrays.values())})


def run_tile(url: str, window: Window, block: int, budget: int | None, talk: Connection) -> None:
    """Read a tile in this process, block by block; tell what that took.

    Stacks take as much memory as `budget` says, and no disk; None for what the machine can spare.
    """
    from tessera_mosaic.pipeline.imagery.read_budget import ReadBudget
    from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
    from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
    from tessera_mosaic.pipeline.stacks.block_reader import read_blocks
    from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
    from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule

    source = open_catalogue(f"{url}/catalog.json")
    scenes = source.search(lonlat_bounds(window), YEAR)
    talk.send("ready")
    talk.recv()

    def read() -> int:
        room = None if budget is None else ReadBudget(budget, 0)
        layers, reader = 0, SceneReader(source, IN_FLIGHT, budget=room)
        rules = Preprocessing(source.imagery, offset=OffsetRule.REFERENCE)
        for at, annual in read_blocks(list(window.blocks(block)), scenes, rules, reader):
            stack = annual.stack
            days = len(stack.doys) + len(stack.sar_ascending_doy) + len(stack.sar_descending_doy)
            layers += days * at.height * at.width
            del annual, stack
        reader.close()
        return layers

    told, layers = measured(read)
    talk.send({**told, "layers": layers})


def measured(read: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """What some work took, and what it gave."""
    forget_peak()
    before, began, busy = memory("VmRSS"), time.perf_counter(), time.process_time()
    made = read()
    told = {
        "seconds": time.perf_counter() - began,
        "busy": time.process_time() - busy,
        "memory": memory("VmHWM") - before,
    }
    return told, made


def forget_peak() -> None:
    """Let Linux count this process's peak of memory from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(name: str) -> int:
    """Bytes that this process has in memory (`VmRSS`), or had at the peak (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(name)]
    return int(line.split()[1]) * 1024


def measure(server: Served, target: Callable[..., None], *args: Any) -> dict[str, Any]:
    """Run a reader in a process of its own and count what it asks the server for."""
    with running(target, *args) as reader:
        reader.recv()
        server.counts()
        reader.send("go")
        told = reader.recv()
        return {"bytes": 0, **told, **server.counts()}


@contextlib.contextmanager
def running(target: Callable[..., None], *args: Any) -> Iterator[Connection]:
    """A process and the way to talk to it."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(*args, theirs))
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(5)
        process.kill()


def bytes_needed(catalogue: Path, window: Window, block: int) -> int:
    """Bytes of the COG blocks without which there are no stacks of blocks of that side.

    All classes and passes, and the bands of the scenes that are used in a block.
    """
    from tessera_mosaic.pipeline.imagery.gathered import EVERYTHING, Place, blocks_needed
    from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
    from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
    from tessera_mosaic.pipeline.stacks.block_reader import read_blocks
    from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
    from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule

    source = open_catalogue(str(catalogue))
    reader = SceneReader(source)
    scenes = source.search(lonlat_bounds(window), YEAR)
    blocks = list(window.blocks(block))
    used = {
        at: set(a.used)
        for at, a in read_blocks(blocks, scenes, Preprocessing(offset=OffsetRule.REFERENCE), reader)
    }
    total = 0
    for scene in scenes:
        for band in scene.assets:
            header = reader.header(scene, band)
            kernel = Preprocessing().kernel if band in S2_BANDS else Preprocessing().s1_kernel
            places = [
                Place.of((at, EVERYTHING), header.geometry, kernel)
                for at in blocks
                if band not in S2_BANDS or scene.id in used[at]
            ]
            total += int(header.sizes[list(blocks_needed(header, places))].sum())
    reader.close()
    return total


def compare(
    folder: Path, catalogue: Path, side: int, latency: float, rounds: int
) -> list[dict[str, Any]]:
    """Rows of the comparison of all readers that are installed."""
    window, names = window_around(side), [name for name, peer in READERS.items() if peer.is_here]
    needed = bytes_needed(catalogue, window, side)
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with serving_lightly(catalogue.parent, latency / 1000) as server:
        for number in range(rounds):
            # Nobody is always the first, who finds what the others left in caches.
            for name in names[number % len(names) :] + names[: number % len(names)]:
                path = folder / f"{name}.npz"
                told[name].append(measure(server, run_reader, name, server.url, window, path))
    results = {name: dict(np.load(folder / f"{name}.npz")) for name in names}
    return [
        {
            "reader": name,
            "seconds": round(middle(of, "seconds"), 2),
            "of a processor": round(middle(of, "busy"), 2),
            "ours faster": round(
                statistics.median(
                    each["seconds"] / mine["seconds"]
                    for each, mine in zip(of, told[OURS], strict=True)
                ),
                2,
            ),
            "bytes over needed": round(middle(of, "bytes") / needed, 2),
            "requests": round(middle(of, "requests")),
            "memory above result, MB": round((middle(of, "memory") - middle(of, "result")) / 1e6),
            "pixels equal": round(equal_share(results[OURS], results[name]), 4),
        }
        for name, of in told.items()
    ]


def whole_tile(
    catalogue: Path, side: int, latencies: list[float], rounds: int
) -> list[dict[str, Any]]:
    """Rows of what a tile takes, block by block."""
    window, rows = window_around(side), []
    needed = bytes_needed(catalogue, window, BLOCK)
    for latency in latencies:
        with serving_lightly(catalogue.parent, latency / 1000) as server:
            args = server.url, window, BLOCK, None
            told = [measure(server, run_tile, *args) for _ in range(rounds)]
        pixels, layers = side**2, middle(told, "layers")
        rows.append(
            {
                "ms a request": latency,
                "days and passes": round(layers / pixels),
                "k px/s": round(pixels / middle(told, "seconds") / 1e3, 1),
                "k px a core second": round(pixels / middle(told, "busy") / 1e3, 1),
                "core seconds a million pixel-scenes": round(
                    middle(told, "busy") / layers * 1e6, 3
                ),
                "bytes over needed": round(middle(told, "bytes") / needed, 2),
                "requests": round(middle(told, "requests")),
                "peak MB": round(middle(told, "memory") / 1e6),
            }
        )
    return rows


def by_scenes(folder: Path, counts: list[int]) -> list[dict[str, Any]]:
    """Rows of what years of more and more scenes take, within one budget."""
    window, rows = window_around(GROWING_SIDE), []
    for count in counts:
        days = round(0.4 * count)
        catalogue = archive(folder, GROWING_SIDE // 2, days, count - days)
        needed = bytes_needed(catalogue, window, GROWING_BLOCK)
        with serving_lightly(catalogue.parent, 0.0) as server:
            args = server.url, window, GROWING_BLOCK, GROWING_MEMORY
            told = measure(server, run_tile, *args)
        rows.append(
            {
                "scenes": count,
                "budget of stacks, MB": round(GROWING_MEMORY / 1e6),
                "peak MB": round(told["memory"] / 1e6),
                "bytes over needed": round(told["bytes"] / needed, 2),
                "core seconds a million pixel-scenes": round(
                    told["busy"] / told["layers"] * 1e6, 3
                ),
            }
        )
    return rows


def middle(told: list[dict[str, Any]], name: str) -> float:
    """Median of a measure over the rounds."""
    return float(statistics.median(each[name] for each in told))


def equal_share(ours: Arrays, theirs: Arrays) -> float:
    """Share of equal values, of arrays that have to be of equal shapes."""
    same = total = 0
    for name, array in ours.items():
        if array.shape != theirs[name].shape:
            return 0.0
        same += int((array == theirs[name]).sum())
        total += array.size
    return same / total


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows as a Markdown table."""
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + " --- |" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    print()


def archive(folder: Path, side: int, days: int, passes: int) -> Path:
    """Catalogue of a granule of twice the block's side, made if it is not there yet."""
    place = folder / f"granule-{side}-{days}-{passes}"
    known = place / "catalog.json"
    if known.exists():
        return known
    granule = Footprint.around("31UDS", LON, LAT, 2 * side)
    spec = Simulation((granule,), s2_days=days, s1_days=passes, cloudiness=0.5)
    return simulate_archive(place, spec)


def main(argv: list[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks read", description=__doc__)
    parser.add_argument("--side", type=int, default=512, help="of the block, in pixels")
    parser.add_argument("--days", type=int, default=40, help="on which Sentinel-2 passes")
    parser.add_argument("--passes", type=int, default=20, help="of Sentinel-1")
    parser.add_argument("--latency", type=float, nargs="*", default=[0.0, 20.0, 80.0], metavar="MS")
    parser.add_argument("--rounds", type=int, default=3, help="of which medians are taken")
    parser.add_argument("--tile", type=int, default=1024, help="side of the tile; 0 for none")
    parser.add_argument("--scenes", type=int, nargs="*", default=[50, 150, 500], metavar="N")
    parser.add_argument("--folder", type=Path, help="keep the archives here for the next time")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    args = parser.parse_args(argv)
    results: dict[str, Any] = {"machine": machine_line()}
    results["left out"] = [name for name, peer in READERS.items() if not peer.is_here]
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        catalogue = archive(folder, args.side, args.days, args.passes)
        results |= {
            f"{latency:g} ms a request": compare(
                Path(temporary), catalogue, args.side, latency, args.rounds
            )
            for latency in args.latency
        }
        if args.tile:
            large = archive(folder, args.tile // 2, TILE_DAYS, TILE_PASSES)
            tile = f"tile of {args.tile} px"
            results[tile] = whole_tile(large, args.tile, args.latency, args.rounds)
        if args.scenes:
            results["years of more and more scenes"] = by_scenes(folder, args.scenes)
    results["load after"] = round(os.getloadavg()[0], 1)
    if args.json:
        print(json.dumps(results))
        return
    for title, rows in results.items():
        if isinstance(rows, list) and rows and isinstance(rows[0], dict):
            print(f"{title}:\n")
            print_table(rows)
        elif rows:
            print(f"{title}: {', '.join(rows) if isinstance(rows, list) else rows}\n")
