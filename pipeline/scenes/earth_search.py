"""Earth Search: Sentinel-2 on AWS as Element 84 lists it, with OPERA's Sentinel-1 from NASA."""

from __future__ import annotations

from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.scenes.opera import OperaGranules
from tessera_mosaic.pipeline.scenes.scene import Scene
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
        Of Earth Search: `sentinel-2-l2a`, or `sentinel-2-c1-l2a` with ESA's Collection 1.
    """

    def __init__(self, remote: Remote, collection: str = "sentinel-2-l2a") -> None:
        self.name, self.remote, self.imagery = f"{ROOT}/collections/{collection}", remote, "aws"
        self._opera = OperaGranules(remote)
        self._sentinel2 = StacApi(ROOT, remote, [collection], self.imagery)
        self.keeps_offset = self._sentinel2.keeps_offset

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All scenes of a year that touch a box."""
        found = self._sentinel2.search(bounds, year) + self._opera.search(bounds, year)
        return sorted(found, key=lambda scene: scene.order)

    def refresh(self, scene: Scene) -> Scene:
        """The scene as the catalogue gives it now; granules of OPERA never move."""
        return self._sentinel2.refresh(scene) if scene.sensor == "s2" else scene
