"""HTTP requests whose every failure has a class, and whose answers come in time or not at all."""

from __future__ import annotations

import email.utils
import http.client
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.request import getproxies, proxy_bypass

from tessera_mosaic.pipeline import __version__
from tessera_mosaic.pipeline.errors import (
    Corrupt,
    Expired,
    Gone,
    Refused,
    SceneError,
    Throttled,
    TimedOut,
    TooSlow,
    Untrusted,
)
from tessera_mosaic.pipeline.io.certificates import CERTIFICATE, is_certificate, said_of
from tessera_mosaic.pipeline.io.connections import Connections, Deadline, Unreachable
from tessera_mosaic.pipeline.io.private_hosts import Hosts
from tessera_mosaic.pipeline.io.throttle import Accounts
from tessera_mosaic.pipeline.io.urls import has_credential, plain
from tessera_mosaic.pipeline.io.web_addresses import Address, Proxy, Server

SLOWEST = 20_000
"""Least rate of an answer in bytes a second, once `Patience.read` seconds have passed."""

CONTENT_RANGE = re.compile(
    r"bytes (?P<first>\d{1,18})-(?P<last>\d{1,18})/(?P<total>\d{1,18}|\*)", re.ASCII
)
"""What a part of a file is, by RFC 9110."""


PIECE = 1 << 18
"""Bytes that are read at once, 13 seconds of the slowest answer that is waited for."""

MOST_AT_ONCE = 1 << 23
"""Bytes for which there is room before they come; that for more is made as they do."""

MOST_SAID = 1 << 12
"""Bytes that are read of what servers say beside an error."""

Received = bytes | bytearray
"""Bytes that were received; nobody changes them, where they lie in a bytearray."""

SENT = {"User-Agent": f"tessera-mosaic/{__version__}", "Accept-Encoding": "identity"}
"""Headers of every request that names no others."""

FAILURES = OSError, http.client.HTTPException, ValueError
"""What goes wrong with requests, before it has a class."""


class Withheld(Gone):
    """Who sent no credential is refused, by which many stores say that there is no such object."""


@dataclass(frozen=True)
class Patience:
    """How long servers are waited for, and how soon they are asked again.

    Parameters
    ----------
    connect
        Seconds within which a connection has to be there.
    read
        Seconds without a byte after which a request counts as unanswered. It has to be sent, and
        the head of its answer to be there, within so many seconds of the connection.
    pause
        Seconds before a request is sent for the second time. Most failures are gone by then.
    """

    connect: float = 10.0
    read: float = 30.0
    pause: float = 0.2


ORDINARY = Patience()
"""What suits public providers."""


@dataclass(frozen=True)
class Answer:
    """What an HTTP server said.

    Parameters
    ----------
    status
        Of the answer.
    headers
        Values by name, in lower case; those of the same name one after another.
    data
        As much of the body as was asked for.
    url
        Address that answered: where the one that was asked led to.
    """

    status: int
    headers: Mapping[str, str]
    data: Received
    url: str = ""


class Incoming:
    """An answer whose head is there, and whose body comes as it is read.

    Parameters
    ----------
    response
        The answer.
    url
        Address that answers.
    deadline
        When what is read next has to be there.
    patience
        How long servers are waited for.

    Attributes
    ----------
    status, headers, url
        As of an `Answer`.
    """

    def __init__(
        self,
        response: http.client.HTTPResponse,
        url: str,
        deadline: Deadline,
        patience: Patience,
    ) -> None:
        self.status, self.url = response.status, url
        self.headers: dict[str, str] = {}
        for name, value in response.getheaders():
            said = self.headers.get(name.lower())
            self.headers[name.lower()] = value if said is None else f"{said}, {value}"
        self._response, self._deadline, self._patience = response, deadline, patience
        self._failed = False

    @property
    def is_whole(self) -> bool:
        """Whether the body was read to its end."""
        return self._response.isclosed() and not self._failed

    def pieces(self, limit: int) -> Iterator[bytes]:
        """The body, a piece at a time, in the thread that asked.

        Parameters
        ----------
        limit
            Most bytes that are read.

        Raises
        ------
        SceneError
            Of the class of what went wrong; `TooSlow` if they come at fewer than `SLOWEST` bytes
            a second, once `Patience.read` seconds have passed. So the whole of them takes no
            longer than these seconds and `limit / SLOWEST`, and one more.
        """
        began, size = time.monotonic(), 0
        while size < limit:
            wanted = min(limit - size, PIECE)
            with self._in_time(began, size + wanted):
                piece = self._response.read(wanted)
                if not piece and self._response.length:
                    raise http.client.IncompleteRead(b"", self._response.length)
            if not piece:
                return
            size += len(piece)
            yield piece

    def data(self, limit: int) -> Received:
        """As much of the body as may be, as `pieces` reads it."""
        length = self._response.length
        if not length or length > min(limit, MOST_AT_ONCE):
            return b"".join(self.pieces(limit))
        data, began, size = bytearray(length), time.monotonic(), 0
        while size < length:
            piece = memoryview(data)[size : size + PIECE]
            with self._in_time(began, size + len(piece)):
                came = self._response.readinto(piece)
                if came < len(piece):
                    raise http.client.IncompleteRead(b"", length - size - came)
            size += came
        return data

    @contextmanager
    def _in_time(self, began: float, size: int) -> Iterator[None]:
        """Have the body's first bytes come in the time that so many may take, since it began."""
        due = began + self._patience.read + size / SLOWEST
        self._deadline.set(due - time.monotonic())
        try:
            yield
        except FAILURES as error:
            self._failed = True
            raise _classed(error, self.url, self._deadline) from None


class Web:
    """Connections to servers, shared by the threads of a process.

    They go through the proxy that the environment names, if it names one: it is the proxy then
    that looks up names, and that has to keep them out of private networks.

    Parameters
    ----------
    hosts
        Which hosts may be at private addresses.
    accounts
        Number of requests that each server bears at a time, and the pauses that it asks for.
    patience
        How long servers are waited for.
    """

    def __init__(self, hosts: Hosts, accounts: Accounts, patience: Patience) -> None:
        self._hosts, self._accounts, self._patience = hosts, accounts, patience
        self._deadline = Deadline()
        self._direct = self._by_way_of(None)
        self._proxies = getproxies()
        self._proxied: dict[str, Connections] = {}

    @contextmanager
    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        proven: Callable[[], bool] = lambda: False,
    ) -> Iterator[Incoming]:
        """Send one request and wait for the head of the answer.

        Parameters
        ----------
        method
            `GET` or `POST`.
        url
            Address to ask.
        headers
            Names and values to send beside `User-Agent`.
        body
            Bytes to send; None for none.
        proven
            Whether a credential was sent to where the address came from. Where none was, a refusal
            is how many stores say that there is no such object.

        Returns
        -------
        The answer, to be read in the block; also one that leads elsewhere, or that says that a
        part of a file that was asked for is not there (416).

        Raises
        ------
        SceneError
            Of the class of what went wrong; Refused if the host is where it may not be.
        """
        try:
            address = Address.of(url)
        except ValueError as error:
            raise _classed(error, url, self._deadline) from None
        account, connections = self._accounts[address.server.authority], self._to(address.server)
        with account.turn():
            try:
                exchange = connections.ask(method, address, {**SENT, **headers}, body)
            except FAILURES as error:
                raise _classed(error, url, self._deadline) from None
            incoming = Incoming(exchange.response, url, self._deadline, self._patience)
            status = incoming.status
            try:
                if status in (429, 503):
                    account.throttled(retry_after(incoming.headers.get("retry-after")))
                else:
                    account.served()
                if not (200 <= status < 400 or status == 416):
                    # What servers say beside it is read, so that the connection can be kept.
                    incoming.data(MOST_SAID)
                    _raise_for_status(status, plain(url), has_credential(url, headers) or proven())
                yield incoming
            finally:
                connections.end(exchange, incoming.is_whole)

    def _to(self, server: Server) -> Connections:
        """The connections that lead to a server."""
        proxy, host = self._proxies.get(server.scheme) or self._proxies.get("all"), server.host
        if proxy is None or host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host):
            return self._direct
        if proxy not in self._proxied:
            self._proxied.setdefault(proxy, self._by_way_of(Proxy.of(proxy)))
        return self._proxied[proxy]

    def _by_way_of(self, proxy: Proxy | None) -> Connections:
        connect, read = self._patience.connect, self._patience.read
        return Connections(self._hosts, connect, read, self._deadline, proxy)


def _classed(error: Exception, url: str, deadline: Deadline) -> SceneError:
    """What became of a request to an address, in the class that it has for a scene."""
    where = plain(url)
    match error:
        case Unreachable():
            return TimedOut(f"{where} cannot be reached: {error}"[:300])
        case TimeoutError() if deadline.dripping:
            return TooSlow(f"{where} answers too slowly")
        case TimeoutError():
            return TimedOut(f"{where} does not answer")
        case http.client.IncompleteRead():
            return Corrupt(f"the answer of {where} breaks off")
        case ssl.SSLError() if is_certificate(error):
            return Untrusted(f"{where}: {CERTIFICATE} ({said_of(error)})")
        case OSError() | http.client.HTTPException():
            said = str(error) or type(error).__name__
            return TimedOut(f"{where} does not answer: {said}"[:300])
    return Refused(f"{where} is no address")


def ranged(answer: Answer, url: str, start: int, length: int) -> Received:
    """Bytes of an answer to a request for a part of a file.

    Parameters
    ----------
    answer
        Answer of the server.
    url
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
        raise Corrupt(f"{plain(url)}: the server does not read parts of files")
    place = answer.headers.get("content-range", "")
    match = CONTENT_RANGE.fullmatch(place)
    if match is None or int(match["first"]) != start:
        raise Corrupt(f"{plain(url)}: the server sent {place[:80]!r}, not what was asked for")
    sent = int(match["last"]) - start + 1
    expected = sent if match["total"] == "*" else min(length, int(match["total"]) - start)
    if len(data) != expected or sent != expected:
        raise Corrupt(f"{plain(url)}: {len(data)} bytes came of {expected}")
    return data


def whole_size(answer: Answer, where: str) -> int:
    """Number of bytes of the whole file of which an answer has a part.

    Raises
    ------
    Corrupt
        If the answer does not say.
    """
    match = CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    if match is None or match["total"] == "*":
        raise Corrupt(f"{where}: the server does not read parts of files")
    return int(match["total"])


def _raise_for_status(status: int, where: str, proven: bool) -> None:
    said = f"{where}: HTTP {status}"
    if status in (401, 403) and not proven:
        raise Withheld(f"{said} (no credential was sent)")
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
