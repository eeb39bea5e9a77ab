"""Whether a scene's pixels have ESA's radiometric offset, by evidence, and what follows.

Catalogues are known to be wrong about it both ways, so the pixels are asked before the item is.
All evidence is of a scene as a whole: the answer is the same for each of its pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.imagery.overview import Overview
from tessera_mosaic.pipeline.scenes.offset_claim import LAST_DATE_WITHOUT_OFFSET
from tessera_mosaic.pipeline.scenes.scene import CLASSES, Imagery, Scene

OFFSET = 1000
"""ESA, processing baseline 04.00: digital numbers have been raised by this much."""

VEGETATION, WATER = 4, 6
"""Scene classes of which the darkness of a band is known."""

LARGEST_OVERVIEW = 1024
"""Side in pixels up to which a scene's coarsest overview is read to check its offset."""

FEWEST_DARK = 50
"""Pixels of vegetation or water that a scene's overview needs to tell about the offset."""

NEARLY = 800
"""Digital number that nine in ten dark pixels with the offset exceed, noise included: below the
offset they are only where reflectance comes out negative."""

ReadOverview = Callable[[Scene, str, int], Overview | None]
"""Reads a band of a scene at its coarsest resolution; None where that has a side of more than the
given number of pixels, or cannot be used."""


@dataclass(frozen=True)
class Evidence:
    """What shows whether the offset is in a scene's pixels.

    Parameters
    ----------
    kept
        Whether it is.
    by
        What shows it, in words.
    """

    kept: bool
    by: str


@dataclass(frozen=True)
class OffsetFinding:
    """What is done about a scene's offset.

    Parameters
    ----------
    takes_out
        Whether the offset is taken out of the pixels.
    evidence
        What shows that it is there or not; None for nothing.
    expected
        What the reference does without evidence.
    """

    takes_out: bool
    evidence: Evidence | None
    expected: bool

    @property
    def is_against_reference(self) -> bool:
        """Whether evidence has changed what is done."""
        return self.takes_out != self.expected


def find_offset(scene: Scene, imagery: Imagery, overview: ReadOverview) -> OffsetFinding:
    """Decide about a scene's offset: as the reference does, unless evidence contradicts it.

    Parameters
    ----------
    scene
        Scene of Sentinel-2.
    imagery
        Whose products its catalogue lists.
    overview
        Reads a band of the scene at its coarsest resolution.
    """
    expected = imagery == Imagery.MPC and scene.date > LAST_DATE_WITHOUT_OFFSET
    evidence = offset_evidence(scene, overview)
    return OffsetFinding(expected if evidence is None else evidence.kept, evidence, expected)


def offset_evidence(scene: Scene, overview: ReadOverview) -> Evidence | None:
    """What shows whether a scene's pixels have the offset; None for nothing.

    A processing baseline below 04.00 is beyond doubt. Then the scene's own dark pixels count, where
    its overview shows enough of them, and then what its item says.
    """
    claim = scene.claim
    if claim is not None and claim.certain:
        return Evidence(claim.kept, claim.by)
    seen = _seen_in_dark_pixels(scene, overview)
    if seen is not None:
        return Evidence(seen, "its dark pixels")
    return None if claim is None else Evidence(claim.kept, claim.by)


def _seen_in_dark_pixels(scene: Scene, overview: ReadOverview) -> bool | None:
    """Whether dark pixels have the offset; None where they do not tell.

    Red over vegetation is darker than the offset unless it has it. So is short-wave infrared over
    water, where what has the offset may also be a little less, as the reflectance is next to none.
    """
    classes = overview(scene, CLASSES, LARGEST_OVERVIEW)
    if classes is None:
        return None
    for band, kind, least in (("B04", VEGETATION, OFFSET), ("B12", WATER, NEARLY)):
        if np.count_nonzero(classes.pixels == kind) < FEWEST_DARK:
            continue
        layer = overview(scene, band, LARGEST_OVERVIEW)
        if layer is None:
            continue
        values = layer.onto(classes)[classes.pixels == kind]
        dark = values[values > 0]
        if dark.size < FEWEST_DARK:
            continue
        middle, low = np.percentile(dark, (50, 10))
        if middle < least:
            return False
        if middle >= OFFSET and low >= NEARLY:
            return True
    return None


def remove_offset_by_date(values: NDArray[np.uint16], date: str) -> NDArray[np.uint16]:
    """Take the offset out as the TESSERA reference does: by date, and only from 1000 up."""
    return values if date <= LAST_DATE_WITHOUT_OFFSET else remove_offset_from_1000_up(values)


def remove_offset_from_1000_up(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Take the offset out of values from 1000 up, as the TESSERA reference does.

    Values below 1000 stay as they are. The encoders have seen it so.
    """
    return values - np.uint16(OFFSET) * (values >= OFFSET)


def remove_offset(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Take the offset out of every pixel that has data; what would fall below 1 becomes 1."""
    lowered = np.where(values > OFFSET, values - np.uint16(OFFSET), np.uint16(1))
    return np.where(values == 0, np.uint16(0), lowered)


def without_offset(
    values: NDArray[Any], finding: OffsetFinding, imagery: Imagery
) -> NDArray[np.uint16]:
    """Digital numbers without the offset, as was found.

    ESA's own products are treated alike all over a mosaic, as the reference treats them. In those
    of Element 84 the reference has nothing to take out, and what is taken out by evidence leaves
    no pixel that is brighter than it was.
    """
    if not finding.takes_out:
        return values
    return (remove_offset_from_1000_up if imagery == Imagery.MPC else remove_offset)(values)
