"""Locks of open files, where the system has them."""

from __future__ import annotations

from tessera_mosaic.pipeline.errors import BadInput


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
    fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
