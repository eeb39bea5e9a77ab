"""HTTP requests whose every failure has a class, and that reach no private address unasked."""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from tessera_mosaic.pipeline import __version__
from tessera_mosaic.pipeline.errors import Corrupt, Expired, Gone, Refused, Throttled, TimedOut
from tessera_mosaic.pipeline.io.throttle import IN_FLIGHT, Accounts
from tessera_mosaic.pipeline.io.urls import plain

SLOWEST = 20_000
"""Bytes a second under which an answer, after `Patience.read` seconds, counts as none."""

CONTENT_RANGE = re.compile(
    r"bytes (?P<first>\d{1,18})-(?P<last>\d{1,18})/(?P<total>\d{1,18}|\*)", re.ASCII
)
"""What a part of a file is, by RFC 9110."""


CARRYING = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::ffff:0:0:0/96")))
"""Addresses whose last bits are of version 4, which gateways translate (RFC 6052, RFC 2765)."""


@dataclass(frozen=True)
class Patience:
    """How long servers are waited for, and how soon they are asked again.

    Parameters
    ----------
    connect, read
        Seconds without a connection, and without a byte, after which a request counts as
        unanswered.
    pause
        Seconds before a request is sent for the second time. Most failures are gone by then.
    """

    connect: float = 10.0
    read: float = 30.0
    pause: float = 0.2

    def timeout(self) -> urllib3.Timeout:
        """The same for urllib3."""
        return urllib3.Timeout(connect=self.connect, read=self.read)


ORDINARY = Patience()
"""What suits public providers."""


@dataclass(frozen=True)
class Answer:
    """What an HTTP server said.

    Parameters
    ----------
    status, headers
        Of the answer.
    data
        As much of the body as was asked for.
    url
        Address that answered: where the one that was asked led to.
    """

    status: int
    headers: Mapping[str, str]
    data: bytes
    url: str = ""


class Web:
    """Connections to servers, shared by the threads of a process.

    They go through the proxy that the environment names, if it names one: it is the proxy then
    that looks up names, and that has to keep them out of private networks.

    Parameters
    ----------
    trusted
        Hosts that may have private addresses, in lower case.
    accounts
        Number of requests that each server bears at a time, and the pauses that it asks for.
    patience
        How long servers are waited for.
    """

    def __init__(self, trusted: Collection[str], accounts: Accounts, patience: Patience) -> None:
        self._accounts, self._patience = accounts, patience
        self._direct = _pool(trusted, patience)
        self._proxies = getproxies()
        self._proxied: dict[str, urllib3.PoolManager] = {}

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], limit: int, body: bytes | None
    ) -> Answer:
        """Send one request and read the answer.

        Parameters
        ----------
        method
            `GET` or `POST`.
        url
            Address to ask.
        headers
            Names and values to send beside `User-Agent`.
        limit
            Most bytes of the body that are read.
        body
            Bytes to send; None for none.

        Raises
        ------
        SceneError
            Of the class of what went wrong; Refused if the host is where it may not be.
        """
        account = self._accounts[urlsplit(url).netloc]
        where = plain(url)
        with account.turn():
            try:
                response = self._pool_to(url).request(
                    method,
                    url,
                    body=body,
                    headers={"User-Agent": f"tessera-mosaic/{__version__}", **headers},
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                )
                try:
                    answer = Answer(
                        response.status,
                        response.headers,
                        drain(response, limit, self._patience.read),
                        url,
                    )
                except BaseException:
                    response.close()
                    raise
                finally:
                    response.release_conn()
            except urllib3.exceptions.TimeoutError:
                raise TimedOut(f"{where} does not answer") from None
            except urllib3.exceptions.ProtocolError as error:
                if isinstance(error.args[-1], http.client.IncompleteRead):
                    raise Corrupt(f"the answer of {where} breaks off") from None
                raise TimedOut(f"{where} does not answer: {error}"[:300]) from None
            except (ValueError, http.client.InvalidURL):
                raise Refused(f"{where} is no address") from None
            except urllib3.exceptions.HTTPError as error:
                if isinstance(error.__cause__, Refused):
                    raise error.__cause__ from None
                raise TimedOut(f"{where} cannot be reached: {type(error).__name__}") from None
        if answer.status in (429, 503):
            account.throttled(retry_after(answer.headers.get("Retry-After")))
        else:
            account.served()
        _raise_for_status(answer.status, where)
        return answer

    def _pool_to(self, url: str) -> urllib3.PoolManager:
        """The connections that lead to an address."""
        parts = urlsplit(url)
        proxy = self._proxies.get(parts.scheme) or self._proxies.get("all")
        host = parts.hostname or ""
        if proxy is None or host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host):
            return self._direct
        return self._proxied.setdefault(proxy, _through(proxy, self._patience))


def _pool(trusted: Collection[str], patience: Patience) -> urllib3.PoolManager:
    """Connections that look where they have arrived before they say a word."""

    def arrived(connection: HTTPConnection) -> None:
        if connection.host.lower() not in trusted and connection.sock is not None:
            try:
                refuse_private(connection.sock.getpeername()[0], connection.host)
            except Refused as error:
                connection.close()
                raise urllib3.exceptions.HTTPError(str(error)) from error

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            arrived(self)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            arrived(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    pool = urllib3.PoolManager(**_settings(patience))
    pool.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return pool


def _settings(patience: Patience) -> dict[str, Any]:
    return {"num_pools": 64, "maxsize": IN_FLIGHT, "timeout": patience.timeout()}


def _through(proxy: str, patience: Patience) -> urllib3.PoolManager:
    """Connections by way of a proxy."""
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=login) if parts.username else None
        return urllib3.ProxyManager(place, proxy_headers=headers, **_settings(patience))
    except (ValueError, urllib3.exceptions.HTTPError):
        raise Refused("the proxy that the environment names is not at an http address") from None


def refuse_private(address: str, host: str) -> None:
    """Refuse an address of a private network, or of this machine.

    Parameters
    ----------
    address
        Number of version 4 or 6, or a name: names pass, until they have led to a number.
    host
        What the catalogue calls the place, for the message.

    Raises
    ------
    Refused
        If it is one.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        if address.lower() == "localhost" or address.lower().endswith(".localhost"):
            raise Refused(f"{host} is this machine, where the catalogue may not point") from None
        return
    ip = _carried(ip) if isinstance(ip, ipaddress.IPv6Address) else ip
    if not ip.is_global or ip.is_multicast:
        raise Refused(
            f"{host} is at the private address {ip}, where the catalogue may not point: "
            f"allow the host if it should"
        )


def _carried(
    ip: ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Address of version 4 that one of version 6 carries and leads to; itself if it has none."""
    for network in CARRYING:
        if ip in network:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def drain(response: urllib3.BaseHTTPResponse, limit: int, patience: float) -> bytes:
    """The body of an answer, unless it comes too slowly.

    Parameters
    ----------
    response
        Answer whose head has been read.
    limit
        Most bytes that are read.
    patience
        Seconds after which `SLOWEST` bytes a second have to have come.

    Raises
    ------
    urllib3.exceptions.TimeoutError
        If fewer have.
    """
    began, parts, size = time.monotonic(), [], 0
    while size < limit and (part := response.read(min(limit - size, 1 << 20))):
        parts.append(part)
        size += len(part)
        if time.monotonic() - began > patience + size / SLOWEST:
            raise urllib3.exceptions.TimeoutError
    if response.length_remaining != 0:
        # What was not read must not be taken for the next answer.
        response.close()
    return b"".join(parts)


def ranged(answer: Answer, where: str, start: int, length: int) -> bytes:
    """Bytes of an answer to a request for a part of a file.

    Parameters
    ----------
    answer
        Answer of the server.
    where
        Address that was asked, for the message.
    start, length
        First byte, and number of bytes, that were asked for.

    Raises
    ------
    Corrupt
        If they are others.
    """
    data = answer.data
    if answer.status == 200:
        if start == 0 and len(data) < length:
            return data
        raise Corrupt(f"{where}: the server does not read parts of files")
    place = answer.headers.get("Content-Range", "")
    match = CONTENT_RANGE.fullmatch(place)
    if match is None or int(match["first"]) != start:
        raise Corrupt(f"{where}: the server sent {place[:80]!r}, not what was asked for")
    sent = int(match["last"]) - start + 1
    expected = sent if match["total"] == "*" else min(length, int(match["total"]) - start)
    if len(data) != expected or sent != expected:
        raise Corrupt(f"{where}: {len(data)} bytes came of {expected}")
    return data


def whole_size(answer: Answer, where: str) -> int:
    """Number of bytes of the whole file of which an answer has a part.

    Raises
    ------
    Corrupt
        If the answer does not say.
    """
    match = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if match is None or match["total"] == "*":
        raise Corrupt(f"{where}: the server does not read parts of files")
    return int(match["total"])


def _raise_for_status(status: int, where: str) -> None:
    said = f"{where}: HTTP {status}"
    if status in (401, 403, 409):
        raise Expired(said)
    if status in (404, 410):
        raise Gone(said)
    if status in (429, 503):
        raise Throttled(said)
    if status == 408 or status >= 500:
        raise TimedOut(said)
    if not 200 <= status < 400:
        raise Corrupt(said)


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
