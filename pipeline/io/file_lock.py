"""Locks of open files, where the system has them."""

from __future__ import annotations

import errno

from tessera_mosaic.pipeline.errors import BadInput

LACKING = frozenset(
    (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.ENOTTY)
)
"""What file systems answer that cannot do at all what was asked, such as Lustre, FUSE and NFS."""


class Unlockable(OSError):
    """The file system has no locks."""


def lock_file(handle: int, wait: bool = True) -> None:
    """Lock an open file for this process alone, until it is closed.

    Parameters
    ----------
    handle
        Descriptor of the file.
    wait
        Whether to wait for another process that has it.

    Raises
    ------
    BlockingIOError
        If another process has it and is not waited for.
    Unlockable
        If the file system has no locks.
    BadInput
        If the system has no such locks, as Windows.
    """
    # Imported where it is used: what only reads runs on systems that do not have it.
    try:
        import fcntl
    except ModuleNotFoundError:
        raise BadInput(
            "what writes needs file locks, which this system does not have: use Linux or macOS, or "
            "WSL on Windows; reading works here"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in LACKING:
            raise Unlockable(error.errno, error.strerror) from None
        raise
