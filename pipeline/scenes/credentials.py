"""Credentials for the assets of scenes: chosen by where an asset lies, whoever named it.

An index or a catalogue of one's own lists the same files as the provider's, and they take the same
credentials. Addresses that come signed are taken as they are while their signatures hold.
"""

from __future__ import annotations

import datetime as dt
import netrc
import os
import re
import threading
from base64 import b64encode
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import urlsplit

from tessera_mosaic.pipeline.errors import BadInput, Corrupt, Expired, Gone, Refused
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.strict import text
from tessera_mosaic.pipeline.io.urls import has_expired, is_signed, plain, without_signature

PLANETARY_HOSTS = re.compile(r"sentinel[12][a-z0-9]*\.blob\.core\.windows\.net")
"""Planetary Computer's storage accounts of Sentinel-1 and Sentinel-2."""

PLANETARY_TOKENS = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
"""Below it are the tokens, by account and container."""

SETTINGS = "~/.planetarycomputer/settings.env"
"""Where the settings of Planetary Computer may stand, a line `NAME=value` each."""

RENEWED_BEFORE = dt.timedelta(minutes=1)
"""How long before its end a token is renewed."""

CONTAINER = re.compile(r"\$?[A-Za-z0-9-]{1,63}")
"""What containers of Azure may be called."""

QUERY = re.compile(r"[\w.~%=&+/:,;@!$'()*-]+", re.ASCII)
"""What a query may hold."""

EARTHDATA_HOSTS = (".earthdata.nasa.gov", ".earthdatacloud.nasa.gov", ".asf.alaska.edu")
"""Where an Earthdata token is sent, and nowhere else."""

MOST_REFUSED = 10_000
"""Signatures that are remembered as refused: many addresses share one, or each has its own."""

LOGIN = "urs.earthdata.nasa.gov"
TOKEN = f"https://{LOGIN}/api/users/find_or_create_token"


@dataclass(frozen=True)
class _Token:
    """What a token adds to an address, and when it ends."""

    query: str
    end: dt.datetime


class PlanetaryTokens:
    """Signs addresses of Planetary Computer with tokens: one a container, renewed before its end.

    A subscription key in `PC_SDK_SUBSCRIPTION_KEY` raises the provider's limits, and
    `PC_SDK_SAS_URL` is asked for the tokens instead. Both may stand in `SETTINGS` too.

    Parameters
    ----------
    remote
        Fetches the tokens.
    address
        Address below which the tokens are; the environment's or the provider's where it is empty.
    """

    def __init__(self, remote: Remote, address: str = "") -> None:
        self._remote, self._address = remote, address
        self._tokens: dict[str, _Token] = {}

    def access(self, href: str) -> Access:
        """Sign an address.

        Raises
        ------
        SceneError
            If no token is to be had.
        """
        parts = urlsplit(href)
        account, container = (parts.hostname or "").partition(".")[0], parts.path.split("/")[1:2]
        if not container or not CONTAINER.fullmatch(container[0]):
            raise Refused(f"{plain(href)} is no address of a file")
        root = self._address or _planetary_setting("PC_SDK_SAS_URL") or PLANETARY_TOKENS
        url = f"{root.rstrip('/')}/{account}/{container[0]}"
        token = self._tokens.get(url)
        if token is None or token.end - dt.datetime.now(dt.UTC) < RENEWED_BEFORE:
            token = self._tokens[url] = self._new_token(url)
        return Access(f"{href}{'&' if parts.query else '?'}{token.query}")

    def forget(self) -> None:
        """Forget all tokens."""
        self._tokens.clear()

    def _new_token(self, url: str) -> _Token:
        key = _planetary_setting("PC_SDK_SUBSCRIPTION_KEY")
        headers = {"Ocp-Apim-Subscription-Key": key} if key else {}
        try:
            told = read_json(self._remote.read_all(Access(url, headers), 2**20), 1000)
            token, end = text(told["token"], 2**14), text(told["msft:expiry"], 100)
            ends = dt.datetime.fromisoformat(end)
        except (Gone, Corrupt, Refused) as error:
            # They say of the service what would lose a scene if a file said it.
            raise Expired(f"no token: {error}") from None
        except (ValueError, KeyError, TypeError):
            raise Expired(f"{plain(url)} gave no token") from None
        if not QUERY.fullmatch(token):
            raise Expired(f"{plain(url)} gave no token")
        return _Token(token, ends if ends.tzinfo else ends.replace(tzinfo=dt.UTC))


def _planetary_setting(name: str) -> str:
    """A setting of Planetary Computer: the environment's, or the file's; empty if there is none."""
    if name in os.environ:
        return os.environ[name]
    try:
        with open(os.path.expanduser(SETTINGS), encoding="utf-8") as file:
            lines = file.read(2**16).splitlines()
    except (OSError, ValueError):
        return ""
    pairs = [line.strip().removeprefix("export ").partition("=") for line in lines]
    found = [value.strip() for key, _, value in pairs if key.strip() == name]
    return found[-1].strip("'\"") if found else ""


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
        self._planetary = planetary or PlanetaryTokens(remote)
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
