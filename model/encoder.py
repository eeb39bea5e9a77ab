"""A block's annual stack in, its embeddings out.

Pixels are taken by how often they were seen, packed into slabs of tokens, and run through the
encoder by a small pool of threads. What becomes of a pixel depends on nothing but the pixel.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tessera_mosaic.model.cards import Card, CardError
from tessera_mosaic.model.checkpoints.checkpoint import Checkpoint, read_checkpoint
from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.model.engine.batches import GPU_SLABS, cpu_batches, gpu_batches, strips
from tessera_mosaic.model.engine.instructions import PINNED_LEVEL, instructions
from tessera_mosaic.model.engine.kernels import find_place
from tessera_mosaic.model.engine.packed_network import PackedNetwork, SensorPlan
from tessera_mosaic.model.engine.packing import SAMPLING, Packing, statistics_tables
from tessera_mosaic.model.observations import (
    LONGEST,
    Origin,
    Seen,
    Stack,
    pixel_keys,
    seen_by_s1,
    seen_by_s2,
)
from tessera_mosaic.model.quantize import NOTHING, check_scales, quantize_tensor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedding:
    """Embeddings of a block.

    Parameters
    ----------
    codes : int8 (H, W, D)
        Quantized values, -127 to 127; 0 where there is nothing.
    scales : float32 (H, W)
        What a pixel's codes are to be multiplied by, between 0 and 1; +inf where neither sensor
        saw the pixel, and with v1.0 where it was never clear.
    values : float32 (H, W, D) or None
        Values before quantization, NaN where there is nothing; None unless they were asked for.
    tokens
        Number of observations that were computed with, stand-ins for missing ones included.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    values: NDArray[np.float32] | None
    tokens: int


class Encoder:
    """An encoder on a device, shared by the threads of a process.

    Parameters
    ----------
    checkpoint
        Parameters of the encoder.
    card
        Card with the statistics and rules that they were trained with.
    precision
        Precision of matrix products: `fp32` or `bf16`.
    device
        Name of the device that computes: `cpu`, `cuda` or `cuda:N`.
    threads
        Number of threads that compute at once on the CPU, whoever calls; None for one a core.
    lay_out
        Lays the network out for the device. A test hands in one of its own, to see what becomes
        of a network that fails.

    Raises
    ------
    CardError
        If the card is of another family than the parameters.
    UnusableDevice
        If the device is not there, or cannot compute in that precision.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        card: Card,
        precision: str = "fp32",
        device: str = "cpu",
        threads: int | None = None,
        lay_out: Callable[..., PackedNetwork] = PackedNetwork,
    ) -> None:
        self.place = find_place(device, precision)
        self.card = card.of(checkpoint.family, checkpoint.sizes)
        self.weights_sha256, self.precision = checkpoint.sha256, precision
        self.threads = threads or usable_cores()
        on_cpu = self.place.device.type == "cpu"
        batches = cpu_batches(self.card.family)
        with torch.inference_mode():
            self._plan = lay_out(
                checkpoint.network(), statistics_tables(card.statistics), self.place, batches
            )
        if not on_cpu:
            batches = gpu_batches(self.place.device, self.card.sizes)
        self._fused = batches.fused
        self._packing = Packing(self.card.family, batches.rows, fixed=on_cpu)
        self._limiting = threading.Lock()
        self._limited = False
        # One thread a slab, however many slabs at once: see `engine.packed_network`.
        workers = self.threads if on_cpu else GPU_SLABS
        self._pool = ThreadPoolExecutor(workers, "encoder", torch.set_num_threads, (1,))

    @classmethod
    def load(
        cls,
        weights: str | Path,
        card: Card,
        precision: str = "fp32",
        device: str = "cpu",
        threads: int | None = None,
    ) -> Encoder:
        """Read a weights file and lay the encoder out for a device.

        Parameters
        ----------
        weights
            Path of a local weights file.
        card, precision, device, threads
            As for the class.

        Raises
        ------
        CheckpointError
            If the file holds no encoder.
        CardError, UnusableDevice
            As for the class.
        """
        return cls(read_checkpoint(weights), card, precision, device, threads)

    @property
    def arithmetic(self) -> str:
        """What computes, such as `AVX512 (AuthenticAMD)`; another may round the last bits."""
        return instructions(self.place.device)

    @property
    def dims(self) -> int:
        """Number of values of an embedding that are stored."""
        return self.card.dims

    def identity(self) -> dict[str, object]:
        """All that decides an embedding's bytes, as JSON takes it."""
        return encoder_identity(self.card, self.weights_sha256, self.precision)

    def embed(
        self,
        stack: Stack,
        at: Origin | None = None,
        values: bool = False,
        dims: int | None = None,
        told: Callable[[int], object] = int,
    ) -> Embedding:
        """Embed every pixel of a block.

        Parameters
        ----------
        stack
            Observations of the block's pixels.
        at
            Where and when the block is; families that draw observations by place need it.
        values
            Whether to return the embeddings before quantization too.
        dims
            Number of leading values to keep, quantized by themselves: one of the card's depths.
            None for all that the card stores.
        told
            Called with the number of tokens of each run of pixels once they are computed.

        Raises
        ------
        FloatingPointError
            If the encoder returned numbers that are no embedding.
        torch.OutOfMemoryError
            If not even one pixel fits into the device's memory.
        CardError
            If the family cannot be embedded so.
        """
        dims = self.card.check_depth(dims)
        keys: list[NDArray[np.uint64] | None] = [None, None]
        if self.card.family in SAMPLING:
            if at is None:
                raise CardError(f"{self.card.name} draws observations by place: say where this is")
            keys = [pixel_keys(at, stack.shape, sensor) for sensor in (2, 1)]
        height, width = stack.shape
        pixels = height * width
        dates = sum(map(len, (stack.doys, stack.sar_ascending_doy, stack.sar_descending_doy)))
        codes = np.zeros((pixels, dims), np.int8)
        scales = np.full(pixels, NOTHING, np.float32)
        floats = np.full((pixels, dims), np.nan, np.float32) if values else None
        tokens = 0
        for run in strips(pixels, dates, self.card.sizes.width):
            both, members = self._observed(stack, run)
            lengths = [self._packing.lengths(seen.counts[members]) for seen in both]
            s2, s1 = (
                self._vectors(plan, seen, members, None if key is None else key[run])
                for plan, seen, key in zip((self._plan.s2, self._plan.s1), both, keys, strict=True)
            )
            for batch, (value, code, scale) in self._fused_batches(s2, s1, dims):
                check_scales(scale)
                where = run.start + members[batch]
                codes[where], scales[where] = code, scale
                if floats is not None:
                    floats[where] = value
            computed = sum(int(each.sum()) for each in lengths)
            told(computed)
            tokens += computed
        return Embedding(
            codes.reshape(height, width, dims),
            scales.reshape(height, width),
            None if floats is None else floats.reshape(height, width, dims),
            tokens,
        )

    def _observed(self, stack: Stack, run: slice) -> tuple[list[Seen], NDArray[np.int64]]:
        """What both sensors saw of a run of pixels, and which of them are to be embedded."""
        both = [seen_by_s2(stack, run), seen_by_s1(stack, run)]
        wanted = both[0].counts > 0
        if self.card.family not in SAMPLING:
            # These know tokens of zeros, for a sensor that saw nothing.
            wanted |= both[1].counts > 0
        return both, np.flatnonzero(wanted)

    def _vectors(
        self,
        plan: SensorPlan,
        seen: Seen,
        members: NDArray[np.int64],
        keys: NDArray[np.uint64] | None,
    ) -> Tensor:
        """One sensor's vectors of some pixels of a run, float32 (members, width)."""
        device = self.place.device
        vectors = torch.empty(len(members), self.card.sizes.width, device=device)

        def run(slab: NDArray[np.int64]) -> None:
            with torch.inference_mode():
                made = self._slab_vectors(plan, seen, members[slab], keys)
                vectors.index_copy_(0, torch.from_numpy(slab).to(device), made)

        for _ in self._pool.map(run, self._packing.slabs(seen.counts[members])):
            pass
        return vectors

    def _slab_vectors(
        self,
        plan: SensorPlan,
        seen: Seen,
        pixels: NDArray[np.int64],
        keys: NDArray[np.uint64] | None,
    ) -> Tensor:
        """Vectors of one slab's pixels; of its halves, where the device has not enough memory."""
        packing = self._packing
        rows = int(packing.lengths(seen.counts[pixels]).sum())
        if rows <= packing.rows or len(pixels) == 1:
            try:
                slab = packing.fill(seen, pixels, keys)
                return plan(slab.to(self.place.device))[: len(pixels)]
            except torch.OutOfMemoryError as error:
                self._ran_out(error, len(pixels))
            with self._limiting:
                rows = max(min(rows // 2, self._packing.rows), LONGEST)
                self._packing = replace(self._packing, rows=rows)
        halves = np.array_split(pixels, 2)
        return torch.cat([self._slab_vectors(plan, seen, half, keys) for half in halves])

    def _ran_out(self, error: torch.OutOfMemoryError, pixels: int) -> None:
        """Make room for the halves of so many pixels, and say so the first time.

        Raises
        ------
        torch.OutOfMemoryError
            If there is one pixel, which has no halves.
        """
        if pixels == 1:
            raise torch.OutOfMemoryError(
                f"not even one pixel fits into the memory of {self.place.device}"
            ) from error
        torch.cuda.empty_cache()
        with self._limiting:
            if not self._limited:
                log.warning("%s is out of memory: batches are halved and go on", self.place.device)
            self._limited = True

    def _fused_batches(
        self, s2: Tensor, s1: Tensor, dims: int
    ) -> Iterator[tuple[slice, tuple[NDArray, NDArray, NDArray]]]:
        """Values, codes and scales of batches of pixels, from their sensors' vectors."""
        size = self._fused
        batches = [slice(at, at + size) for at in range(0, len(s2), size)]

        def run(batch: slice) -> tuple[NDArray, NDArray, NDArray]:
            return self._fuse(s2[batch], s1[batch], dims)

        yield from zip(batches, self._pool.map(run, batches), strict=True)

    def _fuse(self, s2: Tensor, s1: Tensor, dims: int) -> tuple[NDArray, NDArray, NDArray]:
        """Values, codes and scales of some pixels; of their halves, where memory runs out."""
        count = len(s2)
        missing = self._fused - count if self._packing.fixed else 0
        try:
            with torch.inference_mode():
                parts = [F.pad(part, (0, 0, 0, missing)) for part in (s2, s1)]
                values = self._plan.fuse(*parts)[:count, :dims].contiguous()
                codes, scales = quantize_tensor(values)
                return values.cpu().numpy(), codes.cpu().numpy(), scales.cpu().numpy()
        except torch.OutOfMemoryError as error:
            self._ran_out(error, count)
        pairs = zip(s2.tensor_split(2), s1.tensor_split(2), strict=True)
        one, two = (self._fuse(*pair, dims) for pair in pairs)
        whole = [np.concatenate(parts) for parts in zip(one, two, strict=True)]
        return whole[0], whole[1], whole[2]


def encoder_identity(
    card: Card, weights_sha256: str, precision: str, reproducible: bool = False
) -> dict[str, object]:
    """All that decides an embedding's bytes, as JSON takes it.

    Parameters
    ----------
    card
        Card that the weights are used with.
    weights_sha256
        Hexadecimal digest of the weights file.
    precision
        Precision of matrix products: `fp32` or `bf16`.
    reproducible
        Whether the instructions are pinned; see `engine.instructions`.
    """
    identity: dict[str, object] = {
        "card": card.identity(),
        "weights_sha256": weights_sha256,
        "weights_published": weights_sha256 == card.sha256,
        "precision": precision,
    }
    # A mosaic of before has no word of it, and stays what it is.
    return identity | ({"instructions": PINNED_LEVEL} if reproducible else {})
