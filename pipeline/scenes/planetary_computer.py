"""Microsoft's Planetary Computer: its STAC API. Its files are signed like all (`credentials`)."""

from __future__ import annotations

from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.scenes.scene import Imagery
from tessera_mosaic.pipeline.scenes.stac_api import StacApi

ROOT = "https://planetarycomputer.microsoft.com/api/stac/v1"

COLLECTIONS = ("sentinel-2-l2a", "sentinel-1-rtc")


class PlanetaryComputer(StacApi):
    """Planetary Computer.

    Parameters
    ----------
    remote
        Fetches its listings and what they point to.
    root
        Address of its landing page.
    """

    def __init__(self, remote: Remote, root: str = ROOT) -> None:
        super().__init__(root, remote, COLLECTIONS, imagery=Imagery.MPC)
