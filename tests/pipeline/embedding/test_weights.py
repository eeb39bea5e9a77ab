"""Weights from the Hub, from object stores and from the web, by digest."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.pipeline.embedding.encoders import find_checkpoint
from tessera_mosaic.pipeline.embedding.weights import (
    cache_folder,
    local_weights,
    pull_weights,
    pulled_weights,
)
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.http import Patience
from tests.fakes.disk import small_disk
from tests.fakes.environment import object_store_here
from tests.fakes.raw_server import dripping, raw_server

WEIGHTS = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(params=["memory", "gs", "s3"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield "memory://bucket/weights.pt"
        return
    with object_store_here(request.param) as bucket:
        yield f"{bucket}/weights.pt"


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


def test_what_is_wrong_with_weights_is_told_under_the_name_they_were_given() -> None:
    with fsspec.open("memory://bucket/none.pt", "wb") as file:
        file.write(b"none")
    with pytest.raises(BadInput, match=r"^memory://bucket/none\.pt: this is no weights"):
        find_checkpoint(None, "memory://bucket/none.pt")


def test_secrets_of_an_address_are_not_told() -> None:
    with pytest.raises(BadInput, match=r"http://127\.0\.0\.1:1/a\.pt cannot be reached") as caught:
        local_weights("http://127.0.0.1:1/a.pt?token=secret")
    assert "secret" not in str(caught.value)


def test_withdrawn_weights_are_not_even_fetched() -> None:
    with pytest.raises(BadInput, match="is withdrawn"):
        local_weights("https://127.0.0.1:1/best_model_fsdp_20260425_202039.pt")


def test_weights_lead_to_no_other_private_place_and_take_no_login_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1\nlogin me\npassword word\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(WEIGHTS) + WEIGHTS
    with raw_server(lambda send, asked: send(answer), "127.0.0.2") as other:
        for place in (
            other.url,
            f"http://localhost:{other.port}",
            f"http://[::ffff:127.0.0.2]:{other.port}",
            f"http://2130706434:{other.port}",
            "http://169.254.169.254",
            "file:///etc/passwd",
            "s3://bucket",
        ):
            moved = b"HTTP/1.1 302 F\r\nContent-Length: 0\r\nLocation: %s/w.pt\r\n\r\n"
            lead = moved % place.encode()
            with (
                raw_server(lambda send, asked, lead=lead: send(lead)) as first,  # type: ignore[misc]
                pytest.raises(BadInput, match=r"private address|this machine|leads to|local file"),
            ):
                local_weights(f"{first.url}/w.pt")
            assert first.seen
            assert b"authorization" not in first.seen[0].lower()
        assert not other.seen
        assert local_weights(f"{other.url}/w.pt").read_bytes() == WEIGHTS
        assert b"authorization" not in other.seen[0].lower()


def test_weights_that_drip_are_not_waited_for() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    patience = Patience(read=0.3)
    with raw_server(dripping(head)) as server:
        with pytest.raises(BadInput, match="answers too slowly"):
            local_weights(f"{server.url}/w.pt", patience=patience)
        assert not [kept for kept in cache_folder().iterdir() if kept.stat().st_size]


class Hub(ThreadingHTTPServer):
    """As much of the Hugging Face Hub as fetching a file takes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HubHandler)
        self.last = len(WEIGHTS)
        self.ranges = True
        self.asked, self.gate = threading.Event(), threading.Event()
        self.gate.set()
        self.starts: list[int] = []


class _HubHandler(BaseHTTPRequestHandler):
    """Leads from one address to another, and serves one file there, as its server is told."""

    server: Hub

    def do_GET(self) -> None:
        if self.path == "/geotessera/TESSERA-V-2.0-2B-N/resolve/main/ckpt/student_nano.pt":
            self.send_response(302)
            self.send_header("Location", "/cdn/student_nano.pt?signature=secret")
            self.end_headers()
            return
        if self.path != "/cdn/student_nano.pt?signature=secret":
            self.send_error(404)
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(asked[1]) if asked and self.server.ranges else 0
        self.server.starts.append(first)
        self.server.asked.set()
        if first >= len(WEIGHTS):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(WEIGHTS) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(WEIGHTS) - 1}/{len(WEIGHTS)}")
        self.end_headers()
        self.wfile.write(WEIGHTS[first : min(self.server.last, len(WEIGHTS) // 2)])
        self.server.gate.wait()
        self.wfile.write(WEIGHTS[max(first, len(WEIGHTS) // 2) : self.server.last])

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


CARD = dataclasses.replace(card_named("v2-nano"), sha256=SHA256)


def _partial(data: bytes) -> None:
    """Leave what an interrupted fetch leaves."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    (cache_folder() / f"{SHA256}.partial").write_bytes(data)


def test_pulling_goes_on_where_it_stopped(hub: Hub) -> None:
    assert pulled_weights(CARD) is None
    _partial(WEIGHTS[:700_000])
    path = pull_weights(CARD)
    assert path.read_bytes() == WEIGHTS
    assert pulled_weights(CARD) == path
    assert pull_weights(CARD) == path
    assert hub.starts == [700_000]
    assert [kept.name for kept in cache_folder().iterdir()] == [SHA256]


@pytest.mark.parametrize(
    ("partial", "ranges", "starts"),
    [
        (b"", False, [0]),
        (WEIGHTS[:700_000], False, [0]),
        (WEIGHTS, True, [len(WEIGHTS)]),
        (WEIGHTS + b"x", True, [len(WEIGHTS) + 1, 0]),
        (b"x" * 700_000, True, [700_000, 0]),
    ],
)
def test_pulling_ends_well_whatever_was_left_and_whoever_serves(
    hub: Hub, partial: bytes, ranges: bool, starts: list[int]
) -> None:
    hub.ranges = ranges
    _partial(partial)
    assert pull_weights(CARD).read_bytes() == WEIGHTS
    assert hub.starts == starts


def test_a_damaged_file_of_the_cache_is_fetched_again(hub: Hub) -> None:
    for damage in (b"garbage", WEIGHTS[:-1], b""):
        cache_folder().mkdir(parents=True, exist_ok=True)
        (cache_folder() / SHA256).write_bytes(damage)
        assert pull_weights(CARD).read_bytes() == WEIGHTS
    assert hub.starts == [0, 0, 0]


def test_nobody_waits_for_a_file_that_another_needs(hub: Hub) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    cache_folder().mkdir(parents=True)
    (cache_folder() / other).write_bytes(b"other")
    hub.gate.clear()
    with ThreadPoolExecutor(1) as threads:
        fetching = threads.submit(pull_weights, CARD)
        assert hub.asked.wait(60)
        assert local_weights("https://127.0.0.1:1/other.pt", other).read_bytes() == b"other"
        assert not fetching.done()
        hub.gate.set()
        assert fetching.result().read_bytes() == WEIGHTS


def test_a_cache_that_takes_nothing_is_not_taken_for_a_server_that_gives_nothing(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(500_000), pytest.raises(BadInput, match=r"cannot be kept in .* too large"):
        pull_weights(CARD)
    assert pull_weights(CARD).read_bytes() == WEIGHTS
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BadInput, match=r"Not a directory; XDG_CACHE_HOME names another place"):
        pull_weights(CARD)


def test_a_broken_connection_is_one_line_and_a_later_pull_succeeds(hub: Hub) -> None:
    hub.last = 300_000
    with pytest.raises(BadInput, match="the same command goes on where this one stopped") as told:
        pull_weights(CARD)
    assert "\n" not in str(told.value)
    assert "secret" not in str(told.value)
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
    with pytest.raises(BadInput, match=r"get ckpt/student_nano\.pt from .*hugg.* as the weights"):
        pull_weights(CARD)


def test_what_the_hub_does_not_have_is_to_be_fetched_by_hand() -> None:
    with pytest.raises(BadInput, match=r"get tessera_v1_1_mpc_encoder\.pt from https://drive"):
        pull_weights(card_named("v1.1-mpc"))
