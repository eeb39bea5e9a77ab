"""Every answer comes in time or not at all, whatever part of it is slow, and from where it may."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.server import serving
from tessera_mosaic.pipeline.errors import Refused, TimedOut, TooSlow
from tessera_mosaic.pipeline.io.connections import be_patient
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.http import Patience
from tests.fakes.raw_server import Say, dripping, raw_server
from tests.pipeline.io.conftest import CONTENT

BRIEF = Patience(connect=0.4, read=0.4, pause=0.001)

LONGEST = 20.0
"""Seconds in which what has to take less than one may end on a busy machine."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
CHUNKED = b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-9/10\r\nTransfer-Encoding: chunked\r\n\r\n"


def at_once(head: bytes, then: Say) -> Say:
    """Says one thing at once and the other as it does."""

    def say(send: Callable[[bytes], None], asked: bytes) -> None:
        send(head)
        then(send, asked)

    return say


def over_and_over(data: bytes, pause: float) -> Say:
    """Says the same without end."""

    def say(send: Callable[[bytes], None], asked: bytes) -> None:
        for _ in itertools.count():
            send(data)
            if pause:
                threading.Event().wait(pause)

    return say


SLOW: dict[str, Say] = {
    "status line": dripping(b"HTTP/1.1 200 " + b"O" * 60_000),
    "header": at_once(b"HTTP/1.1 200 OK\r\nX: ", dripping(b"x")),
    "headers": at_once(b"HTTP/1.1 200 OK\r\n", over_and_over(b"X: x\r\n", 0.1)),
    "continue": over_and_over(b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
    "continue at full speed": over_and_over(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.0),
    "body": at_once(HEAD, dripping(b"x")),
    "body without a length": at_once(b"HTTP/1.1 200 OK\r\n\r\n", dripping(b"x")),
    "chunks of a byte": at_once(CHUNKED, over_and_over(b"1\r\nx\r\n", 0.02)),
    "size of a chunk": at_once(CHUNKED, dripping(b"0")),
    "extension of a chunk": at_once(CHUNKED + b"5;", dripping(b"x")),
    "trailers": at_once(CHUNKED + b"0\r\n", over_and_over(b"X: x\r\n", 0.01)),
    "trailers at full speed": at_once(CHUNKED + b"0\r\n", over_and_over(b"X: x\r\n" * 999, 0.0)),
    "body of an error": at_once(b"HTTP/1.1 404 N\r\nContent-Length: 60000\r\n\r\n", dripping(b"x")),
    "body of a move": at_once(
        b"HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 60000\r\n\r\n", dripping(b"x")
    ),
}


@pytest.mark.parametrize("part", SLOW)
def test_no_part_of_an_answer_is_waited_for_without_end(part: str) -> None:
    with raw_server(SLOW[part]) as server:
        fetch = Remote(server.url, patience=BRIEF)
        for ask in (
            lambda: fetch.get(Access(f"{server.url}/a"), 5000),
            lambda: fetch.read(Access(f"{server.url}/a"), 0, 5000),
        ):
            began = time.monotonic()
            with pytest.raises(TimedOut):
                ask()
            assert time.monotonic() - began < LONGEST


def test_who_drips_is_asked_less_often_than_who_is_silent() -> None:
    with raw_server(SLOW["header"]) as server:
        fetch = Remote(server.url, patience=BRIEF)
        with pytest.raises(TooSlow, match=r"/a answers too slowly"):
            fetch.persist(lambda: fetch.get(Access(f"{server.url}/a"), 9), server.url)
        assert len(server.seen) == TooSlow.request_tries < TimedOut.request_tries
    silent = threading.Event()
    with raw_server(lambda send, asked: silent.wait(LONGEST) and None) as server:
        with pytest.raises(TimedOut) as caught:
            Remote(server.url, patience=BRIEF).get(Access(f"{server.url}/a"), 9)
        silent.set()
    assert type(caught.value) is TimedOut


def test_a_socket_waits_no_less_than_it_should() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for seconds, expected in ((29.2, 30.0), (29.9, 30.0), (5.5, 6.0), (4.5, 4.5), (0.25, 0.25)):
            be_patient(ours, seconds)
            assert ours.gettimeout() == expected


def test_an_answer_that_is_slow_and_fast_enough_is_read() -> None:
    """Of a large answer each piece has its time, so that the whole may take longer than one."""
    size = 60_000

    def say(send: Callable[[bytes], None], asked: bytes) -> None:
        send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 6000):
            send(bytes(6000))
            threading.Event().wait(0.1)

    with raw_server(say) as server:
        fetch = Remote(server.url, patience=BRIEF)
        assert fetch.get(Access(f"{server.url}/a"), size).data == bytes(size)


def test_a_proxy_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server(SLOW["header"]) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        began = time.monotonic()
        with pytest.raises(TimedOut):
            Remote("https://far.example", patience=BRIEF).get(Access("https://far.example/a"), 9)
        assert time.monotonic() - began < LONGEST
        assert proxy.seen


def test_a_handshake_that_drips_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            client = listening.accept()[0]
            with client, contextlib.suppress(OSError):
                client.sendall(b"\x16\x03\x03\x40\x00")
                for _ in range(200):
                    client.sendall(b"\x02")
                    threading.Event().wait(0.1)

        threading.Thread(target=drip, daemon=True).start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(TimedOut):
            Remote(url, patience=BRIEF).get(Access(f"{url}/a"), 9)
        assert time.monotonic() - began < LONGEST


class Names:
    """Looks up names as a test tells."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.led: dict[str, list[str]] = {}
        self._look_up = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        found = self.led.get(host, [host])
        return [each for name in found for each in self._look_up(name, port, *args, **kwargs)]


def test_the_catalogues_host_leads_where_it_led_at_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(monkeypatch)
    with serving(folder) as server:
        url = f"http://cat.example:{server.server_port}"
        for first in (["192.0.2.1"], ["127.0.0.2"], ["10.0.0.1", "127.0.0.2"], ["93.184.216.34"]):
            names.led["cat.example"] = first
            fetch = Remote(url, patience=Patience(connect=0.05, read=0.05))
            with pytest.raises((TimedOut, Refused)):
                fetch.get(Access(f"{url}/a.bin"), 2000)
            names.led["cat.example"] = ["127.0.0.1"]
            for _ in range(2):
                with pytest.raises(Refused, match=r"cat\.example is at the private address 127"):
                    fetch.get(Access(f"{url}/a.bin"), 2000)
        assert not server.counts["requests"]
        # Where it was found at first it may be found again, and in other company.
        fetch = Remote(url)
        assert fetch.get(Access(f"{url}/a.bin"), 2000).data == CONTENT
        names.led["cat.example"] = ["10.0.0.9", "127.0.0.1"]
        server.moved["b.bin"] = f"http://CAT.example.:{server.server_port}/a.bin"
        assert fetch.get(Access(f"{url}/b.bin"), 2000).data == CONTENT
        # What the launcher found is all that a worker may find.
        assert fetch.hosts.found == {"127.0.0.1"}
        names.led["cat.example"] = ["127.0.0.1"]
        assert Remote(url, found=fetch.hosts.found).size(Access(f"{url}/a.bin")) == len(CONTENT)
        with pytest.raises(Refused):
            Remote(url, found=frozenset()).size(Access(f"{url}/a.bin"))
        assert Remote(url, ["cat.example"], found=()).size(Access(f"{url}/a.bin")) == len(CONTENT)


def test_a_host_of_public_and_private_addresses_is_public(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(monkeypatch)
    names.led["cat.example"] = ["192.88.99.2", "127.0.0.1"]
    with serving(folder) as server:
        url = f"http://cat.example:{server.server_port}"
        fetch = Remote(url, patience=Patience(connect=0.1, read=0.1))
        with pytest.raises(TimedOut):
            fetch.get(Access(f"{url}/a.bin"), 2000)
        assert fetch.hosts.found == frozenset()
        assert not server.counts["requests"]


def test_nothing_is_said_where_nothing_may_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a connection is made, which would tell whether somebody listens."""
    names = Names(monkeypatch)
    names.led["far.example"] = ["127.0.0.1"]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        for scheme in ("http", "https"):
            with pytest.raises(Refused):
                Remote("https://").get(
                    Access(f"{scheme}://far.example:{listening.getsockname()[1]}/"), 9
                )
        with pytest.raises(TimeoutError):
            listening.accept()


@pytest.mark.parametrize(
    "address",
    [
        "::127.0.0.1",
        "64:ff9b:1::7f00:1",
        "fe80::1%lo",
        "fd00::1",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::",
    ],
)
def test_private_addresses_of_every_kind(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [(*found, (address, 80))])
    with pytest.raises(Refused, match=r"far\.example is at the private address"):
        Remote("https://").get(Access("http://far.example/"), 9)
