"""The work on a unit: blocks whose scenes are read together, so that each byte is fetched once.

Days and passes are worked on side by side and written each into its own place of each block, so
that the result is the same in any order, and however blocks are grouped into units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.observations import S1_BANDS, S2_BANDS, Stack
from tessera_mosaic.pipeline.errors import Corrupt, Incomplete, SceneError
from tessera_mosaic.pipeline.imagery.gathered import EVERYTHING, Gathered
from tessera_mosaic.pipeline.imagery.kernel_types import BandTable, OffsetStep
from tessera_mosaic.pipeline.imagery.read_budget import Room
from tessera_mosaic.pipeline.imagery.resample import Kernel, place
from tessera_mosaic.pipeline.imagery.scene_reader import PixelKind, SceneReader
from tessera_mosaic.pipeline.scenes.asset_numbers import why_no_power
from tessera_mosaic.pipeline.scenes.scene import (
    CLASSES,
    S2_ASSETS,
    OrbitState,
    Scene,
    Sensor,
)
from tessera_mosaic.pipeline.scenes.twins import stand_in, versions_of
from tessera_mosaic.pipeline.stacks import sentinel1, sentinel2
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack, OffsetNote
from tessera_mosaic.pipeline.stacks.losses import Losses
from tessera_mosaic.pipeline.stacks.offset_steps import offset_step
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.stacks.series import days_of_year, extent, finish, kept
from tessera_mosaic.pipeline.stacks.unit_parts import (
    BESIDE,
    SUPERSEDED,
    BlockYear,
    Competition,
    Day,
    DayShare,
    PassShare,
    passes_of,
    scenes_by_date,
    thinned,
)
from tessera_mosaic.pipeline.tiling.lattice import Window

WORK_BYTES = {Sensor.S2: 12, Sensor.S1: 8}
"""Bytes of a pixel while a scene is brought to the lattice: its bands as they are."""


class UnitReader:
    """The work on some blocks.

    Parameters
    ----------
    years
        The blocks.
    rules
        Rules by which pixels become observations.
    reader
        Reads the bands of the scenes.
    losses
        Takes the scenes that cannot be read.
    room
        Where the arrays go.
    keep
        Whether blocks of rasters are kept for other units.
    """

    def __init__(
        self,
        years: Sequence[BlockYear],
        rules: Preprocessing,
        reader: SceneReader,
        losses: Losses,
        room: Room,
        keep: bool,
    ) -> None:
        self._years, self._rules, self._reader = years, rules, reader
        self._losses, self._room, self._keep = losses, room, keep

    def read(self) -> list[AnnualStack]:
        """Read all scenes, day by day and pass by pass; the stack of each block."""
        for year in self._years:
            for scene in [scene for scene in year.near if scene.faulty]:
                error = Incomplete(scene.faulty, scene.id, scene.faulty_asset)
                year.why[scene.id] = self._drop(error, year.near)
        submit = self._reader.submit
        days = [
            Day(scenes, [DayShare(year, date, near) for year, near in shares])
            for date, scenes, shares in scenes_by_date(self._years, Sensor.S2)
        ]
        choosing = [submit(self._choose, day) for day in days]
        filling = [
            submit(self._fill_pass, scenes, shares)
            for scenes, shares in passes_of(self._years, self._room)
        ]
        finish(choosing, filling)
        for year in self._years:
            year.days = [s for day in days for s in day.shares if s.year is year and s.is_clear]
            shape = (len(year.days), *year.window.shape, len(S2_BANDS))
            year.bands = self._room.array(shape, np.uint16)
            for share, out in zip(year.days, year.bands, strict=True):
                share.out = out
        filling += [submit(self._fill_day, day) for day in days if day.is_clear]
        finish(filling)
        return [self._annual_stack(year) for year in self._years]

    def _choose(self, day: Day) -> None:
        """Read the scene classes of a day and settle whose pixel counts."""
        while True:
            try:
                self._compete(day)
                return
            except SceneError as error:
                self._lose(error, day.scenes, day.shares)

    def _compete(self, day: Day) -> None:
        """Let the scenes of a day compete for pixels that all their rasters reach."""
        pixels = sum(share.year.window.height * share.year.window.width for share in day.shares)
        with self._reader.workspace(4 * pixels):
            competitions = [Competition(share) for share in day.shares]
            todo = competitions
            while todo:
                self._add_classes(day.scenes, todo)
                todo = [each for each in todo if self._finds_beyond(each)]
            for each in competitions:
                each.settle()

    def _add_classes(self, scenes: Sequence[Scene], competitions: Sequence[Competition]) -> None:
        """Read the scene classes of a day, but for pixels that are known to be beyond reach."""
        for versions in versions_of(scenes):
            seen: dict[int, NDArray[np.bool_] | None] = {}
            for scene in versions.scenes:
                open_to = []
                for each in competitions:
                    so_far, why = seen.get(id(each)), each.share.year.why
                    if scene.id not in each.share.near:
                        continue
                    if so_far is not None and (versions.told or so_far.all()):
                        why[scene.id] = SUPERSEDED.format(versions.scenes[0].id)
                    elif each.mosaic.is_full:
                        why[scene.id] = "earlier scenes of the day are clear all over the block"
                    else:
                        open_to.append(each)
                if not open_to:
                    continue
                parts = [(each.share.year.window, EVERYTHING) for each in open_to]
                gathered = self._reader.gather(
                    scene, CLASSES, parts, Kernel.NEAREST, PixelKind.UINT8, self._keep
                )
                for index, each in enumerate(open_to):
                    classes = None if gathered is None else gathered.resampled(index)
                    seen[id(each)] = each.add(scene, classes, seen.get(id(each)))

    def _finds_beyond(self, competition: Competition) -> bool:
        """Whether some winner does not reach all pixels; they compete again without them then."""
        share = competition.share
        new = {
            scene.id: self._beyond(scene, S2_ASSETS, share.year.window)
            for scene in competition.winners
            if scene.id not in competition.beyond
        }
        competition.beyond |= new
        if all(pixels is None for pixels in new.values()):
            return False
        competition.restart()
        return True

    def _beyond(
        self, scene: Scene, bands: Sequence[str], window: Window
    ) -> NDArray[np.bool_] | None:
        """Pixels of a block that some raster of a scene does not reach; None for none.

        Rasters of clipped archives do not all cover the same ground, and what one of them lacks
        was not observed. Where they do, nothing needs to be reckoned.
        """
        geometries = self._reader.remember(
            ("geometries", *(scene.asset(band) for band in bands)),
            lambda: [header.geometry for header in self._reader.all_found(scene, bands)],
        )
        if len({geometry.ground for geometry in geometries}) == 1:
            return None
        inside = [place(window, geometry).inside for geometry in geometries]
        beyond = ~np.logical_and.reduce(inside)
        return beyond if beyond.any() else None

    def _fill_day(self, day: Day) -> None:
        """Read the bands of a clear day into their places."""
        while day.is_clear:
            try:
                for scene in list(day.scenes):
                    self._fill_scene(scene, [s for s in day.shares if s.is_clear])
            except SceneError as error:
                self._lose(error, day.scenes, day.shares)
                for share in day.shares:
                    if share.out is not None:
                        share.out[...] = 0
                self._choose(day)
                continue
            for share in day.shares:
                if share.is_clear and share.choice is not None:
                    share.year.used.update(share.competing[n].id for n in share.choice.winners)
            return

    def _fill_scene(self, scene: Scene, shares: Sequence[DayShare]) -> None:
        """Read the bands of one scene where a day takes its pixels."""
        wanted: list[tuple[NDArray[np.uint16], NDArray[np.bool_] | None]] = []
        parts, years = [], []
        for share in shares:
            if scene not in share.competing or share.choice is None or share.out is None:
                continue
            mine = share.choice.mine(share.competing.index(scene))
            if mine.any():
                part = extent(mine)
                mine = mine[part]
                wanted.append((share.out[part], None if mine.all() else mine))
                parts.append((share.year.window, part))
                years.append(share.year)
        if not parts:
            return
        step = offset_step(scene, years, self._rules, self._reader)
        pixels = sum(out.shape[0] * out.shape[1] for out, _ in wanted)
        with self._reader.workspace(WORK_BYTES[Sensor.S2] * pixels):
            bands = self._reader.gather_all(
                scene, S2_BANDS, parts, self._rules.kernel, PixelKind.UINT16, self._keep
            )
            tables: dict[tuple[Any, ...], BandTable] = {}
            for index, (out, where) in enumerate(wanted):
                self._join_bands(bands, index, step, out, where, tables)

    def _join_bands(
        self,
        bands: Sequence[Gathered | None],
        index: int,
        step: OffsetStep,
        out: NDArray[np.uint16],
        mine: NDArray[np.bool_] | None,
        tables: dict[tuple[Any, ...], BandTable],
    ) -> None:
        """Bring a scene's bands to a part of a block."""
        ways = [band.places[index].straight for band in bands if band and band.reaches(index)]
        whole = [way for way in ways if way is not None]
        if len(whole) == len(bands) and len({(way.row, way.col) for way in whole}) == 1:
            modes = tuple(way.mode for way in whole)
            if modes not in tables:
                tables[modes] = BandTable([band.window for band in bands if band], modes)
            corner = whole[0].row, whole[0].col
            self._reader.kernels.join_bands(
                tables[modes], corner, mine, step, sentinel2.OFFSET, out
            )
            return
        for channel, band in enumerate(bands):
            values = None if band is None else band.resampled(index)
            # Where no scene has data the first one counts, though it may not reach there.
            if values is not None:
                values = sentinel2.after_step(values, step)
                np.copyto(out[..., channel], values, where=True if mine is None else mine)

    def _fill_pass(self, scenes: list[Scene], shares: Sequence[PassShare]) -> None:
        """Read the scenes of a Sentinel-1 pass and join them in their places."""
        rule = self._rules.s1_mosaic
        joins = {id(share): sentinel1.PassJoin(share.out, rule) for share in shares}
        for versions in versions_of(scenes):
            reached: set[int] = set()
            for scene in versions.scenes:
                open_shares = []
                for share in shares:
                    why = share.year.why
                    if scene.id not in share.near:
                        continue
                    if versions.told and id(share) in reached:
                        why[scene.id] = SUPERSEDED.format(versions.scenes[0].id)
                    elif joins[id(share)].is_full:
                        why[scene.id] = "earlier scenes of the pass have data all over the block"
                    else:
                        open_shares.append(share)
                if not open_shares:
                    continue
                try:
                    reached |= self._join_pass(scene, open_shares, joins)
                except SceneError as error:
                    self._lose(error, scenes, shares)
        for share in shares:
            share.seen = joins[id(share)].finish()

    def _join_pass(
        self,
        scene: Scene,
        shares: Sequence[PassShare],
        joins: dict[int, sentinel1.PassJoin],
    ) -> set[int]:
        """Read both polarisations of a scene, and add them to the pass; the shares it reaches."""
        reached = set()
        parts = [(share.year.window, EVERYTHING) for share in shares]
        pixels = sum(share.out.shape[0] * share.out.shape[1] for share in shares)
        with self._reader.workspace(WORK_BYTES[Sensor.S1] * pixels):
            for band, header in zip(S1_BANDS, self._reader.all_found(scene, S1_BANDS), strict=True):
                if why := scene.no_power or why_no_power(header.numbers):
                    raise Corrupt(why, scene.id, band)
            layers = self._reader.gather_all(
                scene, S1_BANDS, parts, self._rules.s1_kernel, PixelKind.FLOAT, self._keep
            )
            for band, layer in zip(S1_BANDS, layers, strict=True):
                if layer and (why := sentinel1.why_no_power(thinned(layer.window.pixels))):
                    raise Corrupt(why, scene.id, band)
            for index, share in enumerate(shares):
                reaching = [layer for layer in layers if layer and layer.reaches(index)]
                if len(reaching) < len(layers):
                    share.year.why[scene.id] = BESIDE
                    continue
                reached.add(id(share))
                beyond = self._beyond(scene, S1_BANDS, share.year.window)
                coded, put = joins[id(share)].add(reaching, index, self._reader.kernels, beyond)
                if put:
                    share.year.used.add(scene.id)
                elif coded:
                    share.year.why[scene.id] = "earlier scenes of the pass have all its pixels"
                else:
                    share.year.why[scene.id] = "no data in the block"
        return reached

    def _lose(
        self, error: SceneError, scenes: list[Scene], shares: Iterable[DayShare | PassShare]
    ) -> None:
        """Drop the scene that an error names, and say why."""
        why = self._drop(error, scenes)
        for share in shares:
            if error.scene in share.near:
                share.year.why[error.scene] = why

    def _drop(self, error: SceneError, scenes: list[Scene]) -> str:
        """Drop the scene that an error names, if another stands in for it or it may be lost."""
        lost = next((scene for scene in scenes if scene.id == error.scene), None)
        others = [scene for scene in scenes if scene.id != error.scene]
        instead = stand_in(lost, others) if lost is not None and error.loses_scene else None
        if instead is None:
            self._losses.add(error)
        scenes[:] = others
        if instead is None:
            return f"lost: {error.kind}: {error}"
        return f"{error.kind}: {error}; {instead.id} is read in its place"

    def _annual_stack(self, year: BlockYear) -> AnnualStack:
        """The stack of a block, of the days and passes that have data."""
        # A day that lost a scene on the way may not be clear any more.
        clear = [share.is_clear for share in year.days]
        days = [share for share in year.days if share.is_clear]
        masks = self._room.array((len(days), *year.window.shape), np.uint8)
        for mask, share in zip(masks, days, strict=True):
            if share.choice is not None:
                mask[...] = share.choice.clear
        dates = tuple(share.date for share in days)
        passes = year.passes
        ascending, descending = (
            tuple(share.date for share in passes[state] if share.seen) for state in OrbitState
        )
        codes = {
            state: kept(year.codes[state], np.array([s.seen for s in passes[state]], bool))
            for state in OrbitState
        }
        stack = Stack(
            bands=kept(year.bands, np.array(clear, bool)),
            masks=masks,
            doys=days_of_year(dates, np.uint16),
            sar_ascending=codes[OrbitState.ASCENDING],
            sar_ascending_doy=days_of_year(ascending, np.int16),
            sar_descending=codes[OrbitState.DESCENDING],
            sar_descending_doy=days_of_year(descending, np.int16),
        )
        unused = ((name, why) for name, why in year.why.items() if name not in year.used)
        return AnnualStack(
            stack,
            dates,
            ascending,
            descending,
            tuple(sorted(year.used)),
            tuple(sorted(unused)),
            tuple(
                OffsetNote.of(name, finding)
                for name, finding in sorted(year.offsets.items())
                if finding.is_against_reference and name in year.used
            ),
        )
