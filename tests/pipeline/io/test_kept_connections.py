"""Connections are kept where that is safe, and none is when anything is left on it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tessera_mosaic.pipeline.errors import Corrupt, Gone, SceneError, TimedOut
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.http import Patience
from tessera_mosaic.pipeline.io.web_addresses import Address

OK = b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-1/9\r\nTransfer-Encoding: chunked\r\n\r\n"
PART = b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-1/9\r\n"
EVIL = b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nno"


@dataclass
class Scripted:
    """A server that says one thing after another.

    Attributes
    ----------
    url
        Its address.
    requests
        For each connection, the number of requests that came by it.
    """

    url: str
    requests: list[int] = field(default_factory=list)


@contextlib.contextmanager
def scripted(answers: list[bytes], closes: bool = False) -> Iterator[Scripted]:
    """A server that gives these answers, whoever asks; one connection after another."""
    left = iter(answers)
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listening:
        server = Scripted(f"http://127.0.0.1:{listening.getsockname()[1]}")

        def talk(client: socket.socket, number: int) -> None:
            with client, contextlib.suppress(OSError, StopIteration):
                while client.recv(1 << 16):
                    server.requests[number] += 1
                    client.sendall(next(left))
                    if closes:
                        return

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client = listening.accept()[0]
                    server.requests.append(0)
                    args = client, len(server.requests) - 1
                    threading.Thread(target=talk, args=args, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server
        listening.shutdown(socket.SHUT_RDWR)


def asked(server: Scripted, times: int) -> list[bytes | type[SceneError]]:
    """What comes of asking so often, for two bytes each time."""
    fetch = Remote(server.url, patience=Patience(connect=5.0, read=5.0))
    found: list[bytes | type[SceneError]] = []
    for _ in range(times):
        try:
            found.append(fetch.read(Access(f"{server.url}/a"), 0, 2))
        except SceneError as error:
            found.append(type(error))
        # What a server says unasked has come before it is asked again.
        threading.Event().wait(0.05)
    return found


@pytest.mark.parametrize(
    ("first", "found", "connections"),
    [
        (OK, b"ok", [2]),
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", b"ok", None),
        (b"HTTP/1.1 404 N\r\nContent-Length: 2\r\n\r\nno", Gone, [2]),
        (b"HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n", Gone, None),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok", [2]),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok", [2]),
        # What follows an answer, or is left of it, is not the next one.
        (OK + EVIL, b"ok", [1, 1]),
        (OK + EVIL[:9], b"ok", [1, 1]),
        (b"HTTP/1.1 204 N\r\n\r\n" + EVIL, Corrupt, [1, 1]),
        (b"HTTP/1.1 101 S\r\n\r\n" + EVIL, Corrupt, [1, 1]),
        # Who tells the end of a body in two ways may mean either, or neither.
        (PART + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", TimedOut, [1, 1]),
        (PART + b"Content-Length: 0_2\r\n\r\nok", TimedOut, [1, 1]),
        (PART + b"Content-Length: 2\r\nTransfer-Encoding: gzip\r\n\r\nok", TimedOut, [1, 1]),
        (CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok", [1, 1]),
        (CHUNKED + b"-1\r\nok\r\n0\r\n\r\n", Corrupt, [1, 1]),
        (CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n", Corrupt, [1, 1]),
        (CHUNKED + b"2\r\nok\r\nx\r\n" + EVIL, b"ok", [1, 1]),
        (CHUNKED + b"x\r\n" + EVIL, Corrupt, [1, 1]),
        (OK.replace(b": 2", b": 200") + bytes(9), b"ok", [1, 1]),
        (b"HTTP/1.1 404 N\r\nContent-Length: 9000\r\n\r\n" + bytes(5000), Gone, [1, 1]),
        (OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), b"ok", [1, 1]),
        (b"nonsense\r\n\r\n" + EVIL, TimedOut, [1, 1]),
    ],
)
def test_which_connections_are_kept(
    first: bytes, found: bytes | type[SceneError], connections: list[int] | None
) -> None:
    with scripted([first, OK]) as server:
        assert asked(server, 2) == [found, b"ok"]
        assert server.requests in ([connections] if connections else ([2], [1, 1]))


def test_a_connection_that_its_server_has_closed_is_not_used_again() -> None:
    with scripted([OK] * 3, closes=True) as server:
        assert asked(server, 3) == [b"ok"] * 3
        assert server.requests == [1, 1, 1]


def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one() -> None:
    for answer in (OK.replace(b": 2", b": 9"), CHUNKED + b"9\r\nok", CHUNKED + b"2\r\nok\r\n"):
        with (
            scripted([answer], closes=True) as server,
            pytest.raises(Corrupt, match="breaks off"),
        ):
            Remote(server.url).read_all(Access(f"{server.url}/a"), 99)


def test_headers_that_would_be_read_as_another_request_are_not_sent() -> None:
    seen: list[str] = []
    with scripted([OK]) as server:
        for headers in (
            {"X": "a\r\nHost: 10.0.0.1"},
            {"X": "a\nb"},
            {"X\r\nY": "a"},
            {"X: a": "b"},
            {"": "a"},
            {"X": "\u4e00"},
        ):
            with pytest.raises(SceneError, match="is no address") as caught:
                Remote(server.url).read(Access(f"{server.url}/a", headers), 0, 2)
            seen.append(caught.value.kind)
        assert server.requests == []
    assert seen == ["refused"] * 6


@pytest.mark.parametrize("host", ["a b", "a\x01", "%0d%0aX", "...", "a'b", "[fe80::1%25eth0]"])
def test_a_host_is_a_name_or_a_number(host: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        Address.of(f"http://{host}/a")


def test_threads_share_connections() -> None:
    """Each has one for itself while it is asked, and later ones take what is there."""
    with scripted([OK] * 200) as server:
        fetch = Remote(server.url)

        def work() -> None:
            for _ in range(20):
                assert fetch.read(Access(f"{server.url}/a"), 0, 2) == b"ok"

        run(work, 8)
        assert sum(server.requests) == 160
        assert len(server.requests) <= 8


def run(work: Callable[[], None], threads: int) -> None:
    """The same work in several threads, to its end."""
    every = [threading.Thread(target=work) for _ in range(threads)]
    for each in every:
        each.start()
    for each in every:
        each.join()
