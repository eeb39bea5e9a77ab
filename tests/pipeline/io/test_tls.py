"""Over TLS nobody in between can read, whichever proxies there are."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.errors import TimedOut, Untrusted
from tessera_mosaic.pipeline.io.certificates import BUNDLES, trust
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.http import Patience
from tests.fakes.certificates import self_signed

BODY = bytes(range(256)) * 1000


class TlsServer:
    """A server of `BODY`, and a proxy that leads to it from any name.

    Parameters
    ----------
    context
        What it speaks TLS with.
    refuses
        Whether the proxy refuses to connect.
    """

    def __init__(self, context: ssl.SSLContext, refuses: bool = False) -> None:
        self._context, self._refuses = context, refuses
        self.listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        self.ports = [each.getsockname()[1] for each in self.listening]
        self.heads: list[bytes] = []
        for each, talk in zip(self.listening, (self._serve, self._proxy, self._safe), strict=True):
            threading.Thread(target=self._accept, args=(each, talk), daemon=True).start()

    def _accept(self, listening: socket.socket, talk: object) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listening.accept()[0]
                threading.Thread(target=self._talk, args=(client, talk), daemon=True).start()

    def _talk(self, client: socket.socket, talk: object) -> None:
        with client, contextlib.suppress(OSError):
            assert callable(talk)
            talk(client)

    def _serve(self, client: socket.socket) -> None:
        with self._context.wrap_socket(client, True) as secure:
            while secure.recv(1 << 16):
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY))
                secure.sendall(BODY)

    def _safe(self, client: socket.socket) -> None:
        with self._context.wrap_socket(client, True) as secure:
            self._proxy(secure)

    def _proxy(self, client: socket.socket) -> None:
        self.heads.append(client.recv(1 << 16))
        if self._refuses:
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        if not self.heads[-1].startswith(b"CONNECT"):
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
            return
        client.sendall(b"HTTP/1.1 200 Connection established\r\nContent-Length: none\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self.ports[0])) as server:
            while True:
                waiting = isinstance(client, ssl.SSLSocket) and client.pending()
                ready = [client] if waiting else select.select([client, server], [], [])[0]
                for each in ready:
                    if not (data := each.recv(1 << 16)):
                        return
                    (server if each is client else client).sendall(data)


class Talkative(TlsServer):
    """A server that says more than it was asked, as one record with its first answer."""

    def _serve(self, client: socket.socket) -> None:
        more = bytes(12_000)
        with self._context.wrap_socket(client, True) as secure:
            while secure.recv(1 << 16):
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + more)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """What a server speaks TLS with, and is vouched for."""
    path, context = self_signed(tmp_path)
    for name in BUNDLES:
        monkeypatch.setenv(name, str(path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "")
    trust.cache_clear()
    yield context
    trust.cache_clear()


def proxied(server: TlsServer, way: str, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """What asks by way of a proxy that is spoken to in some way; none for `direct`."""
    if way != "direct":
        place = f"{way}://me:word@localhost:{server.ports[1 if way == 'http' else 2]}"
        monkeypatch.setenv("https_proxy", place)
        monkeypatch.setenv("http_proxy", place)
    return Remote("https://", ["localhost"], Patience(connect=5.0, read=5.0))


def url_of(server: TlsServer, way: str) -> str:
    """Address at which a server is asked; hosts of this machine are asked themselves."""
    return f"https://{'localhost' if way == 'direct' else 'near.example'}:{server.ports[0]}/a"


@pytest.mark.parametrize("way", ["direct", "http", "https"])
def test_a_server_that_is_vouched_for(
    bundle: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    server = TlsServer(bundle)
    fetch = proxied(server, way, monkeypatch)
    url = url_of(server, way)
    for _ in range(3):
        assert fetch.read_all(Access(url), len(BODY)) == BODY
    assert len(server.heads) == (way != "direct")


@pytest.mark.parametrize("way", ["direct", "http", "https"])
def test_what_was_decrypted_beyond_an_answer_is_not_the_next_one(
    bundle: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    server = Talkative(bundle)
    fetch = proxied(server, way, monkeypatch)
    url = url_of(server, way)
    for _ in range(2):
        assert fetch.read_all(Access(url), 9) == b"ok"


@pytest.mark.parametrize("way", ["http", "https"])
def test_a_server_that_is_another(
    bundle: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    server = TlsServer(bundle)
    fetch = proxied(server, way, monkeypatch)
    with pytest.raises(Untrusted, match="certificate is not accepted"):
        fetch.read_all(Access("https://far.example/a"), len(BODY))
    assert fetch.read_all(Access("http://far.example/a"), 9) == b"plain"
    through, forwarded = server.heads
    assert through.startswith(b"CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n")
    assert forwarded.startswith(b"GET http://far.example/a HTTP/1.1\r\nHost: far.example\r\n")
    assert all(b"\r\nProxy-Authorization: Basic bWU6d29yZA==\r\n" in at for at in server.heads)


@pytest.mark.parametrize("way", ["http", "https"])
def test_a_proxy_that_refuses(
    bundle: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    fetch = proxied(TlsServer(bundle, refuses=True), way, monkeypatch)
    with pytest.raises(TimedOut, match=r"far\.example/a cannot be reached: the proxy says 403"):
        fetch.read_all(Access("https://far.example/a"), 9)
