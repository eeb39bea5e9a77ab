"""What a shard costs to write, and a point and a window to read.

`python -m benchmarks write [--side N] [--threads N]`

Writers run in processes of their own, on the same pixels: patches of land cover with noise in
them, quantized like embeddings. Memory is what the process needs beyond one block of pixels.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import Blosc, Zstd
from numpy.typing import NDArray

from benchmarks.standins import standin_identity
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.layout import COUNTS, Array, Layout
from tessera_mosaic.pipeline.mosaic.shards import CHECKSUM, INDEX_ENTRY, Pixels
from tessera_mosaic.pipeline.mosaic.store import FIRST_YEAR, Mosaic, create_store
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window

BLOCK, DIMS, YEAR = 256, 128, 2024
PATCH = 16
"""Side of a patch of one land cover in pixels."""

WINDOW, DRAWS = 256, 200
"""Side of the window that is read, and how many points and windows are drawn."""

COMPRESSORS: dict[str, Any] = {
    "none": None,
    "zstd 1": Zstd(1),
    "zstd 3": Zstd(3),
    "blosc zstd 1": Blosc("zstd", 1, Blosc.NOSHUFFLE),
    "blosc zstd 1 bits": Blosc("zstd", 1, Blosc.BITSHUFFLE),
    "blosc zstd 3 bits": Blosc("zstd", 3, Blosc.BITSHUFFLE),
    "blosc lz4 bits": Blosc("lz4", 1, Blosc.BITSHUFFLE),
}
"""Compressors that are compared; `bits` are shuffled first."""


PLANE_COMPRESSORS = ("none", "zstd 1", "blosc zstd 1 bits")
"""Those that are compared for scales and counts."""


def main(argv: Sequence[str]) -> int:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(prog="benchmarks write", description=__doc__)
    parser.add_argument("--side", type=int, default=2048, help="of the shard in pixels")
    parser.add_argument("--threads", type=int, default=2, help="of our writer's second run")
    args = parser.parse_args(argv)
    writers: dict[str, tuple[Callable[..., None], tuple[Any, ...]]] = {
        "zarr-python": (write_zarr, ()),
        "tensorstore": (write_tensorstore, ()),
        "mosaic, 1 thread": (write_mosaic, (1,)),
        f"mosaic, {args.threads} threads": (write_mosaic, (args.threads,)),
    }
    if importlib.util.find_spec("tensorstore") is None:
        del writers["tensorstore"]
    raw = args.side**2 * (DIMS + 4 + 2 * len(COUNTS)) / 1e6
    print(f"one tile of {args.side} px, {raw:,.0f} MB of pixels, blocks of {BLOCK} px")
    print(f"{'writer':20} {'seconds':>8} {'share':>6} {'memory MB':>10} {'stored MB':>10}")
    first = 0.0
    for name, (write, extra) in writers.items():
        seconds, memory, stored = in_own_process(write, args.side, *extra)
        first = first or seconds
        print(f"{name:20} {seconds:8.1f} {seconds / first:6.2f} {memory:10,.0f} {stored:10,.0f}")
    compare_chunks(args.side)
    return 0


def synthetic_block(seed: int = 0) -> Pixels:
    """A block of pixels: patches whose embeddings differ, with a third as much noise."""
    rng = np.random.default_rng(seed)
    across = BLOCK // PATCH
    covers = rng.normal(size=(12, DIMS)).astype(np.float32)
    patches = covers[rng.integers(0, len(covers), (across, across))]
    values = patches.repeat(PATCH, axis=0).repeat(PATCH, axis=1)
    values += 0.35 * rng.normal(size=values.shape).astype(np.float32)
    scales = np.abs(values).max(axis=-1) / 127
    codes = np.rint(values / scales[..., None]).astype(np.int8)
    seen = rng.integers(20, 80, (across, across), np.uint16)
    counts = {n: seen.repeat(PATCH, axis=0).repeat(PATCH, axis=1) for n in COUNTS}
    return Pixels(codes, scales * np.float32(0.05), counts)


def in_own_process(
    write: Callable[..., None], side: int, *extra: Any
) -> tuple[float, float, float]:
    """Seconds, MB of memory beyond a block, and MB stored, of a writer."""
    folder = Path(tempfile.mkdtemp(prefix="benchmark-write-"))
    block = synthetic_block()
    # From a file, so that making the pixels leaves no mark on the writer's memory.
    np.savez(folder / "block.npz", codes=block.codes, scales=block.scales, **block.counts)
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_run, args=(theirs, write, str(folder), side, *extra))
    process.start()
    try:
        seconds, memory = ours.recv()
        process.join()
        shards = [folder / "mosaic" / key for key in _keys(side)]
        return seconds, memory, sum(path.stat().st_size for path in shards) / 1e6
    finally:
        shutil.rmtree(folder)


def _keys(side: int) -> list[str]:
    """Keys of the tile that the writers write."""
    step = YEAR - FIRST_YEAR
    return [array.key(_tile(side), step) for array in Layout(side, DIMS).arrays]


def _tile(side: int) -> Tile:
    return Tile(31, 3, 1, side)


def _run(report: Any, write: Callable[..., None], folder: str, side: int, *extra: Any) -> None:
    storage = Storage(f"{folder}/mosaic")
    mosaic = create_store(storage, Layout(side, DIMS), standin_identity(margin=0), [YEAR], [31])
    saved = np.load(f"{folder}/block.npz")
    block = Pixels(saved["codes"], saved["scales"], {name: saved[name] for name in COUNTS})
    before = memory("VmRSS")
    began = time.perf_counter()
    write(mosaic, _tile(side), block, *extra)
    seconds = time.perf_counter() - began
    report.send((seconds, memory("VmHWM") - before))


def memory(of: str) -> float:
    """MB that this process holds (`VmRSS`) or has held at most (`VmHWM`), as Linux tells it."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(of))
    return int(line.split()[1]) / 1e3


def write_mosaic(mosaic: Mosaic, tile: Tile, block: Pixels, threads: int) -> None:
    """Our writer: blocks are compressed as they come."""
    with mosaic.writer(tile, YEAR, threads) as shard:
        for window in tile.window.blocks(BLOCK):
            shard.put(window, *_part(block, window))
        shard.close()


def write_zarr(mosaic: Mosaic, tile: Tile, block: Pixels) -> None:
    """zarr-python with its defaults: the tile in memory, one assignment an array."""
    import zarr

    for array, values in _whole(mosaic, tile, block):
        opened = zarr.open_array(mosaic.storage.url, path=f"utm31/{array.name}", mode="r+")
        rows, cols = _extent(tile.window)
        opened[mosaic.step(YEAR), ..., rows, cols] = values


def write_tensorstore(mosaic: Mosaic, tile: Tile, block: Pixels) -> None:
    """tensorstore with its defaults, fed like zarr-python."""
    import tensorstore

    for array, values in _whole(mosaic, tile, block):
        place = f"file://{mosaic.storage.url}/utm31/{array.name}/"
        opened = tensorstore.open({"driver": "zarr3", "kvstore": place}, open=True).result()
        rows, cols = _extent(tile.window)
        opened[mosaic.step(YEAR)][..., rows, cols].write(values).result()


def _whole(mosaic: Mosaic, tile: Tile, block: Pixels) -> Iterator[tuple[Array, NDArray[Any]]]:
    """Each array with the tile's values, as writers need them that take whole shards."""
    for array in mosaic.layout.arrays:
        bands = (array.bands,) if array.bands else ()
        values = np.empty((*bands, tile.side, tile.side), array.dtype)
        for window in tile.window.blocks(BLOCK):
            codes, scales, counts = _part(block, window)
            part: NDArray[Any] = np.moveaxis(codes, -1, 0) if bands else scales
            if array.name.startswith("observations_"):
                part = counts[array.name.removeprefix("observations_")]
            values[(..., *window.within(tile.window))] = part
        yield array, values


def _part(
    block: Pixels, window: Window
) -> tuple[NDArray[np.int8], NDArray[np.float32], dict[str, NDArray[np.uint16]]]:
    at = np.s_[: window.height, : window.width]
    return block.codes[at], block.scales[at], {n: c[at] for n, c in block.counts.items()}


def _extent(window: Window) -> tuple[slice, slice]:
    return window.within(Window(window.zone, 0, 0, 0, 0))


def compare_chunks(side: int) -> None:
    """Print what inner chunks and compressors cost to store and to read."""
    block = synthetic_block()
    tables: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
        "codes": (np.moveaxis(block.codes, -1, 0), (16, 32, 64, 128)),
        "scales": (block.scales, (16, 32, 64, 128, 256)),
        "counts": (block.counts["s2"], (16, 32, 64, 128, 256)),
    }
    print(f"\nreading from a shard of {side} px: index and chunks, each request counted")
    print(
        f"{'values':7} {'inner':>5} {'compressor':18} {'ratio':>6} {'MB/s':>6} {'point kB':>9} "
        f"{'window MB':>10} {'requests':>8}"
    )
    for name, (values, inners) in tables.items():
        for inner in inners:
            for label in COMPRESSORS if name == "codes" else PLANE_COMPRESSORS:
                codec = COMPRESSORS[label]
                print(f"{name:7} {inner:5} {label:18} " + _read_costs(values, inner, codec, side))


def _read_costs(values: NDArray[Any], inner: int, codec: Any, side: int) -> str:
    """Ratio, speed, and what a point and a window cost, over random places."""
    across = BLOCK // inner
    chunks = [
        np.ascontiguousarray(values[..., i : i + inner, j : j + inner])
        for i in range(0, BLOCK, inner)
        for j in range(0, BLOCK, inner)
    ]
    began = time.perf_counter()
    encoded = [codec.encode(chunk) if codec else chunk.tobytes() for chunk in chunks]
    seconds = time.perf_counter() - began
    sizes = np.array([len(data) for data in encoded]).reshape(across, across)
    index = (side // inner) ** 2 * INDEX_ENTRY + CHECKSUM
    rng = np.random.default_rng(1)
    corners = rng.integers(0, side - WINDOW, (DRAWS, 2))
    costs, requests = [], []
    for row, col in corners:
        rows = np.arange(row // inner, (row + WINDOW - 1) // inner + 1) % across
        cols = np.arange(col // inner, (col + WINDOW - 1) // inner + 1) % across
        costs.append(index + sizes[np.ix_(rows, cols)].sum())
        requests.append(1 + len(rows) * len(cols))
    raw = sum(chunk.nbytes for chunk in chunks)
    return (
        f"{raw / sizes.sum():6.3f} {raw / seconds / 1e6:6,.0f} "
        f"{(index + sizes.mean()) / 1e3:9.1f} {np.mean(costs) / 1e6:10.2f} "
        f"{np.mean(requests):8.0f}"
    )
