"""What an object store says while a catalogue's objects are read there."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from botocore.exceptions import NoCredentialsError
from google.auth.exceptions import RefreshError

from tessera_mosaic.pipeline.errors import (
    Corrupt,
    Expired,
    Gone,
    Refused,
    SceneError,
    Throttled,
    TimedOut,
)
from tessera_mosaic.pipeline.io.buckets import Buckets
from tessera_mosaic.pipeline.io.throttle import Accounts


def is_anonymous(buckets: Buckets) -> bool:
    return buckets.ask("s3://bucket/key", lambda store: store.anon)


def test_a_public_bucket_is_read_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    assert is_anonymous(Buckets(Accounts()))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert not is_anonymous(Buckets(Accounts()))


@pytest.mark.parametrize(
    ("store", "kind"),
    [
        (SimpleNamespace(anon=True), Gone),
        (SimpleNamespace(anon=False), Expired),
        (SimpleNamespace(credentials=SimpleNamespace(credentials=None)), Gone),
        (SimpleNamespace(credentials=SimpleNamespace(credentials=object())), Expired),
    ],
)
def test_who_is_refused_without_an_account_finds_nothing(
    store: object, kind: type[SceneError]
) -> None:
    def refuse(store: object) -> bytes:
        raise PermissionError("Access Denied")

    with pytest.raises(kind) as caught:
        Buckets(Accounts(pause=0.001), lambda *_, **__: store).ask("gs://bucket/key", refuse)
    assert caught.value.loses_scene is (kind is Gone)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NoCredentialsError(), Expired),
        (RefreshError("gone"), Expired),
        (PermissionError("no"), Expired),
        (FileNotFoundError("no"), Gone),
        (OSError("SlowDown"), Throttled),
        (TimeoutError(), TimedOut),
        (ImportError(name="s3fs"), Refused),
        (ValueError("odd"), Corrupt),
    ],
)
def test_what_an_object_store_says_has_a_class(error: Exception, kind: type[SceneError]) -> None:
    def fail(store: object) -> bytes:
        raise error

    with pytest.raises(kind) as caught:
        Buckets(Accounts(pause=0.001), lambda *_, **__: None).ask("gs://bucket/key", fail)
    assert type(caught.value) is kind
