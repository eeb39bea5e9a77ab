"""How an encoder is trained, for those who ask for it without training: numbers, no tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Sharding = Literal["ddp", "fsdp"]
"""How processes share a training: each has all parameters, or each has a part of them."""

REDUNDANCY = 5e-3
"""Weight of the off-diagonal terms of the cross-correlation (TESSERA v1, lambda)."""

MIX = 1.0
"""Weight of the mix-based term relative to `REDUNDANCY` (TESSERA v1, mixup lambda)."""


@dataclass(frozen=True)
class Recipe:
    """How to train. Defaults are TESSERA v1's (paper and reference) unless said otherwise.

    Parameters
    ----------
    steps
        Number of steps of the whole training; the papers train for one epoch.
    batch
        Number of pixels of a step, of all processes together.
    seed
        Seed of the initial weights, of the order of pixels and of their views.
    lr
        Base learning rate, which groups of parameters have shares of.
    matrix_share, vector_share
        Share of the rate that parameters of several dimensions have, and those of one.
    weight_decay
        Weight decay of AdamW.
    warmup
        Share of the steps in which the rate rises, after which a cosine takes it to 0.
    clip
        Largest norm of the gradient.
    precision
        Precision of matrix products: `bf16` (AMP), or `fp32`.
    every
        Number of steps between looks at the encoder, each with a checkpoint (ours).

    Examples
    --------
    >>> [round(Recipe(steps=100).rate(step), 3) for step in (0, 9, 55)]
    [0.1, 1.0, 0.5]
    """

    steps: int
    batch: int = 32_768
    seed: int = 0
    lr: float = 2e-3
    matrix_share: float = 0.2
    vector_share: float = 0.0048
    weight_decay: float = 1e-6
    warmup: float = 0.1
    clip: float = 2.0
    precision: Literal["bf16", "fp32"] = "bf16"
    every: int = 600

    def rate(self, step: int) -> float:
        """Share of the base learning rate at a step: linear warm-up, then a cosine to 0."""
        rising = max(round(self.warmup * self.steps), 1)
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(self.steps - rising, 1)))
