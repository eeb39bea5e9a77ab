"""How fast a head is applied, beside decoding alone, and its memory from few tiles to many.

`python -m benchmarks map [--seconds N] [--rounds N] [--tiles N [N ...]]`

One core throughout. The embeddings are patches of land cover with noise in them, quantized like
real ones. The gate: a linear head of ten classes at 55 % or more of the speed of decoding alone.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tessera_mosaic.model.heads.head import HeadKind, Task
from tessera_mosaic.model.heads.scoring import Scored, Scorer
from tessera_mosaic.model.heads.training_space import training_space
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.shards import decode_chunk

DIMS, CLASSES, CHUNKS = 128, 10, 64
GATE = 0.55
"""Share of the speed of decoding alone that a linear head has to keep."""

Encoded = list[tuple[bytes, NDArray[np.float32]]]
"""Chunks as they lie in a shard, with the scales of their pixels."""


def main(argv: Sequence[str]) -> int:
    """Measure and print a table; 1 if the gate is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks map", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measure")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--tiles", type=int, nargs="+", default=[10, 1000], help="for memory")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    array = Layout().embeddings[-1]
    encoded = list(make_chunks())

    def decode(data: bytes) -> NDArray[np.int8]:
        return decode_chunk(array, data).reshape(DIMS, -1)

    heads = make_heads()
    steps: dict[str, Callable[[bytes, NDArray[np.float32]], object]] = {
        "decoding alone": lambda data, scales: decode(data)
    }
    steps |= {
        name: lambda data, scales, head=head: told(head(decode(data), scales))
        for name, head in heads.items()
    }
    rates = {name: 0.0 for name in steps}
    # Side by side, so that whoever else is at work disturbs all alike.
    for _ in range(args.rounds):
        for name, step in steps.items():
            rates[name] = max(rates[name], rate(step, encoded, args.seconds))
    alone = rates["decoding alone"]
    size = sum(len(data) for data, _ in encoded) / (CHUNKS * array.inner**2)
    print(f"chunks of {size:.1f} bytes a pixel, one core, process time, best of {args.rounds}")
    for name, found in rates.items():
        print(f"  {name:32}{found / 1e6:>8.2f} Mpx/s {found / alone:>7.0%}")
    memory(heads["linear, 10 classes"], decode, encoded, args.tiles)
    share = rates["linear, 10 classes"] / alone
    print(f"gate {GATE:.0%}: {'kept' if share >= GATE else 'missed'} with {share:.0%}")
    return int(share < GATE)


def make_chunks() -> Iterator[tuple[bytes, NDArray[np.float32]]]:
    """Chunks of land cover with noise."""
    rng = np.random.default_rng(0)
    array = Layout().embeddings[-1]
    covers = rng.normal(0, 45, (8, DIMS))
    for _ in range(CHUNKS):
        cover = np.repeat(np.repeat(rng.integers(0, 8, (4, 4)), 8, axis=0), 8, axis=1)
        values = covers[cover].transpose(2, 0, 1) + rng.normal(0, 12, (DIMS, 32, 32))
        codes = np.clip(np.rint(values), -127, 127).astype(np.int8)
        scales = rng.uniform(0.01, 0.03, 1024).astype(np.float32)
        yield bytes(array.codec.encode(np.ascontiguousarray(codes))), scales


def make_heads() -> dict[str, Scorer]:
    """Heads that are compared."""
    rng = np.random.default_rng(1)

    def some(*shape: int) -> NDArray[np.float32]:
        return rng.normal(0, 0.1, shape).astype(np.float32)

    space = training_space(
        rng.normal(size=(2000, DIMS)).astype(np.float32), np.arange(2000, dtype=np.int32) % CLASSES
    )
    linear = {"weight": some(CLASSES, DIMS), "bias": some(CLASSES)}
    hidden = {"weight": some(64, DIMS), "bias": some(64)}
    hidden |= {"weight2": some(CLASSES, 64), "bias2": some(CLASSES)}
    near = {"weight": some(1000, DIMS), "bias": some(1000)}
    near["targets"] = (np.arange(1000) % CLASSES).astype(np.float32)
    of = Task.CLASS
    return {
        "linear, 10 classes": Scorer(HeadKind.LOGISTIC, of, linear, CLASSES),
        "the same with distances": Scorer(HeadKind.LOGISTIC, of, linear, CLASSES, space),
        "values (ridge)": Scorer(
            HeadKind.RIDGE, Task.VALUE, {"weight": some(1, DIMS), "bias": some(1)}, 1
        ),
        "mlp, 64 hidden": Scorer(HeadKind.MLP, of, hidden, CLASSES),
        "knn, 1000 pixels": Scorer(HeadKind.KNN, of, near, CLASSES),
    }


def told(scored: Scored) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Class and confidence, as a map stores them."""
    return scored.best, np.rint(scored.sure * np.float32(254)).astype(np.uint8)


def rate(
    step: Callable[[bytes, NDArray[np.float32]], object], encoded: Encoded, seconds: float
) -> float:
    """Pixels of a second of process time."""
    began, chunks = time.process_time(), 0
    while time.process_time() - began < seconds:
        for data, scales in encoded:
            step(data, scales)
        chunks += len(encoded)
    return chunks * 1024 / (time.process_time() - began)


def memory(
    head: Scorer,
    decode: Callable[[bytes], NDArray[np.int8]],
    encoded: Encoded,
    tiles: Sequence[int],
) -> None:
    """Print the peak memory after so many tiles of 256 px, each kept as a file and let go.

    It is that of decoding and scoring in this process; a job's processes are not measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        for count in tiles:
            for number in range(count):
                classes = [told(head(decode(data), scales))[0] for data, scales in encoded]
                path = Path(folder) / f"{number % 10}.npy"
                np.save(path, np.concatenate(classes).astype(np.uint8))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"  {count:>6,} tiles decoded and scored: peak memory {peak:,.0f} MiB")
