"""Families of encoders and the numbers that give one its shape."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

log = logging.getLogger(__name__)


Family = Literal["v1.0-float", "v1.0", "v1.1", "v2", "v2-teacher"]


@dataclass(frozen=True)
class Sizes:
    """Sizes of an encoder.

    Parameters
    ----------
    latent
        A quarter of the transformer's width.
    layers, heads, feedforward
        Of each sensor's transformer.
    representation
        Values of an embedding.
    qk_norm
        Whether a student normalises queries and keys; the teacher always does.
    """

    latent: int
    layers: int
    heads: int
    feedforward: int
    representation: int
    qk_norm: bool = False

    @property
    def width(self) -> int:
        """Of the transformer."""
        return 4 * self.latent
