"""The annual stacks of blocks, read in units that are as large as there is room for.

What a block needs of a raster overlaps with what its neighbours need, for rasters come in blocks of
their own. So the scenes of many blocks are read together, into stacks that wait in memory or on a
disk until they are encoded.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tessera_mosaic.pipeline.imagery.read_budget import Room
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.scenes.scene import RadiometricOffset, Scene, Sensor
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.stacks.dpixel_files import read_dpixels
from tessera_mosaic.pipeline.stacks.losses import Losses
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.stacks.unit_parts import BlockYear
from tessera_mosaic.pipeline.stacks.unit_reader import UnitReader
from tessera_mosaic.pipeline.tiling.lattice import Window


def read_block(
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
        Scenes of one year, in any order.
    rules
        Rules by which pixels become observations.
    reader
        Reader of the catalogue that the scenes are from.
    losses
        Takes the scenes that cannot be read; by default none may be lost.

    Raises
    ------
    SceneError
        If a scene that touches the block cannot be read and may not be lost.
    """
    [(_, annual)] = read_blocks([window], scenes, rules, reader, losses)
    return annual


def read_blocks(
    blocks: Sequence[Window],
    scenes: Sequence[Scene],
    rules: Preprocessing,
    reader: SceneReader,
    losses: Losses | None = None,
) -> Generator[tuple[Window, AnnualStack]]:
    """Read the annual stacks of some blocks, as many at once as there is room for.

    A stack is the same in whatever company its block is read. What one takes is free again when the
    next one is asked for, so nothing of it may be held then.

    Parameters
    ----------
    blocks
        Blocks of one zone that lie side by side; they come in another order where there is not room
        for all at once.
    scenes, rules, reader, losses
        As for `read_block`.

    Yields
    ------
    Each block with its stack.

    Raises
    ------
    SceneError
        As `read_block`.
    """
    if any(scene.sensor == Sensor.DPIXELS for scene in scenes):
        for block in blocks:
            yield block, read_dpixels(block, scenes)
        return
    kept = next((scene.id for scene in scenes if scene.offset == RadiometricOffset.KEPT), None)
    if kept:
        rules.check_kept(f"scenes such as {kept}")
    ordered = sorted(scenes, key=lambda scene: scene.order)
    years = [BlockYear(block, ordered) for block in blocks]
    units = units_of(years, reader.budget.largest)
    reading = _Reading(
        rules,
        reader,
        Losses() if losses is None else losses,
        keep=len(units) > 1 or len(blocks) == 1,
    )
    if len(units) == 1:
        yield from reading.read(units[0]).hand_out()
    else:
        yield from _one_ahead(units, reading)


def units_of(years: Sequence[BlockYear], most: int) -> list[list[BlockYear]]:
    """Group blocks into units that take at most so many bytes each, or are one block.

    Halves lie side by side, cut where the blocks reach furthest.
    """
    if not years:
        return []
    if len(years) == 1 or sum(year.most_bytes for year in years) <= most:
        return [list(years)]
    rows = sorted({year.window.row for year in years})
    cols = sorted({year.window.col for year in years})
    by_rows = len(rows) >= len(cols)
    corners = rows if by_rows else cols
    cut = corners[len(corners) // 2]
    places = [year.window.row if by_rows else year.window.col for year in years]
    halves = (
        [year for year, at in zip(years, places, strict=True) if (at < cut) == before]
        for before in (True, False)
    )
    return [unit for half in halves for unit in units_of(half, most)]


@dataclass(frozen=True)
class _Unit:
    """The stacks of a unit, and the room that they take."""

    years: Sequence[BlockYear]
    annual: list[AnnualStack]
    room: Room

    def hand_out(self) -> Iterator[tuple[Window, AnnualStack]]:
        """Each block with its stack, whose room is given back when the next one is asked for."""
        try:
            for year in self.years:
                stack = self.annual.pop(0)
                year.forget()
                yield year.window, stack
                del stack
                self.room.give_back(year.most_bytes)
        finally:
            self.room.give_back()


@dataclass(frozen=True)
class _Reading:
    """How units are read."""

    rules: Preprocessing
    reader: SceneReader
    losses: Losses
    keep: bool

    def read(self, years: Sequence[BlockYear]) -> _Unit:
        """Read a unit as soon as there is room for it."""
        room = self.reader.budget.take(sum(year.most_bytes for year in years))
        began = time.monotonic()
        try:
            unit = UnitReader(years, self.rules, self.reader, self.losses, room, self.keep)
            annual = unit.read()
        except BaseException:
            room.give_back()
            raise
        finally:
            self.reader.add(seconds_read=time.monotonic() - began)
        return _Unit(years, annual, room)


def _one_ahead(
    units: Sequence[Sequence[BlockYear]], reading: _Reading
) -> Iterator[tuple[Window, AnnualStack]]:
    """Read the units in order, one ahead of the one that is handed out."""
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        following = pool.submit(reading.read, units[0])
        try:
            for after in (*units[1:], None):
                unit = following.result()
                if after is not None:
                    following = pool.submit(reading.read, after)
                yield from unit.hand_out()
        finally:
            # Whoever stops early leaves one that is being read.
            if not following.cancel() and following.exception() is None:
                following.result().room.give_back()
