"""A block's annual stack in, its embeddings out.

Pixels are taken by how often they were seen, packed into slabs of tokens, and run through the
encoder by a small pool of threads. What becomes of a pixel depends on nothing but the pixel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.cards import Card, CardError, card_named
from model.checkpoint import Checkpoint, random_checkpoint, read_checkpoint
from model.inference import Group, Plan, SensorPlan, Slab
from model.observations import (
    LONGEST,
    Origin,
    Seen,
    Stack,
    length_bin,
    pad_pattern,
    seen_by_s1,
    seen_by_s2,
)
from model.quantize import NOTHING, check_scales, quantize_tensor

SLAB_ROWS = 2048
"""Tokens of a slab."""

FUSED_PIXELS = 512
"""Pixels whose two sensors are fused at once."""

STRIP_OBSERVATIONS = 1 << 22
"""Observations, valid or not, that are looked through at once: bounds the working memory."""


@dataclass(frozen=True)
class Embedding:
    """Embeddings of a block.

    Parameters
    ----------
    codes : int8 (H, W, D)
        0 where there is nothing.
    scales : float32 (H, W)
        +inf where neither sensor saw the pixel, else in (0, 1).
    values : float32 (H, W, D) or None
        Before quantization, NaN where there is nothing; only if asked for.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    values: NDArray[np.float32] | None


class Encoder:
    """An encoder on a device, shared by the threads of a process.

    Parameters
    ----------
    checkpoint
        Parameters.
    card
        Statistics and rules they were trained with.
    precision
        Of matrix products: `fp32` or `bf16`.
    device
        Where to compute.
    threads
        How many threads compute at once on the CPU, whoever calls; None for one a core.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        card: Card,
        precision: str = "fp32",
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        if checkpoint.family != card.family:
            raise CardError(
                f"{card.name} is the card of {card.family} encoders, and the weights are of a "
                f"{checkpoint.family} encoder"
            )
        self.card, self.weights_sha256 = card, checkpoint.sha256
        self.sizes = checkpoint.sizes
        self.dims = min(card.dims, checkpoint.sizes.representation)
        self.precision, self.device = precision, device
        self.threads = threads or os.cpu_count() or 1
        with torch.inference_mode():
            self._plan = Plan(checkpoint.network(), SLAB_ROWS, FUSED_PIXELS)
        self._s2_tables, self._s1_tables = _statistics(card)
        # One thread a slab, however many slabs at once: see `inference`.
        self._pool = ThreadPoolExecutor(self.threads, "encoder", torch.set_num_threads, (1,))

    @classmethod
    def load(
        cls,
        weights: str | Path,
        card: Card,
        precision: str = "fp32",
        device: str = "cpu",
        threads: int | None = None,
    ) -> Encoder:
        """Read a weights file and lay the encoder out for a device."""
        return cls(read_checkpoint(weights), card, precision, device, threads)

    def identity(self) -> dict[str, object]:
        """All that decides an embedding's bytes, as JSON."""
        return {
            "card": self.card.identity(),
            "weights_sha256": self.weights_sha256,
            "precision": self.precision,
        }

    def embed(self, stack: Stack, at: Origin | None = None, values: bool = False) -> Embedding:
        """Embed every pixel of a block.

        Parameters
        ----------
        stack
            Of the block.
        at
            Where and when the block is; only encoders that sample observations need it.
        values
            Whether to return the embeddings before quantization too.

        Raises
        ------
        BadEmbeddingError
            If the encoder returned numbers that are no embedding.
        """
        height, width = stack.shape
        everything = height * width
        codes = np.zeros((everything, self.dims), np.int8)
        scales = np.full(everything, NOTHING, np.float32)
        floats = np.full((everything, self.dims), np.nan, np.float32) if values else None
        dates = sum(map(len, (stack.doys, stack.sar_ascending_doy, stack.sar_descending_doy)))
        strip = max(STRIP_OBSERVATIONS // max(dates, 1), FUSED_PIXELS)
        for start in range(0, everything, strip):
            run = slice(start, min(start + strip, everything))
            s2, s1 = seen_by_s2(stack, run), seen_by_s1(stack, run)
            pixels = np.flatnonzero(s2.counts + s1.counts)
            vectors = [
                self._pooled(plan, seen, tables, pixels)
                for plan, seen, tables in (
                    (self._plan.s2, s2, self._s2_tables),
                    (self._plan.s1, s1, self._s1_tables),
                )
            ]
            batches = range(0, len(pixels), FUSED_PIXELS)
            for first, (batch, code, scale) in zip(
                batches, self._pool.map(lambda at: self._fuse(vectors, at), batches), strict=True
            ):
                where = start + pixels[first : first + FUSED_PIXELS]
                codes[where], scales[where] = code, scale
                if floats is not None:
                    floats[where] = batch
        check_scales(scales[np.isfinite(scales) | np.isnan(scales)])
        return Embedding(
            codes.reshape(height, width, -1),
            scales.reshape(height, width),
            None if floats is None else floats.reshape(height, width, -1),
        )

    def _pooled(
        self,
        plan: SensorPlan,
        seen: Seen,
        tables: tuple[Tensor, Tensor],
        pixels: NDArray[np.int64],
    ) -> Tensor:
        """One sensor's vectors of the given pixels of a run, float32 (pixels, width)."""
        counts = seen.counts[pixels]
        order = np.argsort(counts, kind="stable")
        pooled = torch.empty(len(pixels), self.sizes.width)

        def run(members: NDArray[np.int64]) -> None:
            with torch.inference_mode():
                pooled[members] = plan(_slab(seen, pixels[members], tables))

        slabs = _slabs(order, np.clip(counts[order], 1, LONGEST))
        for _ in self._pool.map(run, slabs):
            pass
        return pooled

    def _fuse(
        self, vectors: list[Tensor], first: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.float32]]:
        """Embeddings, codes and scales of a batch of pixels."""
        with torch.inference_mode():
            batch = [part[first : first + FUSED_PIXELS] for part in vectors]
            count = len(batch[0])
            padded = [
                torch.nn.functional.pad(part, (0, 0, 0, FUSED_PIXELS - count)) for part in batch
            ]
            values = self._plan.fuse(*padded)[:count, : self.dims].contiguous()
            codes, scales = quantize_tensor(values)
            return values.numpy(), codes.numpy(), scales.numpy()


def untrained(seed: int = 0, name: str = "v2-nano", threads: int | None = None) -> Encoder:
    """An encoder with the sizes and statistics of a v2 student and random weights."""
    card = card_named(name)
    return Encoder(
        random_checkpoint(card.sizes, seed),
        replace(card, name=f"{name} (untrained)"),
        threads=threads,
    )


def _slabs(order: NDArray[np.int64], lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut pixels, with their sequence lengths, into runs that fill a slab."""
    ends = np.cumsum(lengths)
    first = 0
    while first < len(order):
        filled = ends[first] - lengths[first]
        last = int(np.searchsorted(ends, filled + SLAB_ROWS, side="right"))
        yield order[first:last]
        first = last


def _slab(seen: Seen, pixels: NDArray[np.int64], tables: tuple[Tensor, Tensor]) -> Slab:
    """Tokens of pixels that come in the order of their counts."""
    means, stds = tables
    values = np.zeros((SLAB_ROWS, seen.values.shape[-1]), seen.values.dtype)
    days = np.zeros(SLAB_ROWS, np.int64)
    # Zeros under the last kind, whose mean is 0, stand for a sensor that saw nothing.
    kinds = np.full(SLAB_ROWS, len(means) - 1, np.int64)
    groups = []
    start = 0
    counts, firsts = np.unique(seen.counts[pixels], return_index=True)
    for count, members in zip(counts, np.split(pixels, firsts[1:]), strict=True):
        sources, log_weights = _weighted_pattern(int(count))
        group = Group(start, len(members), max(len(sources), 1), log_weights)
        if count:
            dates = seen.dates[seen.starts[members][:, None] + sources]
            values[group.rows] = seen.values[dates, members[:, None]].reshape(-1, values.shape[1])
            days[group.rows] = seen.days[dates].ravel()
            kinds[group.rows] = seen.kinds[dates].ravel()
        groups.append(group)
        start = group.rows.stop
    kind = torch.from_numpy(kinds)
    tokens = (torch.from_numpy(values).float() - means[kind]) / stds[kind]
    return Slab(tokens, torch.from_numpy(days), groups)


@lru_cache(maxsize=None)
def _weighted_pattern(count: int) -> tuple[NDArray[np.int64], Tensor | None]:
    """Observations of a sequence without repeats, and the logarithm of how often each occurs."""
    if count == 0:
        return np.arange(0), None
    sources, times = np.unique(pad_pattern(count, length_bin(count)), return_counts=True)
    weights = None if (times == 1).all() else torch.from_numpy(np.log(times).astype(np.float32))
    return sources, weights


def _statistics(card: Card) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Means and deviations by kind of token, and a last kind that leaves zeros alone."""
    given = card.statistics
    sets = (
        ([given.s2_mean], [given.s2_std]),
        (
            [given.ascending_mean, given.descending_mean],
            [given.ascending_std, given.descending_std],
        ),
    )
    s2, s1 = (
        (
            torch.tensor([*means, [0.0] * len(means[0])], dtype=torch.float32),
            torch.tensor([*stds, [1.0] * len(stds[0])], dtype=torch.float32),
        )
        for means, stds in sets
    )
    return s2, s1
