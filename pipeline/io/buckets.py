"""Requests to object stores, through fsspec and with the credentials of the environment."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import fsspec
from fsspec.exceptions import FSTimeoutError

from tessera_mosaic.pipeline.console import install_hint
from tessera_mosaic.pipeline.errors import (
    Corrupt,
    Expired,
    Gone,
    Refused,
    SceneError,
    Throttled,
    TimedOut,
)
from tessera_mosaic.pipeline.io.answers import answer_behind
from tessera_mosaic.pipeline.io.certificates import trust
from tessera_mosaic.pipeline.io.http import Withheld
from tessera_mosaic.pipeline.io.throttle import Account, Accounts
from tessera_mosaic.pipeline.io.urls import plain

SCHEMES = ("gs", "gcs", "s3")
"""Schemes of addresses that lead to object stores."""

LONGEST = 120.0
"""Seconds in which an object store has to begin to serve, however often its library asks."""

SLOWEST = 20_000
"""Least rate in bytes a second of what it serves."""

T = TypeVar("T")


class Buckets:
    """Object stores, shared by the threads of a process.

    Parameters
    ----------
    accounts
        Number of requests that each bucket bears at a time, and the pauses that it asks for.
    file_system
        Function that opens the file system of a scheme with options for it.
    """

    def __init__(
        self, accounts: Accounts, file_system: Callable[..., Any] = fsspec.filesystem
    ) -> None:
        self._accounts, self._open = accounts, file_system
        self._amazon: dict[str, Any] | None = None

    def ask(self, url: str, request: Callable[[Any], T]) -> T:
        """Ask for something at an address.

        Parameters
        ----------
        url
            Address of one of `SCHEMES`.
        request
            Function that is given the file system of the address and returns what it answers.

        Raises
        ------
        SceneError
            Of the class of what went wrong.
        """
        parts = urlsplit(url)
        account = self._accounts[f"{parts.scheme}://{parts.netloc}"]
        store = None
        with account.turn():
            try:
                store = self._file_system(parts.scheme)
                result = request(store)
            except Exception as error:
                # The libraries of the stores have errors of their own, hundreds of them.
                told = _scene_error(error, plain(url), account, _is_anonymous(store))
                if isinstance(told, Expired):
                    self._amazon = None
                raise told from None
        account.served()
        return result

    def read(self, url: str, start: int, stop: int) -> bytes:
        """Read a part of an object: its bytes from one on, to before another.

        Raises
        ------
        SceneError
            Of the class of what went wrong.
        """
        slowest = LONGEST + (stop - start) / SLOWEST
        return self.ask(
            url, lambda files: files.cat_file(url, start=start, end=stop, **_within(files, slowest))
        )

    def size(self, url: str) -> int:
        """Number of bytes of an object.

        Raises
        ------
        SceneError
            Of the class of what went wrong.
        """
        return self.ask(url, lambda files: int(files.info(url, **_within(files, LONGEST))["size"]))

    def _file_system(self, scheme: str) -> Any:
        """The file system of an object store, which fsspec keeps."""
        trust()
        # What its library would log is in the errors that it raises.
        logging.getLogger({"s3": "s3fs"}.get(scheme, "gcsfs")).setLevel(logging.CRITICAL)
        if scheme != "s3":
            return self._open(scheme)
        options = self._amazon
        if options is None:
            options = self._amazon = _amazon_options()
        return self._open(scheme, **options)


def _within(files: Any, seconds: float) -> dict[str, float]:
    """Options of a request that has to be answered in so many seconds.

    The libraries of the object stores ask again within these, and wait anew for each piece.
    """
    return {"timeout": seconds} if getattr(files, "async_impl", False) else {}


def _amazon_options() -> dict[str, Any]:
    """Public buckets are read without an account by whoever has none; Google's library does so."""
    import botocore.session  # type: ignore[import-untyped]

    return {} if botocore.session.get_session().get_credentials() else {"anon": True}


def _is_anonymous(store: Any) -> bool:
    """Whether a store is asked without a credential."""
    if getattr(store, "anon", False) is True:
        return True
    # Google's library finds out by itself, and has an object without any where there is none.
    google = getattr(store, "credentials", None)
    return google is not None and getattr(google, "credentials", google) is None


def _scene_error(
    error: Exception, where: str, account: Account, anonymous: bool = False
) -> SceneError:
    """Find the class of what an object store's library raised.

    Parameters
    ----------
    error
        What was raised.
    where
        Address that was asked, for the message.
    account
        Account of the bucket, which is told where it asks for patience.
    anonymous
        Whether no credential was sent: a refusal is then how many stores say that there is no such
        object.
    """
    name = type(error).__name__
    said = f"{where}: {name}: {error}"[:300]
    answer = answer_behind(error)
    code = str(answer.status) if answer is not None else ""
    if isinstance(error, ImportError):
        return Refused(f"{where}: {error.name} is not installed: {install_hint('s3')}")
    if isinstance(error, FileNotFoundError) or code == "404":
        return Gone(said)
    # So are called those of botocore and of google.auth.
    unknown = any(word in name for word in ("Credential", "Token", "RefreshError"))
    refused = isinstance(error, PermissionError) or code in ("401", "403")
    if refused and anonymous and not unknown:
        return Withheld(f"{said} (no credential was sent)")
    if unknown or refused:
        return Expired(f"{said} (credentials are taken from the environment)")
    if code in ("429", "503") or "SlowDown" in said:
        account.throttled(None)
        return Throttled(said)
    if isinstance(error, FSTimeoutError | TimeoutError | OSError):
        return TimedOut(said)
    return Corrupt(said)
