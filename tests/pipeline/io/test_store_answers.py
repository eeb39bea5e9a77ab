"""An error is what the server said: by its status and code, whatever library asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tessera_mosaic.pipeline.errors import (
    BadInput,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    TesseraError,
)
from tessera_mosaic.pipeline.io.exclusion import excludes, settled
from tessera_mosaic.pipeline.io.storage import Storage
from tests.fakes.environment import s3_here, store_at
from tests.fakes.proxy import Act, FaultProxy, fault_proxy, gcs_error, s3_error

URL = "s3://bucket/store"


@pytest.fixture(scope="module")
def working() -> Iterator[FaultProxy]:
    """A proxy before a store that works."""
    with s3_here("bucket") as address:
        upstream = int(address.rpartition(":")[2])
        with fault_proxy(upstream) as proxy, store_at("s3", proxy.port):
            yield proxy


def patient(seconds: float = 0.0) -> Storage:
    return Storage(URL, patience=seconds)


REQUESTS: dict[str, Callable[[Storage], object]] = {
    "GET": lambda storage: storage.read("a/key"),
    "RANGE": lambda storage: storage.read_range("a/key", 5, 2),
    "LIST": lambda storage: list(storage.list("a")),
    "PUT": lambda storage: storage.write("a/key", b"1"),
    "CREATE": lambda storage: storage.create("a/key", b"1"),
    "DELETE": lambda storage: storage.delete("a/key"),
    "HEAD": lambda storage: storage.size("a/key"),
}


@pytest.mark.parametrize(
    ("status", "code", "verbs", "kind"),
    [
        (507, "XMinioStorageFull", "PUT CREATE", StoreFull),
        (507, "", "PUT", StoreFull),
        (403, "QuotaExceeded", "PUT CREATE", StoreFull),
        (400, "XMinioAdminBucketQuotaExceeded", "PUT", StoreFull),
        (403, "AccessDenied", "GET RANGE LIST PUT CREATE DELETE", StoreDenied),
        (403, "", "HEAD", StoreDenied),
        (401, "Unauthorized", "GET PUT LIST", StoreDenied),
        (403, "SignatureDoesNotMatch", "LIST PUT", StoreDenied),
        (404, "NoSuchBucket", "GET LIST PUT CREATE DELETE", BadInput),
        (404, "NoSuchKey", "GET RANGE", FileNotFoundError),
        (404, "", "HEAD", FileNotFoundError),
        (404, "", "PUT", StoreError),
        (400, "InvalidToken", "GET RANGE LIST PUT", StoreError),
        (400, "InvalidArgument", "RANGE CREATE", StoreError),
        (400, "InvalidRequest", "RANGE", StoreError),
        (412, "PreconditionFailed", "PUT", StoreError),
        (405, "MethodNotAllowed", "PUT DELETE", StoreReadOnly),
        (501, "NotImplemented", "CREATE", StoreError),
        (503, "SlowDown", "GET PUT", StoreUnavailable),
        (500, "InternalError", "LIST", StoreUnavailable),
        (409, "OperationAborted", "PUT", StoreUnavailable),
    ],
)
def test_every_answer_has_its_class(
    working: FaultProxy, status: int, code: str, verbs: str, kind: type[Exception]
) -> None:
    act = s3_error(status, code) if code else Act(status)
    for verb in verbs.split():
        with working.failing(act), pytest.raises(kind) as caught:
            REQUESTS[verb](patient())
        said = str(caught.value)
        assert type(caught.value) is kind or (kind is StoreError and code == "NotImplemented")
        if isinstance(caught.value, TesseraError):
            assert code in said
            assert "bucket" in said
        if kind is StoreDenied:
            asked = {"RANGE": "GET", "CREATE": "PUT"}.get(verb, verb)
            assert f"{asked} of key a" in said
            assert "profile default" in said


def test_416_alone_is_behind_the_end(working: FaultProxy) -> None:
    with working.failing(s3_error(416, "InvalidRange")):
        assert patient().read_range("a/key", 5, 2) == b""
        assert patient().read("a/key") == b""


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (s3_error(301, "PermanentRedirect"), "another region or endpoint"),
        (s3_error(307, "TemporaryRedirect"), "another region or endpoint"),
        (
            s3_error(400, "AuthorizationHeaderMalformed", more="<Region>eu-west-3</Region>"),
            "region eu-west-3",
        ),
        (
            Act(301, headers={"x-amz-bucket-region": "eu-north-1"}),
            "region eu-north-1",
        ),
    ],
)
def test_a_bucket_elsewhere_is_named_after_few_requests(
    working: FaultProxy, act: Act, said: str
) -> None:
    working.asked.clear()
    with working.failing(act), pytest.raises(BadInput, match=said):
        patient().write("a/key", b"1")
    assert len(working.asked) < 8


@pytest.mark.parametrize(
    "act",
    [
        s3_error(503, "SlowDown"),
        s3_error(429, "TooManyRequests"),
        s3_error(500, "InternalError"),
        Act(502, b"<html>bad gateway</html>"),
        Act(hang_up="before"),
        Act(hang_up="after"),
    ],
)
def test_what_passes_is_waited_for(
    working: FaultProxy, act: Act, caplog: pytest.LogCaptureFixture
) -> None:
    storage = patient(60)
    storage.write("a/key", b"before")
    for verb, request in REQUESTS.items():
        with working.failing(act, times=1):
            request(storage)
        if verb == "DELETE":
            storage.write("a/key", b"again")


def test_a_wait_is_told_and_has_an_end(
    working: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    storage = Storage("s3://bucket/waited", patience=0.2)
    with (
        working.failing(s3_error(425, "TooEarly", "be back soon")),
        pytest.raises(StoreUnavailable, match="be back soon"),
    ):
        storage.read("a/key")
    assert time.monotonic() - began >= 0.2
    assert "GET of a/key: 425 TooEarly: be back soon: waiting" in caplog.text


def test_an_upload_whose_answer_was_lost_is_put_again(working: FaultProxy) -> None:
    with working.failing(s3_error(404, "NoSuchUpload"), times=1, method="PUT"):
        patient(30).write("a/upload", b"whole")
    assert patient().read("a/upload") == b"whole"


def test_all_forms_of_exists_already(working: FaultProxy) -> None:
    storage = patient(30)
    storage.write("taken", b"1")
    for act in (
        s3_error(412, "PreconditionFailed"),
        s3_error(412, "PreconditionFailed", more="<Condition>If-None-Match</Condition>"),
        Act(412),
        s3_error(409, "ConditionalRequestConflict"),
        s3_error(409, "Conflict"),
    ):
        with working.failing(act, method="PUT"):
            assert not storage.create("taken", b"2")
    with working.failing(s3_error(409, "ConditionalRequestConflict"), times=1, method="PUT"):
        assert storage.create("free", b"1")


@pytest.mark.parametrize(
    ("act", "honoured"),
    [
        (None, True),
        (Act(hang_up="after"), True),
        (Act(drop=("if-none-match",)), False),
        (s3_error(501, "NotImplemented"), False),
        (s3_error(400, "InvalidArgument"), False),
    ],
)
def test_what_excludes_is_tried(working: FaultProxy, act: Act | None, honoured: bool) -> None:
    lost = [1]

    def rule(asked: object) -> Act | None:
        if "If-None-Match" not in getattr(asked, "headers", {}):
            return None
        if act is not None and act.hang_up:
            return act if lost and lost.pop() else None
        return act

    working.rule = rule
    try:
        assert excludes(patient(30)) is honoured
    finally:
        working.rule = lambda asked: None
    assert "exclusion" not in "".join(patient()._list("", lambda files: files.keys(".partial")))


def test_a_denied_trial_is_a_matter_of_configuration(working: FaultProxy) -> None:
    with (
        working.failing(s3_error(403, "AccessDenied"), method="DELETE"),
        pytest.raises(BadInput, match=r"DELETE of key \.partial/exclusion-.* in bucket"),
    ):
        settled(Storage("s3://bucket/undeletable"))


@pytest.mark.parametrize(
    ("act", "kind", "said"),
    [
        (gcs_error(403, "forbidden", "no access"), StoreDenied, "403 forbidden: no access"),
        (gcs_error(401, "authError"), StoreDenied, "401 authError"),
        (gcs_error(403, "quotaExceeded"), StoreFull, "quotaExceeded"),
        (gcs_error(403, "rateLimitExceeded"), StoreUnavailable, "rateLimitExceeded"),
        (gcs_error(400, "invalid", "an invalid thing"), StoreError, "400 invalid"),
        (gcs_error(501, "notImplemented"), StoreError, "501"),
    ],
)
def test_google_is_understood_too(act: Act, kind: type[Exception], said: str) -> None:
    storage = Storage("gs://bucket/store", patience=0)
    with fault_proxy() as proxy, store_at("gs", proxy.port), proxy.failing(act):
        for request in (lambda: storage.read_range("a", 5, 2), lambda: storage.write("a", b"1")):
            with pytest.raises(kind, match=said):
                request()
        with proxy.failing(gcs_error(416, "requestedRangeNotSatisfiable", "invalid range")):
            assert storage.read_range("a", 5, 2) == b""
        with proxy.failing(gcs_error(404, "notFound", "Not Found")):
            with pytest.raises(FileNotFoundError):
                storage.read("a")
            with pytest.raises(BadInput, match="no such bucket"):
                storage.write("a", b"1")
        with proxy.failing(gcs_error(412, "conditionNotMet")):
            assert not storage.create("a", b"1")
