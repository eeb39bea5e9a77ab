"""Tokens in the order in which a network computes them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Group:
    """Pixels of equal sequence length, one after another in a slab.

    Parameters
    ----------
    start
        Row of the first token.
    pixels, length
        How many pixels, and tokens of each.
    log_weights : float32 (length,)
        Logarithm of how often each token counts; None where all count once.
    """

    start: int
    pixels: int
    length: int
    log_weights: Tensor | None = None

    @property
    def rows(self) -> slice:
        """Of the slab."""
        return slice(self.start, self.start + self.pixels * self.length)


@dataclass(frozen=True)
class Slab:
    """Packed tokens of one sensor.

    Parameters
    ----------
    values : uint16 or int16 (rows, channels)
        Bands as they are stored; rows after the last group are padding.
    kinds : int64 (rows,)
        Which statistics standardise a row; the last leave its zeros alone.
    days : int64 (rows,)
        Days of the year.
    groups
        What the rows are.
    """

    values: Tensor
    kinds: Tensor
    days: Tensor
    groups: Sequence[Group]

    def to(self, device: torch.device) -> Slab:
        """Copy to a device, without waiting for the copy."""
        if device.type == "cpu":
            return self
        values, kinds, days = (
            part.pin_memory().to(device, non_blocking=True)
            for part in (self.values, self.kinds, self.days)
        )
        groups = [
            group
            if group.log_weights is None
            else replace(group, log_weights=group.log_weights.to(device))
            for group in self.groups
        ]
        return Slab(values, kinds, days, groups)
