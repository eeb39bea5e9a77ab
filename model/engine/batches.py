"""How much is computed at once: bounds on memory, and sizes that suit a device.

On a CPU the sizes are fixed, because a pixel's bytes depend on them. On a GPU they follow its free
memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tessera_mosaic.model.engine.packing import RECURRENT
from tessera_mosaic.model.sizes import Family, Sizes

CPU_ROWS, CPU_RECURRENT_ROWS = 2048, 4096
"""Tokens of a slab on a CPU. A recurrence has only pixels for rows, and wants more of them."""

CPU_FUSED = 512
"""Pixels whose two sensors are fused at once on a CPU."""

MOST_ROWS, MOST_FUSED = 1 << 20, 1 << 16
"""Tokens of a slab and pixels to fuse on a GPU, however much memory is free."""

GPU_SLABS, GPU_SHARE = 2, 0.4
"""Slabs at once on a GPU, one copied while one is computed, and their share of its free memory."""

STRIP_OBSERVATIONS, STRIP_VALUES = 1 << 22, 1 << 25
"""Observations, valid or not, and vectors' values that are held at once: bounds on memory."""


@dataclass(frozen=True)
class Batches:
    """What is computed at once on a device.

    Parameters
    ----------
    rows
        Number of tokens of a slab, at the most.
    fused
        Number of pixels whose two sensors are fused at once.
    """

    rows: int
    fused: int


def cpu_batches(family: Family) -> Batches:
    """Sizes of a CPU, the same on every machine.

    Parameters
    ----------
    family
        Family of the encoder.
    """
    return Batches(CPU_RECURRENT_ROWS if family in RECURRENT else CPU_ROWS, CPU_FUSED)


def gpu_batches(device: torch.device, sizes: Sizes) -> Batches:
    """Sizes with which all slabs in flight have their share of a GPU's free memory.

    Parameters
    ----------
    device
        A GPU that the encoder's parameters are on already.
    sizes
        Sizes of the encoder.
    """
    free, _ = torch.cuda.mem_get_info(device)
    values = free * GPU_SHARE / GPU_SLABS / 4
    rows = values / (12 * sizes.width + 2 * sizes.feedforward)
    fused = values / (24 * sizes.width + 2 * sizes.representation)
    return Batches(
        int(min(max(rows, CPU_ROWS), MOST_ROWS)), int(min(max(fused, CPU_FUSED), MOST_FUSED))
    )


def strips(pixels: int, dates: int, width: int) -> Iterator[slice]:
    """Runs of a block's pixels, row by row, that are worked on at once.

    Parameters
    ----------
    pixels
        Number of the block's pixels.
    dates
        Number of dates of both sensors together.
    width
        Number of features of a sensor's vector.

    Examples
    --------
    >>> list(strips(pixels=1000, dates=20_000, width=144))
    [slice(0, 512, None), slice(512, 1000, None)]
    """
    limits = STRIP_OBSERVATIONS // max(dates, 1), STRIP_VALUES // width
    strip = max(min(limits), CPU_FUSED)
    for start in range(0, pixels, strip):
        yield slice(start, min(start + strip, pixels))
