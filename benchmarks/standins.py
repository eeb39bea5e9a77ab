"""Stand-ins for what a benchmark leaves out: scenes, reading and encoding that cost nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.model.encoder import Embedding, encoder_identity
from tessera_mosaic.model.observations import S1_BANDS, S2_BANDS, Origin, Stack
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.mosaic.identity import Identity, run_identity
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.tiling.boxes import Box
from tessera_mosaic.pipeline.tiling.lattice import Window

SCENE = Scene("stand-in", "s2", "2024-06-01T10:30:31.024000Z", (-180.0, -90.0, 180.0, 90.0))


def standin_identity(margin: int) -> Identity:
    """Identity of a mosaic whose embeddings nobody made."""
    return run_identity(
        encoder_identity(card_named("v2-nano"), "0" * 64, "fp32"), "mpc", {}, margin
    )


class ConstantSource:
    """A catalogue with one scene, everywhere and every year."""

    name = "stand-in"
    imagery = "mpc"
    keeps_offset = False

    def __init__(self) -> None:
        self.remote = Remote()

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """The one scene."""
        return [SCENE]


@dataclass(frozen=True)
class ConstantCatalog:
    """Names the catalogue with one scene."""

    def open(self) -> ConstantSource:
        """The catalogue."""
        return ConstantSource()


@dataclass(frozen=True)
class ConstantEncoderName:
    """Names the encoder that gives every pixel the same embedding."""

    def load(self, threads: int) -> ConstantEncoder:
        """The encoder."""
        return ConstantEncoder()


class ConstantEncoder:
    """Gives every pixel the same embedding."""

    arithmetic = "none"

    def __init__(self) -> None:
        self.card = card_named("v2-nano")

    def embed(self, stack: Stack, at: Origin | None = None, **_: object) -> Embedding:
        """Ones, at a scale of a half."""
        return constant_embedding(stack.shape, self.card.dims, 0.5)


def constant_embedding(shape: tuple[int, int], dims: int, scale: float) -> Embedding:
    """Codes of one at one scale, of one token a pixel; at +inf they stand for nothing."""
    codes = np.ones((*shape, dims), np.int8)
    return Embedding(codes, np.full(shape, scale, np.float32), None, shape[0] * shape[1])


def constant_stack(window: Window, *_: object) -> AnnualStack:
    """One clear day of Sentinel-2, and none of Sentinel-1."""
    none = np.zeros((0, *window.shape, len(S1_BANDS)), np.int16), np.zeros(0, np.int16)
    stack = Stack(
        np.ones((1, *window.shape, len(S2_BANDS)), np.uint16),
        np.ones((1, *window.shape), np.uint8),
        np.full(1, 153, np.uint16),
        *none,
        *none,
    )
    return AnnualStack(stack, (SCENE.date,), (), (), (SCENE.id,), ())
