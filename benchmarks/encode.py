"""How fast the encoders are, against the machine and against the padded reference path.

`python -m benchmarks encode [--model M ...] [--device D] [--precision P ...] [--threads N]`

Every pixel has the same number of observations. The reference path is the plain network over
padded batches in float32, with PyTorch's own threads. Pixels a second of processor time tell
something on a busy machine too; all else wants an idle one. Ends with 1 if bf16 is not as close to
fp32 as it has to be.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.cards import CARDS, Card, card_named
from model.checkpoint import Checkpoint, random_checkpoint
from model.encoder import Embedding, Encoder, usable_cores
from model.kernels import DTYPES, Affine, find_place
from model.networks import S1_CHANNELS, S2_CHANNELS, Family, Sizes
from model.observations import DRAWN, Origin, Stack
from model.packing import RECURRENT, SAMPLING

DEPTHS = ((64, 112), (40, 64))
"""Observations of Sentinel-2 and Sentinel-1 that every pixel has."""

WORK = {"cpu": 6e11, "cuda": 3e14}
"""Operations of one measurement: seconds of work."""

FEWEST_PIXELS = 16**2

REFERENCE_BATCH = 1024
"""Pixels that the TESSERA reference runs at once."""

REPEATS = 3

NEIGHBOURS, COMPARED = 10, 1024
"""Nearest neighbours that are looked for, among so many pixels."""

LEAST_COSINE, MOST_SCALE_ERROR, LEAST_OVERLAP = 0.9999, 0.016, 0.97
"""How close bf16 has to be to fp32."""

PLACE = Origin(zone=31, row=0, col=0, year=2024)

HEADER = (
    f"{'model':12} {'tokens':>8} {'path':10} {'px/s':>10} {'px/CPU s':>9} {'tokens/s':>12} "
    f"{'GFLOP/s':>9} {'of peak':>8} {'faster':>7} {'peak MiB':>9}"
)

T = TypeVar("T")


def main(argv: Sequence[str]) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="benchmarks encode")
    models = [name for name, card in CARDS.items() if card.family in ("v1.1", "v2")]
    models.remove("v1.1-aws")  # The same network as v1.1-mpc.
    parser.add_argument("--model", nargs="+", default=models, choices=list(CARDS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    parser.add_argument("--threads", type=int, default=usable_cores())
    args = parser.parse_args(argv)
    bench = Bench(
        args.device,
        args.threads,
        {name: peak_flops(args.device, name, args.threads) for name in args.precision},
    )
    print(f"{args.threads} threads; load of the machine before: {os.getloadavg()[0]:.1f}")
    for precision, flops in bench.peaks.items():
        print(f"largest {precision} product on {args.device}: {flops / 1e9:,.0f} GFLOP/s")
    print(HEADER)
    close = True
    for name in args.model:
        card = card_named(name)
        checkpoint = random_checkpoint(card.sizes, seed=0, family=card.family)
        for depth in DEPTHS[:1] if card.family in SAMPLING else DEPTHS:
            close &= bench.measure(card, checkpoint, depth)
    return 0 if close else 1


@dataclass(frozen=True)
class Spent:
    """Time of a run on the clock, and of all processors together."""

    seconds: float
    processor: float


@dataclass(frozen=True)
class Bench:
    """Where to measure: a device, threads, and its largest rate in each precision."""

    device: str
    threads: int
    peaks: dict[str, float]

    def measure(self, card: Card, checkpoint: Checkpoint, depth: tuple[int, int]) -> bool:
        """Print a model's lines at a depth; whether bf16 was close to fp32."""
        lengths = (DRAWN, DRAWN) if card.family in SAMPLING else depth
        flops = pixel_flops(card.family, card.sizes, lengths)
        work = WORK[self.device.partition(":")[0]]
        side = int(max(work / flops, FEWEST_PIXELS) ** 0.5)
        stack = synthetic_stack((side, side), depth)

        def show(path: str, pixels: int, spent: Spent, slower: float, peak: float) -> None:
            rate = pixels / spent.seconds
            share = f"{rate * flops / peak:.0%}" if peak else "-"
            faster = f"{rate / slower:.1f}x" if slower else "-"
            print(
                f"{card.name:12} {depth[0]:>3}+{depth[1]:<4} {path:10} {rate:10,.0f} "
                f"{pixels / spent.processor:9,.0f} {rate * sum(lengths):12,.0f} "
                f"{rate * flops / 1e9:9,.0f} {share:>8} {faster:>7} {self.memory():9,.0f}",
                flush=True,
            )

        slower = 0.0
        if self.device == "cpu":
            batch = min(REFERENCE_BATCH, side * side)
            spent = reference_time(checkpoint, lengths, batch)
            show("reference", batch, spent, 0.0, self.peaks.get("fp32", 0.0))
            slower = batch / spent.seconds
        made: dict[str, Embedding] = {}
        for precision, peak in self.peaks.items():
            encoder = Encoder(checkpoint, card, precision, self.device, self.threads)
            made[precision], spent = best(self._embed(encoder, stack))
            show(precision, side * side, spent, slower, peak)
        return len(made) < len(DTYPES) or is_close(made["fp32"], made["bf16"])

    def _embed(self, encoder: Encoder, stack: Stack) -> Callable[[], Embedding]:
        return lambda: encoder.embed(stack, PLACE, values=True)

    def memory(self) -> float:
        """Most memory that was ever in use, in MiB: of the GPU, else of the process."""
        if self.device != "cpu":
            return torch.cuda.max_memory_allocated() / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def synthetic_stack(shape: tuple[int, int], depth: tuple[int, int]) -> Stack:
    """A block that every pass saw: pixels of their own colour and season, and noise."""
    draw = np.random.default_rng(0)

    def series(days: NDArray[np.int64], bands: int) -> NDArray[np.float64]:
        colour, season = draw.uniform(500, 4000, (2, 1, *shape, bands))
        phase = draw.uniform(0, 2 * np.pi, (1, *shape, 1))
        wave = np.sin(days[:, None, None, None] * (2 * np.pi / 365) + phase)
        noise = draw.normal(0, 150, (len(days), *shape, bands))
        return np.clip(colour + season * (1 + wave) / 2 + noise, 1, 32_000)

    s2, s1 = depth
    days = [np.linspace(1, 365, count).astype(np.int64) for count in (s2, s1 // 2, s1 - s1 // 2)]
    return Stack(
        bands=series(days[0], 10).astype(np.uint16),
        masks=np.ones((s2, *shape), np.uint8),
        doys=days[0].astype(np.uint16),
        sar_ascending=series(days[1], 2).astype(np.int16),
        sar_ascending_doy=days[1].astype(np.int16),
        sar_descending=series(days[2], 2).astype(np.int16),
        sar_descending_doy=days[2].astype(np.int16),
    )


def pixel_flops(family: Family, sizes: Sizes, lengths: tuple[int, int]) -> float:
    """Multiplications and additions of the matrix products for one pixel."""
    width, wide = sizes.width, sizes.feedforward
    total = 0.0
    for length, channels in zip(lengths, (S2_CHANNELS, S1_CHANNELS), strict=True):
        token = 2 * width * (channels + width)
        token += sizes.layers * (8 * width**2 + 4 * width * wide + 4 * length * width)
        token += 12 * width**2 if family in RECURRENT else 0
        total += length * token
    if family in ("v1.0", "v1.0-float"):
        return total + 4 * width * sizes.representation
    return total + 8 * width * (2 * width + sizes.representation)


def peak_flops(device: str, precision: str, threads: int) -> float:
    """Most operations a second in large matrix products of the library that encoders use."""
    place = find_place(device, precision)
    side, workers, repeats = (2048, threads, 10) if device == "cpu" else (8192, 1, 50)
    layer = Affine(torch.randn(side, side), None, place, side)
    x = torch.randn(side, side).to(place.device, place.dtype)

    def multiply(_: int) -> None:
        with torch.inference_mode():
            for _ in range(repeats):
                layer(x)

    with ThreadPoolExecutor(workers, "peak", torch.set_num_threads, (1,)) as pool:

        def run() -> None:
            list(pool.map(multiply, range(workers)))
            if device != "cpu":
                torch.cuda.synchronize()

        _, spent = best(run)
    return workers * repeats * 2 * side**3 / spent.seconds


def reference_time(checkpoint: Checkpoint, lengths: tuple[int, int], batch: int) -> Spent:
    """Time of a batch in the plain network."""
    network = checkpoint.network()
    s2, s1 = (
        _tokens(batch, length, channels)
        for length, channels in zip(lengths, (S2_CHANNELS, S1_CHANNELS), strict=True)
    )
    with torch.inference_mode():
        return best(lambda: network(s2, s1))[1]


def _tokens(batch: int, length: int, channels: int) -> Tensor:
    days = torch.randint(1, 366, (batch, length, 1)).float()
    return torch.cat([torch.randn(batch, length, channels), days], dim=-1)


def is_close(exact: Embedding, fast: Embedding) -> bool:
    """Print how close two embeddings are, and whether that is close enough."""
    a, b = (_vectors(made) for made in (exact, fast))
    cosine = float((_unit(a) * _unit(b)).sum(axis=-1).min())
    error = float(np.abs(fast.scales / exact.scales - 1).max())
    overlap = neighbour_overlap(a[:COMPARED], b[:COMPARED])
    close = cosine >= LEAST_COSINE and error <= MOST_SCALE_ERROR and overlap >= LEAST_OVERLAP
    print(
        f"{'':21} bf16 to fp32: cosine {cosine:.6f} or more, scales within {error:.2%}, "
        f"{overlap:.1%} of {NEIGHBOURS} neighbours the same{'' if close else ': NOT CLOSE ENOUGH'}"
    )
    return close


def _vectors(made: Embedding) -> NDArray[np.float32]:
    assert made.values is not None
    return made.values.reshape(-1, made.values.shape[-1])


def neighbour_overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Mean share of each vector's nearest neighbours that are the same in both sets."""
    pairs = zip(_nearest(a), _nearest(b), strict=True)
    return float(np.mean([len(set(x) & set(y)) / NEIGHBOURS for x, y in pairs]))


def _nearest(values: NDArray[np.float32]) -> NDArray[np.int64]:
    closeness = _unit(values) @ _unit(values).T
    np.fill_diagonal(closeness, -np.inf)
    return np.argpartition(-closeness, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]


def _unit(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return values / np.linalg.norm(values.astype(np.float64), axis=-1, keepdims=True)


def best(run: Callable[[], T]) -> tuple[T, Spent]:
    """Result and shortest times of some runs, after one that warms up."""
    result, seconds, processor = run(), [], []
    for _ in range(REPEATS):
        start = time.perf_counter(), time.process_time()
        result = run()
        seconds.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return result, Spent(min(seconds), min(processor))
