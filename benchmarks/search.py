"""How fast a search scans, beside decoding alone, and its memory from few tiles to many.

`python -m benchmarks search [--rounds N] [--tiles N [N ...]] [--codes FILE]`

One core throughout, process time. The embeddings are patches of land cover with noise in them, or
real codes of a file. A round searches a tile of 2048 px by what the maker searches it with, once
for each measure, in turns of a row of chunks, some milliseconds each. The gates are one query at
80 % or more of the speed of decoding alone where no length is taken of a pixel (a head), and at
50 % where it is (examples).
"""

from __future__ import annotations

import argparse
import functools
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.map import make_chunks
from tessera_mosaic.model.heads.best import Ground
from tessera_mosaic.pipeline.downstream.chunk_reader import EncodedChunk
from tessera_mosaic.pipeline.downstream.search_queries import Measure, Query, exact_weights
from tessera_mosaic.pipeline.downstream.search_scan import TileScan, best_pixels, draw
from tessera_mosaic.pipeline.downstream.search_tile import SearchMaker
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.mosaic.identity import adopted_identity
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.shards import decode_chunk
from tessera_mosaic.pipeline.mosaic.store import create_store
from tessera_mosaic.pipeline.tiling.lattice import CHUNK, Tile

DIMS, TOP, SQUARE, YEAR = 128, 1000, 16, 2024
SIDE = 2048
"""Side in pixels of the tile that is scanned; its chunks come around many times."""

STORED = 1024
"""Side of the tile that is read from a store."""

TILE = Tile(31, 180, 17, SIDE)

DRAWN = 16
"""Pixels of a tile whose scores are kept, where a search has many tiles."""

QUERIES = (1, 8, 64)
GATES = {Measure.SCALE: 0.80, Measure.LENGTH: 0.50}
"""Share of the speed of decoding alone that one query has to keep."""

NAMES = {Measure.SCALE: "without lengths", Measure.LENGTH: "with lengths"}

ALONE = "decoding alone"

LAST = object()
"""What comes after the last turn."""

Encoded = list[tuple[bytes, NDArray[np.float32]]]
Rows = list[list[EncodedChunk]]
Turns = Iterator[None]


def main(argv: Sequence[str]) -> int:
    """Measure and print a table; 1 if a gate is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks search", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often")
    parser.add_argument("--tiles", type=int, nargs="+", default=[1, 20], help="for memory")
    parser.add_argument("--codes", type=Path, help="npz with `embeddings` (years, y, x, dims)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    array = Layout().embeddings[-1]
    encoded = list(make_chunks()) if args.codes is None else real_chunks(args.codes)

    def decode(data: bytes) -> NDArray[np.int8]:
        return decode_chunk(array, data).reshape(DIMS, -1)

    ground, rows = whole_tile(encoded)
    steps: dict[str, Callable[[], Turns]] = {ALONE: lambda: decode_rows(rows)}
    for measure in GATES:
        for count in QUERIES:
            queries = make_queries(count, measure, encoded, decode)
            name = f"{count} quer{'y' if count == 1 else 'ies'} {NAMES[measure]}"
            steps[name] = functools.partial(search_rows, queries, ground, rows)
    rounds = [in_turns(steps) for _ in range(args.rounds)]
    # Whoever else is at work makes turns longer, never shorter; the best of each row make a tile.
    best = {name: float(np.min([of[name] for of in rounds], axis=0).sum()) for name in steps}
    size = sum(len(data) for data, _ in encoded) / (len(encoded) * array.inner**2)
    print(f"chunks of {size:.1f} bytes a pixel, one core, process time, {args.rounds} rounds")
    print(f"  {'':32}{'best':>8}       of decoding: best turns, median of rounds")
    for name, taken in best.items():
        of_rounds = np.median([sum(of[ALONE]) / sum(of[name]) for of in rounds])
        rate = SIDE**2 / taken / 1e6
        print(f"  {name:32}{rate:>8.2f} Mpx/s {best[ALONE] / taken:>7.0%} {of_rounds:>7.0%}")
    from_store(encoded, decode, args.tiles)
    missed = 0
    for measure, gate in GATES.items():
        name = f"1 query {NAMES[measure]}"
        share = best[ALONE] / best[name]
        missed += share < gate
        print(f"gate {gate:.0%} {name}: {'kept' if share >= gate else 'missed'} with {share:.0%}")
    return int(missed > 0)


def real_chunks(path: Path) -> Encoded:
    """Chunks of real codes as they lie in a shard."""
    array = Layout().embeddings[-1]
    with np.load(path) as file:
        embeddings, scales = file["embeddings"], file["scales"]
    found = []
    for year in range(len(embeddings)):
        for row in range(0, embeddings.shape[1] - CHUNK + 1, CHUNK):
            for col in range(0, embeddings.shape[2] - CHUNK + 1, CHUNK):
                here = np.s_[year, row : row + CHUNK, col : col + CHUNK]
                codes = np.ascontiguousarray(embeddings[here].transpose(2, 0, 1))
                found.append((bytes(array.codec.encode(codes)), scales[here].ravel()))
    return found


def whole_tile(encoded: Encoded) -> tuple[Ground, Rows]:
    """A tile of these chunks, which come around many times, row after row of them."""
    array, across = Layout().embeddings[-1], SIDE // CHUNK
    scales = np.empty((SIDE, SIDE), np.float32)
    rows: Rows = [[] for _ in range(across)]
    for number in range(across**2):
        data, of = encoded[number % len(encoded)]
        row, col = (CHUNK * at for at in divmod(number, across))
        scales[row : row + CHUNK, col : col + CHUNK] = of.reshape(CHUNK, CHUNK)
        rows[number // across].append(EncodedChunk(row, col, array, data))
    known = np.isfinite(scales)
    return Ground(known, scales, TILE.row * SIDE, TILE.col * SIDE, SQUARE), rows


def make_queries(
    count: int, measure: Measure, encoded: Encoded, decode: Callable[[bytes], NDArray[np.int8]]
) -> list[Query]:
    """Queries for what some pixels are like."""
    queries = []
    for number in range(count):
        codes = decode(encoded[number * 7 % len(encoded)][0])[:, number * 37 % 1024]
        like = codes.astype(np.float64)
        queries.append(Query(str(number), exact_weights(like / np.linalg.norm(like)), 0.0, measure))
    return queries


def in_turns(steps: Mapping[str, Callable[[], Turns]]) -> dict[str, list[float]]:
    """Seconds of each row of a tile's chunks by each of some steps, which take turns.

    So whoever else is at work on the machine disturbs all of them alike.
    """
    taken: dict[str, list[float]] = {name: [] for name in steps}
    turns = {name: step() for name, step in steps.items()}
    while turns:
        for name, of in list(turns.items()):
            began = time.process_time()
            ended = next(of, LAST) is LAST
            seconds = time.process_time() - began
            if ended:
                del turns[name]
                taken[name][-1] += seconds
            else:
                taken[name].append(seconds)
    return taken


def decode_rows(rows: Rows) -> Turns:
    """Decode the chunks of a tile."""
    for row in rows:
        for chunk in row:
            chunk.codes()
        yield


def search_rows(queries: Sequence[Query], ground: Ground, rows: Rows) -> Turns:
    """Search the chunks of a tile as the maker does."""
    drawn = draw(TILE, ground.known, DRAWN)
    tile = TileScan(TILE, ground, CHUNK, best_pixels(queries), TOP, drawn)
    for row in rows:
        tile.add(tile.score(row, tile.limits()))
        yield
    tile.heap()


def from_store(
    encoded: Encoded, decode: Callable[[bytes], NDArray[np.int8]], tiles: Sequence[int]
) -> None:
    """Print the speed of the maker itself on a tile of a store, and the memory after so many."""
    across = STORED // CHUNK
    chunks = [(decode(data), scales) for data, scales in encoded]
    with tempfile.TemporaryDirectory() as folder:
        mosaic = create_store(
            Storage(f"{folder}/store"),
            Layout(STORED),
            adopted_identity("benchmark", "arrays", nearest=False, margin=0),
            [YEAR],
            [31],
        )
        tile = Tile(31, 360, 34, STORED)
        with mosaic.writer(tile, YEAR) as writer:
            for number, window in enumerate(tile.window.blocks(CHUNK)):
                codes, scales = chunks[number % len(chunks)]
                counts = {name: np.full(window.shape, 9, np.uint16) for name in Layout().observed}
                values = codes.reshape(DIMS, CHUNK, CHUNK).transpose(1, 2, 0)
                writer.put(window, values, scales.reshape(CHUNK, CHUNK), counts)
            writer.close()
        query = make_queries(1, Measure.LENGTH, encoded, decode)[0]
        maker = SearchMaker(mosaic.storage.url, YEAR, "", (query,), TOP, SQUARE, DRAWN)
        job = maker.open(Storage(f"{folder}/job"), 1)
        for count in tiles:
            began = time.process_time()
            for _ in range(count):
                job.make(tile, None, Meter(lambda **_: None), lambda: None)
            rate = count * (across * CHUNK) ** 2 / (time.process_time() - began)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"  the maker, tiles of {STORED} px from a folder: {count:>4} at "
                f"{rate / 1e6:.2f} Mpx/s with one query of examples, peak memory {peak:,.0f} MiB"
            )
