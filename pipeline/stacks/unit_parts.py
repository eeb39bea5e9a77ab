"""What becomes of the blocks of a unit: their years, and their shares of days and of passes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.observations import S1_BANDS, S2_BANDS
from tessera_mosaic.pipeline.imagery.read_budget import Room
from tessera_mosaic.pipeline.scenes.scene import OrbitState, Scene, Sensor
from tessera_mosaic.pipeline.stacks import sentinel2
from tessera_mosaic.pipeline.stacks.offset_evidence import OffsetFinding
from tessera_mosaic.pipeline.stacks.series import by_date
from tessera_mosaic.pipeline.tiling.boxes import padded, touches
from tessera_mosaic.pipeline.tiling.lattice import Window, lonlat_bounds

BESIDE = "does not reach the block"
"""Why a scene beside the block is not used."""

SUPERSEDED = "superseded by {}"
"""Why a version of an acquisition is not used of which there is a newer one."""

DAY_BYTES, PASS_BYTES = 2 * len(S2_BANDS) + 1, 2 * len(S1_BANDS)
"""Bytes of a pixel of a stack: of a day of Sentinel-2, and of a pass of Sentinel-1."""


ENOUGH_PIXELS = 512
"""Pixels along the shorter side of a raster by which all of it is judged."""


class BlockYear:
    """What becomes of a block: its scenes, why some are not used, and its arrays.

    Parameters
    ----------
    window
        The block.
    scenes
        All scenes, in their order.
    """

    def __init__(self, window: Window, scenes: Sequence[Scene]) -> None:
        self.window = window
        self.used: set[str] = set()
        self.why: dict[str, str] = {}
        self.offsets: dict[str, OffsetFinding] = {}
        self.near: list[Scene] = []
        bounds = padded(lonlat_bounds(window))
        for scene in scenes:
            if scene.unusable:
                self.why[scene.id] = scene.unusable
            elif not touches(scene.bbox, bounds):
                self.why[scene.id] = BESIDE
            else:
                self.near.append(scene)
        self.days: list[DayShare] = []
        self.passes: dict[OrbitState, list[PassShare]] = {state: [] for state in OrbitState}
        self.bands: NDArray[np.uint16] = np.zeros(0, np.uint16)
        self.codes: dict[OrbitState, NDArray[np.int16]] = {}

    def forget(self) -> None:
        """Hold its arrays no longer."""
        self.days, self.passes, self.codes = [], {}, {}
        self.bands = np.zeros(0, np.uint16)

    @functools.cached_property
    def most_bytes(self) -> int:
        """Bytes that the block's stack takes if every day has a clear pixel."""
        s2 = {scene.date for scene in self.near if scene.sensor == Sensor.S2}
        s1 = {(s.date, s.orbit_state) for s in self.near if s.sensor == Sensor.S1}
        height, width = self.window.shape
        return height * width * (len(s2) * DAY_BYTES + len(s1) * PASS_BYTES)


@dataclass(eq=False)
class DayShare:
    """A block's share of a day of Sentinel-2.

    Parameters
    ----------
    year
        The block.
    date
        UTC date of the day.
    near
        Ids of the day's scenes that may reach the block.
    competing
        Scenes that have been compared, in their order.
    choice
        Whose pixels the day takes there; None before that is settled.
    out
        Where the day's bands go, (H, W, 10).
    """

    year: BlockYear
    date: str
    near: frozenset[str]
    competing: list[Scene] = field(default_factory=list)
    choice: sentinel2.PackedDay | None = None
    out: NDArray[np.uint16] | None = None

    @property
    def is_clear(self) -> bool:
        """Whether any pixel of the block was seen clear."""
        return self.choice is not None and self.choice.is_clear


class Competition:
    """The scenes of a day that compete for the pixels of a block.

    Parameters
    ----------
    share
        The block's share of the day, which is settled at the end.
    """

    def __init__(self, share: DayShare) -> None:
        self.share = share
        self.beyond: dict[str, NDArray[np.bool_] | None] = {}
        self.restart()

    def restart(self) -> None:
        """Let the scenes compete anew."""
        self.mosaic = sentinel2.DayMosaic(self.share.year.window.shape)
        self.share.competing = []
        self._any_clear: list[bool] = []

    def add(
        self,
        scene: Scene,
        classes: NDArray[np.uint8] | None,
        seen: NDArray[np.bool_] | None,
    ) -> NDArray[np.bool_] | None:
        """Let the next scene compete.

        Parameters
        ----------
        scene
            The scene.
        classes
            Its classes; None if it does not reach the block.
        seen
            Pixels that better versions of its acquisition have; None for none.

        Returns
        -------
        Pixels that these and the scene have.
        """
        if classes is None:
            self.share.year.why[scene.id] = BESIDE
            return seen
        for without in (self.beyond.get(scene.id), seen):
            if without is not None:
                classes = np.where(without, np.uint8(sentinel2.NO_DATA), classes)
        data = classes != sentinel2.NO_DATA
        self.mosaic.add(classes)
        self.share.competing.append(scene)
        self._any_clear.append(bool(sentinel2.is_clear(classes).any()))
        return data if seen is None else seen | data

    @property
    def winners(self) -> list[Scene]:
        """The scenes that give the day a clear pixel."""
        return [s for n, s in enumerate(self.share.competing) if self.mosaic.wins(n)]

    def settle(self) -> None:
        """Say whose pixels the day takes."""
        share = self.share
        share.choice = sentinel2.PackedDay(self.mosaic, len(share.competing))
        for index, scene in enumerate(share.competing):
            if not self._any_clear[index]:
                share.year.why[scene.id] = "no clear pixel in the block"
            elif index not in share.choice.winners:
                share.year.why[scene.id] = "earlier scenes of the day have all its clear pixels"


@dataclass(eq=False)
class Day:
    """A day of Sentinel-2: the scenes that may still be read, and the blocks' shares of it."""

    scenes: list[Scene]
    shares: list[DayShare]

    @property
    def is_clear(self) -> bool:
        """Whether any pixel of any block was seen clear."""
        return any(share.is_clear for share in self.shares)


@dataclass(eq=False)
class PassShare:
    """A block's share of a pass of Sentinel-1.

    Parameters
    ----------
    year, date, near
        As of a `DayShare`.
    out
        Where its codes go, (H, W, 2).
    seen
        Whether it has any data.
    """

    year: BlockYear
    date: str
    near: frozenset[str]
    out: NDArray[np.int16]
    seen: bool = False


def scenes_by_date(
    years: Sequence[BlockYear], sensor: Sensor, state: OrbitState | None = None
) -> list[tuple[str, list[Scene], list[tuple[BlockYear, frozenset[str]]]]]:
    """Scenes by UTC date, and the blocks near any of them with the ids of those."""
    near = {id(year): {scene.id for scene in year.near} for year in years}
    every = {scene.id: scene for year in years for scene in year.near}
    mine = sorted(every.values(), key=lambda scene: scene.order)
    found = []
    for date, scenes in by_date(mine, sensor, state):
        ids = {scene.id for scene in scenes}
        shares = [(year, frozenset(ids & near[id(year)])) for year in years]
        found.append((date, scenes, [(year, some) for year, some in shares if some]))
    return found


def passes_of(years: Sequence[BlockYear], room: Room) -> list[tuple[list[Scene], list[PassShare]]]:
    """The passes of Sentinel-1, with room for their codes in every block."""
    found = []
    for state in OrbitState:
        passes = scenes_by_date(years, Sensor.S1, state)
        for year in years:
            mine = [
                (date, near)
                for date, _, shares in passes
                for other, near in shares
                if other is year
            ]
            shape = (len(mine), *year.window.shape, len(S1_BANDS))
            codes = year.codes[state] = room.array(shape, np.int16)
            year.passes[state] = [
                PassShare(year, date, near, out)
                for (date, near), out in zip(mine, codes, strict=True)
            ]
        for date, scenes, _ in passes:
            shares = [s for y in years for s in y.passes[state] if s.date == date]
            found.append((scenes, shares))
    return found


def thinned(pixels: NDArray[Any]) -> NDArray[Any]:
    """Pixels that stand for all of a large raster."""
    step = max(1, min(pixels.shape) // ENOUGH_PIXELS)
    return pixels[::step, ::step]
