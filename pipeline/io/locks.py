"""Locks in a store: one process at a time edits what several launchers share.

On local disk the kernel drops a lock with its holder. Elsewhere it is an object that its holder
renews; a waiter that has seen the same one for `Pace.expiry` seconds takes it away, and says so.
No clocks are compared. Object stores delete without conditions, so of the waiters for a lock of a
dead process only the one deletes it that could put up a claim to it. Where a store was seen not to
exclude (`exclusion`), and one is told that there is a single launcher, locks hold within the
process.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.io.exclusion import settled
from tessera_mosaic.pipeline.io.file_lock import Unlockable, lock_file
from tessera_mosaic.pipeline.io.local_files import PARTIAL
from tessera_mosaic.pipeline.io.stop_sign import pause
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import Asked, store_error, store_errors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How often a lock is looked at and renewed.

    Parameters
    ----------
    expiry
        Seconds after which a remote lock that nobody renews counts as left behind by the dead.
    renewal
        Seconds between two renewals: several may fail before a waiter takes over.
    poll
        Seconds between two looks of a waiter at a remote lock; a twentieth of them at a local one.
    told
        Seconds after which a waiter says for whom it waits.
    """

    expiry: float = 120.0
    renewal: float = 20.0
    poll: float = 1.0
    told: float = 10.0


USUAL = Pace()
"""The pace at which all processes that share a store have to keep their locks."""


@contextlib.contextmanager
def locked(storage: Storage, name: str, pace: Pace = USUAL) -> Iterator[None]:
    """Hold a lock that at most one process holds at a time.

    Parameters
    ----------
    storage
        What the processes share.
    name
        Name of the lock, the same for all of them.
    pace
        How often the lock is looked at and renewed.

    Raises
    ------
    StoreError
        If the store does not take it.
    BadInput
        If the store does not exclude, and nobody has said that there is a single launcher.
    """
    if storage.folder is not None:
        path = Path(storage.locate(f"{PARTIAL}/{name}.lock"))
        with _flocked(path, storage.url, pace):
            yield
        return
    storage = settled(storage)
    if not storage.excludes:
        with _turn(storage.url, name):
            yield
        return
    lease = _Lease(storage, name, pace)
    lease.take()
    ended = threading.Event()
    renewal = threading.Thread(target=lease.renew_until, args=(ended,), daemon=True)
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        lease.give_back()


class _Lease:
    """A lock on an object store: an object with its holder's token and how often it was renewed."""

    def __init__(self, storage: Storage, name: str, pace: Pace) -> None:
        self._storage, self._key, self._pace = storage, f"{PARTIAL}/{name}.lock", pace
        self._token = f"{_here()} {uuid.uuid4().hex} "

    def take(self) -> None:
        """Wait until the lock is free, or its holder silent for too long, and take it."""
        began = since = time.monotonic()
        seen, told = "", False
        while not self._created():
            asked = time.monotonic()
            holder = self._holder()
            if holder.startswith(self._token):
                # The answer to a request that did put it was lost.
                return
            # Its holder cannot have renewed it while the store did not serve.
            if holder != seen or time.monotonic() - asked > self._pace.renewal:
                seen, since = holder, time.monotonic()
            silent = time.monotonic() - since
            if holder and silent > self._pace.expiry:
                self._bury(holder, alone=silent < 2 * self._pace.expiry)
            elif not told and time.monotonic() - began > self._pace.told:
                told = True
                log.warning("%s: waiting for %s", self._storage.locate(self._key), _who(holder))
            pause(self._pace.poll)

    def renew_until(self, ended: threading.Event) -> None:
        """Show that the holder lives."""
        number = 0
        while not ended.wait(self._pace.renewal):
            try:
                if not self._holder().startswith(self._token):
                    log.warning("%s was taken over", self._storage.locate(self._key))
                    return
                number += 1
                self._storage.write(self._key, f"{self._token}{number}".encode())
            except StoreError as error:
                log.warning("%s could not be renewed: %s", self._storage.locate(self._key), error)

    def give_back(self) -> None:
        """Remove the lock unless somebody has taken it over."""
        try:
            if self._holder().startswith(self._token):
                self._storage.delete(self._key)
        except StoreError as error:
            # What it was held for is done, and whoever waits for it takes it over.
            log.warning("%s is left behind: %s", self._storage.locate(self._key), error)

    def _created(self) -> bool:
        return self._storage.create(self._key, f"{self._token}0".encode())

    def _holder(self) -> str:
        try:
            return self._storage.read_document(self._key).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _bury(self, holder: str, alone: bool) -> None:
        """Take away the lock of the dead, if no other waiter is about to.

        Parameters
        ----------
        holder
            What the lock has held for too long.
        alone
            Whether another's claim counts: who put it up may have died since.
        """
        claim = f"{self._key}.{hashlib.sha256(holder.encode()).hexdigest()[:16]}"
        if not self._storage.create(claim, self._token.encode()) and alone:
            return
        if self._holder() == holder:
            log.warning(
                "%s was not renewed for %.0f s by %s, which is gone: it is free",
                self._storage.locate(self._key),
                self._pace.expiry,
                _who(holder),
            )
            self._storage.delete(self._key)
        self._storage.delete(claim)


@contextlib.contextmanager
def _flocked(path: Path, url: str, pace: Pace) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        with store_errors(url):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except FileNotFoundError as error:
                # Where nobody can make a folder, such as below /proc.
                raise store_error(Asked(url, "PUT"), error) from None
            file = held.enter_context(open(path, "a+", opener=_no_link))
            try:
                _wait_for(file.fileno(), path, pace)
            except Unlockable:
                _tell_unlockable(url)
                held.enter_context(_turn(url, path.name))
            while not os.fstat(file.fileno()).st_nlink:
                # Its holder removed it while we waited.
                file = held.enter_context(open(path, "a+", opener=_no_link))
                with contextlib.suppress(Unlockable):
                    _wait_for(file.fileno(), path, pace)
            file.truncate(0)
            file.write(_here())
            file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@functools.cache
def _tell_unlockable(url: str) -> None:
    """Say once of a store that its file system has no locks."""
    log.warning(
        "%s: its file system has no file locks: see that no other launcher, `publish` or `annual` "
        "is at work there meanwhile",
        url,
    )


def _wait_for(handle: int, path: Path, pace: Pace) -> None:
    began = time.monotonic()
    while time.monotonic() - began < pace.told:
        with contextlib.suppress(BlockingIOError):
            lock_file(handle, wait=False)
            return
        pause(pace.poll / 20)
    log.warning("%s: waiting for %s", path, _who(os.pread(handle, 200, 0).decode(errors="replace")))
    lock_file(handle)


def _no_link(path: str, flags: int) -> int:
    """Open a lock, whose content is replaced: a link to another file would have that one's be."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def _here() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


def _who(holder: str) -> str:
    return holder.split(" ")[0] or "another process"


@functools.cache
def _turn(url: str, name: str) -> threading.Lock:
    """The lock of this process of a name in a store."""
    return threading.Lock()
