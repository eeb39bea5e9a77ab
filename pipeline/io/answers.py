"""What a store answered: the HTTP status and the error code that it sent, whatever library asked.

The libraries of the stores make exceptions of their own of what a server says, and several answers
become the same one. What the server said still stands in them or behind them, and is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LONGEST = 200
"""Characters of a server's words that are repeated."""

BUSY_CODES = frozenset(
    (
        "Busy",
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "NoSuchUpload",
        "OperationAborted",
        "RequestTimeout",
        "ServerBusy",
        "ServiceUnavailable",
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "XMinioServerNotInitialized",
        "backendError",
        "rateLimitExceeded",
        "userRateLimitExceeded",
    )
)
"""Codes of answers that the same request may not get a moment later, whatever their status. Of an
upload that is not there the answer to its completion was lost: it is put again."""

BUSY_STATUSES = frozenset((408, 425, 429))
"""Statuses below 500 of such answers."""

LASTING_STATUSES = frozenset((501, 505, 507, 508, 510, 511))
"""Statuses from 500 that the same request gets again."""

FULL_CODE = re.compile(
    r"quota|storage_?full|insufficient_?storage|cap_?exceeded|disk_?full", re.IGNORECASE
)
"""Of codes that say that there is no room left: QuotaExceeded, XMinioStorageFull and the like."""

MOVED_CODES = frozenset(
    (
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "Redirect",
        "TemporaryRedirect",
    )
)
"""Codes that say that the bucket is asked for in another place."""


@dataclass(frozen=True)
class Answer:
    """What a store answered to a request that it did not do.

    Parameters
    ----------
    status
        The HTTP status.
    code
        The store's own code, such as `SlowDown`; empty where it sent none.
    message
        The store's words.
    region
        Region in which the bucket is, where the store said so.
    retry_after
        Seconds after which the store wants to be asked again, where it said so.
    """

    status: int
    code: str = ""
    message: str = ""
    region: str = ""
    retry_after: float | None = None

    def __str__(self) -> str:
        told = " ".join(part for part in (str(self.status or ""), self.code) if part)
        return f"{told}: {self.message}" if self.message else told

    @property
    def is_behind_the_end(self) -> bool:
        """Whether a range was asked for that begins where the object has ended."""
        return self.status == 416

    @property
    def is_absent(self) -> bool:
        """Whether there is no such object, which is no failure of the store."""
        return self.status == 404 and self.code in ("", "404", "NoSuchKey", "NoSuchVersion")

    @property
    def is_bucket_absent(self) -> bool:
        """Whether there is no such bucket."""
        return self.code == "NoSuchBucket"

    @property
    def is_taken(self) -> bool:
        """Whether there is an object already, where one was put only if there is none."""
        return self.status == 412

    @property
    def is_conflict(self) -> bool:
        """Whether somebody else put the same object at the same time."""
        return self.status == 409

    @property
    def is_denied(self) -> bool:
        """Whether the identity that asked may not do that."""
        return self.status in (401, 403) and not (self.is_full or self.is_busy)

    @property
    def is_full(self) -> bool:
        """Whether there is no room left."""
        return self.status == 507 or (self.status >= 400 and bool(FULL_CODE.search(self.code)))

    @property
    def is_moved(self) -> bool:
        """Whether the bucket has to be asked for in another region or at another endpoint."""
        return 300 <= self.status < 400 or self.code in MOVED_CODES

    @property
    def is_busy(self) -> bool:
        """Whether the same request may be done a moment later."""
        if self.is_full or self.is_moved:
            return False
        failed = self.status >= 500 and self.status not in LASTING_STATUSES
        return (
            failed
            or self.status in BUSY_STATUSES
            or self.code in BUSY_CODES
            or "throttl" in self.code.lower()
        )


class Refusal(Exception):
    """What a store answered, as it is raised by what asks it without a library in between."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer))
        self.answer = answer


def answer_behind(error: BaseException) -> Answer | None:
    """What the store said, where an exception was made of its answer; None of all others.

    Parameters
    ----------
    error
        What the store's library raised: botocore, s3fs, gcsfs, aiohttp, requests and Azure's keep
        the answer in fields of their own, or in those of the exception behind theirs.
    """
    for each in _causes(error):
        if isinstance(each, Refusal):
            return each.answer
        response = getattr(each, "response", None)
        if isinstance(response, Mapping) and "Error" in response:
            return _amazon_answer(response)
        status = _status(each, response)
        if status is not None:
            code = getattr(each, "error_code", None) or getattr(each, "reason", None)
            message = getattr(each, "message", None) or str(each)
            return Answer(status, words(code or ""), words(message))
    return None


def words(said: object) -> str:
    """A server's words in one line, of letters and signs alone, and not too many of them."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    text = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(text.split())[:LONGEST]


def seconds(header: object) -> float | None:
    """Seconds that a Retry-After header tells; None where it tells a date, or is none."""
    try:
        return max(float(str(header)), 0.0)
    except ValueError:
        return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that it was made of."""
    each: BaseException | None = error
    seen: set[int] = set()
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__


def _amazon_answer(response: Mapping[str, Any]) -> Answer:
    """What botocore keeps of an answer."""
    told, meta = response["Error"], response.get("ResponseMetadata", {})
    headers = meta.get("HTTPHeaders", {})
    code = words(told.get("Code") or "")
    status = meta.get("HTTPStatusCode") or (int(code) if code.isdigit() else 0)
    if status < 300 and code:
        # An answer that began well, and had an error inside.
        status = 500 if code in BUSY_CODES else 400
    region = told.get("Region") or headers.get("x-amz-bucket-region") or ""
    return Answer(
        status,
        "" if code.isdigit() else code,
        words(told.get("Message") or ""),
        words(region),
        seconds(headers.get("retry-after")),
    )


def _status(error: BaseException, response: object) -> int | None:
    """The HTTP status that an exception keeps in one of the usual places."""
    for holder in (error, response):
        for name in ("status_code", "status", "code"):
            value = getattr(holder, name, None)
            if isinstance(value, str) and value.isdigit():
                value = int(value)
            if isinstance(value, int) and 300 <= value < 600:
                return int(value)
    return None
