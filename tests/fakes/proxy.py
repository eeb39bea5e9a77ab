"""A proxy before an object store that answers instead of it, breaks off, or alters what is said."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

OF_TILE = re.compile(r"/utm\d\d/(embeddings|scales|observations)[^/]*/c/|/(begun|tiles)/utm\d\d/")
"""What the keys hold that are a tile's own."""

HOP_BY_HOP = ("transfer-encoding", "connection", "content-length", "expect", "server", "date")


@dataclass(frozen=True)
class Asked:
    """A request that came to the proxy."""

    method: str
    path: str
    headers: Mapping[str, str]
    named: str = ""

    @property
    def kind(self) -> str:
        """What it is charged as: LIST for a listing, otherwise its method."""
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        listing = "list-type" in query or urlsplit(self.path).path.endswith("/o")
        return "LIST" if self.method == "GET" and listing else self.method

    @property
    def is_of_tile(self) -> bool:
        """Whether it is for what is a tile's own: a shard, the record, the note that it is begun.

        Google's puts have the key in a query or a body, and are told by their body.
        """
        where = unquote(self.path) + self.named
        return self.kind != "LIST" and bool(OF_TILE.search(where))

    @property
    def puts_record(self) -> bool:
        """Whether it puts a tile's record."""
        where = unquote(self.path) + self.named
        return self.method in ("PUT", "POST") and "/tiles/utm" in where


@dataclass(frozen=True)
class Act:
    """What the proxy does with a request, rather than to pass it on and its answer back.

    Parameters
    ----------
    status, body, headers
        The answer that it gives itself.
    hang_up
        `before` or `after` the store got the request, without an answer.
    drop
        Headers that the store does not get to see.
    edit
        Alters the body of the store's answer.
    """

    status: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: str = ""
    drop: tuple[str, ...] = ()
    edit: Callable[[bytes], bytes] | None = None


Rule = Callable[[Asked], Act | None]


def s3_error(status: int, code: str, message: str = "as the test says", more: str = "") -> Act:
    """An error as S3 and its kin answer it."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"
    return Act(status, body.encode(), {"Content-Type": "application/xml"})


def gcs_error(status: int, reason: str, message: str = "as the test says") -> Act:
    """An error as Google Cloud Storage answers it."""
    error = {"code": status, "message": message, "errors": [{"reason": reason}]}
    headers = {"Content-Type": "application/json"}
    return Act(status, json.dumps({"error": error}).encode(), headers)


class FaultProxy:
    """A running proxy.

    Attributes
    ----------
    rule
        Decides what is done with a request; None passes it on.
    asked
        All requests so far.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream, self.port = upstream, 0
        self.rule: Rule = lambda asked: None
        self.asked: list[Asked] = []

    def kinds(self) -> Counter[str]:
        """Number of requests by kind."""
        return Counter(asked.kind for asked in self.asked)

    @contextmanager
    def failing(self, act: Act, times: int = 10**9, **of: str) -> Iterator[None]:
        """Do something with so many requests, of a method or with a word in their path."""
        left = [times]

        def rule(asked: Asked) -> Act | None:
            wanted = of.get("method", asked.method) == asked.method
            if wanted and of.get("word", "") in asked.path and left[0]:
                left[0] -= 1
                return act
            return None

        self.rule = rule
        try:
            yield
        finally:
            self.rule = lambda asked: None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def work(self) -> None:
        body = self._body()
        # Google's JSON interface has an object's name in the first lines of a body.
        named = body[:1000].decode(errors="replace") if "uploadType" in self.path else ""
        asked = Asked(self.command, self.path, dict(self.headers), named)
        self.proxy.asked.append(asked)
        act = self.proxy.rule(asked) or Act()
        if act.hang_up == "before":
            return self._hang_up()
        if act.status:
            return self._give(act.status, act.headers, act.body)
        status, headers, data = self._pass_on(body, act.drop)
        if act.hang_up:
            return self._hang_up()
        return self._give(status, headers, act.edit(data) if act.edit else data)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = work

    def _pass_on(self, body: bytes, drop: tuple[str, ...]) -> tuple[int, Mapping[str, str], bytes]:
        store = http.client.HTTPConnection("127.0.0.1", self.proxy.upstream, timeout=60)
        store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in (*HOP_BY_HOP, *drop) or name.lower() == "date":
                store.putheader(name, value)
        if body or self.command in ("PUT", "POST"):
            store.putheader("Content-Length", str(len(body)))
        store.endheaders(body or None)
        answer = store.getresponse()
        data = answer.read()
        headers = {k: v for k, v in answer.getheaders() if k.lower() not in HOP_BY_HOP}
        if self.command == "HEAD" and (length := answer.getheader("Content-Length")):
            headers["Content-Length"] = length
        store.close()
        return answer.status, headers, data

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _give(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers and status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Clients that are killed hang up."""


@contextmanager
def fault_proxy(upstream: int = 0) -> Iterator[FaultProxy]:
    """Run a proxy before the server at a port of this machine; before none, where its rule answers
    all."""
    proxy = FaultProxy(upstream)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    proxy.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
