"""Bytes of objects by their addresses, for catalogues that nobody vouches for.

An address is only followed where its catalogue may point. Every failure has a class of `errors`,
which says how often the request is tried again.
"""

from __future__ import annotations

import dataclasses
import random
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

from tessera_mosaic.pipeline.errors import Corrupt, Expired, Gone, Refused, SceneError
from tessera_mosaic.pipeline.io import buckets
from tessera_mosaic.pipeline.io.buckets import Buckets
from tessera_mosaic.pipeline.io.encodings import unpacked
from tessera_mosaic.pipeline.io.http import (
    MOST_SAID,
    ORDINARY,
    Answer,
    Incoming,
    Patience,
    Received,
    Web,
    ranged,
    whole_size,
)
from tessera_mosaic.pipeline.io.private_hosts import Hosts
from tessera_mosaic.pipeline.io.regular_files import file_size, read_part
from tessera_mosaic.pipeline.io.stop_sign import pause
from tessera_mosaic.pipeline.io.throttle import LONGEST_PAUSE, Accounts
from tessera_mosaic.pipeline.io.urls import (
    GDAL,
    WEB,
    for_host,
    has_credential,
    is_local,
    local_path,
    plain,
    scheme_of,
)

REDIRECTS = (301, 302, 303, 307, 308)
"""What servers answer that lead elsewhere."""

MAX_REDIRECTS = 5
"""Most places to which one address may lead in a row."""

MOST_MOVED = 10_000
"""Number of addresses of which it is remembered where they led."""

T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """How to fetch an object: its address and the headers that have to go with it."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Remote:
    """Fetches what a catalogue points to. Safe to use from many threads.

    Parameters
    ----------
    root
        Address of the catalogue. A remote one may not point to local files, and none may point
        to private addresses but those at which the root's own host is found at first.
    allow_hosts
        Further hosts that may have private addresses.
    patience
        How long servers are waited for, and how soon they are asked again.
    found
        Private addresses at which another process found the root's host; None where none has.

    Attributes
    ----------
    is_local
        Whether the catalogue is on this machine.
    hosts
        Which hosts may be at private addresses.
    """

    def __init__(
        self,
        root: str = "",
        allow_hosts: Collection[str] = (),
        patience: Patience = ORDINARY,
        found: Collection[str] | None = None,
    ):
        self.is_local = is_local(root)
        self._pause = patience.pause
        self.hosts = Hosts("" if self.is_local else _host(root), allow_hosts, found)
        self._accounts = Accounts(patience.pause)
        self._web = Web(self.hosts, self._accounts, patience)
        self._buckets = Buckets(self._accounts)
        self._moved: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, access: Access, start: int, length: int) -> Received:
        """Read a part of an object.

        Parameters
        ----------
        access
            Address of the object.
        start, length
            First byte, and number of bytes.

        Returns
        -------
        So many bytes; fewer only where the object ends before.

        Raises
        ------
        SceneError
            Of the class of what went wrong.
        """
        url, stop = access.url, start + length
        scheme = self.check(url)
        if not scheme:
            return read_part(local_path(url), start, length)
        if scheme in buckets.SCHEMES:
            return self._buckets.read(url, start, stop)
        headers = {**access.headers, "Range": f"bytes={start}-{stop - 1}"}
        answer = self._request("GET", url, headers, length)
        try:
            return ranged(answer, url, start, length)
        except Corrupt:
            self._forget(url)
            raise

    def read_all(self, access: Access, limit: int) -> Received:
        """Read a whole document, as `get` does."""
        return self.get(access, limit).data

    def get(self, access: Access, limit: int) -> Answer:
        """Read a whole document, and what its server says of it.

        Parameters
        ----------
        access
            Address of the document.
        limit
            Most bytes that it may have.

        Returns
        -------
        The answer, whose `data` is the document; one that came compressed is no longer so.
        Without headers where the address is not on the web.

        Raises
        ------
        SceneError
            Of the class of what went wrong; `Corrupt` if it has more bytes than the limit.
        """
        url = access.url
        scheme = self.check(url)
        if not scheme:
            answer = Answer(200, {}, read_part(local_path(url), 0, limit + 1), url)
        elif scheme in buckets.SCHEMES:
            data = self._buckets.read(url, 0, limit + 1)
            answer = Answer(200, {}, data, url)
        else:
            answer = self._request("GET", url, access.headers, limit + 1)
        return _unpacked(answer, url, limit)

    def post(self, url: str, body: bytes, headers: Mapping[str, str], limit: int) -> Answer:
        """Send a document, and read the whole answer, which may have so many bytes."""
        self.check(url)
        return _unpacked(self._request("POST", url, headers, limit + 1, body), url, limit)

    def first_bytes(self, access: Access, length: int) -> Received:
        """The first bytes of an object, also where its server does not read parts of files."""
        if self.check(access.url) in WEB:
            return self._request("GET", access.url, access.headers, length).data
        return self.read(access, 0, length)

    def files_below(self, url: str) -> list[str]:
        """Addresses of all files in a folder of a bucket, by name; of a file, itself."""
        scheme = self.check(url)
        found = self._buckets.ask(url, lambda store: store.find(url.rstrip("/")))
        return sorted(f"{scheme}://{path.partition('://')[2] or path}" for path in found)

    def size(self, access: Access) -> int:
        """Number of bytes of an object."""
        url = access.url
        scheme = self.check(url)
        if not scheme:
            return file_size(local_path(url))
        if scheme in buckets.SCHEMES:
            return self._buckets.size(url)
        answer = self._request("GET", url, {**access.headers, "Range": "bytes=0-0"}, 1)
        return whole_size(answer, plain(url))

    @contextmanager
    def opened(self, access: Access) -> Iterator[Incoming]:
        """An object of the web, to be read a piece at a time in the block.

        Parameters
        ----------
        access
            Address of the object, and headers: those of an `Accept-Encoding` and a `Range` too.

        Raises
        ------
        SceneError
            Of the class of what went wrong.
        """
        if self.check(access.url) not in WEB:
            raise Refused(f"{plain(access.url)} is no address of the web")
        with self._led("GET", access.url, access.url, access.headers) as incoming:
            yield incoming

    def check(self, url: str) -> str:
        """Refuse an address that the catalogue may not point to.

        Returns
        -------
        Its scheme, empty for a file of this machine. Callers go by it alone.

        Raises
        ------
        Refused
            If it is a local file of a remote catalogue, a private address or of another scheme.
        """
        if is_local(url):
            if url.startswith(GDAL):
                raise Refused(
                    f"{url[:200]} is an address of GDAL's: /vsicurl/, /vsis3/ and /vsigs/ are "
                    "followed where a catalogue has them, and others are not"
                )
            if not self.is_local:
                raise Refused(f"a remote catalogue may not point to the local file {url[:200]}")
            return ""
        scheme = scheme_of(url)
        if scheme not in (*WEB, *buckets.SCHEMES):
            raise Refused(
                f"{plain(url)[:200]} is of the scheme {scheme[:20]!r}: only http, https, gs and s3 "
                "are followed"
            )
        try:
            parts = urlsplit(url)
            sound = parts.port != 0 and url.isprintable()
        except ValueError:
            sound = False
        if not sound:
            raise Refused(f"{plain(url)[:200]!r} is no address")
        if parts.username is not None or not parts.hostname:
            raise Refused(f"{plain(url)[:200]} is no plain address")
        if scheme in WEB:
            self.hosts.check(parts.hostname)
        return scheme

    def persist(
        self,
        work: Callable[[], T],
        url: str,
        answer: Callable[[SceneError], None] = lambda error: None,
    ) -> T:
        """Do some work on an object again while the class of its failure says that this may help.

        Parameters
        ----------
        work
            Function that raises a `SceneError` where it fails.
        url
            Address of the object. What a local disk answers is final.
        answer
            Function that is told each failure before the next try, for example to renew a
            credential.

        Raises
        ------
        SceneError
            The last failure, once there were `request_tries` of its class.
        """
        failures: Counter[type[SceneError]] = Counter()
        while True:
            try:
                return work()
            except SceneError as error:
                kind = type(error)
                failures[kind] += 1
                if failures[kind] >= self._tries(kind, url):
                    raise
                answer(error)
            if kind.backs_off:
                wait = self._pause * 3 ** (failures[kind] - 1) * random.uniform(0.5, 1.0)
                pause(min(wait, LONGEST_PAUSE))

    def _tries(self, kind: type[SceneError], url: str) -> int:
        """Number of failures of one class after which an object is given up."""
        if is_local(url):
            return 1
        # The libraries of the object stores have tried several times before they give up.
        return kind.request_tries if scheme_of(url) in WEB else min(kind.request_tries, 2)

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        limit: int,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request to where its address was found to lead before, or to the address."""
        with self._lock:
            target = self._moved.get(url, url)
        if target != url:
            try:
                return self._follow(method, url, target, headers, limit, body)
            except SceneError as error:
                self._forget(url)
                if not isinstance(error, Expired | Gone):
                    raise
        return self._follow(method, url, url, headers, limit, body)

    def _follow(
        self,
        method: str,
        url: str,
        target: str,
        headers: Mapping[str, str],
        limit: int,
        body: bytes | None,
    ) -> Answer:
        """Send a request, follow where the answers lead, and remember where they did."""
        with self._led(method, url, target, headers, body) as incoming:
            answer = Answer(incoming.status, incoming.headers, incoming.data(limit), incoming.url)
        if answer.url != url and method == "GET":
            with self._lock:
                self._moved[url] = answer.url
                if len(self._moved) > MOST_MOVED:
                    self._moved.popitem(last=False)
        return answer

    @contextmanager
    def _led(
        self,
        method: str,
        url: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> Iterator[Incoming]:
        """The head of the answer from where the answers lead, with its body to be read."""
        for _ in range(MAX_REDIRECTS + 1):
            told = for_host(headers, url, target)
            with self._web.ask(
                method, target, told, body, lambda: has_credential(url, headers)
            ) as incoming:
                if incoming.status not in REDIRECTS:
                    yield incoming
                    return
                incoming.data(MOST_SAID)
                location = incoming.headers.get("location", "")
            try:
                target = urljoin(target, location)
            except ValueError:
                raise Refused(f"{plain(url)} leads to what is no address") from None
            if self.check(target) not in WEB:
                raise Refused(f"{plain(url)} leads to {plain(target)[:200]}")
        raise Corrupt(f"{plain(url)} leads from place to place without end")

    def _forget(self, url: str) -> None:
        """Forget where an address was found to lead."""
        with self._lock:
            self._moved.pop(url, None)


def _host(url: str) -> str:
    """Host of an address, empty if it makes no sense."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _unpacked(answer: Answer, url: str, limit: int) -> Answer:
    """An answer whose body is no longer compressed, and no larger than may be."""
    where = plain(url)
    if answer.status == 416:
        raise Corrupt(f"{where}: HTTP 416")
    if len(answer.data) > limit:
        raise Corrupt(f"{where} has more than {limit:,} bytes")
    codings = answer.headers.get("content-encoding", "")
    return dataclasses.replace(answer, data=unpacked(bytes(answer.data), codings, limit, where))
