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
import fcntl
import functools
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import fsspec
from fsspec.core import split_protocol, url_to_fs
from fsspec.exceptions import FSTimeoutError

from tessera_mosaic.pipeline.errors import (
    BadInput,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreReadOnly,
    TesseraError,
)

PARTIAL = ".partial"
"""Folder of a local store that holds files still being written, and locks."""

ATTEMPTS = 4
"""Tries of a remote request before it counts as failed; the libraries retry within each."""

FIRST_PAUSE = 1.0
"""Seconds before the second try; doubled before each later one."""

REQUEST_TIMEOUT = 120.0
"""Seconds without an answer after which a remote request is tried again."""

OPTIONS: dict[str, dict[str, Any]] = {
    "gs": {"use_listings_cache": False, "requests_timeout": REQUEST_TIMEOUT},
    "gcs": {"use_listings_cache": False, "requests_timeout": REQUEST_TIMEOUT},
    "s3": {
        "use_listings_cache": False,
        "config_kwargs": {"read_timeout": REQUEST_TIMEOUT, "retries": {"mode": "standard"}},
    },
}
"""What the file systems are opened with: no stale listings, no endless silence."""

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
        if urlsplit(str(self.url)).password:
            raise BadInput(
                f"store {protocol}://...: its address holds a password: credentials come from the "
                "environment"
            )
        if protocol in (None, "file", "local"):
            object.__setattr__(self, "url", str(Path(path).expanduser().absolute()))
        else:
            if ".." in path.split("/"):
                raise BadInput(f"store {self.url}: an address on an object store has no '..'")
            object.__setattr__(self, "url", str(self.url).rstrip("/"))

    @property
    def folder(self) -> Path | None:
        """The root on local disk; None elsewhere."""
        return None if "://" in self.url else Path(self.url)

    @property
    def options(self) -> dict[str, Any]:
        """What fsspec opens the place with, for readers that open it by its URL."""
        return OPTIONS.get(self.protocol, {})

    def locate(self, key: str) -> str:
        """Path or URL of an object.

        Raises
        ------
        StoreError
            If the key leads out of the store: keys may come from what the store itself holds.
        """
        if key.startswith("/") or ".." in key.split("/"):
            raise StoreError(f"{self.url}: key {key!r} leads out of the store")
        return f"{self.url}/{key}" if key else self.url

    def read(self, key: str) -> bytes:
        """Bytes of an object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        return self._try(self._fs.cat_file, self.locate(key))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Part of an object, or what there is of it where the object ends before.

        Raises
        ------
        FileNotFoundError
            If there is no such object.
        """
        try:
            return self._try(self._fs.cat_file, self.locate(key), start=start, end=start + length)
        except StoreError as error:
            # Object stores refuse a range that begins behind the end, each library in its words.
            said = error.__cause__
            if 416 in (getattr(said, "code", 0), getattr(said, "status", 0)):
                return b""
            if isinstance(said, OSError) and said.errno == errno.EINVAL:
                return b""
            raise

    def exists(self, key: str) -> bool:
        """Whether there is such an object, in one request that lists nothing."""
        if self.folder is not None:
            return (self.folder / key).is_file()
        try:
            self.read_range(key, 0, 1)
        except FileNotFoundError:
            return False
        return True

    def size(self, key: str) -> int:
        """Bytes in an object; FileNotFoundError where there is none."""
        return int(self._try(self._fs.info, self.locate(key))["size"])

    def list(self, prefix: str) -> Iterator[str]:
        """Keys of the objects in a folder and below it, in order."""
        root = self._fs._strip_protocol(self.url)
        found = self._try(self._fs.find, self.locate(prefix.rstrip("/")))
        keys = (path[len(root) :].lstrip("/") for path in sorted(found))
        yield from (key for key in keys if not key.startswith(f"{PARTIAL}/"))

    def delete(self, key: str) -> None:
        """Remove an object; none there is no error."""
        with contextlib.suppress(FileNotFoundError):
            self._try(self._fs.rm_file, self.locate(key))

    def write(self, key: str, data: bytes) -> None:
        """Put an object, in place of any that was there."""
        if self.folder is None:
            self._put(self._fs.pipe_file, self.locate(key), data)
            return
        with self.replacing(key) as file:
            file.write(data)

    def put_file(self, key: str, path: str | os.PathLike[str]) -> None:
        """Put the bytes of a local file."""
        if self.folder is None:
            self._put(self._fs.put_file, os.fspath(path), self.locate(key))
            return
        with open(path, "rb") as source, self.replacing(key) as file:
            shutil.copyfileobj(source, file, 1 << 20)

    @contextlib.contextmanager
    def replacing(self, key: str) -> Iterator[IO[bytes]]:
        """A file to write an object into, which is put when the block ends without an error."""
        if self.folder is None:
            # It has no name that a process that is killed would leave behind.
            with store_errors(tempfile.gettempdir()):
                file = tempfile.TemporaryFile()  # noqa: SIM115
            with file:
                yield file
                file.seek(0)
                self.put_file(key, f"/dev/fd/{file.fileno()}")
            return
        target = Path(self.locate(key))
        with store_errors(self.url), _partial_file(self.folder) as (part, path):
            yield part
            _settle(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
            _sync_folder(target.parent)

    def create(self, key: str, data: bytes) -> bool:
        """Put an object only if there is none; whether it was put."""
        if self.folder is None:
            try:
                # Not asked again: whether an unanswered request put it can only be seen by a look.
                self._put(self._fs.pipe_file, self.locate(key), data, mode="create", tries=1)
            except FileExistsError:
                return False
            return True
        target = Path(self.locate(key))
        with store_errors(self.url), _partial_file(self.folder) as (file, path):
            target.parent.mkdir(parents=True, exist_ok=True)
            file.write(data)
            _settle(file)
            try:
                os.link(path, target)
            except FileExistsError:
                return False
            _sync_folder(target.parent)
        return True

    def sweep(self) -> int:
        """Remove what killed writers left on local disk; how many files that were."""
        swept = 0
        if self.folder is None or not (self.folder / PARTIAL).is_dir():
            return swept
        for path in (self.folder / PARTIAL).glob("*.part"):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                swept += 1
        return swept

    @property
    def _fs(self) -> Any:
        return _filesystem(self.url if self.folder is None else "")

    @property
    def protocol(self) -> str:
        """What comes before `://`; `file` for a path."""
        return self.url.partition("://")[0] if "://" in self.url else "file"

    def _put(self, request: Callable[..., T], *args: Any, tries: int = ATTEMPTS, **more: Any) -> T:
        """Try to put an object on a remote store."""
        try:
            return self._try(request, *args, tries=tries, **more)
        except FileNotFoundError:
            raise BadInput(
                f"store {self.url}: there is no such bucket: make it, or check its name"
            ) from None

    def _try(self, request: Callable[..., T], *args: Any, tries: int = ATTEMPTS, **more: Any) -> T:
        """Ask again when a remote store does not answer; what it answers is final.

        Raises
        ------
        FileNotFoundError, FileExistsError
            As the request does.
        BadInput, StoreError
            For all else that it raises.
        """
        for attempt in range(tries):
            try:
                return request(*args, **more)
            except (FSTimeoutError, TimeoutError, ConnectionError) as error:
                if self.folder is not None or attempt == tries - 1:
                    raise StoreError(f"{self.url} does not answer: {error!r}") from error
                time.sleep(FIRST_PAUSE * 2**attempt)
            except (FileNotFoundError, FileExistsError):
                raise
            except Exception as error:
                raise store_error(self.url, error) from error
        raise AssertionError("unreachable")


@functools.cache
def _filesystem(url: str) -> Any:
    """The file system of a store's URL; the local one without."""
    if not url:
        return fsspec.filesystem("file")
    # gcsfs would ask over gRPC, once an operation, whether a bucket is hierarchical; none of ours
    # needs to be, and the question costs a permission and, where gRPC is closed, a minute.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    # It logs with a traceback what it raises as well.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    try:
        return url_to_fs(url, **OPTIONS.get(url.partition("://")[0], {}))[0]
    except (ValueError, TypeError, ImportError) as error:
        raise BadInput(f"store {url}: {error}") from None
    except Exception as error:
        raise store_error(url, error) from error


@contextlib.contextmanager
def _partial_file(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A file under a name that no reader knows; gone at the end unless it was renamed.

    It stays locked while its writer lives, so that `Storage.sweep` can tell the dead.
    """
    (folder / PARTIAL).mkdir(parents=True, exist_ok=True)
    while True:
        path = folder / PARTIAL / f"{uuid.uuid4().hex}.part"
        file = open(path, "xb", buffering=1 << 20)  # noqa: SIM115
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            break
        file.close()
    try:
        yield file, path
    finally:
        file.close()
        path.unlink(missing_ok=True)


def _settle(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Make a rename last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directory(directory: str | Path) -> None:
    """Make a directory if there is none.

    Raises
    ------
    BadInput
        If that cannot be.
    """
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{directory} cannot be made a directory: {error.strerror}") from None


STORE_ERRORS: dict[int, type[StoreError]] = {
    errno.ENOSPC: StoreFull,
    errno.EDQUOT: StoreFull,
    errno.EACCES: StoreDenied,
    errno.EPERM: StoreDenied,
    errno.EROFS: StoreReadOnly,
}
"""What the operating system says, by class."""


def store_error(where: str, error: Exception) -> TesseraError:
    """What an operating system or a store's client raised, in the class that tells what to do.

    Parameters
    ----------
    where
        Path or URL of the store, for the message.
    error
        That was raised.
    """
    if isinstance(error, TesseraError):
        return error
    if isinstance(error, NotADirectoryError | FileExistsError):
        return BadInput(f"store {where}: there is a file where a folder should be")
    number = getattr(error, "errno", None)
    denied = isinstance(error, PermissionError) or getattr(error, "code", None) in (401, 403)
    kind = STORE_ERRORS.get(number or 0, StoreDenied if denied else StoreError)
    what = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    return kind(f"{where}: {what}")


@contextmanager
def store_errors(where: str) -> Iterator[None]:
    """Give the errors of a local disk their classes; an absent file stays one.

    Parameters
    ----------
    where
        Path or URL of the store, for the message.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise store_error(where, error) from error
