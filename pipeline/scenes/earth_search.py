"""Earth Search: Sentinel-2 on AWS as Element 84 lists it, with OPERA's Sentinel-1 from NASA."""

from __future__ import annotations

from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.scenes.opera import SEARCH, OperaGranules
from tessera_mosaic.pipeline.scenes.scene import Imagery, Scene, Sensor
from tessera_mosaic.pipeline.scenes.stac_api import StacApi
from tessera_mosaic.pipeline.tiling.boxes import Box

ROOT = "https://earth-search.aws.element84.com/v1"


class EarthSearch:
    """Earth Search and OPERA RTC-S1.

    Parameters
    ----------
    remote
        Fetches the listings and what they point to.
    collection
        Name of the collection of Sentinel-2: `sentinel-2-l2a`, or `sentinel-2-c1-l2a` with ESA's
        Collection 1.
    root, search
        Addresses of Earth Search and of the search for granules of OPERA.
    """

    def __init__(
        self,
        remote: Remote,
        collection: str = "sentinel-2-l2a",
        root: str = ROOT,
        search: str = SEARCH,
    ) -> None:
        self.name, self.remote, self.imagery = (
            f"{root}/collections/{collection}",
            remote,
            Imagery.AWS,
        )
        self._opera = OperaGranules(remote, search)
        self._sentinel2 = StacApi(root, remote, [collection], self.imagery)
        self.keeps_offset = self._sentinel2.keeps_offset

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All scenes of a year that touch a box."""
        found = self._sentinel2.search(bounds, year) + self._opera.search(bounds, year)
        return sorted(found, key=lambda scene: scene.order)

    def refresh(self, scene: Scene) -> Scene:
        """The scene as the catalogue gives it now; granules of OPERA never move."""
        return self._sentinel2.refresh(scene) if scene.sensor == Sensor.S2 else scene
