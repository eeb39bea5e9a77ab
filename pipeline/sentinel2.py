"""Sentinel-2 pixels -> observations: what is clear, whose pixel counts, and the offset.

Rules are those of the public TESSERA preprocessing, which the encoders were trained on. Where it
picks at random among the scenes of a day without one clear pixel, the first that has data is
taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNCLEAR_CLASSES = (0, 1, 2, 3, 8, 9)
"""TESSERA reference: scene classes that are no observation: no data, defective, dark, cloud
shadow, cloud of medium and of high probability. Thin cirrus, snow, water and unclassified are."""

OFFSET = 1000
"""ESA, processing baseline 04.00: digital numbers have been raised by this much."""

LAST_DATE_WITHOUT_OFFSET = "2022-01-25"
"""TESSERA reference: acquisitions after this date are taken to have the offset."""

FIRST_BASELINE_WITH_OFFSET = "04.00"

OFFSETS = ("reference", "item", "none")
"""Rules for the offset: TESSERA's own, each scene's own metadata, or leave it in."""


def is_clear(classes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels count as observed, by their scene class."""
    return ~np.isin(classes, UNCLEAR_CLASSES)


def choose_scenes(
    classes: Sequence[NDArray[np.uint8]],
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Whose pixel a day's mosaic takes.

    Parameters
    ----------
    classes
        Scene classes (H, W) of the day's scenes in the order in which they compete.

    Returns
    -------
    int16 (H, W)
        Index of the first scene that is clear there; else of the first that has data; else 0.
    bool (H, W)
        Whether the pixel is clear.
    """
    chosen = np.zeros(classes[0].shape, np.int16)
    rank = np.zeros(classes[0].shape, np.uint8)
    for index, layer in enumerate(classes):
        worth = np.where(is_clear(layer), 2, layer != 0).astype(np.uint8)
        better = worth > rank
        chosen[better] = index
        rank[better] = worth[better]
    return chosen, rank == 2


def remove_offset_by_date(values: NDArray[Any], date: str) -> NDArray[Any]:
    """Take the offset out as the TESSERA reference does: by date, and only from 1000 up.

    Values below 1000 stay as they are, also after that date. The encoders have seen it so.
    """
    if date <= LAST_DATE_WITHOUT_OFFSET:
        return values
    return np.where(values >= OFFSET, values - OFFSET, values).astype(values.dtype)


def remove_offset(values: NDArray[Any]) -> NDArray[Any]:
    """Take the offset out of every pixel that has data; what would fall below 1 becomes 1."""
    lowered = np.where(values > OFFSET, values - OFFSET, 1)
    return np.where(values == 0, 0, lowered).astype(values.dtype)
