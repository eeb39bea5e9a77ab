"""Bytes by key: a folder, a bucket, or any other place that fsspec knows.

A write is whole and atomic on local disk and on the object stores: a reader finds the old object or
the new one, never a part. On disk that is a temporary file, flushed and then renamed; on an object
store it is one upload. What else fsspec opens (SFTP, say) keeps this as far as its own writes do.
Credentials come from the environment alone.

Whatever a store's client raises leaves here as a `StoreError` of the class that tells what to do
about it, or as `BadInput` where there is no such store; an absent object is a `FileNotFoundError`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from fsspec.core import split_protocol

from tessera_mosaic.pipeline.errors import Altered, BadInput, StoreError
from tessera_mosaic.pipeline.io.file_systems import ATTEMPTS, OPTIONS, file_system, persist
from tessera_mosaic.pipeline.io.local_files import (
    PARTIAL,
    create_file,
    list_files,
    replacing_file,
    sweep_folder,
)
from tessera_mosaic.pipeline.io.regular_files import open_regular, refuse_leading_out
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.io.urls import WEB, scheme_of

MOST_READ = 1 << 31
"""Bytes of a file of this machine, at and beyond which it is not read at once."""

NAMING_USERS = ("sftp", "ssh")
"""Protocols whose addresses may name a user, which is no secret."""

T = TypeVar("T")


@dataclass(frozen=True)
class Storage:
    """Objects under one root.

    Parameters
    ----------
    url
        A local path, or a URL that fsspec opens: `gs://`, `s3://`, `memory://`.
    """

    url: str

    def __post_init__(self) -> None:
        protocol, path = split_protocol(str(self.url))
        _refuse_secrets(str(self.url))
        if protocol in (None, "file", "local"):
            object.__setattr__(self, "url", str(Path(path).expanduser().absolute()))
        else:
            if ".." in path.split("/"):
                raise BadInput(f"store {self.url}: an address on an object store has no '..'")
            object.__setattr__(self, "url", str(self.url).rstrip("/"))

    @property
    def folder(self) -> Path | None:
        """The root on this machine; None elsewhere."""
        return None if "://" in self.url else Path(self.url)

    @property
    def protocol(self) -> str:
        """What comes before `://`; `file` for a path."""
        return self.url.partition("://")[0] if "://" in self.url else "file"

    @property
    def options(self) -> dict[str, Any]:
        """What fsspec opens the place with, for readers that open it by its URL."""
        return OPTIONS.get(self.protocol, {})

    def locate(self, key: str) -> str:
        """Find the path or URL of an object.

        Raises
        ------
        StoreError
            If the key, or a link on its way, leads out of the store: both may come with the store.
        """
        if key.startswith("/") or ".." in key.split("/") or "\0" in key:
            raise StoreError(f"{self.url}: key {key!r} leads out of the store")
        path = f"{self.url}/{key}" if key else self.url
        if self.folder is not None:
            refuse_leading_out(self.url, path)
        return path

    def read(self, key: str) -> bytes:
        """Read an object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        path = self.locate(key)
        if self.folder is not None:
            return self._read_here(path, 0, MOST_READ)
        return self._ask(lambda files: files.cat_file(path))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of an object, or what there is of it where the object ends before.

        Parameters
        ----------
        key
            Of the object.
        start, length
            First byte, and number of bytes.

        Raises
        ------
        FileNotFoundError
            If there is no such object.
        """
        path = self.locate(key)
        if self.folder is not None:
            return self._read_here(path, start, length)
        try:
            return self._ask(lambda files: files.cat_file(path, start=start, end=start + length))
        except StoreError as error:
            # Object stores refuse a range that begins behind the end, each library in its words.
            said = error.__cause__
            if 416 in (getattr(said, "code", 0), getattr(said, "status", 0)):
                return b""
            if isinstance(said, OSError) and said.errno == errno.EINVAL:
                return b""
            raise

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object, in one request that lists nothing."""
        if self.folder is not None:
            return Path(self.locate(key)).is_file()
        try:
            self.read_range(key, 0, 1)
        except FileNotFoundError:
            return False
        return True

    def holds(self, prefix: str) -> bool:
        """Tell whether there is anything in a folder, without listing what is below it.

        Raises
        ------
        StoreError
            If the store cannot be listed, or may not be.
        """
        if self.folder is not None:
            place = self.folder / prefix
            return place.is_dir() and any(place.iterdir())
        if scheme_of(self.url) in WEB:
            raise StoreError(f"{self.url} cannot be listed: it is on the web")
        path = self.locate(prefix.rstrip("/"))
        return bool(self._ask(lambda files: files.isdir(path)))

    def size(self, key: str) -> int:
        """Number of bytes of an object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        path = self.locate(key)
        if self.folder is not None:
            with self._opened_here(path) as descriptor:
                return os.fstat(descriptor).st_size
        return int(self._ask(lambda files: files.info(path))["size"])

    def list(self, prefix: str) -> Iterator[str]:
        """Keys of the objects in a folder and below it, in the order of the alphabet."""
        path = self.locate(prefix.rstrip("/"))
        if self.folder is not None:
            with store_errors(self.url):
                yield from list_files(self.folder, Path(path))
            return
        root, found = self._ask(lambda files: (files._strip_protocol(self.url), files.find(path)))
        keys = (path[len(root) :].lstrip("/") for path in sorted(found))
        yield from (key for key in keys if not key.startswith(f"{PARTIAL}/"))

    def delete(self, key: str) -> None:
        """Remove an object; that there is none is no error."""
        path = self.locate(key)
        with contextlib.suppress(FileNotFoundError):
            self._ask(lambda files: files.rm_file(path))

    def write(self, key: str, data: bytes) -> None:
        """Put an object, in place of any that was there."""
        if self.folder is None:
            path = self.locate(key)
            self._put(lambda files: files.pipe_file(path, data))
            return
        with self.replacing(key) as file:
            file.write(data)

    def put_file(self, key: str, path: str | os.PathLike[str]) -> None:
        """Put the bytes of a file of this machine, in place of any object that was there."""
        if self.folder is None:
            target = self.locate(key)
            self._put(lambda files: files.put_file(os.fspath(path), target))
            return
        with open(path, "rb") as source, self.replacing(key) as file:
            shutil.copyfileobj(source, file, 1 << 20)

    @contextlib.contextmanager
    def replacing(self, key: str) -> Iterator[IO[bytes]]:
        """Open a file whose content is put when the block ends without an error."""
        if self.folder is not None:
            target = Path(self.locate(key))
            self.locate(PARTIAL)
            with store_errors(self.url), replacing_file(self.folder, target) as part:
                yield part
            return
        # It has no name that a process that is killed would leave behind.
        with store_errors(tempfile.gettempdir()):
            file = tempfile.TemporaryFile()  # noqa: SIM115
        with file:
            yield file
            file.seek(0)
            self.put_file(key, f"/dev/fd/{file.fileno()}")

    def create(self, key: str, data: bytes) -> bool:
        """Put an object only if there is none.

        Returns
        -------
        Whether it was put; of several writers one is told so.
        """
        path = self.locate(key)
        if self.folder is not None:
            self.locate(PARTIAL)
            with store_errors(self.url):
                return create_file(self.folder, Path(path), data)
        try:
            # Not asked again: whether an unanswered request put it can only be seen by a look.
            self._put(lambda files: files.pipe_file(path, data, mode="create"), tries=1)
        except FileExistsError:
            return False
        return True

    def sweep(self) -> int:
        """Remove what killed writers left on this machine.

        Returns
        -------
        Number of files removed.
        """
        if self.folder is None:
            return 0
        self.locate(PARTIAL)
        return sweep_folder(self.folder)

    def _read_here(self, path: str, start: int, length: int) -> bytes:
        """Read a part of a file of this machine."""
        with self._opened_here(path) as descriptor:
            size = os.fstat(descriptor).st_size
            if min(size - start, length) >= MOST_READ:
                raise Altered(f"{path} has {size:,} bytes, more than are read at once")
            return b"".join(_parts(descriptor, start, min(length, max(size - start, 0))))

    @contextlib.contextmanager
    def _opened_here(self, path: str) -> Iterator[int]:
        """A regular file of this machine, open for reading."""
        with store_errors(self.url), contextlib.ExitStack() as stack:
            try:
                descriptor = open_regular(path)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    raise Altered(f"{path} is no file") from None
                raise
            stack.callback(os.close, descriptor)
            yield descriptor

    def _put(self, request: Callable[[Any], object], tries: int = ATTEMPTS) -> None:
        """Send a request that puts an object on a remote store."""
        try:
            self._ask(request, tries)
        except FileNotFoundError:
            raise BadInput(
                f"store {self.url}: there is no such bucket: make it, or check its name"
            ) from None

    def _ask(self, request: Callable[[Any], T], tries: int = ATTEMPTS) -> T:
        """Send a request to the store's file system, again where a remote one does not answer."""
        remote = self.folder is None
        files = file_system(self.url if remote else "")
        return persist(self.url, lambda: request(files), tries if remote else 1)


def _parts(descriptor: int, start: int, length: int) -> Iterator[bytes]:
    """Bytes of an open file from one on, so many or to its end."""
    while length > 0 and (part := os.pread(descriptor, min(length, 1 << 30), start)):
        yield part
        start, length = start + len(part), length - len(part)


def _refuse_secrets(address: str) -> None:
    """Refuse an address of a store that holds what may be a secret, or that names another within.

    Raises
    ------
    BadInput
        Without the address, of which nobody can tell what in it is secret.
    """
    protocol, mark, rest = address.partition("://")
    told = f"store {protocol.rpartition('::')[2]}://..."
    if not mark or protocol in ("file", "local"):
        return
    if "::" in protocol or re.search(r"::[\w+.-]+://", rest):
        raise BadInput(f"{told}: a store is one place: give its own address, without '::'")
    place = rest.partition("/")[0]
    user, has_user, host = place.rpartition("@")
    port = host.rpartition("]")[2].partition(":")[2]
    if ":" in user or not (port.isdecimal() or not port):
        what = "a password"
    elif has_user and protocol not in NAMING_USERS:
        what = "a user or a token"
    elif "?" in rest or "#" in rest:
        what = "a query"
    else:
        return
    raise BadInput(f"{told}: its address holds {what}: credentials come from the environment")
