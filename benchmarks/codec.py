"""What a compressor of shards costs: bytes to keep, seconds to write, seconds to read.

    python -m benchmarks codec [--codes FILE]

On codes of a real encoder the answer is another than on made-up ones. `FILE` is a `.npz` with
`embeddings`, int8 (years, rows, cols, dims), and `scales`, float32 (years, rows, cols), such as the
test data of PyPI's `tessera_apps` (`tests/fixtures/caldor_64.npz` of its source distribution).
Without it patches of land cover with noise in them are used.

Printed are bytes a pixel, megapixels a second of one core, and for a planet-year: dollars a month
to keep, core hours to write, core hours to read once, and how long a reader of one core waits for a
megapixel at 250 MB a second, where the network and the decoder take turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.write import synthetic_block
from tessera_mosaic.pipeline.mosaic.layout import PLANE_CHUNK, SHARDS, Compression
from tessera_mosaic.pipeline.planning.priors import read_priors
from tessera_mosaic.pipeline.tiling.lattice import CHUNK

CANDIDATES = tuple(
    Compression(name, level)
    for name, levels in {"zstd": (1, 2, 3, 5), "lz4": (1, 5, 9), "lz4hc": (3, 9)}.items()
    for level in levels
)
"""Compressors that are compared, all of blosc and behind a bit shuffle."""

PLANET_PIXELS = 1.5e12
"""Pixels of all land but Antarctica's."""

NETWORK = 250e6
"""Bytes a second that a virtual core of a cloud's machine gets from an object store."""

ROUNDS = 7
"""Times that each is measured; the fastest counts."""


def main(argv: Sequence[str]) -> int:
    """Measure and print a table for codes and one for scales."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks codec", description=__doc__)
    parser.add_argument("--codes", type=Path, metavar="FILE", help="codes of a real encoder")
    args = parser.parse_args(argv)
    codes, scales = _pixels(args.codes)
    monthly = float(read_priors().figures["storage"].value) / 1e9 * PLANET_PIXELS
    for name, values, inner in (("codes", codes, CHUNK), ("scales", scales, PLANE_CHUNK)):
        chunks = list(inner_chunks(values, inner))
        print(f"\n{name}: {len(chunks)} chunks of {chunks[0].nbytes:,} bytes")
        print(
            "| compressor | B/px | write, Mpx/s | read, Mpx/s | USD a month | core h to write "
            "| core h to read | s/Mpx by network |"
        )
        print("|" + " --- |" * 8)
        for compression in CANDIDATES:
            size, write, read = measured(compression, chunks)
            mine = " *" if compression == SHARDS else ""
            print(
                f"| {compression.name} {compression.level}{mine} | {size:.2f} | {write:.1f} "
                f"| {read:.1f} | {size * monthly:,.0f} | {PLANET_PIXELS / write / 3.6e9:,.0f} "
                f"| {PLANET_PIXELS / read / 3.6e9:,.0f} | {size * 1e6 / NETWORK + 1 / read:.3f} |"
            )
    return 0


def measured(
    compression: Compression, chunks: Sequence[NDArray[Any]]
) -> tuple[float, float, float]:
    """Bytes a pixel, and megapixels a second of one core to write and to read."""
    codec = compression.codec
    pixels = sum(chunk.shape[-1] * chunk.shape[-2] for chunk in chunks)
    encoded: list[bytes] = []
    writing, reading = [], []
    for _ in range(ROUNDS):
        began = time.process_time()
        encoded = [codec.encode(chunk) for chunk in chunks]
        writing.append(time.process_time() - began)
        began = time.process_time()
        for data in encoded:
            codec.decode(data)
        reading.append(time.process_time() - began)
    size = sum(map(len, encoded)) / pixels
    return size, pixels / min(writing) / 1e6, pixels / min(reading) / 1e6


def inner_chunks(values: NDArray[Any], inner: int) -> Iterator[NDArray[Any]]:
    """The whole inner chunks of layers, (layers, ..., rows, cols)."""
    for layer in values:
        for i in range(0, layer.shape[-2] - inner + 1, inner):
            for j in range(0, layer.shape[-1] - inner + 1, inner):
                yield np.ascontiguousarray(layer[..., i : i + inner, j : j + inner])


def _pixels(path: Path | None) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes (layers, dims, rows, cols) and scales (layers, rows, cols)."""
    if path is None:
        block = synthetic_block()
        return np.moveaxis(block.codes, -1, 0)[None], block.scales[None]
    with np.load(path, allow_pickle=False) as file:
        return np.moveaxis(file["embeddings"], -1, 1), file["scales"]
