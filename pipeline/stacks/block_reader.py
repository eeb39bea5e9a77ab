"""The work on one block: its scenes, day by day and pass by pass, into arrays.

Days and passes are worked on side by side and written each into its own place, so that the result
is the same in any order and memory does not grow with the number of scenes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.observations import S1_BANDS, S2_BANDS, Stack
from tessera_mosaic.pipeline.errors import Corrupt, Incomplete, SceneError
from tessera_mosaic.pipeline.imagery.overview import Overview
from tessera_mosaic.pipeline.imagery.resample import Kernel, place
from tessera_mosaic.pipeline.imagery.scene_reader import PixelKind, SceneReader
from tessera_mosaic.pipeline.scenes.asset_numbers import why_no_power
from tessera_mosaic.pipeline.scenes.scene import (
    CLASSES,
    S2_ASSETS,
    Imagery,
    OrbitState,
    RadiometricOffset,
    Scene,
    Sensor,
)
from tessera_mosaic.pipeline.scenes.twins import stand_in, versions_of
from tessera_mosaic.pipeline.stacks import sentinel1, sentinel2
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack, OffsetNote
from tessera_mosaic.pipeline.stacks.dpixel_files import read_dpixels
from tessera_mosaic.pipeline.stacks.losses import Losses
from tessera_mosaic.pipeline.stacks.offset_evidence import (
    OffsetFinding,
    find_offset,
    remove_offset,
    remove_offset_by_date,
    without_offset,
)
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule
from tessera_mosaic.pipeline.stacks.series import (
    any_data,
    by_date,
    days_of_year,
    extent,
    finish,
    kept,
)
from tessera_mosaic.pipeline.tiling.boxes import padded, touches
from tessera_mosaic.pipeline.tiling.lattice import Window, lonlat_bounds

BESIDE = "does not reach the block"
"""Why a scene beside the block is not used."""

SUPERSEDED = "superseded by {}"
"""Why a version of an acquisition is not used of which there is a newer one."""


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
    if any(scene.sensor == Sensor.DPIXELS for scene in scenes):
        return read_dpixels(window, scenes)
    named = next((scene.id for scene in scenes if scene.offset == RadiometricOffset.KEPT), None)
    if named:
        rules.check_kept(f"scenes such as {named}")
    return BlockReader(window, rules, reader, Losses() if losses is None else losses).read(scenes)


class _Day:
    """A day of Sentinel-2: the scenes that may still be read, and whose pixel counts."""

    def __init__(self, date: str, scenes: list[Scene], shape: tuple[int, int]) -> None:
        self.date, self.scenes, self._shape = date, scenes, shape
        self.restart()

    def restart(self) -> None:
        """Let the scenes compete anew."""
        self.mosaic = sentinel2.DayMosaic(self._shape)
        self.competing: list[Scene] = []

    @property
    def is_clear(self) -> bool:
        """Whether any pixel of the block was seen clear."""
        return bool(self.mosaic.clear.any())


class BlockReader:
    """The work on one block.

    Parameters
    ----------
    window
        The block.
    rules
        Rules by which pixels become observations.
    reader
        Reads the bands of the scenes.
    losses
        Takes the scenes that cannot be read.
    """

    def __init__(
        self, window: Window, rules: Preprocessing, reader: SceneReader, losses: Losses
    ) -> None:
        self._window, self._rules, self._reader, self._losses = window, rules, reader, losses
        self._used: set[str] = set()
        self._why: dict[str, str] = {}
        self._offsets: dict[str, OffsetFinding] = {}

    def read(self, scenes: Sequence[Scene]) -> AnnualStack:
        """Read all scenes, day by day and pass by pass."""
        near = self._touching(scenes)
        shape, submit = self._window.shape, self._reader.submit
        days = [_Day(date, group, shape) for date, group in by_date(near, Sensor.S2)]
        passes = {state: by_date(near, Sensor.S1, state) for state in OrbitState}
        sar = {
            state: np.zeros((len(groups), *shape, len(S1_BANDS)), np.int16)
            for state, groups in passes.items()
        }
        filling = [
            submit(self._fill_pass, group, out)
            for state, groups in passes.items()
            for (_, group), out in zip(groups, sar[state], strict=True)
        ]
        choosing = [submit(self._choose, day) for day in days]
        finish(choosing, filling)
        days = [day for day in days if day.is_clear]
        bands = np.zeros((len(days), *shape, len(S2_BANDS)), np.uint16)
        filling += [submit(self._fill_day, day, out) for day, out in zip(days, bands, strict=True)]
        finish(filling)
        # A day that lost a scene on the way may not be clear any more.
        clear = np.array([day.is_clear for day in days], bool)
        days = [day for day in days if day.is_clear]
        masks = np.zeros((len(days), *shape), np.uint8)
        for mask, day in zip(masks, days, strict=True):
            mask[...] = day.mosaic.clear
        seen = {state: any_data(sar[state]) for state in OrbitState}
        dates = {
            state: tuple(np.array([date for date, _ in passes[state]])[seen[state]].tolist())
            for state in OrbitState
            if passes[state]
        }
        ascending, descending = (dates.get(state, ()) for state in OrbitState)
        stack = Stack(
            bands=kept(bands, clear),
            masks=masks,
            doys=days_of_year((day.date for day in days), np.uint16),
            sar_ascending=kept(sar[OrbitState.ASCENDING], seen[OrbitState.ASCENDING]),
            sar_ascending_doy=days_of_year(ascending, np.int16),
            sar_descending=kept(sar[OrbitState.DESCENDING], seen[OrbitState.DESCENDING]),
            sar_descending_doy=days_of_year(descending, np.int16),
        )
        return AnnualStack(
            stack,
            tuple(day.date for day in days),
            ascending,
            descending,
            tuple(sorted(self._used)),
            tuple(sorted((name, why) for name, why in self._why.items() if name not in self._used)),
            tuple(
                OffsetNote.of(name, finding)
                for name, finding in sorted(self._offsets.items())
                if finding.is_against_reference and name in self._used
            ),
        )

    def _touching(self, scenes: Sequence[Scene]) -> list[Scene]:
        """The scenes to read, by time and id; why not is noted for the others."""
        bounds = padded(lonlat_bounds(self._window))
        near = []
        for scene in sorted(scenes, key=lambda scene: scene.order):
            if scene.unusable:
                self._why[scene.id] = scene.unusable
            elif not touches(scene.bbox, bounds):
                self._why[scene.id] = BESIDE
            else:
                near.append(scene)
        for scene in [scene for scene in near if scene.faulty]:
            self._lose(Incomplete(scene.faulty, scene.id, scene.faulty_asset), near)
        return near

    def _choose(self, day: _Day) -> None:
        """Read the scene classes of a day and settle whose pixel counts."""
        while True:
            try:
                self._compete(day)
                return
            except SceneError as error:
                self._lose(error, day.scenes)
                day.restart()

    def _compete(self, day: _Day) -> None:
        """Let the scenes of a day compete for pixels that all their rasters reach."""
        beyond: dict[str, NDArray[np.bool_] | None] = {}
        while True:
            self._add_classes(day, beyond)
            winners = [s for n, s in enumerate(day.competing) if day.mosaic.wins(n)]
            new = {s.id: self._beyond(s, S2_ASSETS) for s in winners if s.id not in beyond}
            beyond |= new
            if all(pixels is None for pixels in new.values()):
                return
            day.restart()

    def _add_classes(self, day: _Day, beyond: Mapping[str, NDArray[np.bool_] | None]) -> None:
        """Read the scene classes of a day, but for pixels that are known to be beyond reach."""
        any_clear = []
        for versions in versions_of(day.scenes):
            seen: NDArray[np.bool_] | None = None
            for scene in versions.scenes:
                if seen is not None and (versions.told or seen.all()):
                    self._why[scene.id] = SUPERSEDED.format(versions.scenes[0].id)
                    continue
                if day.mosaic.is_full:
                    self._why[scene.id] = "earlier scenes of the day are clear all over the block"
                    continue
                classes = self._reader.read(
                    scene, CLASSES, self._window, Kernel.NEAREST, PixelKind.UINT8
                )
                if classes is None:
                    self._why[scene.id] = BESIDE
                    continue
                if (pixels := beyond.get(scene.id)) is not None:
                    classes = np.where(pixels, np.uint8(sentinel2.NO_DATA), classes)
                if seen is not None:
                    classes = np.where(seen, np.uint8(sentinel2.NO_DATA), classes)
                data = classes != sentinel2.NO_DATA
                seen = data if seen is None else seen | data
                day.mosaic.add(classes)
                day.competing.append(scene)
                any_clear.append(bool(sentinel2.is_clear(classes).any()))
        for index, scene in enumerate(day.competing):
            if not any_clear[index]:
                self._why[scene.id] = "no clear pixel in the block"
            elif not day.mosaic.wins(index):
                self._why[scene.id] = "earlier scenes of the day have all its clear pixels"

    def _fill_day(self, day: _Day, out: NDArray[np.uint16]) -> None:
        """Read the bands of a clear day into their place."""
        while day.is_clear:
            try:
                for index, scene in enumerate(day.competing):
                    mine = day.mosaic.chosen == index
                    if mine.any():
                        self._fill_scene(scene, mine, out)
            except SceneError as error:
                self._lose(error, day.scenes)
                day.restart()
                out[...] = 0
                self._choose(day)
                continue
            self._used.update(s.id for n, s in enumerate(day.competing) if day.mosaic.wins(n))
            return

    def _fill_scene(self, scene: Scene, mine: NDArray[np.bool_], out: NDArray[np.uint16]) -> None:
        """Read the bands of one scene where a day takes its pixels."""
        part = extent(mine)
        mine = mine[part]
        where = True if mine.all() else mine
        for channel, band in enumerate(S2_BANDS):
            values = self._reader.read(
                scene, band, self._window, self._rules.kernel, PixelKind.UINT16, part
            )
            # Where no scene has data the first one counts, though it may not reach there.
            if values is not None:
                np.copyto(out[(*part, channel)], self._without_offset(values, scene), where=where)

    def _without_offset(self, values: NDArray[np.uint16], scene: Scene) -> NDArray[np.uint16]:
        """Digital numbers without the offset, as the rules say."""
        if self._rules.offset == OffsetRule.EVIDENCE:
            finding = self._reader.remember(
                ("offset by evidence", scene.asset(CLASSES)),
                lambda: find_offset(scene, self._rules.imagery, self._overview),
            )
            self._offsets[scene.id] = finding
            return without_offset(values, finding, self._rules.imagery)
        if self._rules.offset == OffsetRule.ITEM:
            has_offset = self._reader.remember(
                ("offset", scene.asset(CLASSES)),
                lambda: sentinel2.has_offset(scene, self._reader.overview),
            )
            return remove_offset(values) if has_offset else values
        if self._rules.offset == OffsetRule.REFERENCE and self._rules.imagery == Imagery.MPC:
            return remove_offset_by_date(values, scene.date)
        return values

    def _overview(self, scene: Scene, band: str, most: int) -> Overview | None:
        """A band at its coarsest resolution; None where that is damaged, as it is not needed."""
        try:
            return self._reader.overview(scene, band, most)
        except Corrupt:
            return None

    def _fill_pass(self, scenes: list[Scene], out: NDArray[np.int16]) -> None:
        """Read the scenes of a Sentinel-1 pass and join them in their place."""
        mosaic = sentinel1.PassMosaic(out.shape, self._rules.s1_mosaic)
        for versions in versions_of(scenes):
            reached = False
            for scene in versions.scenes:
                if reached and versions.told:
                    self._why[scene.id] = SUPERSEDED.format(versions.scenes[0].id)
                    continue
                if mosaic.is_full:
                    self._why[scene.id] = "earlier scenes of the pass have data all over the block"
                    continue
                try:
                    codes = self._codes(scene)
                except SceneError as error:
                    self._lose(error, scenes)
                    continue
                reached |= codes is not None
                if codes is None:
                    self._why[scene.id] = BESIDE
                elif not codes.any():
                    self._why[scene.id] = "no data in the block"
                elif mosaic.add(codes):
                    self._used.add(scene.id)
                else:
                    self._why[scene.id] = "earlier scenes of the pass have all its pixels"
        out[...] = mosaic.codes

    def _codes(self, scene: Scene) -> NDArray[np.int16] | None:
        """Both polarisations of a scene, coded, (H, W, 2)."""
        layers = []
        for band in S1_BANDS:
            why = scene.no_power or why_no_power(self._reader.found(scene, band).numbers)
            if why:
                raise Corrupt(why, scene.id, band)
            power = self._reader.read(
                scene, band, self._window, self._rules.s1_kernel, PixelKind.FLOAT
            )
            if power is None:
                return None
            if why := sentinel1.why_no_power(power):
                raise Corrupt(why, scene.id, band)
            layers.append(sentinel1.code_backscatter(power))
        codes = np.stack(layers, axis=-1)
        beyond = self._beyond(scene, S1_BANDS)
        if beyond is not None:
            codes[beyond] = 0
        return codes

    def _beyond(self, scene: Scene, bands: Sequence[str]) -> NDArray[np.bool_] | None:
        """Pixels of the block that some raster of a scene does not reach; None for none.

        Rasters of clipped archives do not all cover the same ground, and what one of them lacks
        was not observed. Where they do, nothing needs to be reckoned.
        """
        geometries = [self._reader.found(scene, band).geometry for band in bands]
        if len({geometry.ground for geometry in geometries}) == 1:
            return None
        inside = [place(self._window, geometry).inside for geometry in geometries]
        beyond = ~np.logical_and.reduce(inside)
        return beyond if beyond.any() else None

    def _lose(self, error: SceneError, scenes: list[Scene]) -> None:
        """Drop the scene that an error names, if another stands in for it or it may be lost."""
        lost = next((scene for scene in scenes if scene.id == error.scene), None)
        others = [scene for scene in scenes if scene.id != error.scene]
        instead = stand_in(lost, others) if lost is not None and error.loses_scene else None
        why = f"lost: {error.kind}: {error}"
        if instead is None:
            self._losses.add(error)
        else:
            why = f"{error.kind}: {error}; {instead.id} is read in its place"
        self._why[error.scene] = why
        scenes[:] = others
