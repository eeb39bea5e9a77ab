"""The annual stack of a block: every observation of every pixel in one year."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.scenes.scene import RadiometricOffset, Scene, Sensor
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.stacks.block_reader import BlockReader
from tessera_mosaic.pipeline.stacks.dpixel_files import cut_stack
from tessera_mosaic.pipeline.stacks.losses import Losses
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import Window


def read_stack(
    window: Window,
    scenes: Sequence[Scene],
    rules: Preprocessing,
    reader: SceneReader,
    losses: Losses | None = None,
) -> AnnualStack:
    """Read the annual stack of a block.

    Days and passes without one observation in the block are left out: what is masked never
    becomes a token.

    Parameters
    ----------
    window
        The block.
    scenes
        Of one year, in any order.
    rules
        How pixels become observations.
    reader
        Of the catalogue that the scenes are from.
    losses
        Takes the scenes that cannot be read; by default none may be lost.

    Raises
    ------
    SceneError
        If a scene that touches the block cannot be read and may not be lost.
    """
    if any(scene.sensor == Sensor.DPIXELS for scene in scenes):
        return _read_dpixels(window, scenes)
    kept = next((scene.id for scene in scenes if scene.offset == RadiometricOffset.KEPT), None)
    if kept:
        rules.check_kept(f"scenes such as {kept}")
    return BlockReader(window, rules, reader, Losses() if losses is None else losses).read(scenes)


def _read_dpixels(window: Window, scenes: Sequence[Scene]) -> AnnualStack:
    """Read a block from d-pixel directories, which stand in for scenes."""
    stack = cut_stack(window, [scene.asset("stack") for scene in scenes])
    first_day = dt.date(int(scenes[0].datetime[:4]), 1, 1)

    def dates(doys: NDArray[Any]) -> tuple[str, ...]:
        return tuple(str(first_day + dt.timedelta(int(doy) - 1)) for doy in doys)

    return AnnualStack(
        stack,
        dates(stack.doys),
        dates(stack.sar_ascending_doy),
        dates(stack.sar_descending_doy),
        tuple(sorted(scene.id for scene in scenes)),
        (),
    )
