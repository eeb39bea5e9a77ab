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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from tessera_mosaic.pipeline.errors import Altered, BadInput, StoreError
from tessera_mosaic.pipeline.io.addresses import why_no_address
from tessera_mosaic.pipeline.io.file_systems import OPTIONS, Files, open_files
from tessera_mosaic.pipeline.io.local_files import (
    PARTIAL,
    create_file,
    is_litter,
    list_files,
    replacing_file,
    sweep_folder,
)
from tessera_mosaic.pipeline.io.patience import PATIENCE, check_patience, persist
from tessera_mosaic.pipeline.io.protocols import PROTOCOLS, WEB, Use, check_use, store_address
from tessera_mosaic.pipeline.io.regular_files import open_regular, refuse_leading_out
from tessera_mosaic.pipeline.io.store_errors import WRITES, Asked, Conflict, store_errors

MOST_READ = 1 << 31
"""Bytes of an object, at and beyond which it is not read at once."""

MOST_DOCUMENT = 1 << 26
"""Bytes of an object that tells of others, at and beyond which it is not read at all."""

NAMING_USERS = ("sftp", "ssh")
"""Protocols whose addresses may name a user, which is no secret."""

T = TypeVar("T")


@dataclass(frozen=True)
class Storage:
    """Objects under one root.

    Parameters
    ----------
    url
        A local path, or a URL that fsspec opens: `gs://`, `s3://`. `protocols` says which may be a
        store.
    patience
        Seconds for which a remote store is asked again that is busy or does not answer.
    excludes
        Whether the store puts an object only where there is none; None where that has not been
        tried (`io.exclusion`).

    Raises
    ------
    BadInput
        If the address can be no store, or the patience is no number of seconds.
    """

    url: str
    patience: float = field(default=PATIENCE, kw_only=True)
    excludes: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if why := why_no_address(str(self.url)):
            raise BadInput(f"store {self.url}: {why}")
        _refuse_secrets(str(self.url))
        check_patience(self.patience)
        protocol, path = store_address(str(self.url))
        if protocol == "file":
            url = str(Path(path).expanduser().absolute())
        elif ".." in path.split("/"):
            raise BadInput(f"store {self.url}: an address on an object store has no '..'")
        else:
            url = f"{protocol}://{path}".rstrip("/")
        object.__setattr__(self, "url", url)

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

    def check_listable(self) -> None:
        """Refuse an address that cannot be listed, before it is asked for anything.

        Raises
        ------
        BadInput
            If what lies there can only be read.
        """
        check_use(self.url, self.protocol, Use.WRITING, Use.PROCESS)

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

    def read(self, key: str, most: int = MOST_READ) -> bytes:
        """Read an object.

        Parameters
        ----------
        key
            Of the object.
        most
            Bytes, at and beyond which it is not read: no more of them come into memory.

        Raises
        ------
        FileNotFoundError
            If there is none.
        Altered
            If it has so many bytes.
        """
        if self.folder is not None:
            return self._read_here(self.locate(key), 0, most, most)
        # One request tells what there is and how much: the size is not asked for before.
        data = self._ask("GET", key, lambda files: files.get_range(key, 0, most))
        if len(data) >= most:
            raise Altered(f"{self.locate(key)} has {most:,} bytes or more, too many for what it is")
        return data

    def read_document(self, key: str) -> bytes:
        """Read an object that tells of others, such as a record, as `read` does; none is large."""
        return self.read(key, MOST_DOCUMENT)

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
        if self.folder is not None:
            return self._read_here(self.locate(key), start, length)
        return self._ask("GET", key, lambda files: files.get_range(key, start, length))

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
            return place.is_dir() and any(not is_litter(each.name) for each in place.iterdir())
        if PROTOCOLS.get(self.protocol) is WEB:
            raise StoreError(f"{self.url} cannot be listed: it is on the web")
        folder = prefix.rstrip("/")
        return self._ask("LIST", folder, lambda files: files.holds(folder))

    def size(self, key: str) -> int:
        """Number of bytes of an object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        if self.folder is not None:
            with self._opened_here(self.locate(key)) as descriptor:
                return os.fstat(descriptor).st_size
        return self._ask("HEAD", key, lambda files: files.size(key))

    def list(self, prefix: str) -> Iterator[str]:
        """Keys of the objects in a folder and below it, in the order of the alphabet."""
        folder = prefix.rstrip("/")
        if self.folder is not None:
            with store_errors(self.url):
                yield from list_files(self.folder, Path(self.locate(folder)))
            return
        keys = self._list(folder, lambda files: files.keys(folder))
        mine = (key for key in sorted(keys) if not key.startswith(f"{PARTIAL}/"))
        yield from (key for key in mine if not is_litter(key.rpartition("/")[2]))

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names of the folders that a folder holds, in the order of the alphabet.

        On an object store that is one request for each thousand of them, whatever they hold.
        """
        folder = prefix.rstrip("/")
        names = self._list(folder, lambda files: files.folders(folder))
        return sorted(name for name in names if name != PARTIAL)

    def names(self) -> Sequence[str]:
        """Names of the root's folders and, on this machine, of its files."""
        if self.folder is None or not self.folder.is_dir():
            return self.folders()
        return sorted(each for each in os.listdir(self.folder) if not is_litter(each))

    def delete(self, key: str) -> None:
        """Remove an object; that there is none is no error."""
        with contextlib.suppress(FileNotFoundError):
            self._ask("DELETE", key, lambda files: files.delete(key))

    def write(self, key: str, data: bytes) -> None:
        """Put an object, in place of any that was there."""
        if self.folder is None:
            self._ask("PUT", key, lambda files: files.put(key, data))
            return
        with self.replacing(key) as file:
            file.write(data)

    def put_file(self, key: str, path: str | os.PathLike[str]) -> None:
        """Put the bytes of a file of this machine, in place of any object that was there."""
        if self.folder is None:
            self._ask("PUT", key, lambda files: files.put_file(key, os.fspath(path)))
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
        if self.folder is not None:
            target = Path(self.locate(key))
            self.locate(PARTIAL)
            with store_errors(self.url):
                return create_file(self.folder, target, data)
        try:
            self._create(key, data)
        except FileExistsError:
            return False
        except Conflict as conflict:
            # Somebody else was putting it at that moment: they have, or have not.
            try:
                self._create(key, data)
            except FileExistsError:
                return False
            except Conflict:
                if not self.exists(key):
                    raise conflict from None
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

    def _read_here(self, path: str, start: int, length: int, most: int = MOST_READ) -> bytes:
        """Read a part of a file of this machine."""
        with self._opened_here(path) as descriptor:
            size = os.fstat(descriptor).st_size
            if min(size - start, length) >= most:
                raise Altered(f"{path} has {size:,} bytes, too many for what it is")
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

    def _create(self, key: str, data: bytes) -> None:
        self._ask("PUT", key, lambda files: files.create(key, data), exclusive=True)

    def _list(self, folder: str, request: Callable[[Files], Sequence[str]]) -> Sequence[str]:
        """Send a request for a listing; what is not there holds nothing."""
        self.check_listable()
        try:
            return self._ask("LIST", folder, request)
        except FileNotFoundError:
            return []

    def _ask(
        self, verb: str, key: str, request: Callable[[Files], T], exclusive: bool = False
    ) -> T:
        """Send a request, again where a remote store does not serve."""
        self.locate(key)
        asked = Asked(self.url, verb, key, exclusive)
        if verb in WRITES:
            check_use(self.url, self.protocol, Use.WRITING, Use.PROCESS)
        files = open_files(self.url, self.protocol)
        return persist(asked, lambda: request(files), 0.0 if self.folder else self.patience)


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
