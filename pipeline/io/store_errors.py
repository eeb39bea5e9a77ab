"""What operating systems and the clients of object stores raise, in the classes of `errors`."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tessera_mosaic.pipeline.errors import (
    BadInput,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreReadOnly,
    TesseraError,
)

STORE_ERRORS: Mapping[int, type[StoreError]] = {
    errno.ENOSPC: StoreFull,
    errno.EDQUOT: StoreFull,
    errno.EACCES: StoreDenied,
    errno.EPERM: StoreDenied,
    errno.EROFS: StoreReadOnly,
}
"""Class of each error number of the operating system that has one of its own."""


def store_error(where: str, error: Exception) -> TesseraError:
    """Find the class of what was raised while a store was read or written.

    Parameters
    ----------
    where
        Path or URL of the store, for the message.
    error
        What the operating system or the store's client raised.

    Returns
    -------
    A `StoreError`; `BadInput` if the store's place is taken by a file; an error that has a class
    already as it is.
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
    """Give what the operating system raises in a block the class that it has for a store.

    Parameters
    ----------
    where
        Path or URL of the store, for the message.

    Raises
    ------
    FileNotFoundError
        As it was raised: that an object is absent is no failure of its store.
    StoreError, BadInput
        For every other `OSError`, see `store_error`.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise store_error(where, error) from error
