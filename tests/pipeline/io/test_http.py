"""Requests take the way that the environment names, and answers are what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.server import serving
from tessera_mosaic.pipeline.errors import Corrupt, Refused
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.http import (
    MOST_AT_ONCE,
    PIECE,
    Answer,
    ranged,
    retry_after,
    whole_size,
)
from tests.fakes.raw_server import raw_server
from tests.fakes.web import Reply, Request, fake_web
from tests.pipeline.io.conftest import CONTENT


def test_requests_go_through_the_proxy_of_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(request: Request) -> Reply:
        asked.append((request.headers["host"], request.headers.get("proxy-authorization")))
        return 200, {}, CONTENT

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with fake_web(answer) as proxy, serving(folder) as server:
        monkeypatch.setenv("http_proxy", proxy.replace("//", "//me:word@"))
        monkeypatch.setenv("no_proxy", "127.1")
        fetch = Remote(server.url, ["127.1"])
        assert fetch.read_all(Access("http://far.example/a.bin"), 2000) == CONTENT
        assert asked == [("far.example", "Basic bWU6d29yZA==")]
        # What is on this machine, or needs no proxy, is asked itself.
        assert fetch.read(Access(f"{server.url}/a.bin"), 0, 5) == CONTENT[:5]
        near = f"http://127.1:{server.server_port}/a.bin"
        assert fetch.read(Access(near), 0, 5) == CONTENT[:5]
        with pytest.raises(Refused, match="private address"):
            fetch.read(Access("http://10.0.0.1/a.bin"), 0, 5)
        assert len(asked) == 1
        monkeypatch.setenv("http_proxy", "socks9://me:word@nowhere")
        with pytest.raises(Refused, match="not at an http address"):
            Remote(server.url).read(Access("http://far.example/a.bin"), 0, 5)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("\u00b2", None),
        ("Sat, 01 Jan 99999 00:00:00 GMT", None),
        ("nonsense", None),
        ("Thu, 01 Jan 2026 00:00:00 GMT", 0.0),
    ],
)
def test_reading_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


@pytest.mark.parametrize("place", ["", "bytes", "bytes \u00b2-9/10", f"bytes 0-9/{'9' * 5000}"])
def test_parts_that_are_not_told_in_numbers(place: str) -> None:
    answer = Answer(206, {"content-range": place}, CONTENT[:10])
    with pytest.raises(Corrupt):
        ranged(answer, "it", 0, 10)
    with pytest.raises(Corrupt):
        whole_size(answer, "it")


@pytest.mark.parametrize("size", [1, 8192, PIECE - 1, PIECE, 3 * PIECE + 17, MOST_AT_ONCE + 1])
def test_bodies_of_every_size(size: int) -> None:
    body = np.random.default_rng(size).bytes(size)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    with raw_server(lambda send, asked: send(head + body)) as server:
        assert Remote(server.url).get(Access(server.url), size).data == body
        with pytest.raises(Corrupt, match="more than"):
            Remote(server.url).get(Access(server.url), size - 1)
    with (
        raw_server(lambda send, asked: send(head + body[:-1])) as server,
        pytest.raises(Corrupt, match="breaks off"),
    ):
        Remote(server.url).get(Access(server.url), size)


def test_a_server_without_ranges_is_named_and_does_not_confuse_the_next_answer() -> None:
    def answer(request: Request) -> Reply:
        return 200, {}, bytes(1_000_000) if request.path == "/large" else CONTENT

    with fake_web(answer) as url:
        fetch = Remote(url)
        for _ in range(3):
            with pytest.raises(Corrupt, match="does not read parts of files"):
                fetch.read(Access(f"{url}/large"), 0, 100)
            # A file that is smaller than the part is whole.
            assert fetch.read(Access(f"{url}/small"), 0, 2000) == CONTENT
