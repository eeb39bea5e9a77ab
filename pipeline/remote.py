"""Bytes of objects by their addresses, for catalogues that nobody vouches for.

Every failure has a class of `pipeline.errors`, every request belongs to an account that bears so
many at a time, and an address is only followed where its catalogue may point.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import ipaddress
import os
import random
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit, urlunsplit

import fsspec
import urllib3
from fsspec.exceptions import FSTimeoutError
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from pipeline import __version__
from pipeline.errors import Corrupt, Expired, Gone, Refused, SceneError, Throttled, TimedOut

OBJECT_STORES = ("gs", "gcs", "s3")
"""Schemes that are read through fsspec, with the credentials of the environment."""

IN_FLIGHT = 64
"""Most requests to one account at a time, until it asks for patience."""

CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 30.0
"""Seconds without a connection or a byte after which a request counts as unanswered."""

SLOWEST = 20_000
"""Bytes a second under which an answer, after `READ_TIMEOUT`, counts as none."""

LONGEST_PAUSE = 300.0
"""Most seconds between two tries, also where Retry-After asks for more."""

MAX_REDIRECTS = 5
CREDENTIALS = ("authorization", "cookie")

TRIES: Mapping[type[SceneError], int] = {
    Expired: 3,
    Throttled: 12,
    TimedOut: 6,
    Corrupt: 5,
    Gone: 2,
}
"""How often a request may end in each class of error. All other classes are final at once."""

T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """How to fetch an object: its address and the headers that have to go with it."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What an HTTP server said."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def is_local(url: str) -> bool:
    """Whether an address is a file of this machine."""
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> str:
    """Path of a local address."""
    return url.removeprefix("file://")


def plain(url: str) -> str:
    """An address without its query, which may hold a credential, for messages and keys."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class Account:
    """The requests to one provider: so many at a time, and none while it asks for patience.

    The number is halved when the provider throttles, and grows again while it serves.

    Parameters
    ----------
    most
        Requests at a time at the best.
    pause
        Seconds to wait after the first throttling without Retry-After; doubled after each next.
    """

    def __init__(self, most: int = IN_FLIGHT, pause: float = 1.0) -> None:
        self._most, self._pause = most, pause
        self._limit, self._running, self._throttled = float(most), 0, 0
        self._not_before = 0.0
        self._turn = threading.Condition()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and hold it for one request."""
        with self._turn:
            while (wait := self._not_before - time.monotonic()) > 0 or self._running >= max(
                1, int(self._limit)
            ):
                self._turn.wait(wait if wait > 0 else None)
            self._running += 1
        try:
            yield
        finally:
            with self._turn:
                self._running -= 1
                self._turn.notify()

    def served(self) -> None:
        """Take note of an answer that was no throttling."""
        with self._turn:
            self._throttled = 0
            self._limit = min(self._limit + 1.0 / self._limit, self._most)

    def throttled(self, retry_after: float | None) -> None:
        """Take note of a throttling, and of the seconds that the provider asks for."""
        with self._turn:
            now = time.monotonic()
            if now >= self._not_before:
                # Requests that were on their way at the time are of the same throttling.
                self._limit = max(self._limit / 2, 1.0)
                self._throttled += 1
            wait = self._pause * 2 ** min(self._throttled - 1, 10) * random.uniform(0.5, 1.0)
            wait = wait if retry_after is None else retry_after
            self._not_before = max(self._not_before, now + min(wait, LONGEST_PAUSE))
            self._turn.notify_all()


class Remote:
    """Fetches what a catalogue points to. Safe to use from many threads.

    Parameters
    ----------
    root
        Address of the catalogue. A remote one may not point to local files, and none may point
        to private addresses but those of the root's own host.
    allow_hosts
        Further hosts that may have private addresses.
    pause
        Seconds before the first of several tries again; doubled before each next.
    """

    def __init__(self, root: str = "", allow_hosts: Collection[str] = (), pause: float = 1.0):
        self.is_local = is_local(root)
        self._pause = pause
        self._trusted = {host.lower() for host in allow_hosts}
        if not self.is_local:
            self._trusted.add((urlsplit(root).hostname or "").lower())
        self._pool = _pool(self._trusted)
        self._accounts: dict[str, Account] = {}
        self._moved: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, access: Access, start: int, length: int) -> bytes:
        """Read part of an object; fewer bytes than asked for only where it ends.

        Raises
        ------
        SceneError
            Of the class of what went wrong.
        """
        self.check(access.url)
        if is_local(access.url):
            return _read_file(local_path(access.url), start, length)
        if not access.url.startswith("http"):
            stop = start + length
            return self._store(access.url, lambda s: s.cat_file(access.url, start=start, end=stop))
        headers = {**access.headers, "Range": f"bytes={start}-{start + length - 1}"}
        answer = self._request("GET", access.url, headers, length)
        return _ranged(answer, plain(access.url), start, length)

    def read_all(self, access: Access, limit: int) -> bytes:
        """Read a whole object of at most so many bytes."""
        self.check(access.url)
        if is_local(access.url):
            data = _read_file(local_path(access.url), 0, limit + 1)
        elif not access.url.startswith("http"):
            data = self._store(access.url, lambda s: s.cat_file(access.url, end=limit + 1))
        else:
            data = self._request("GET", access.url, access.headers, limit + 1).data
        if len(data) > limit:
            raise Corrupt(f"{plain(access.url)} has more than {limit:,} bytes")
        return data

    def post(self, url: str, body: bytes, headers: Mapping[str, str], limit: int) -> Answer:
        """Send a document and read the answer of at most so many bytes."""
        self.check(url)
        return self._request("POST", url, headers, limit, body)

    def get(self, access: Access, limit: int) -> Answer:
        """Read an answer of at most so many bytes with its headers."""
        self.check(access.url)
        return self._request("GET", access.url, access.headers, limit)

    def size(self, access: Access) -> int:
        """Bytes of an object."""
        self.check(access.url)
        if is_local(access.url):
            try:
                return os.path.getsize(local_path(access.url))
            except OSError as error:
                raise Gone(f"{access.url}: {error.strerror}") from None
        if not access.url.startswith("http"):
            return self._store(access.url, lambda store: int(store.info(access.url)["size"]))
        answer = self._request("GET", access.url, {**access.headers, "Range": "bytes=0-0"}, 1)
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if not total.isdigit():
            raise Corrupt(f"{plain(access.url)}: the server does not read parts of files")
        return int(total)

    def check(self, url: str) -> None:
        """Refuse an address that the catalogue may not point to.

        Raises
        ------
        Refused
            If it is a local file of a remote catalogue, a private address or of another scheme.
        """
        if is_local(url):
            if not self.is_local:
                raise Refused(f"a remote catalogue may not point to the local file {url[:200]}")
            return
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", *OBJECT_STORES):
            raise Refused(f"{plain(url)[:200]} is of no scheme that is read: http, gs or s3")
        if parts.username is not None or not parts.hostname:
            raise Refused(f"{plain(url)[:200]} is no plain address")
        if parts.scheme in ("http", "https") and parts.hostname.lower() not in self._trusted:
            _refuse_private(parts.hostname, parts.hostname)

    def persist(
        self,
        work: Callable[[], T],
        url: str,
        answer: Callable[[SceneError], None] = lambda error: None,
    ) -> T:
        """Do some work on an object as often as the class of its failure deserves.

        Parameters
        ----------
        work
            Raises a `SceneError` where it fails.
        url
            Of the object. What a local disk answers is final.
        answer
            Told each failure before the next try, to renew, refresh or forget.
        """
        failures: Counter[type[SceneError]] = Counter()
        while True:
            try:
                return work()
            except SceneError as error:
                kind = type(error)
                failures[kind] += 1
                if is_local(url) or failures[kind] >= TRIES.get(kind, 1):
                    raise
                answer(error)
            if kind in (TimedOut, Corrupt):
                wait = self._pause * 2 ** (failures[kind] - 1) * random.uniform(0.5, 1.0)
                time.sleep(min(wait, LONGEST_PAUSE))

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        limit: int,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request, follow where it leads, and read at most so many bytes."""
        with self._lock:
            target = self._moved.get(url, url)
        if target != url:
            try:
                return self._ask(method, target, _for_host(headers, url, target), limit, body)
            except (Expired, Gone):
                with self._lock:
                    self._moved.pop(url, None)
        target = url
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._ask(method, target, _for_host(headers, url, target), limit, body)
            if answer.status not in (301, 302, 303, 307, 308):
                break
            target = urljoin(target, answer.headers.get("Location", ""))
            self.check(target)
            if is_local(target) or not target.startswith("http"):
                raise Refused(f"{plain(url)} leads to {plain(target)[:200]}")
        else:
            raise Corrupt(f"{plain(url)} leads from place to place without end")
        if target != url and method == "GET":
            with self._lock:
                self._moved[url] = target
                if len(self._moved) > 10_000:
                    self._moved.popitem(last=False)
        return answer

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str], limit: int, body: bytes | None
    ) -> Answer:
        """One request to one host."""
        account = self._account(urlsplit(url).netloc)
        where = plain(url)
        with account.turn():
            try:
                response = self._pool.request(
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
                    answer = Answer(response.status, response.headers, _drain(response, limit))
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
            except urllib3.exceptions.HTTPError as error:
                if isinstance(error.__cause__, Refused):
                    raise error.__cause__ from None
                raise TimedOut(f"{where} cannot be reached: {type(error).__name__}") from None
        if answer.status in (429, 503):
            account.throttled(_retry_after(answer.headers.get("Retry-After")))
        else:
            account.served()
        _raise_for_status(answer.status, where)
        return answer

    def _store(self, url: str, request: Callable[[Any], T]) -> T:
        """Ask an object store."""
        parts = urlsplit(url)
        account = self._account(f"{parts.scheme}://{parts.netloc}")
        with account.turn():
            try:
                result = request(fsspec.filesystem(parts.scheme))
            except Exception as error:
                # The libraries of the stores have errors of their own, hundreds of them.
                raise _store_error(error, plain(url), account) from None
        account.served()
        return result

    def _account(self, name: str) -> Account:
        with self._lock:
            return self._accounts.setdefault(name, Account(pause=self._pause))


def _pool(trusted: set[str]) -> urllib3.PoolManager:
    """Connections that look where they have arrived before they say a word."""

    def arrived(connection: HTTPConnection) -> None:
        if connection.host.lower() not in trusted and connection.sock is not None:
            try:
                _refuse_private(connection.sock.getpeername()[0], connection.host)
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

    pool = urllib3.PoolManager(
        num_pools=64,
        maxsize=IN_FLIGHT,
        timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
    )
    pool.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return pool


def _refuse_private(address: str, host: str) -> None:
    """Refuse an address of a private network; names pass, until they have led to an address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        if address.lower() == "localhost" or address.lower().endswith(".localhost"):
            raise Refused(f"{host} is this machine, where the catalogue may not point") from None
        return
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if not ip.is_global or ip.is_multicast:
        raise Refused(
            f"{host} is at the private address {ip}, where the catalogue may not point: "
            f"allow the host if it should"
        )


def _for_host(headers: Mapping[str, str], url: str, target: str) -> dict[str, str]:
    """Headers without the credentials, if they are for another host than the target's."""
    here, there = urlsplit(url), urlsplit(target)
    if (here.scheme, here.netloc) == (there.scheme, there.netloc):
        return dict(headers)
    return {name: value for name, value in headers.items() if name.lower() not in CREDENTIALS}


def _drain(response: urllib3.BaseHTTPResponse, limit: int) -> bytes:
    """The body, up to a limit, unless it comes too slowly."""
    began, parts, size = time.monotonic(), [], 0
    while size < limit and (part := response.read(min(limit - size, 1 << 20))):
        parts.append(part)
        size += len(part)
        if time.monotonic() - began > READ_TIMEOUT + size / SLOWEST:
            raise urllib3.exceptions.TimeoutError
    return b"".join(parts)


def _ranged(answer: Answer, where: str, start: int, length: int) -> bytes:
    """The bytes of a ranged answer, if they are those that were asked for."""
    data = answer.data
    if answer.status == 200:
        if start == 0 and len(data) < length:
            return data
        raise Corrupt(f"{where}: the server does not read parts of files")
    place = answer.headers.get("Content-Range", "")
    span, _, total = place.removeprefix("bytes ").partition("/")
    first, _, last = span.partition("-")
    if not (first.isdigit() and last.isdigit()) or int(first) != start:
        raise Corrupt(f"{where}: the server sent {place[:80]!r}, not what was asked for")
    expected = min(length, int(total) - start) if total.isdigit() else int(last) - start + 1
    if len(data) != expected or int(last) - start + 1 != expected:
        raise Corrupt(f"{where}: {len(data)} bytes came of {expected}")
    return data


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


def _retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _read_file(path: str, start: int, length: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        raise Gone(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise Corrupt(f"{path[:200]!r} cannot be opened: {error}") from None
    try:
        return os.pread(descriptor, length, start)
    except OSError as error:
        raise Corrupt(f"{path} cannot be read: {error}") from None
    finally:
        os.close(descriptor)


def _store_error(error: Exception, where: str, account: Account) -> SceneError:
    """Class of what an object store's library raised."""
    said = f"{where}: {type(error).__name__}: {error}"[:300]
    code = getattr(error, "code", getattr(error, "status", None))
    if isinstance(error, FileNotFoundError):
        return Gone(said)
    if isinstance(error, PermissionError) or code in (401, 403, "401", "403"):
        return Expired(said)
    if code in (429, 503, "429", "503") or "SlowDown" in said:
        account.throttled(None)
        return Throttled(said)
    if isinstance(error, FSTimeoutError | TimeoutError | OSError):
        return TimedOut(said)
    return Corrupt(said)
