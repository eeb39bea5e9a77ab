"""Sentinel-1 pixels -> observations: backscatter coding and the mosaic of a pass.

Numbers and rules are those of the public TESSERA preprocessing, which the encoders were trained
on, with its factor 20 on power.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.scenes.asset_numbers import WANTED

CODE_PER_DECIBEL, CODE_SHIFT, CODE_MAX = 200.0, 50.0, 32767.0
"""TESSERA reference: code = (20 log10(power) + 50) * 200, cut off to 0..32767. Code 0, -25 dB of
power and below, reads as no data."""


LEAST_DECIBELS, MOST_DECIBELS = -60.0, -1.0
"""Between these, values are decibels where most are: no power is as negative, and what stands for
no data is more so."""

MOST_POWER = 10.0
"""Backscatter beyond which single mirrors lie, and never half of a landscape."""

ENOUGH = 64
"""Pixels from which on they are those of a landscape."""


class PassRule(StrEnum):
    """Which value a pixel takes where scenes of one pass overlap."""

    FIRST = "first"
    """That of the first scene that has data there."""

    MEAN = "mean"
    """The mean of all scenes that have data there, cut off to an integer."""


def code_backscatter(power: NDArray[Any]) -> NDArray[np.int16]:
    """Code linear backscatter power (gamma nought), computed in float64 and cut off to integers.

    Parameters
    ----------
    power
        Linear power of any shape and floating-point type.

    Returns
    -------
    Codes, int16 of the same shape: 0, no data, wherever the power is not finite and positive.
    """
    power = np.asarray(power, np.float64)
    good = np.isfinite(power) & (power > 0)
    decibels = 20.0 * np.log10(np.where(good, power, 1.0))
    code = np.clip((decibels + CODE_SHIFT) * CODE_PER_DECIBEL, 0.0, CODE_MAX)
    return np.where(good, np.trunc(code), 0.0).astype(np.int16)


def why_no_power(values: NDArray[Any]) -> str:
    """Why values of a raster cannot be linear power, by themselves; empty if they can.

    Parameters
    ----------
    values
        Values of any shape; what is not finite, or 0, is no data.
    """
    known = np.isfinite(values) & (values != 0) & (values > LEAST_DECIBELS)
    count = np.count_nonzero(known)
    if 2 * np.count_nonzero(known & (values < MOST_DECIBELS)) > count:
        return f"its values, about {np.median(values[known]):.3g}, are decibels, {WANTED}"
    if count >= ENOUGH and 2 * np.count_nonzero(known & (values > MOST_POWER)) > count:
        large = f"{np.median(values[known]):.3g}"
        return f"its values, about {large}, are too large for backscatter, {WANTED}"
    return ""


class PassMosaic:
    """Joins coded scenes of one pass, in their order.

    Parameters
    ----------
    shape
        Shape of the layers that are added, all polarisations together.
    rule
        Rule for the value that a pixel takes; 0 is no data.
    """

    def __init__(self, shape: tuple[int, ...], rule: PassRule) -> None:
        self._rule = rule
        self._total = np.zeros(shape, np.int32 if rule == PassRule.MEAN else np.int16)
        self._count = np.zeros(shape, np.int32)

    def add(self, codes: NDArray[np.int16]) -> bool:
        """Add a scene; whether any of its pixels counts."""
        new = codes != 0 if self._rule == PassRule.MEAN else (codes != 0) & (self._count == 0)
        np.add(self._total, codes, out=self._total, where=new)
        self._count += new
        return bool(new.any())

    @property
    def is_full(self) -> bool:
        """Whether no further scene can change a pixel."""
        return self._rule == PassRule.FIRST and bool((self._count > 0).all())

    @property
    def codes(self) -> NDArray[np.int16]:
        """The joined pixels, 0 where no scene has data."""
        return np.asarray(self._total // np.maximum(self._count, 1), np.int16)
