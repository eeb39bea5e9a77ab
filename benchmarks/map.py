"""How fast a head is applied, beside decoding alone, and its memory from few tiles to many.

`python -m benchmarks map [--rounds N] [--tiles [N ...]]`

One core throughout. The embeddings are patches of land cover with noise in them, quantized like
real ones. All heads take turns, a few milliseconds each and each beside decoding alone, so that
whoever else is at work disturbs all alike. Two gates: a linear head of ten classes
at 55 % or more of the speed of decoding alone, and memory of a job that stays as it is from the
smallest number of tiles to the largest.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.map_memory import measure_memory
from tessera_mosaic.model.heads.head import HeadKind, Task
from tessera_mosaic.model.heads.scoring import Scored, Scorer
from tessera_mosaic.model.heads.training_space import training_space
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.shards import decode_chunk

DIMS, CLASSES, CHUNKS = 128, 10, 16
GATE = 0.55
"""Share of the speed of decoding alone that a linear head has to keep."""

ALONE, LINEAR = "decoding alone", "linear, 10 classes"

Encoded = list[tuple[bytes, NDArray[np.float32]]]
"""Chunks as they lie in a shard, with the scales of their pixels."""

Step = Callable[[bytes, NDArray[np.float32]], object]
"""What is done with a chunk."""


@dataclass(frozen=True)
class Rate:
    """What came of a step.

    Parameters
    ----------
    pixels
        Pixels a second of process time, in the middle one of all rounds.
    share, low, high
        Share of the speed of decoding alone in the same round: median, and what one round in
        twenty lies below, and above.
    """

    pixels: float
    share: float
    low: float
    high: float


def main(argv: Sequence[str]) -> int:
    """Measure and print a table; 1 if a gate is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks map", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="in which all take turns")
    parser.add_argument(
        "--tiles", type=int, nargs="*", default=[10, 1000], help="for memory; none: not measured"
    )
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    array = Layout().embeddings[-1]
    encoded = list(make_chunks())

    def decode(data: bytes) -> NDArray[np.int8]:
        return decode_chunk(array, data).reshape(DIMS, -1)

    steps: dict[str, Step] = {ALONE: lambda data, scales: decode(data)}
    steps |= {
        name: lambda data, scales, head=head: told(head(decode(data), scales))
        for name, head in make_heads().items()
    }
    size = sum(len(data) for data, _ in encoded) / (CHUNKS * array.inner**2)
    print(f"chunks of {size:.1f} bytes a pixel, one core, process time, {args.rounds} rounds")
    rates = take_turns(steps, encoded, args.rounds)
    for name, found in rates.items():
        print(
            f"  {name:32}{found.pixels / 1e6:>8.2f} Mpx/s {found.share:>7.0%} "
            f"({found.low:.0%} to {found.high:.0%})"
        )
    share = rates[LINEAR].share
    print(f"gate {GATE:.0%}: {'kept' if share >= GATE else 'missed'} with {share:.0%}")
    flat = not args.tiles or measure_memory(args.tiles)
    return int(share < GATE or not flat)


def take_turns(steps: Mapping[str, Step], encoded: Encoded, rounds: int) -> dict[str, Rate]:
    """Measure all steps in turn, round after round, each beside decoding alone.

    Who comes second finds the chunks in the processor's cache, so they take turns in that, too.
    """
    alone, spent = steps[ALONE], {name: np.empty((rounds, 2)) for name in steps}
    for number in range(rounds):
        for name, step in steps.items():
            pair = (alone, step) if number % 2 else (step, alone)
            took = [seconds(each, encoded) for each in pair]
            spent[name][number] = took if number % 2 else took[::-1]
    pixels = len(encoded) * 1024
    rates = {}
    for name, each in spent.items():
        low, share, high = np.percentile(each[:, 0] / each[:, 1], (5, 50, 95)).tolist()
        rates[name] = Rate(pixels / float(np.median(each[:, 1])), share, low, high)
    return rates


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
        LINEAR: Scorer(HeadKind.LOGISTIC, of, linear, CLASSES),
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


def seconds(step: Step, encoded: Encoded) -> float:
    """Process time of a step over all chunks."""
    began = time.process_time()
    for data, scales in encoded:
        step(data, scales)
    return time.process_time() - began
