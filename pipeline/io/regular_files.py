"""Files of this machine that others name: regular ones alone, which end and are there at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from tessera_mosaic.pipeline.errors import Corrupt, Gone


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
        # Not to wait for whoever might write into what is no file.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        raise Gone(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise Corrupt(f"{path[:200]!r} cannot be opened: {error}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Corrupt(f"{path} is no file")
        yield descriptor
    finally:
        os.close(descriptor)


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
