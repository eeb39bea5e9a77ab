"""The file systems that fsspec opens for stores, and requests to them that are tried again."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import fsspec
from fsspec.core import url_to_fs
from fsspec.exceptions import FSTimeoutError

from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.io.store_errors import store_error
from tessera_mosaic.pipeline.io.urls import plain

ATTEMPTS = 4
"""Number of times that a remote request is tried; the libraries retry within each."""

FIRST_PAUSE = 1.0
"""Seconds before the second try of a remote request; doubled before each later one."""

REQUEST_TIMEOUT = 120.0
"""Seconds without an answer after which a remote request is tried again."""

OPTIONS: Mapping[str, dict[str, Any]] = {
    "gs": {"use_listings_cache": False, "requests_timeout": REQUEST_TIMEOUT},
    "gcs": {"use_listings_cache": False, "requests_timeout": REQUEST_TIMEOUT},
    "s3": {
        "use_listings_cache": False,
        "config_kwargs": {"read_timeout": REQUEST_TIMEOUT, "retries": {"mode": "standard"}},
    },
}
"""What the file systems of a protocol are opened with: no stale listings, no endless silence."""

T = TypeVar("T")


@functools.cache
def file_system(url: str) -> Any:
    """Open the file system of a store.

    Parameters
    ----------
    url
        Address of the store; empty for the file system of this machine.

    Raises
    ------
    BadInput
        If fsspec knows no such place, or lacks the package for it.
    StoreError
        If the place cannot be opened.
    """
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
        raise BadInput(f"store {plain(url)}: {error}") from None
    except Exception as error:
        raise store_error(url, error) from error


def persist(where: str, request: Callable[[], T], tries: int) -> T:
    """Send a request again while its store does not answer; what a store answers is final.

    Parameters
    ----------
    where
        Path or URL of the store, for the message.
    request
        Sends the request and returns what was answered.
    tries
        Number of times that the request is sent at most.

    Raises
    ------
    FileNotFoundError, FileExistsError
        As the request does.
    BadInput, StoreError
        For all else that it raises.
    """
    for attempt in range(tries):
        try:
            return request()
        except (FSTimeoutError, TimeoutError, ConnectionError) as error:
            if attempt == tries - 1:
                raise StoreError(f"{where} does not answer: {error!r}") from error
            time.sleep(FIRST_PAUSE * 2**attempt)
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:
            raise store_error(where, error) from error
    raise AssertionError("unreachable")
