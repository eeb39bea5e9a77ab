"""The file systems that fsspec opens for stores, asked in as few requests as it takes.

They are made for people who look around: before they say that an object is not there, they ask for
a folder of its name, and what a server answers they tell in exceptions of their own. Here objects
are asked for one by one, absent ones too, and the server's answer is kept.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from fsspec.core import url_to_fs

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.answers import Answer, Refusal, answer_behind, seconds, words
from tessera_mosaic.pipeline.io.certificates import trust
from tessera_mosaic.pipeline.io.store_errors import Asked, store_error
from tessera_mosaic.pipeline.io.urls import plain

REQUEST_TIMEOUT = 120.0
"""Seconds without an answer after which a remote request is tried again."""

OPTIONS: Mapping[str, dict[str, Any]] = {
    "gs": {"use_listings_cache": False, "requests_timeout": REQUEST_TIMEOUT},
    "s3": {
        "use_listings_cache": False,
        "config_kwargs": {"read_timeout": REQUEST_TIMEOUT, "retries": {"mode": "standard"}},
    },
}
"""What the file systems of a protocol are opened with: no stale listings, no endless silence."""

PAGE = 1000
"""Keys that a store lists in one answer."""


class Files:
    """The objects below the root of a store, as any file system of fsspec has them.

    Parameters
    ----------
    files
        The file system.
    root
        Path of the root in it.

    Attributes
    ----------
    excludes
        Whether the store puts an object only where there is none, as it was seen to; None until
        that was tried (`io.exclusion`).
    """

    def __init__(self, files: Any, root: str) -> None:
        self.files, self.root = files, root.rstrip("/")
        self.excludes: bool | None = None

    def path(self, key: str) -> str:
        """Path of an object in the file system."""
        return f"{self.root}/{key}" if key else self.root

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """A part of an object; empty where the object has ended before."""
        # Without a range s3fs asks for the size before, and on a miss for a folder.
        path = self.path(key)
        return _or_nothing(lambda: self.files.cat_file(path, start=start, end=start + length))

    def size(self, key: str) -> int:
        """Number of bytes of an object."""
        return int(self.files.info(self.path(key))["size"])

    def put(self, key: str, data: bytes) -> None:
        """Put an object, in place of any other."""
        self.files.pipe_file(self.path(key), data)

    def put_file(self, key: str, file: str) -> None:
        """Put the bytes of a file of this machine."""
        self.files.put_file(file, self.path(key))

    def create(self, key: str, data: bytes) -> None:
        """Put an object only where there is none; `FileExistsError` where there is one."""
        self.files.pipe_file(self.path(key), data, mode="create")

    def delete(self, key: str) -> None:
        """Remove an object."""
        self.files.rm_file(self.path(key))

    def keys(self, folder: str) -> list[str]:
        """Keys of the objects in a folder and below it."""
        found = self.files.find(self.path(folder))
        return [path[len(self.root) :].lstrip("/") for path in found]

    def holds(self, folder: str) -> bool:
        """Whether there is anything in a folder."""
        return bool(self.files.isdir(self.path(folder)))

    def folders(self, folder: str) -> list[str]:
        """Names of the folders that a folder holds."""
        try:
            found = self.files.ls(self.path(folder), detail=True)
        except FileNotFoundError:
            return []
        below = [each["name"] for each in found if each["type"] == "directory"]
        return [name.rstrip("/").rpartition("/")[2] for name in below]


class _Bucket(Files):
    """The objects below a prefix of a bucket."""

    def __init__(self, files: Any, root: str) -> None:
        super().__init__(files, root)
        self.bucket, base = files.split_path(self.root)[:2]
        self.base = f"{base}/" if base else ""

    def keys(self, folder: str) -> list[str]:
        prefix = self._prefix(folder)
        pages = self._pages(prefix, "")
        names = [name for objects, _ in pages for name in objects]
        return [name[len(self.base) :] for name in names if not name.endswith("/")]

    def holds(self, folder: str) -> bool:
        objects, _ = next(self._pages(self._prefix(folder), "", 1))
        return bool(objects)

    def folders(self, folder: str) -> list[str]:
        prefix = self._prefix(folder)
        below = [name for _, prefixes in self._pages(prefix, "/") for name in prefixes]
        return [name[len(prefix) :].rstrip("/") for name in below]

    def _prefix(self, folder: str) -> str:
        return f"{self.base}{folder}/" if folder else self.base

    def _pages(
        self, prefix: str, delimiter: str, page: int = PAGE
    ) -> Iterator[tuple[list[str], list[str]]]:
        """Names of objects, and of prefixes up to the delimiter, an answer at a time."""
        raise NotImplementedError


class AmazonFiles(_Bucket):
    """The objects below a prefix of a bucket of S3, or of a store that speaks its language."""

    def size(self, key: str) -> int:
        name = f"{self.base}{key}"
        told = self.files.call_s3("head_object", Bucket=self.bucket, Key=name)
        return int(told["ContentLength"])

    def _pages(
        self, prefix: str, delimiter: str, page: int = PAGE
    ) -> Iterator[tuple[list[str], list[str]]]:
        asked: dict[str, Any] = {"Bucket": self.bucket, "Prefix": prefix, "MaxKeys": page}
        if delimiter:
            asked["Delimiter"] = delimiter
        while True:
            told = self.files.call_s3("list_objects_v2", **asked)
            yield (
                [each["Key"] for each in told.get("Contents", ())],
                [each["Prefix"] for each in told.get("CommonPrefixes", ())],
            )
            if not told.get("IsTruncated"):
                return
            asked["ContinuationToken"] = told["NextContinuationToken"]


class GoogleFiles(_Bucket):
    """The objects below a prefix of a bucket of Google Cloud Storage."""

    def size(self, key: str) -> int:
        told = self.files.call("GET", "b/{}/o/{}", self.bucket, f"{self.base}{key}", json_out=True)
        return int(told["size"])

    def _pages(
        self, prefix: str, delimiter: str, page: int = PAGE
    ) -> Iterator[tuple[list[str], list[str]]]:
        asked: dict[str, Any] = {"maxResults": page}
        if prefix:
            asked["prefix"] = prefix
        if delimiter:
            asked["delimiter"] = delimiter
        while True:
            told = self.files.call("GET", "b/{}/o", self.bucket, json_out=True, **asked)
            yield (
                [each["name"] for each in told.get("items", ())],
                list(told.get("prefixes", ())),
            )
            if not told.get("nextPageToken"):
                return
            asked["pageToken"] = told["nextPageToken"]


UPLOAD_CANCELLED = 499
"""What Google answers, well-behaved, when an upload is given up."""

KINDS: Mapping[str, type[Files]] = {"s3": AmazonFiles, "gs": GoogleFiles}
"""How the objects of a protocol are asked for, where that is another way than any file system's."""


@functools.cache
def open_files(url: str, protocol: str) -> Files:
    """Open a store, once a process.

    Parameters
    ----------
    url
        Address of the store.
    protocol
        What `protocols.store_address` makes of it.

    Raises
    ------
    BadInput
        If fsspec knows no such place, or lacks the package for it.
    StoreError
        If the place cannot be opened.
    """
    trust()
    options = dict(OPTIONS.get(protocol, {}))
    if protocol == "gs":
        options["session_kwargs"] = {"trace_configs": [_told_by_google()]}
    try:
        files, root = url_to_fs(url, **options)
        if protocol == "s3":
            # botocore has asked twice again by then; how often more, `patience` decides.
            files.retries = 1
            _let_no_redirect_ask_again(files)
    except (ValueError, TypeError, ImportError) as error:
        raise BadInput(f"store {plain(url)}: {error}") from None
    except Exception as error:
        raise store_error(Asked(url, "opening"), error) from error
    return KINDS.get(protocol, Files)(files, root)


def _or_nothing(request: Callable[[], bytes]) -> bytes:
    """What is answered to a request for a range; nothing where it begins behind the end."""
    try:
        return bytes(request())
    except Exception as error:
        answer = answer_behind(error)
        if answer is None or not answer.is_behind_the_end:
            raise
        return b""


def _let_no_redirect_ask_again(files: Any) -> None:
    """Ask for a bucket's region once where a server sends to another one.

    botocore asks for the bucket then, and where that is sent on too, again without end.
    """

    def once(context: dict[str, Any], **_: Any) -> None:
        context.get("s3_redirect", {})["redirected"] = True

    files.connect().meta.events.register("before-call.s3.HeadBucket", once)


@functools.cache
def _told_by_google() -> Any:
    """What keeps the answers of Google Cloud Storage: gcsfs loses status and words of some."""
    import aiohttp

    # gcsfs would ask over gRPC, once an operation, whether a bucket is hierarchical; none of ours
    # needs to be, and the question costs a permission and, where gRPC is closed, a minute.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    # It logs with a traceback what it raises as well.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(_raise_refusal)
    return trace


async def _raise_refusal(_: object, __: object, told: Any) -> None:
    """Raise what Google answered, unless gcsfs is to send a part of an upload again."""
    response, query = told.response, told.url.query
    if response.status < 400 or response.status == UPLOAD_CANCELLED:
        return
    answer = _google_answer(response.status, await response.read(), response.headers)
    if "upload_id" in query:
        if response.status in (404, 410):
            answer = replace(answer, code="NoSuchUpload")
        elif answer.is_busy:
            return
    elif response.status == 404:
        # The address of a bucket's objects names no object, so it is the bucket that is absent.
        answer = replace(answer, code="NoSuchBucket" if told.url.path.endswith("/o") else "")
    raise Refusal(answer)


def _google_answer(status: int, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Status, reason and words of an answer of Google's JSON interface."""
    code, message = "", words(body)
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, IndexError):
        error = json.loads(body)["error"]
        message = words(error["message"])
        code = words(error["errors"][0]["reason"])
    return Answer(status, code, message, retry_after=seconds(headers.get("Retry-After")))
