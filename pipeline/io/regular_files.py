"""Files of this machine that others name: regular ones alone, which end and are there at once."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from tessera_mosaic.pipeline.errors import Altered, Corrupt, Gone

ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO"}
"""Settings with which GDAL opens a file and nothing beside it: no mask, overview or metadata."""


@contextmanager
def regular_file(path: str) -> Iterator[int]:
    """A file, open for reading in the block; no pipe, device or socket, which may never end.

    Parameters
    ----------
    path
        Path of the file.

    Returns
    -------
    Its descriptor.

    Raises
    ------
    Gone
        If there is none.
    Corrupt
        If it is no regular file, or cannot be opened.
    """
    try:
        descriptor = open_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        raise Gone(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        if getattr(error, "errno", 0) == errno.ENODEV:
            raise Corrupt(f"{path} is no file") from None
        raise Corrupt(f"{path[:200]!r} cannot be opened: {error}") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular(path: str) -> int:
    """Open a regular file for reading, and anything else not even for a moment longer than it takes
    to see what it is.

    Returns
    -------
    Its descriptor.

    Raises
    ------
    OSError
        If it cannot be opened; with `ENODEV` if it is no regular file.
    """
    # Not to wait for whoever might write into what is no file.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.ENODEV, "it is no file", path)
    return descriptor


def refuse_leading_out(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Refuse a path that a link leads out of a folder, at whatever part of it.

    Parameters
    ----------
    folder
        The folder, which may itself be reached by links.
    path
        Path below it, of something that may not be there yet.

    Raises
    ------
    Altered
        If it does.
    """
    root, real = os.path.realpath(folder), os.path.realpath(path)
    if real != root and not real.startswith(f"{root.rstrip(os.sep)}{os.sep}"):
        raise Altered(f"{path} is reached by a link that leads out of the store: remove the link")


def read_part(path: str, start: int, length: int) -> bytes:
    """Read a part of a file.

    Parameters
    ----------
    path
        Path of the file.
    start, length
        First byte, and number of bytes.

    Returns
    -------
    So many bytes; fewer only where the file ends before.

    Raises
    ------
    Gone, Corrupt
        As `regular_file` does; `Corrupt` also if it cannot be read.
    """
    with regular_file(path) as descriptor:
        try:
            return os.pread(descriptor, length, start)
        except (OSError, OverflowError) as error:
            raise Corrupt(f"{path} cannot be read: {error}") from None


def file_size(path: str) -> int:
    """Number of bytes of a file.

    Raises
    ------
    Gone, Corrupt
        As `regular_file` does.
    """
    with regular_file(path) as descriptor:
        return os.fstat(descriptor).st_size
