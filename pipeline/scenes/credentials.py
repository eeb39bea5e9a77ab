"""Credentials for the assets of scenes: chosen by where an asset lies, whoever named it.

An index or a catalogue of one's own lists the same files as the provider's, and they take the same
credentials. Addresses that come signed are taken as they are while their signatures hold.
"""

from __future__ import annotations

import netrc
import os
import re
import threading
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import urlsplit

from tessera_mosaic.pipeline.errors import BadInput, Expired, Refused, Throttled, TimedOut
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.urls import has_expired, is_signed, plain, without_signature

PLANETARY_HOSTS = re.compile(r"sentinel[12][a-z0-9]*\.blob\.core\.windows\.net")
"""Planetary Computer's storage accounts of Sentinel-1 and Sentinel-2."""

EARTHDATA_HOSTS = (".earthdata.nasa.gov", ".earthdatacloud.nasa.gov", ".asf.alaska.edu")
"""Where an Earthdata token is sent, and nowhere else."""

MOST_REFUSED = 10_000
"""Signatures that are remembered as refused: many addresses share one, or each has its own."""

LOGIN = "urs.earthdata.nasa.gov"
TOKEN = f"https://{LOGIN}/api/users/find_or_create_token"


class PlanetaryTokens:
    """Signs addresses of Planetary Computer with tokens that its library keeps.

    The library renews them a minute before their end. A subscription key in
    `PC_SDK_SUBSCRIPTION_KEY` raises its limits.

    Parameters
    ----------
    sign
        Gives an address with a token; the library's own function by default.
    """

    def __init__(self, sign: Callable[[str], str] | None = None) -> None:
        self._sign = sign

    def access(self, href: str) -> Access:
        """Sign an address.

        Raises
        ------
        SceneError
            If no token is to be had.
        """
        # Loaded where they are used: it takes a second.
        import planetary_computer
        import requests

        try:
            return Access((self._sign or planetary_computer.sign_url)(href))
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            said = f"no token for {plain(href)}: HTTP {status}"
            kind = Throttled if status in (429, 503) else Expired if status < 500 else TimedOut
            raise kind(said) from None
        except requests.RequestException as error:
            raise TimedOut(f"no token for {plain(href)}: {type(error).__name__}") from None
        except ValueError:
            raise Refused(f"{plain(href)} is no address of a file") from None

    def forget(self) -> None:
        """Forget all tokens."""
        from planetary_computer import sas

        sas.TOKEN_CACHE.clear()


class EarthdataToken:
    """Sends a token of NASA Earthdata: the environment's, or one for the login in the netrc file.

    Parameters
    ----------
    remote
        Fetches the token.
    address
        Address at which a login becomes a token.
    """

    def __init__(self, remote: Remote, address: str = TOKEN) -> None:
        self._remote, self._address, self._token = remote, address, ""

    def access(self, href: str) -> Access:
        """Put the token beside an address.

        Raises
        ------
        SceneError
            If no token is to be had.
        """
        self._token = self._token or self._new_token()
        return Access(href, {"Authorization": f"Bearer {self._token}"})

    def forget(self) -> None:
        """Forget the token."""
        self._token = ""

    def _new_token(self) -> str:
        if token := os.environ.get("EARTHDATA_TOKEN"):
            return token
        login = _login()
        if login is None:
            raise Expired(f"EARTHDATA_TOKEN is not set and ~/.netrc has no {LOGIN}")
        basic = b64encode(f"{login[0]}:{login[1]}".encode()).decode()
        answer = self._remote.post(self._address, b"", {"Authorization": f"Basic {basic}"}, 2**20)
        try:
            token = read_json(answer.data)["access_token"]
        except (ValueError, KeyError, TypeError):
            token = None
        if not isinstance(token, str):
            raise Expired(f"{LOGIN} gave no token")
        return token


class Signer:
    """Gives addresses the credentials that their hosts ask for. Safe to use from many threads.

    Parameters
    ----------
    remote
        Fetches tokens.
    planetary, earthdata
        Credentials of the two providers that ask for some.

    Attributes
    ----------
    renewals
        Number of times that the credentials have been renewed.
    """

    def __init__(
        self,
        remote: Remote,
        planetary: PlanetaryTokens | None = None,
        earthdata: EarthdataToken | None = None,
    ) -> None:
        self._planetary = planetary or PlanetaryTokens()
        self._earthdata = earthdata or EarthdataToken(remote)
        self._lock, self.renewals = threading.Lock(), 0
        self._refused: OrderedDict[str, None] = OrderedDict()

    def access(self, href: str) -> Access:
        """Sign an address, with a credential that is valid now.

        Raises
        ------
        SceneError
            If no credential is to be had.
        """
        try:
            host = urlsplit(href).hostname or ""
        except ValueError:
            return Access(href)
        if not href.startswith("https://"):
            return Access(href)
        # One thread asks for a new token while the others wait for it.
        if PLANETARY_HOSTS.fullmatch(host):
            if is_signed(href) and not self._is_stale(href):
                return Access(href)
            with self._lock:
                return self._planetary.access(without_signature(href))
        if f".{host}".endswith(EARTHDATA_HOSTS):
            with self._lock:
                return self._earthdata.access(href)
        return Access(href)

    def _is_stale(self, href: str) -> bool:
        """Whether the signature that an address came with has expired, or was refused."""
        return has_expired(href) or href.partition("?")[2] in self._refused

    def renew(self, refused: int | None = None, href: str = "") -> None:
        """Forget all tokens, so that the next accesses get new ones.

        Parameters
        ----------
        refused
            Number of renewals there had been when a credential was refused: if it has been renewed
            since, for another that was, nothing is done.
        href
            Address that was refused: the signature that it came with is used no more.
        """
        with self._lock:
            if is_signed(href):
                self._refused[href.partition("?")[2]] = None
                if len(self._refused) > MOST_REFUSED:
                    self._refused.popitem(last=False)
            if refused in (None, self.renewals):
                self._planetary.forget()
                self._earthdata.forget()
                self.renewals += 1


def check_earthdata_login() -> None:
    """Refuse to begin without what NASA's files ask for.

    Raises
    ------
    BadInput
        If there is neither a token nor a login for NASA Earthdata.
    """
    if not os.environ.get("EARTHDATA_TOKEN") and _login() is None:
        raise BadInput(
            "Sentinel-1 from NASA needs an Earthdata login: put a token into EARTHDATA_TOKEN, "
            f"or name and password for {LOGIN} into ~/.netrc"
        )


def _login() -> tuple[str, str] | None:
    """Name and password for Earthdata in the netrc file."""
    try:
        entry = netrc.netrc().authenticators(LOGIN)
    except (OSError, netrc.NetrcParseError):
        return None
    return (entry[0], entry[2]) if entry and entry[0] and entry[2] else None
