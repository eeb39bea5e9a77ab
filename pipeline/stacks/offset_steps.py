"""What is done about the radiometric offset of a scene, as the rules of a mosaic say."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.imagery.kernel_types import OffsetStep
from tessera_mosaic.pipeline.imagery.overview import Overview
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.scenes.scene import CLASSES, Imagery, Scene
from tessera_mosaic.pipeline.stacks import sentinel2
from tessera_mosaic.pipeline.stacks.offset_evidence import LAST_DATE_WITHOUT_OFFSET, find_offset
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule
from tessera_mosaic.pipeline.stacks.unit_parts import BlockYear


def offset_step(
    scene: Scene, years: Iterable[BlockYear], rules: Preprocessing, reader: SceneReader
) -> OffsetStep:
    """What is done about a scene's radiometric offset, as the rules say."""
    from_up = OffsetStep.FROM_OFFSET_UP
    if rules.offset == OffsetRule.EVIDENCE:
        finding = reader.remember(
            ("offset by evidence", scene.asset(CLASSES)),
            lambda: find_offset(scene, rules.imagery, functools.partial(_overview, reader)),
        )
        for year in years:
            year.offsets[scene.id] = finding
        if not finding.takes_out:
            return OffsetStep.KEPT
        # As `offset_evidence.without_offset` tells.
        return from_up if rules.imagery == Imagery.MPC else OffsetStep.REMOVED
    if rules.offset == OffsetRule.ITEM:
        has_offset = reader.remember(
            ("offset", scene.asset(CLASSES)),
            lambda: sentinel2.has_offset(scene, reader.overview),
        )
        return OffsetStep.REMOVED if has_offset else OffsetStep.KEPT
    if rules.offset == OffsetRule.REFERENCE and rules.imagery == Imagery.MPC:
        return OffsetStep.KEPT if scene.date <= LAST_DATE_WITHOUT_OFFSET else from_up
    return OffsetStep.KEPT


def _overview(reader: SceneReader, scene: Scene, band: str, most: int) -> Overview | None:
    """A band at its coarsest resolution; None where that is damaged, as it is not needed."""
    try:
        return reader.overview(scene, band, most)
    except Corrupt:
        return None
