"""Microsoft's Planetary Computer: its STAC API, and addresses signed for as long as they last."""

from __future__ import annotations

import threading

import planetary_computer
import requests
from planetary_computer import sas

from pipeline.errors import Expired, Throttled, TimedOut
from pipeline.remote import Access, Remote
from pipeline.scenes.api import StacApi
from pipeline.web import plain

ROOT = "https://planetarycomputer.microsoft.com/api/stac/v1"

COLLECTIONS = ("sentinel-2-l2a", "sentinel-1-rtc")


class PlanetaryComputer(StacApi):
    """Planetary Computer. A subscription key in `PC_SDK_SUBSCRIPTION_KEY` raises its limits."""

    def __init__(self, remote: Remote) -> None:
        super().__init__(ROOT, remote, COLLECTIONS, imagery="mpc")
        self._signing = threading.Lock()

    def access(self, href: str) -> Access:
        """The address with a token, which the library keeps and renews a minute before its end.

        Raises
        ------
        SceneError
            If no token is to be had.
        """
        try:
            # One thread asks for a new token while the others wait for it.
            with self._signing:
                return Access(planetary_computer.sign_url(href))
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            said = f"no token for {plain(href)}: HTTP {status}"
            kind = Throttled if status in (429, 503) else Expired if status < 500 else TimedOut
            raise kind(said) from None
        except requests.RequestException as error:
            raise TimedOut(f"no token for {plain(href)}: {type(error).__name__}") from None

    def renew(self) -> None:
        """Forget the tokens."""
        with self._signing:
            sas.TOKEN_CACHE.clear()
