"""Sentinel-1 pixels -> observations: backscatter coding and the mosaic of a pass.

Numbers and rules are those of the public TESSERA preprocessing, which the encoders were trained
on, with its factor 20 on power.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.imagery.gathered import Gathered
from tessera_mosaic.pipeline.imagery.kernel_types import CodeTable, Kernels
from tessera_mosaic.pipeline.scenes.asset_numbers import WANTED

TABLE_SHIFT = 12
"""Bits of a power that the first step of its coding leaves out: some two codes are then left."""

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


@functools.cache
def code_table() -> CodeTable:
    """The codes of `code_backscatter` by the bits of a float of 32 bits.

    A code grows with the power, so each begins at a least power, which is found by halving. Their
    logarithms lie further apart than any error of a logarithm in float64.
    """
    codes = np.arange(1, int(CODE_MAX) + 1)
    low = np.zeros(len(codes), np.uint32)
    high = np.full(len(codes), np.float32(np.inf).view(np.uint32) - 1, np.uint32)
    while (low + 1 < high).any():
        middle = low + (high - low) // 2
        reached = code_backscatter(middle.view(np.float32)) >= codes
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    begins = np.arange(2**31 >> TABLE_SHIFT, dtype=np.uint32) << np.uint32(TABLE_SHIFT)
    first = np.searchsorted(high, begins, side="right").astype(np.int16)
    return CodeTable(high, first, TABLE_SHIFT)


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


class PassJoin:
    """Joins the scenes of one pass in their place, in their order.

    Parameters
    ----------
    out
        Codes of the pass, int16 (H, W, 2), all 0 yet.
    rule
        Rule for the value that a pixel takes.
    """

    def __init__(self, out: NDArray[np.int16], rule: PassRule) -> None:
        self._out, self._seen = out, False
        self._mosaic = PassMosaic(out.shape, rule) if rule == PassRule.MEAN else None

    @property
    def is_full(self) -> bool:
        """Whether no further scene can change a pixel."""
        return self._seen and self._mosaic is None and bool(self._out.all())

    def add(
        self,
        layers: Sequence[Gathered],
        index: int,
        kernels: Kernels,
        beyond: NDArray[np.bool_] | None = None,
    ) -> tuple[bool, bool]:
        """Add a scene.

        Parameters
        ----------
        layers
            Linear power of both polarisations.
        index
            Which part of what was gathered lies here.
        kernels
            What codes it.
        beyond
            Pixels that some polarisation does not reach, bool (H, W); None for none.

        Returns
        -------
        Whether any of its pixels has a code, and whether any of them counts.
        """
        own = [layer.own_pixels(index) for layer in layers]
        plain = beyond is None and self._mosaic is None
        if plain and all(p is not None and p.dtype == np.float32 for p in own):
            found = [
                kernels.join_codes(power, code_table(), self._out[..., channel])
                for channel, power in enumerate(own)
                if power is not None
            ]
            coded, put = (any(counts) for counts in zip(*found, strict=True))
        else:
            power = [layer.resampled(index) for layer in layers]
            codes = np.stack([code_backscatter(p) for p in power if p is not None], axis=-1)
            if beyond is not None:
                codes[beyond] = 0
            coded = bool(codes.any())
            if self._mosaic is None:
                new = (codes != 0) & (self._out == 0)
                np.copyto(self._out, codes, where=new)
                put = bool(new.any())
            else:
                put = self._mosaic.add(codes)
        self._seen |= put
        return coded, put

    def finish(self) -> bool:
        """Put what is known when all scenes have come; whether the pass has any data."""
        if self._mosaic is not None:
            self._out[...] = self._mosaic.codes
        return self._seen
