"""Families of encoders, and the numbers that give an encoder its shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["v1.0-float", "v1.0", "v1.1", "v2", "v2-teacher"]
"""A line of published encoders that share an architecture and a rule of which observations become
tokens: v1.0 before and after training with simulated quantization, v1.1, the students of v2 and
their teacher."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of an encoder.

    Parameters
    ----------
    latent
        A quarter of the number of features of a token within the transformer.
    layers
        Number of layers of each sensor's transformer.
    heads
        Number of attention heads of a layer.
    feedforward
        Number of features inside a layer's feed-forward block.
    representation
        Number of values of an embedding.
    qk_norm
        Whether a student normalises queries and keys; the teacher always does.

    Examples
    --------
    >>> Sizes(latent=36, layers=2, heads=4, feedforward=384, representation=128).width
    144
    """

    latent: int
    layers: int
    heads: int
    feedforward: int
    representation: int
    qk_norm: bool = False

    @property
    def width(self) -> int:
        """Number of features of a token within the transformer."""
        return 4 * self.latent
