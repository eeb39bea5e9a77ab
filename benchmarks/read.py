"""The annual stack of a block from a local server: this reader beside odc-stac and stackstac.

Each reader runs in a process of its own against a server in another one. All three make the same
arrays, of which the pixels are compared. Printed are the time, the bytes fetched over the bytes of
the COG blocks that the stack cannot do without, requests, and memory above what the result takes.

    python -m benchmarks read [--side PX] [--days N] [--latency MS] [--folder DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.server import ArchiveServer
from tessera_mosaic.model.observations import S1_BANDS, S2_BANDS
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
    from_lonlat,
    lonlat_bounds,
    window_of_bounds,
)

YEAR = 2024
LON, LAT = 3.0, 50.8
THREADS = 32
"""Reads in flight, the same for all three."""

Arrays = dict[str, np.ndarray]
ARRAYS = ("bands", "masks", "sar_ascending", "sar_descending")

Read = Callable[[], Arrays]
"""Reads a stack whose scenes have been found."""


def window_around(side: int) -> Window:
    """A block that lies on the COGs' blocks as it happens to."""
    x, y = from_lonlat(31).transform(LON, LAT)
    reach = side * 5
    return replace(
        window_of_bounds(31, (x - reach, y - reach, x + reach, y + reach)), height=side, width=side
    )


def ours(url: str, window: Window) -> Read:
    """By this project's reader."""
    from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
    from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
    from tessera_mosaic.pipeline.stacks.block_reader import read_block
    from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing

    source = open_catalogue(f"{url}/catalog.json")
    scenes = source.search(lonlat_bounds(window), YEAR)

    def read() -> Arrays:
        reader = SceneReader(source, THREADS)
        stack = read_block(window, scenes, Preprocessing(source.imagery), reader).stack
        reader.close()
        return {name: getattr(stack, name) for name in ARRAYS}

    return read


def odc_stac(url: str, window: Window) -> Read:
    """By odc-stac, into the same arrays."""
    import odc.stac
    from odc.geo.geobox import GeoBox
    from rasterio import Affine

    odc.stac.configure_rio(cloud_defaults=True)
    items = read_items(url)
    box = GeoBox(window.shape, Affine(*window.transform), window.crs)

    def load(sensor: list[Any], bands: list[str], how: Any, dtype: str) -> Any:
        return odc.stac.load(
            sensor,
            bands=bands,
            geobox=box,
            groupby="id",
            resampling=how,
            dtype=dtype,
            pool=THREADS,
            fail_on_error=True,
        )

    def read() -> Arrays:
        how = {"*": "bilinear", "SCL": "nearest"}
        s2 = load(items["sentinel-2-l2a"], [*S2_BANDS, "SCL"], how, "uint16")
        s1 = load(items["sentinel-1-rtc"], list(S1_BANDS), "nearest", "float32")
        return assembled(
            [s2[band].to_numpy() for band in S2_BANDS],
            s2["SCL"].to_numpy(),
            [s1[band].to_numpy() for band in S1_BANDS],
            items,
        )

    return read


def stackstac_(url: str, window: Window) -> Read:
    """By stackstac, into the same arrays."""
    import dask
    import stackstac
    from rasterio.enums import Resampling

    items = read_items(url)

    def load(sensor: list[Any], bands: list[str], how: Resampling, dtype: str) -> Any:
        stacked = stackstac.stack(
            sensor,
            assets=bands,
            epsg=int(window.crs.removeprefix("EPSG:")),
            resolution=10,
            bounds=window.bounds,
            snap_bounds=False,
            resampling=how,
            rescale=False,
            dtype=dtype,
            fill_value=np.array(0, dtype)[()],
            chunksize=max(window.shape),
        )
        with dask.config.set(scheduler="threads", num_workers=THREADS):
            return stacked.to_numpy()

    def read() -> Arrays:
        bands = load(items["sentinel-2-l2a"], list(S2_BANDS), Resampling.bilinear, "uint16")
        classes = load(items["sentinel-2-l2a"], ["SCL"], Resampling.nearest, "uint16")
        power = load(items["sentinel-1-rtc"], list(S1_BANDS), Resampling.nearest, "float32")
        return assembled(
            [bands[:, n] for n in range(len(S2_BANDS))],
            classes[:, 0],
            [power[:, n] for n in range(len(S1_BANDS))],
            items,
        )

    return read


READERS: dict[str, Callable[[str, Window], Read]] = {
    "tessera-mosaic": ours,
    "odc-stac": odc_stac,
    "stackstac": stackstac_,
}


def read_items(url: str) -> dict[str, list[Any]]:
    """The archive's items by collection and time, as pystac has them."""
    import pystac

    found: dict[str, list[Any]] = {}
    for item in pystac.Catalog.from_file(f"{url}/catalog.json").get_items(recursive=True):
        item.make_asset_hrefs_absolute()
        found.setdefault(str(item.collection_id), []).append(item)
    return {name: sorted(items, key=lambda i: i.datetime) for name, items in found.items()}


def assembled(
    bands: list[np.ndarray],
    classes: np.ndarray,
    power: list[np.ndarray],
    items: dict[str, list[Any]],
) -> Arrays:
    """What the others have read, by the same rules: an archive of one granule has no mosaics."""
    from tessera_mosaic.pipeline.stacks.sentinel1 import code_backscatter
    from tessera_mosaic.pipeline.stacks.sentinel2 import is_clear, remove_offset_by_date

    clear = is_clear(classes.astype(np.uint8))
    days = np.flatnonzero(clear.any(axis=(1, 2)))
    out = np.zeros((len(days), *classes.shape[1:], len(S2_BANDS)), np.uint16)
    for channel, layers in enumerate(bands):
        for at, day in enumerate(days):
            date = f"{items['sentinel-2-l2a'][day].datetime:%Y-%m-%d}"
            out[at, ..., channel] = remove_offset_by_date(layers[day], date)
    codes = np.stack([code_backscatter(layer) for layer in power], axis=-1)
    states = np.array([i.properties["sat:orbit_state"] for i in items["sentinel-1-rtc"]])
    seen = codes.any(axis=(1, 2, 3))
    return {
        "bands": out,
        "masks": clear[days].astype(np.uint8),
        **{f"sar_{s}": codes[(states == s) & seen] for s in ("ascending", "descending")},
    }


def serve(folder: Path, latency: float, talk: Connection) -> None:
    """Serve a folder until the other end hangs up; tell the counts when asked."""

    def wait(path: str, start: int) -> str:
        time.sleep(latency)
        return ""

    server = ArchiveServer(folder, wait)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    talk.send(server.url)
    with contextlib.suppress(EOFError):
        while talk.recv():
            talk.send(dict(server.counts))
            server.counts.clear()


def run_reader(name: str, url: str, window: Window, out: Path, talk: Connection) -> None:
    """Read in this process; keep the arrays and tell how much memory that took."""
    read = READERS[name](url, window)
    talk.send("ready")
    talk.recv()
    forget_peak()
    before, began, busy = memory("VmRSS"), time.perf_counter(), time.process_time()
    arrays = read()
    told = {
        "seconds": time.perf_counter() - began,
        "busy": time.process_time() - busy,
        "memory": memory("VmHWM") - before,
    }
    np.savez(out, **arrays)
    talk.send({**told, "result": sum(array.nbytes for array in arrays.values())})


def forget_peak() -> None:
    """Let Linux count this process's peak of memory from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(name: str) -> int:
    """Bytes that this process has in memory (`VmRSS`), or had at the peak (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(name)]
    return int(line.split()[1]) * 1024


def measure(name: str, server: Connection, url: str, window: Window, out: Path) -> dict[str, Any]:
    """Run a reader and count what it asks the server for."""
    with running(run_reader, name, url, window, out) as reader:
        reader.recv()
        server.send("counts")
        server.recv()
        reader.send("go")
        told = reader.recv()
        server.send("counts")
        return {**told, **server.recv()}


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


def bytes_needed(catalogue: Path, window: Window) -> int:
    """Bytes of the COG blocks without which there is no stack: all classes, days, and passes."""
    from tessera_mosaic.pipeline.imagery.resample import place
    from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
    from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
    from tessera_mosaic.pipeline.stacks.block_reader import read_block
    from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing

    source = open_catalogue(str(catalogue))
    reader = SceneReader(source)
    scenes = source.search(lonlat_bounds(window), YEAR)
    used = set(read_block(window, scenes, Preprocessing(), reader).used)
    total = 0
    for scene in scenes:
        for band in scene.assets:
            if band in S2_BANDS and scene.id not in used:
                continue
            header = reader.header(scene, band)
            kernel = "bilinear" if band in S2_BANDS else "nearest"
            source_part = place(window, header.geometry).source(kernel)
            if source_part is not None:
                total += int(header.sizes[header.blocks(*source_part)].sum())
    reader.close()
    return total


def compare(folder: Path, side: int, days: int, latency: float) -> list[dict[str, Any]]:
    """Rows of the comparison of the three."""
    granule = Footprint.around("31UDS", LON, LAT, 2 * side)
    spec = Simulation((granule,), s2_days=days, s1_days=days // 2, cloudiness=0.5)
    catalogue = simulate_archive(folder / f"compare-{side}-{days}", spec)
    window, rows = window_around(side), []
    needed = bytes_needed(catalogue, window)
    with running(serve, catalogue.parent, latency / 1000) as server:
        url, results = server.recv(), {}
        for name in READERS:
            path = folder / f"{name}.npz"
            told = measure(name, server, url, window, path)
            results[name] = dict(np.load(path))
            rows.append(
                {
                    "reader": name,
                    "seconds": round(told["seconds"], 2),
                    "of a processor": round(told["busy"], 2),
                    "bytes over needed": round(told["bytes"] / needed, 2),
                    "requests": told["requests"],
                    "memory above result, MB": round((told["memory"] - told["result"]) / 1e6),
                    "pixels equal": round(equal_share(results[name], results["tessera-mosaic"]), 5),
                }
            )
    return rows


def equal_share(ours: Arrays, theirs: Arrays) -> float:
    """Share of equal values, of arrays that have to be of equal shapes."""
    same = total = 0
    for name, array in ours.items():
        if array.shape != theirs[name].shape:
            return 0.0
        same += int((array == theirs[name]).sum())
        total += array.size
    return same / total


def memory_by_scenes(folder: Path, side: int) -> list[dict[str, Any]]:
    """Memory of a block with ever more scenes on the same days."""
    rows = []
    for passes in (2, 20):
        granule = Footprint.around("31UDS", LON, LAT, side + 32)
        spec = Simulation(
            (granule,), s2_days=25, s1_days=2, s2_passes=passes, cloudiness=0.9, seed=1
        )
        catalogue = simulate_archive(folder / f"memory-{side}-{passes}", spec)
        window = window_around(side)
        with running(serve, catalogue.parent, 0.0) as server:
            url = server.recv()
            told = measure("tessera-mosaic", server, url, window, folder / "memory.npz")
        rows.append(
            {
                "scenes": 25 * passes,
                "memory above result, MB": round((told["memory"] - told["result"]) / 1e6),
                "result, MB": round(told["result"] / 1e6),
                "seconds": round(told["seconds"], 2),
            }
        )
    return rows


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print rows as a Markdown table."""
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + " --- |" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    print()


def main(argv: list[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks read", description=__doc__)
    parser.add_argument("--side", type=int, default=512, help="of the block, in pixels")
    parser.add_argument("--days", type=int, default=40, help="on which Sentinel-2 passes")
    parser.add_argument("--latency", type=float, nargs="*", default=[0.0, 20.0], metavar="MS")
    parser.add_argument("--folder", type=Path, help="keep the archives here for the next time")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = {
            f"{latency:g} ms a request": compare(folder, args.side, args.days, latency)
            for latency in args.latency
        }
        results["memory"] = memory_by_scenes(folder, args.side // 2)
    if args.json:
        print(json.dumps(results))
        return
    for title, rows in results.items():
        print(f"{title}:\n")
        print_table(rows)
