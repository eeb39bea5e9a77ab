"""Sentinel-1 pixels -> observations: backscatter coding and the mosaic of a pass.

Numbers and rules are those of the public TESSERA preprocessing, which the encoders were trained
on, with its factor 20 on power.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOSAICS = ("first", "mean")
"""Which value a pixel takes where scenes of one pass overlap."""

CODE_PER_DECIBEL, CODE_SHIFT, CODE_MAX = 200.0, 50.0, 32767.0
"""TESSERA reference: code = (20 log10(power) + 50) * 200, cut off to 0..32767. Code 0, -25 dB of
power and below, reads as no data."""


def code_backscatter(power: NDArray[Any]) -> NDArray[np.int16]:
    """Code linear backscatter power (gamma nought), computed in float64 and cut off to integers.

    Whatever is not finite and positive is 0, no data.
    """
    power = np.asarray(power, np.float64)
    good = np.isfinite(power) & (power > 0)
    decibels = 20.0 * np.log10(np.where(good, power, 1.0))
    code = np.clip((decibels + CODE_SHIFT) * CODE_PER_DECIBEL, 0.0, CODE_MAX)
    return np.where(good, np.trunc(code), 0.0).astype(np.int16)


def mosaic_pass(codes: list[NDArray[np.int16]], mosaic: str) -> NDArray[np.int16]:
    """Join coded scenes of one pass, in their order.

    Parameters
    ----------
    codes
        int16 (H, W) each, of one polarisation.
    mosaic
        `first`: the first that is not 0. `mean`: the mean of those that are not 0, cut off.
    """
    if mosaic == "mean":
        total = np.zeros(codes[0].shape, np.int64)
        count = np.zeros(codes[0].shape, np.int64)
        for code in codes:
            total += code
            count += code != 0
        return (total // np.maximum(count, 1)).astype(np.int16)
    joined = codes[0].copy()
    for code in codes[1:]:
        np.copyto(joined, code, where=joined == 0)
    return joined
