"""Weights from the Hub, from object stores and from the web, by digest."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from model.cards import card_named
from model.checkpoint import CheckpointError
from pipeline.errors import BadInput
from pipeline.weights import cache_folder, local_weights, pull_weights, pulled_weights
from tests.fakes.gcs import GCSFS_ENVIRONMENT, fake_gcs
from tests.fakes.s3 import S3_ENVIRONMENT, fake_s3

WEIGHTS = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(params=["memory", "gs", "s3"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    scheme = request.param
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    if scheme == "memory":
        yield "memory://bucket/weights.pt"
        return
    serve, environment, key = {
        "gs": (fake_gcs, GCSFS_ENVIRONMENT, "STORAGE_EMULATOR_HOST"),
        "s3": (fake_s3, S3_ENVIRONMENT, "AWS_ENDPOINT_URL"),
    }[scheme]
    with serve("bucket") if scheme == "s3" else serve() as served:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv(key, served if scheme == "s3" else served[0])
        fsspec.get_filesystem_class(scheme).clear_instance_cache()
        yield f"{scheme}://bucket/weights.pt"
    fsspec.get_filesystem_class(scheme).clear_instance_cache()


def test_weights_are_fetched_once_and_kept_by_their_digest(address: str) -> None:
    with fsspec.open(address, "wb") as file:
        file.write(WEIGHTS)
    path = local_weights(address)
    assert path == cache_folder() / SHA256
    assert path.read_bytes() == WEIGHTS
    with pytest.raises(BadInput, match=f"its sha256 is {SHA256}, and should be 0000"):
        local_weights(address, "0" * 64)
    files, name = fsspec.core.url_to_fs(address)
    files.rm(name)
    assert local_weights(address, SHA256) == path
    with pytest.raises(BadInput, match=r"there are no weights at|cannot be read"):
        local_weights(address)
    assert [kept.name for kept in cache_folder().iterdir()] == [SHA256]


def test_secrets_of_an_address_are_not_told() -> None:
    with pytest.raises(BadInput, match=r"http://127\.0\.0\.1:1/a\.pt cannot be reached") as caught:
        local_weights("http://127.0.0.1:1/a.pt?token=secret")
    assert "secret" not in str(caught.value)


def test_withdrawn_weights_are_not_even_fetched() -> None:
    with pytest.raises(CheckpointError, match="is withdrawn"):
        local_weights("https://127.0.0.1:1/best_model_fsdp_20260425_202039.pt")


class Hub(ThreadingHTTPServer):
    """As much of the Hugging Face Hub as fetching a file takes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HubHandler)
        self.last = len(WEIGHTS)
        self.starts: list[int] = []


class _HubHandler(BaseHTTPRequestHandler):
    """Serves one file from one address, and breaks off after the byte it is told."""

    server: Hub

    def do_GET(self) -> None:
        if self.path != "/geotessera/TESSERA-V-2.0-2B-N/resolve/main/ckpt/student_nano.pt":
            self.send_error(404)
            return
        first, last = 0, len(WEIGHTS) - 1
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or last), last)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last + 1 - first))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(WEIGHTS)}")
        self.end_headers()
        if self.command == "GET":
            self.server.starts.append(first)
            self.wfile.write(WEIGHTS[first : min(last + 1, self.server.last)])

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


CARD = dataclasses.replace(card_named("v2-nano"), sha256=SHA256)


def test_pulling_goes_on_where_it_stopped(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.weights.PIECE", 1 << 16)
    assert pulled_weights(CARD) is None
    (cache_folder()).mkdir(parents=True)
    (cache_folder() / f"{SHA256}.partial").write_bytes(WEIGHTS[:700_000])
    path = pull_weights(CARD)
    assert path.read_bytes() == WEIGHTS
    assert min(hub.starts) == 700_000
    assert pulled_weights(CARD) == path
    assert pull_weights(CARD) == path
    assert [kept.name for kept in cache_folder().iterdir()] == [SHA256]


def test_a_broken_connection_is_one_line_and_a_later_pull_succeeds(hub: Hub) -> None:
    hub.last = 300_000
    with pytest.raises(BadInput, match="the same command goes on where this one stopped") as told:
        pull_weights(CARD)
    assert "\n" not in str(told.value)
    hub.last = len(WEIGHTS)
    assert pull_weights(CARD).read_bytes() == WEIGHTS


def test_what_is_not_the_published_file_is_not_kept(hub: Hub) -> None:
    with pytest.raises(BadInput, match=f"its sha256 is {SHA256}, and should be bc9929e"):
        pull_weights(card_named("v2-nano"))
    assert not list(cache_folder().iterdir())


def test_two_that_pull_at_once_fetch_one_file(hub: Hub) -> None:
    with ThreadPoolExecutor(4) as threads:
        paths = list(threads.map(pull_weights, [CARD] * 4))
    assert {path.read_bytes() for path in paths} == {WEIGHTS}
    assert hub.starts.count(0) == 1


def test_without_a_network_pulling_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(BadInput, match=r"get ckpt/student_nano\.pt from https://hugg.* --weights"):
        pull_weights(CARD)


def test_what_the_hub_does_not_have_is_to_be_fetched_by_hand() -> None:
    with pytest.raises(BadInput, match=r"get tessera_v1_1_mpc_encoder\.pt from https://drive"):
        pull_weights(card_named("v1.1-mpc"))
