"""True colours of a region from the scenes of a catalogue, block by block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.selection import Selection
from tessera_mosaic.pipeline.errors import NoScenes
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.publishing.drawing import median_colour
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.scene import Sensor
from tessera_mosaic.pipeline.stacks.block_reader import read_blocks
from tessera_mosaic.pipeline.stacks.losses import Losses
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import Window, lonlat_bounds

BLOCK = 256
"""Side in pixels of a block, of which a year is some 150 MB."""


class TrueColours:
    """What Sentinel-2 saw of a region in the year that is shown.

    Scenes that cannot be read are left out: there are others of nearly every pixel.

    Parameters
    ----------
    catalog
        STAC API, static catalogue or index, as a path or URL, or the name of a public one.
    allow_hosts
        Hosts of private addresses that the catalogue may point to.
    chosen
        The region, its year and its mosaic, whose rules apply to the scenes.

    Raises
    ------
    BadInput
        If there is no such catalogue.
    """

    def __init__(self, catalog: str, allow_hosts: Sequence[str], chosen: Selection) -> None:
        self._source = open_catalogue(catalog, allow_hosts)
        rules = chosen.mosaic.identity.get("rules", {})
        self._rules = Preprocessing.of_identity(rules, self._source.imagery)
        self._year = chosen.year
        self.lost = 0

    def read(
        self, window: Window
    ) -> Iterator[tuple[Window, NDArray[np.uint16], NDArray[np.bool_]]]:
        """Blocks of a window with the median of their clear observations, as `median_colour`.

        Raises
        ------
        NoScenes
            If the catalogue has no scenes of Sentinel-2 there in that year.
        SceneError
            If a provider cannot be asked now.
        """
        listed = self._source.search(lonlat_bounds(window), self._year)
        scenes = [scene for scene in listed if scene.sensor is Sensor.S2]
        if not scenes:
            raise NoScenes(
                f"it has no scenes of Sentinel-2 of {self._year} there",
                "catalog",
                self._source.name,
            )
        losses = Losses(len(scenes))
        blocks = list(window.blocks(BLOCK))
        with contextlib.closing(SceneReader(self._source)) as reader:
            for block, annual in read_blocks(blocks, scenes, self._rules, reader, losses):
                yield block, *median_colour(annual.stack)
        self.lost += len(losses.scenes)
