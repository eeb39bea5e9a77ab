"""Microsoft's Planetary Computer: its STAC API. Its files are signed like all (`signing`)."""

from __future__ import annotations

from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.scenes.stac_api import StacApi

ROOT = "https://planetarycomputer.microsoft.com/api/stac/v1"

COLLECTIONS = ("sentinel-2-l2a", "sentinel-1-rtc")


class PlanetaryComputer(StacApi):
    """Planetary Computer.

    Parameters
    ----------
    remote
        Fetches its listings and what they point to.
    """

    def __init__(self, remote: Remote) -> None:
        super().__init__(ROOT, remote, COLLECTIONS, imagery="mpc")
