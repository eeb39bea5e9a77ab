"""Reference vectors, encoders and stacks that the tests of the encoder share."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.cards import Card, card_named
from tessera_mosaic.model.checkpoints.checkpoint import Checkpoint, random_checkpoint
from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.model.engine.kernels import UnusableDevice
from tessera_mosaic.model.observations import Origin, Stack
from tessera_mosaic.model.sizes import Sizes

PLACE = Origin(zone=31, row=370_912, col=34_952, year=2018)

TOKENS = (
    ("v2_nano", "v2-nano", ""),
    ("v2_qknorm", "v2-nano", ""),
    ("v1_1", "v1.1-mpc", "mpc_"),
    ("v1_1", "v1.1-aws", "aws_"),
    ("v2_teacher", "v2-teacher", ""),
)
"""Checkpoint, card and prefix of the reference's vectors."""


def golden_stack(shared: Path, name: str) -> Stack:
    """One of the reference's inputs: `tile`, `long` or `no_ascending`."""
    return Stack(**np.load(shared / f"golden/encoders/input_{name}.npz"))


def cosines(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Cosine of each pair of vectors."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (a * b).sum(axis=-1) / lengths


def chosen(stack: Stack, pixels: NDArray[np.int64], shape: tuple[int, int]) -> Stack:
    """Some pixels of a stack, in another order and shape."""

    def pick(array: NDArray) -> NDArray:
        if array.ndim == 1:
            return array
        flat = array.reshape(len(array), stack.shape[0] * stack.shape[1], *array.shape[3:])
        return flat[:, pixels].reshape(len(array), *shape, *array.shape[3:])

    return Stack(**{f.name: pick(getattr(stack, f.name)) for f in dataclasses.fields(Stack)})


def without_others(stack: Stack, share: float) -> Stack:
    """Less of the dates on which no pixel of the stack was seen: as many as a share."""
    s2 = (stack.masks != 0).any(axis=(1, 2))
    sides = [(sar != 0).any(axis=(1, 2, 3)) for sar in (stack.sar_ascending, stack.sar_descending)]
    one, two, three = (
        seen | (np.random.default_rng(0).random(len(seen)) >= share) for seen in (s2, *sides)
    )
    return Stack(
        stack.bands[one],
        stack.masks[one],
        stack.doys[one],
        stack.sar_ascending[two],
        stack.sar_ascending_doy[two],
        stack.sar_descending[three],
        stack.sar_descending_doy[three],
    )


def small(card: Card, seed: int = 0) -> Checkpoint:
    """Random parameters of a card's family, of odd and small sizes."""
    sizes = Sizes(latent=11, layers=2, heads=4, feedforward=56, representation=40)
    return random_checkpoint(sizes, seed, card.family)


def untrained(precision: str = "fp32", device: str = "cpu", threads: int | None = None) -> Encoder:
    """An encoder of the sizes of the smallest published student, with random parameters."""
    card = card_named("v2-nano")
    return Encoder(random_checkpoint(card.sizes, 0), card, precision, device, threads)


def bf16_here() -> bool:
    """Whether this machine computes in bf16."""
    try:
        untrained(precision="bf16")
    except UnusableDevice:
        return False
    return True
