"""How fast the encoders are, against the machine and against the padded reference path.

`python -m benchmarks encode [--model M ...] [--device D] [--precision P ...] [--threads N]
[--record NAME]`

Every pixel has the same number of observations. The reference path is the plain network over
padded batches in float32, with PyTorch's own threads; `autocast` is the same network with products
in bf16 as PyTorch itself does them. Each line is measured in a process of its own, so that its
memory is its own too. Pixels a second of processor time tell something on a busy machine as well;
all else wants an idle one. The teacher is measured only when it is named: it wants 16 GB and
minutes a line. Ends with 1 if bf16 is not as close to fp32 as it has to be, and with 2 if the
device cannot be used.
"""

from __future__ import annotations

import argparse
import datetime as dt
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera_mosaic.model.cards import CARDS, Card, card_named
from tessera_mosaic.model.checkpoints.checkpoint import random_checkpoint
from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.model.engine.kernels import DTYPES, Affine, UnusableDevice, find_place
from tessera_mosaic.model.engine.packing import RECURRENT, SAMPLING
from tessera_mosaic.model.networks import FUSION_LAYERS, S1_CHANNELS, S2_CHANNELS
from tessera_mosaic.model.observations import DRAWN, Origin, Stack
from tessera_mosaic.model.sizes import Family, Sizes
from tessera_mosaic.pipeline.planning.priors import THROUGHPUT, Throughput, record_throughput

MODELS = tuple(name for name in CARDS if name not in ("v1.1-aws", "v2-teacher"))
"""Measured by default. v1.1-aws is the same network as v1.1-mpc."""

DEPTHS = ((64, 112), (40, 64))
"""Observations of Sentinel-2 and Sentinel-1 that every pixel has."""

WORK = {"cpu": 6e11, "cuda": 3e14}
"""Operations of one measurement: seconds of work."""

FEWEST_PIXELS, FEWEST_OF_TEACHER = 16**2, 4**2

REFERENCE_BATCH = 1024
"""Pixels that the TESSERA reference runs at once."""

REPEATS = 3

COMPARED = 1 << 14
"""Pixels whose embeddings in bf16 and fp32 are compared, at the most."""

NEIGHBOURS, AMONG = 10, 1024
"""Nearest neighbours that are looked for, among so many pixels."""

LEAST_COSINE, MOST_SCALE_ERROR, LEAST_OVERLAP = 0.9999, 0.016, 0.97
"""How close bf16 has to be to fp32."""

PLACE = Origin(zone=31, row=0, col=0, year=2024)

REFERENCE = "reference"
AUTOCAST = "autocast"
"""The reference path in float32, and with products in bf16 as PyTorch itself does them."""

HEADER = (
    f"{'model':12} {'tokens':>8} {'path':10} {'px/s':>10} {'px/CPU s':>9} {'tokens/s':>12} "
    f"{'GFLOP/s':>9} {'of peak':>8} {'faster':>7} {'than bf16':>9} {'peak MiB':>9}"
)

T = TypeVar("T")


@dataclass(frozen=True)
class Gauges:
    """What measures.

    Parameters
    ----------
    measure
        Gives the rows of a subject, by path; see `measure`.
    peak
        Gives the largest product of a device, precision and number of threads; see `peak_flops`.
    book
        The file of throughputs that `--record` writes to.
    """

    measure: Callable[[Subject, dict[str, float]], dict[str, Row]]
    peak: Callable[[str, str, int], float]
    book: Path = THROUGHPUT


def main(argv: Sequence[str], gauges: Gauges | None = None) -> int:
    """Measure and print a table."""
    gauges = gauges or Gauges(measure, peak_flops)
    parser = argparse.ArgumentParser(prog="python -m benchmarks encode")
    parser.add_argument("--model", nargs="+", default=MODELS, choices=list(CARDS), metavar="M")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--precision", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument(
        "--record",
        metavar="NAME",
        help="put the rates at the greater depth into the plan's throughputs, under this device",
    )
    args = parser.parse_args(argv)
    print(f"{args.threads} threads; load of the machine before: {os.getloadavg()[0]:.1f}")
    try:
        find_place(args.device, "fp32")
        peaks = {}
        for precision in args.precision:
            try:
                peaks[precision] = gauges.peak(args.device, precision, args.threads)
            except UnusableDevice as error:
                print(f"{precision} is left out: {error}")
    except UnusableDevice as error:
        print(f"benchmarks encode: {error}", file=sys.stderr)
        return 2
    for precision, flops in peaks.items():
        print(f"largest {precision} product on {args.device}: {flops / 1e9:,.0f} GFLOP/s")
    print(HEADER)
    close = True
    for name in args.model:
        card = card_named(name)
        for depth in DEPTHS[:1] if card.family in SAMPLING else DEPTHS:
            rows = gauges.measure(Subject(card, depth, args.device, args.threads), peaks)
            if args.record and depth == DEPTHS[0]:
                record(args.record, rows, gauges.book)
            if DTYPES.keys() <= rows.keys():
                close &= is_close(rows["fp32"], rows["bf16"])
    return 0 if close else 1


@dataclass(frozen=True)
class Spent:
    """Time of a run on the clock, and of all processors together."""

    seconds: float
    processor: float


@dataclass(frozen=True)
class Subject:
    """What is measured: an encoder on a device, with so many observations a pixel.

    `work` and `fewest` are operations and pixels of a run, at least; 0 for those of the device.
    """

    card: Card
    depth: tuple[int, int]
    device: str
    threads: int
    work: float = 0.0
    fewest: int = 0

    @property
    def lengths(self) -> tuple[int, int]:
        """Tokens of both sensors."""
        return (DRAWN, DRAWN) if self.card.family in SAMPLING else self.depth

    @property
    def flops(self) -> float:
        """Operations a pixel."""
        return pixel_flops(self.card.family, self.card.sizes, self.lengths)

    @property
    def side(self) -> int:
        """Of the block, in pixels."""
        teacher = self.card.family == "v2-teacher"
        fewest = self.fewest or (FEWEST_OF_TEACHER if teacher else FEWEST_PIXELS)
        work = self.work or WORK[self.device.partition(":")[0]]
        return int(max(work / self.flops, fewest) ** 0.5)


@dataclass(frozen=True)
class Row:
    """What a path took.

    Parameters
    ----------
    subject, path
        What ran: `reference`, or a precision.
    pixels, spent
        How many pixels in what time.
    memory
        Most that was in use, in MiB: of the GPU, else of the process.
    values, scales
        Embeddings to compare, of some pixels; empty for the reference.
    """

    subject: Subject
    path: str
    pixels: int
    spent: Spent
    memory: float
    values: NDArray[np.float32]
    scales: NDArray[np.float32]

    @property
    def rate(self) -> float:
        """Pixels a second."""
        return self.pixels / self.spent.seconds


def measure(subject: Subject, peaks: dict[str, float]) -> dict[str, Row]:
    """Measure and print the paths of a subject, each in a process of its own."""
    rows: dict[str, Row] = {}
    paths = list(peaks)
    if subject.device == "cpu":
        paths = [REFERENCE, *([AUTOCAST] if "bf16" in peaks else []), *paths]
    for path in paths:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, spawn) as process:
            rows[path] = process.submit(run_path, subject, path).result()
        peak = peaks.get({REFERENCE: "fp32", AUTOCAST: "bf16"}.get(path, path))
        print(told(rows[path], peak, rows), flush=True)
    return rows


def run_path(subject: Subject, path: str) -> Row:
    plain = path in (REFERENCE, AUTOCAST)
    run = _reference(subject, path == AUTOCAST) if plain else _encoder(subject, path)
    (pixels, values, scales), spent = best(run)
    values = values.reshape(-1, subject.card.dims)[:COMPARED].copy()
    scales = scales.ravel()[:COMPARED].copy()
    return Row(subject, path, pixels, spent, _memory(subject.device), values, scales)


Run = Callable[[], tuple[int, NDArray[np.float32], NDArray[np.float32]]]
"""How many pixels were embedded, to which values with which scales."""


def _encoder(subject: Subject, precision: str) -> Run:
    """The project's own way."""
    card, side = subject.card, subject.side
    checkpoint = random_checkpoint(card.sizes, 0, card.family)
    encoder = Encoder(checkpoint, card, precision, subject.device, subject.threads)
    stack = synthetic_stack((side, side), subject.depth)

    def run() -> tuple[int, NDArray[np.float32], NDArray[np.float32]]:
        made = encoder.embed(stack, PLACE, values=True)
        assert made.values is not None
        return side * side, made.values, made.scales

    return run


def _reference(subject: Subject, autocast: bool) -> Run:
    """A batch in the plain network."""
    torch.set_num_threads(subject.threads)
    card = subject.card
    network = random_checkpoint(card.sizes, 0, card.family).network()
    batch = min(REFERENCE_BATCH, subject.side**2)
    s2, s1 = (
        _tokens(batch, length, channels)
        for length, channels in zip(subject.lengths, (S2_CHANNELS, S1_CHANNELS), strict=True)
    )
    nothing = np.zeros((0, card.dims), np.float32)

    def run() -> tuple[int, NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            network(s2, s1)
        return batch, nothing, nothing

    return run


def _memory(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def told(row: Row, peak: float | None, rows: dict[str, Row]) -> str:
    """A row of the table, beside both reference paths among the rows of its subject."""
    subject, (s2, s1) = row.subject, row.subject.lengths
    flops = row.rate * subject.flops
    share = f"{flops / peak:.0%}" if peak else "-"
    faster, than_bf16 = (
        f"{row.rate / rows[path].rate:.2f}x" if path in rows and row.path != path else "-"
        for path in (REFERENCE, AUTOCAST)
    )
    return (
        f"{subject.card.name:12} {s2:>3}+{s1:<4} {row.path:10} {row.rate:10,.0f} "
        f"{row.pixels / row.spent.processor:9,.0f} {row.rate * sum(subject.lengths):12,.0f} "
        f"{flops / 1e9:9,.0f} {share:>8} {faster:>7} {than_bf16:>9} {row.memory:9,.0f}"
    )


def record(device: str, rows: dict[str, Row], book: Path = THROUGHPUT) -> None:
    """Put measured rates where plans find them."""
    for path, row in rows.items():
        if path not in (REFERENCE, AUTOCAST):
            tokens = float(sum(row.subject.lengths))
            rate, today = round(row.rate, 1), f"{dt.date.today():%Y-%m}"
            name, source = row.subject.card.name, "python -m benchmarks encode"
            record_throughput(Throughput(device, name, path, tokens, rate, source, today), book)


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
    if family in ("v1.0", "v1.0-float"):
        total = 4 * width * sizes.representation
    else:
        total = 8 * width * (2 * width + sizes.representation)
    if family == "v2-teacher":
        # Both sensors' vectors, as two tokens.
        total += FUSION_LAYERS * 2 * (16 * width**2 + 8 * width)
    for length, channels in zip(lengths, (S2_CHANNELS, S1_CHANNELS), strict=True):
        token = 2 * width * (channels + width)
        token += sizes.layers * (8 * width**2 + 4 * width * wide + 4 * length * width)
        token += 12 * width**2 if family in RECURRENT else 0
        total += length * token
    return float(total)


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


def _tokens(batch: int, length: int, channels: int) -> Tensor:
    days = torch.randint(1, 366, (batch, length, 1)).float()
    return torch.cat([torch.randn(batch, length, channels), days], dim=-1)


def is_close(exact: Row, fast: Row) -> bool:
    """Print how close two rows' embeddings are, and whether that is close enough."""
    a, b = exact.values, fast.values
    cosine = float((_unit(a) * _unit(b)).sum(axis=-1).min())
    error = float(np.abs(fast.scales / exact.scales - 1).max())
    overlap = neighbour_overlap(a[:AMONG], b[:AMONG])
    close = cosine >= LEAST_COSINE and error <= MOST_SCALE_ERROR and overlap >= LEAST_OVERLAP
    print(
        f"{'':21} bf16 to fp32: cosine {cosine:.6f} or more, scales within {error:.2%}, "
        f"{overlap:.1%} of {NEIGHBOURS} neighbours the same{'' if close else ': NOT CLOSE ENOUGH'}"
    )
    return close


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
