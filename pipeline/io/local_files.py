"""Files of a store on this machine: each is written whole or not at all, and outlasts a power cut.

What is being written has a name in the folder `PARTIAL`, which no reader looks at, until it is
flushed and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.file_lock import LACKING, Unlockable, lock_file

UNLINKABLE = LACKING | {errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EACCES}
"""What file systems answer that have no hard links."""

PARTIAL = ".partial"
"""Folder of a store that holds the files still being written, and the locks."""


@contextmanager
def replacing_file(folder: Path, target: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of another when the block ends without an error.

    Parameters
    ----------
    folder
        Root of the store.
    target
        Path of the file below it, whose folder is made.
    """
    with _partial_file(folder) as (file, path):
        yield file
        _settle(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
        _settle_folder(target.parent)


def create_file(folder: Path, target: Path, data: bytes) -> bool:
    """Write a file only where there is none.

    Parameters
    ----------
    folder
        Root of the store.
    target
        Path of the file below it, whose folder is made.
    data
        Content of the file.

    Returns
    -------
    Whether it was written; of several writers one is told so.
    """
    with _partial_file(folder) as (file, path):
        target.parent.mkdir(parents=True, exist_ok=True)
        file.write(data)
        _settle(file)
        try:
            os.link(path, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in UNLINKABLE:
                raise
            return _create_in_place(target, data)
        _settle_folder(target.parent)
    return True


def _create_in_place(target: Path, data: bytes) -> bool:
    """The same where there are no hard links: of several writers one is told so, too."""
    try:
        with open(target, "xb") as file:
            file.write(data)
            _settle(file)
    except FileExistsError:
        return False
    _settle_folder(target.parent)
    return True


def list_files(folder: Path, below: Path) -> Iterator[str]:
    """Keys of the files of a store in a folder and below it, in the order of the alphabet.

    Folders that are reached by links are not looked into: they may lead out, or in a circle.

    Parameters
    ----------
    folder
        Root of the store.
    below
        The folder whose files are wanted; that of one file stands for it.
    """
    if not below.is_dir():
        found = [below] if below.is_file() else []
    else:
        found = [
            Path(top, name)
            for top, _, names in os.walk(below, onerror=_unless_gone)
            for name in names
            if not is_litter(name)
        ]
    keys = sorted(path.relative_to(folder).as_posix() for path in found)
    yield from (key for key in keys if not key.startswith(f"{PARTIAL}/"))


def is_litter(name: str) -> bool:
    """Whether a file of this name is what macOS leaves in folders that it shows or copies.

    Examples
    --------
    >>> [is_litter(name) for name in (".DS_Store", "._zarr.json", "zarr.json")]
    [True, True, False]
    """
    return name == ".DS_Store" or name.startswith("._")


def sweep_folder(folder: Path) -> int:
    """Remove the files that killed writers left in a store.

    Returns
    -------
    Number of files removed.
    """
    swept = 0
    if not (folder / PARTIAL).is_dir():
        return swept
    for path in (folder / PARTIAL).glob("*.part"):
        with contextlib.suppress(OSError), open(path, "rb", opener=_no_link) as file:
            lock_file(file.fileno(), wait=False)
            path.unlink()
            swept += 1
    return swept


def make_directory(directory: str | Path, parameter: str = "") -> None:
    """Make a directory, and those above it, where there is none.

    Parameters
    ----------
    directory
        Its path.
    parameter
        Name of the parameter that it was given for, for the message.

    Raises
    ------
    BadInput
        If that cannot be.
    """
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        said = f"cannot be made a directory: {error.strerror}"
        if parameter:
            raise BadInput(f"it {said}", parameter, directory) from None
        raise BadInput(f"{directory} {said}") from None


def _unless_gone(error: OSError) -> None:
    """Raise what a folder could not be listed for, unless it was removed a moment ago."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _no_link(path: str, flags: int) -> int:
    """Open a file that must not be a link, nor be waited for."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


@contextmanager
def _partial_file(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Open a file under a name that no reader knows; it is gone at the end unless it was renamed.

    It stays locked while its writer lives, so that `sweep_folder` can tell the dead.
    """
    (folder / PARTIAL).mkdir(parents=True, exist_ok=True)
    while True:
        path = folder / PARTIAL / f"{uuid.uuid4().hex}.part"
        file = open(path, "xb", buffering=1 << 20)  # noqa: SIM115
        with contextlib.suppress(Unlockable):
            # Without it nobody can tell whether its writer lives, and it is not swept.
            lock_file(file.fileno())
        if os.fstat(file.fileno()).st_nlink:
            break
        file.close()
    try:
        yield file, path
    finally:
        file.close()
        path.unlink(missing_ok=True)


def _settle(file: IO[bytes]) -> None:
    """Make what was written to a file last through a power cut."""
    file.flush()
    os.fsync(file.fileno())


def _settle_folder(path: Path) -> None:
    """Make a rename in a folder last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # What a file system does with a folder by itself it need not be told.
        if error.errno not in LACKING:
            raise
    finally:
        os.close(handle)
