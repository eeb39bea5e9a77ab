"""What operating systems and stores say, in the classes of `errors`.

A store's answer is classed by its HTTP status and error code (`answers`). Only where there was no
answer does the exception itself tell: of a disk its error number, of a client whether it could not
connect or had no credential to sign with.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from fsspec.exceptions import FSTimeoutError

from tessera_mosaic.pipeline.errors import (
    BadInput,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreReadOnly,
    TesseraError,
)
from tessera_mosaic.pipeline.io.answers import Answer, answer_behind, words
from tessera_mosaic.pipeline.io.certificates import CERTIFICATE, said_of

STORE_ERRORS: Mapping[int, type[StoreError]] = {
    errno.ENOSPC: StoreFull,
    errno.EDQUOT: StoreFull,
    errno.EACCES: StoreDenied,
    errno.EPERM: StoreDenied,
    errno.EROFS: StoreReadOnly,
}
"""Class of each error number of the operating system that has one of its own."""

UNCONNECTED = frozenset(
    (
        "aiohttp.ClientConnectionError",
        "aiohttp.ClientPayloadError",
        "botocore.ConnectionError",
        "botocore.HTTPClientError",
        "botocore.IncompleteReadError",
        "botocore.ResponseParserError",
        "google.TransportError",
        "gcsfs.ChecksumError",
        "requests.ChunkedEncodingError",
        "requests.ConnectionError",
        "requests.ContentDecodingError",
        "requests.Timeout",
    )
)
"""Exceptions of clients that got no answer, or half of one: library and class."""

UNTRUSTED = frozenset(
    (
        "aiohttp.ClientSSLError",
        "aiohttp.ClientConnectorCertificateError",
        "botocore.SSLError",
        "requests.SSLError",
    )
)
"""Those of them that the next request would get again: the server's certificate is not accepted."""

UNSIGNED = ("Credential", "Token", "Profile", "SSO", "RefreshError", "GoogleAuthError")
"""Words in the names of exceptions of clients that have no credential to sign a request with."""

WRITES = ("PUT", "DELETE")


@dataclass(frozen=True)
class Asked:
    """A request to a store, for messages and for what its answers mean.

    Parameters
    ----------
    store
        Path or URL of the store.
    verb
        `GET`, `HEAD`, `LIST`, `PUT` or `DELETE`.
    key
        Of the object that was asked for, or its folder.
    exclusive
        Whether an object was put only if there is none.
    """

    store: str
    verb: str = ""
    key: str = ""
    exclusive: bool = False

    @property
    def what(self) -> str:
        """The request in words."""
        return f"{self.verb} of {self.key or 'its root'}"

    @property
    def of_what(self) -> str:
        """The request with all that a policy of access may speak of."""
        return f"{self.verb} of key {self.key or '(all)'} in bucket {self.bucket}"

    @property
    def bucket(self) -> str:
        """Name of the bucket; empty on a disk."""
        return self.store.partition("://")[2].partition("/")[0]


class Conflict(StoreError):
    """Somebody else was putting the object that was to be put only where there is none."""


class Unsupported(StoreError):
    """The store cannot do at all what it was asked."""


def store_error(asked: Asked, error: Exception) -> Exception:
    """Find the class of what was raised while a store was read or written.

    Parameters
    ----------
    asked
        The request.
    error
        What the operating system or the store's client raised.

    Returns
    -------
    A `StoreError`; `BadInput` where the user named what is not there; `FileNotFoundError` and
    `FileExistsError` where an object is absent, or there already; an error that has a class
    already as it is.
    """
    if isinstance(error, TesseraError):
        return error
    answer = answer_behind(error)
    if answer is not None:
        return _answered(asked, answer)
    if isinstance(error, FileNotFoundError) and asked.verb != "PUT":
        return error
    if isinstance(error, FileExistsError) and asked.exclusive:
        return error
    if isinstance(error, NotADirectoryError | FileExistsError):
        return BadInput(f"store {asked.store}: there is a file where a folder should be")
    if _is_unsigned(error):
        return StoreDenied(
            f"{asked.store}: {asked.of_what} cannot be signed for {identity(asked)}: {_told(error)}"
        )
    if _names(error) & UNTRUSTED:
        return StoreError(f"{asked.store}: {CERTIFICATE} ({said_of(error)})")
    number = getattr(error, "errno", None)
    denied = isinstance(error, PermissionError)
    kind = STORE_ERRORS.get(number or 0, StoreDenied if denied else StoreError)
    return kind(f"{asked.store}: {getattr(error, 'strerror', None) or _told(error)}")


def is_busy(asked: Asked, error: Exception) -> bool:
    """Whether the same request may be done a moment later: no answer, or one that says so."""
    if isinstance(error, TesseraError):
        return False
    answer = answer_behind(error)
    if answer is not None:
        return answer.is_busy and not (asked.exclusive and answer.is_conflict)
    names = _names(error)
    if names & UNTRUSTED:
        return False
    return (
        isinstance(error, FSTimeoutError | TimeoutError | ConnectionError)
        or bool(names & UNCONNECTED)
        or (_is_unsigned(error) and getattr(error, "retryable", False) is True)
    )


def identity(asked: Asked) -> str:
    """Whose credentials a store is asked with, in words: never the credentials themselves."""
    if asked.store.startswith("s3://"):
        profile = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
        told = f"profile {words(profile or 'default')}"
        if "AWS_ACCESS_KEY_ID" in os.environ:
            told += ", with the key in AWS_ACCESS_KEY_ID"
        return told
    if asked.store.startswith("gs://"):
        file = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        return f"credentials of {words(file)}" if file else "the default credentials"
    return "credentials are taken from the environment"


def told_of(error: Exception) -> str:
    """What a store said, or why it said nothing, in a few words."""
    answer = answer_behind(error)
    return str(answer) if answer is not None else _told(error)


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
        raise store_error(Asked(where), error) from error


@contextmanager
def before_work() -> Iterator[None]:
    """What a store denies before any work is done is a matter of configuration.

    Raises
    ------
    BadInput
        In place of `StoreDenied`.
    """
    try:
        yield
    except StoreDenied as error:
        raise BadInput(str(error)) from error


def _answered(asked: Asked, answer: Answer) -> Exception:
    """The class of a store's answer."""
    said = f"{asked.store}: {asked.what}: {answer}"
    if asked.exclusive and answer.is_taken:
        return FileExistsError(said)
    if answer.is_bucket_absent:
        return BadInput(
            f"store {asked.store}: there is no such bucket: make it, or check its name ({answer})"
        )
    if answer.is_absent and asked.verb != "PUT":
        return FileNotFoundError(said)
    if answer.is_moved:
        return BadInput(_moved(asked, answer))
    if answer.is_full:
        return StoreFull(said)
    if answer.is_denied:
        return StoreDenied(_denied(asked, answer))
    if asked.exclusive and answer.is_conflict:
        return Conflict(said)
    if answer.status == 405 and asked.verb in WRITES:
        return StoreReadOnly(said)
    return Unsupported(said) if answer.status == 501 else StoreError(said)


def _denied(asked: Asked, answer: Answer) -> str:
    said = f"{asked.store}: {asked.of_what} was denied to {identity(asked)}: {answer}"
    if asked.verb in ("GET", "HEAD") and asked.store.startswith("s3://"):
        said += " (an object that is absent is answered so too where the identity may not list)"
    return said


def _moved(asked: Asked, answer: Answer) -> str:
    region = f"region {answer.region}" if answer.region else "another region or endpoint"
    return (
        f"store {asked.store}: its bucket is in {region} ({answer}): set AWS_REGION and "
        "AWS_DEFAULT_REGION, or AWS_ENDPOINT_URL_S3, to where it is"
    )


def _names(error: Exception) -> set[str]:
    """Library and class of an exception and of all classes that it is a kind of."""
    return {f"{each.__module__.partition('.')[0]}.{each.__name__}" for each in type(error).__mro__}


def _is_unsigned(error: Exception) -> bool:
    library = type(error).__module__.partition(".")[0]
    named = any(word in type(error).__name__ for word in UNSIGNED)
    return library in ("botocore", "aiobotocore", "google", "gcsfs") and named


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {words(error)}"
