"""Sentinel-2 pixels -> observations: what is clear, whose pixel counts, and the offset.

Rules are those of the public TESSERA preprocessing, which the encoders were trained on. Where it
picks at random among the scenes of a day without one clear pixel, the first that has data is
taken.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import Incomplete
from tessera_mosaic.pipeline.imagery.kernel_types import OffsetStep
from tessera_mosaic.pipeline.scenes.scene import RadiometricOffset, Scene
from tessera_mosaic.pipeline.stacks.offset_evidence import (
    FEWEST_DARK,
    LARGEST_OVERVIEW,
    OFFSET,
    VEGETATION,
    WATER,
    ReadOverview,
    remove_offset,
    remove_offset_from_1000_up,
)

UNCLEAR_CLASSES = (0, 1, 2, 3, 8, 9)
"""TESSERA reference: scene classes that are no observation: no data, defective, dark, cloud
shadow, cloud of medium and of high probability. Thin cirrus, snow, water and unclassified are."""

NO_DATA = 0
"""Scene class of pixels that were not seen."""

FIRST_BASELINE_WITH_OFFSET = "04.00"

_CLEAR = ~np.isin(np.arange(256), UNCLEAR_CLASSES)

_WORTH = np.where(_CLEAR, 2, np.arange(256) != 0).astype(np.uint8)
"""What a pixel of each class is worth to a day: 2 for a clear one, 1 for other data, 0 for none."""


class OffsetRule(StrEnum):
    """How the radiometric offset is taken out of the pixels."""

    EVIDENCE = "evidence"
    """As the reference does, unless a scene's pixels or its item contradict it."""

    REFERENCE = "reference"
    """By the date of the acquisition, as TESSERA's own preprocessing does."""

    ITEM = "item"
    """By the metadata and the dark pixels of each scene."""

    NONE = "none"
    """Not at all: it is left in."""


def is_clear(classes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels count as observed, bool of the shape of their scene classes."""
    return np.asarray(_CLEAR[classes])


class DayMosaic:
    """Whose pixel a day takes: the first scene that is clear there, else the first with data.

    Parameters
    ----------
    shape
        Rows and columns of the block.

    Attributes
    ----------
    chosen : int16 (H, W)
        Index of the scene that each pixel takes, in the order of `add`; 0 where none has data.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.chosen = np.zeros(shape, np.int16)
        self._worth = np.zeros(shape, np.uint8)
        self._count = 0

    def add(self, classes: NDArray[np.uint8]) -> None:
        """Let the next scene compete, by its scene classes (H, W)."""
        worth = _WORTH[classes]
        if self._count == 0:
            self._worth, self._count = worth, 1
            return
        better = worth > self._worth
        self.chosen[better] = self._count
        self._worth[better] = worth[better]
        self._count += 1

    @property
    def clear(self) -> NDArray[np.bool_]:
        """Where the day has a clear pixel."""
        return self._worth == 2

    def wins(self, index: int) -> bool:
        """Whether a scene gives the day any clear pixel."""
        return bool((self.clear & (self.chosen == index)).any())

    @property
    def is_full(self) -> bool:
        """Whether no further scene can win a pixel."""
        return bool((self._worth == 2).all())


class PackedDay:
    """What became of a `DayMosaic`, a bit a pixel and scene: a year of tiles is held at once.

    Parameters
    ----------
    mosaic
        To which all scenes of the day were added.
    scenes
        Number of these.
    """

    def __init__(self, mosaic: DayMosaic, scenes: int) -> None:
        clear = mosaic.clear
        self._shape = clear.shape
        self._clear = np.packbits(clear)
        self._mine = [np.packbits(mosaic.chosen == n) for n in range(scenes)] if scenes > 1 else []
        self.is_clear = bool(clear.any())
        """Whether any pixel was seen clear."""
        self.winners = tuple(n for n in range(scenes) if mosaic.wins(n))
        """Indices of the scenes that give the day a clear pixel."""

    @property
    def clear(self) -> NDArray[np.bool_]:
        """Where the day has a clear pixel, bool (H, W)."""
        return self._unpacked(self._clear)

    def mine(self, index: int) -> NDArray[np.bool_]:
        """Where the day takes the pixels of a scene, bool (H, W)."""
        return self._unpacked(self._mine[index]) if self._mine else np.ones(self._shape, bool)

    def _unpacked(self, bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
        height, width = self._shape
        flat = np.unpackbits(bits, count=height * width)
        return flat.view(bool).reshape(height, width)


def after_step(values: NDArray[np.uint16], step: OffsetStep) -> NDArray[np.uint16]:
    """Digital numbers after something was done about their offset."""
    if step == OffsetStep.FROM_OFFSET_UP:
        return remove_offset_from_1000_up(values)
    return remove_offset(values) if step == OffsetStep.REMOVED else values


def has_offset(scene: Scene, overview: ReadOverview) -> bool:
    """Whether a scene's pixels have the offset, by the rule `item`.

    Catalogues are known to be wrong about it both ways. Red over vegetation and short-wave
    infrared over water are darker than `OFFSET` unless it is in the pixels, so where the scene's
    coarsest overview shows enough of them their median decides. It is the whole scene's, so the
    answer is the same for each of its pixels.

    Parameters
    ----------
    scene
        Scene of Sentinel-2.
    overview
        Reads a band of the scene at its coarsest resolution.

    Raises
    ------
    Incomplete
        If neither the item nor the pixels tell.
    """
    if scene.baseline and scene.baseline < FIRST_BASELINE_WITH_OFFSET:
        return False
    classes, red, infrared = (overview(scene, b, LARGEST_OVERVIEW) for b in ("SCL", "B04", "B12"))
    if classes is not None and red is not None and infrared is not None:
        reds, infrareds = red.onto(classes), infrared.onto(classes)
        vegetation = reds[(classes.pixels == VEGETATION) & (reds > 0)]
        water = infrareds[(classes.pixels == WATER) & (infrareds > 0)]
        dark = np.concatenate([vegetation, water])
        if dark.size >= FEWEST_DARK:
            return bool(np.median(dark) >= OFFSET)
    if not scene.baseline:
        raise Incomplete("neither item nor pixels tell whether the offset is in them", scene.id)
    return scene.offset != RadiometricOffset.APPLIED
