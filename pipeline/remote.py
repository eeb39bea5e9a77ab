"""Bytes of objects by their addresses, for catalogues that nobody vouches for.

An address is only followed where its catalogue may point, and every failure has a class of
`pipeline.errors`, by which it is tried again.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import fsspec
from fsspec.exceptions import FSTimeoutError

from pipeline.accounts import LONGEST_PAUSE, Account, Accounts
from pipeline.errors import Corrupt, Expired, Gone, Refused, SceneError, Throttled, TimedOut
from pipeline.web import Answer, Web, plain, ranged, refuse_private

OBJECT_STORES = ("gs", "gcs", "s3")
"""Schemes that are read through fsspec, with the credentials of the environment."""

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

PAUSE = 0.2
"""Seconds before the first try again. Most failures are gone by then."""

T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """How to fetch an object: its address and the headers that have to go with it."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


def is_local(url: str) -> bool:
    """Whether an address is a file of this machine."""
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> str:
    """Path of a local address."""
    return url.removeprefix("file://")


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
        Seconds before the first try again; tripled before each next.
    """

    def __init__(self, root: str = "", allow_hosts: Collection[str] = (), pause: float = PAUSE):
        self.is_local = is_local(root)
        self._pause = pause
        self._trusted = {host.lower() for host in allow_hosts}
        if not self.is_local:
            self._trusted.add((urlsplit(root).hostname or "").lower())
        self._accounts = Accounts(pause)
        self._web = Web(self._trusted, self._accounts)
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
        return ranged(answer, plain(access.url), start, length)

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
        try:
            parts = urlsplit(url)
            sound = parts.port != 0 and url.isprintable()
        except ValueError:
            sound = False
        if not sound:
            raise Refused(f"{plain(url)[:200]!r} is no address")
        if parts.scheme not in ("http", "https", *OBJECT_STORES):
            raise Refused(f"{plain(url)[:200]} is of no scheme that is read: http, gs or s3")
        if parts.username is not None or not parts.hostname:
            raise Refused(f"{plain(url)[:200]} is no plain address")
        if parts.scheme in ("http", "https") and parts.hostname.lower() not in self._trusted:
            refuse_private(parts.hostname, parts.hostname)

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
                if failures[kind] >= self._tries(kind, url):
                    raise
                answer(error)
            if kind in (TimedOut, Corrupt):
                wait = self._pause * 3 ** (failures[kind] - 1) * random.uniform(0.5, 1.0)
                time.sleep(min(wait, LONGEST_PAUSE))

    def _tries(self, kind: type[SceneError], url: str) -> int:
        """How often an object may fail in one way: a disk's word is final."""
        if is_local(url):
            return 1
        # The libraries of the object stores have tried several times before they give up.
        return TRIES.get(kind, 1) if url.startswith("http") else min(TRIES.get(kind, 1), 2)

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
                return self._web.ask(method, target, _for_host(headers, url, target), limit, body)
            except (Expired, Gone):
                with self._lock:
                    self._moved.pop(url, None)
        target = url
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._web.ask(method, target, _for_host(headers, url, target), limit, body)
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

    def _store(self, url: str, request: Callable[[Any], T]) -> T:
        """Ask an object store."""
        parts = urlsplit(url)
        account = self._accounts[f"{parts.scheme}://{parts.netloc}"]
        with account.turn():
            try:
                result = request(_file_system(parts.scheme))
            except Exception as error:
                # The libraries of the stores have errors of their own, hundreds of them.
                raise _store_error(error, plain(url), account) from None
        account.served()
        return result


def _for_host(headers: Mapping[str, str], url: str, target: str) -> dict[str, str]:
    """Headers without the credentials, if they are for another host than the target's."""
    here, there = urlsplit(url), urlsplit(target)
    if (here.scheme, here.netloc) == (there.scheme, there.netloc):
        return dict(headers)
    return {name: value for name, value in headers.items() if name.lower() not in CREDENTIALS}


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


def _file_system(scheme: str) -> Any:
    """The file system of an object store, which fsspec keeps."""
    # What its library would log is in the errors that it raises.
    logging.getLogger({"s3": "s3fs"}.get(scheme, "gcsfs")).setLevel(logging.CRITICAL)
    return fsspec.filesystem(scheme)


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
