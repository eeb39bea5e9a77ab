"""Tokens in the order in which a network computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """Pixels of equal sequence length, one after another in a slab.

    Parameters
    ----------
    start
        Row of the slab where the first pixel's first token lies.
    pixels
        Number of pixels.
    length
        Number of tokens of each pixel.
    log_weights : float32 (length,) or None
        Natural logarithm of how often each token counts; None where all count once.
    """

    start: int
    pixels: int
    length: int
    log_weights: Tensor | None = None

    @property
    def rows(self) -> slice:
        """Rows of the slab that the pixels' tokens fill."""
        return slice(self.start, self.start + self.pixels * self.length)


@dataclass(frozen=True)
class Slab:
    """Packed tokens of one sensor.

    Parameters
    ----------
    values : uint16 or int16 (rows, channels)
        Channels of each token in stored units; rows after the last group are padding.
    kinds : int64 (rows,)
        Row of the tables of statistics that standardises a token; `packing.VOID` leaves its zeros
        alone.
    days : int64 (rows,)
        Ordinal day of the year of each token, 1 to 366; 0 for a sensor that saw nothing.
    groups
        Pixels whose tokens the rows are, in order.
    """

    values: Tensor
    kinds: Tensor
    days: Tensor
    groups: Sequence[Group]

    def to(self, device: torch.device) -> Slab:
        """This slab on a device, without waiting for the copy."""
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
