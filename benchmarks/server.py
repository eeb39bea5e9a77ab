"""An HTTP server of a folder, with ranges, counts and, on demand, every fault there is."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FAULTS = (
    "expired",
    "throttled",
    "busy",
    "missing",
    "failing",
    "garbled",
    "truncated",
    "short",
    "wrong part",
    "silent",
)
"""What a request may meet in place of an answer."""

STATUS = {"expired": 403, "throttled": 429, "busy": 503, "missing": 404, "failing": 500}

Fault = Callable[[str, int], str]
"""From path and first byte of a request to one of `FAULTS`, or to nothing."""


class ArchiveServer(ThreadingHTTPServer):
    """Serves the files of a folder on a port of this machine.

    Parameters
    ----------
    folder
        What to serve.
    fault
        Which fault a request meets.

    Attributes
    ----------
    counts
        Requests, bytes sent, and faults of each kind.
    retry_after
        What it says to whom it throttles.
    moved
        Paths that lead elsewhere, and where.
    credentials
        What the requests had for an `Authorization`.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, folder: Path, fault: Fault = lambda path, start: "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.fault = folder, fault
        self.counts: Counter[str] = Counter()
        self.retry_after = "0"
        self.moved: dict[str, str] = {}
        self.credentials: list[str | None] = []
        self._kept: dict[str, bytes] = {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that left."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Address of the folder."""
        return f"http://127.0.0.1:{self.server_port}"

    def forget(self) -> None:
        """Look at the files anew."""
        self._kept.clear()

    def content(self, path: str) -> bytes | None:
        """Bytes of a file, None if there is none."""
        if path not in self._kept:
            file = self.folder / path
            if not file.is_file():
                return None
            self._kept[path] = file.read_bytes()
        return self._kept[path]


class _Handler(BaseHTTPRequestHandler):
    server: ArchiveServer
    protocol_version = "HTTP/1.1"
    # Header and body of an answer go out as two packets, which must not wait for one another.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].lstrip("/")
        content = self.server.content(path)
        start, stop = self._span(len(content or b""))
        fault = self.server.fault(path, start)
        self.server.counts["requests"] += 1
        self.server.credentials.append(self.headers.get("Authorization"))
        if fault:
            self.server.counts[fault] += 1
        if fault == "silent":
            self.close_connection = True
        elif fault in STATUS:
            self._answer(STATUS[fault], b"no", {"Retry-After": self.server.retry_after})
        elif path in self.server.moved:
            self._answer(302, b"", {"Location": self.server.moved[path]})
        elif content is None:
            self._answer(404, b"no such file", {})
        else:
            self._send_part(content, start, stop, fault)

    do_HEAD = do_GET

    def _span(self, size: int) -> tuple[int, int]:
        """First byte and the byte after the last that are asked for."""
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        return int(first), min(int(last) + 1 if last else size, size)

    def _send_part(self, content: bytes, start: int, stop: int, fault: str) -> None:
        part = content[start:stop]
        shown = start + 1 if fault == "wrong part" else start
        headers = {"Content-Range": f"bytes {shown}-{stop - 1}/{len(content)}"}
        if start >= stop:
            self._answer(416, b"", {})
        elif fault == "garbled":
            self._answer(206, b"\x00" * len(part), headers)
        elif fault == "short":
            self._answer(206, part[: len(part) // 2], headers)
        elif fault == "truncated":
            self._answer(206, part[: len(part) // 2], headers, length=len(part))
            self.close_connection = True
        else:
            self._answer(206 if "Range" in self.headers else 200, part, headers)

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str], length: int | None = None
    ) -> None:
        self.server.counts["bytes"] += len(body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(folder: Path, fault: Fault = lambda path, start: "") -> Iterator[ArchiveServer]:
    """Serve a folder in a thread."""
    server = ArchiveServer(folder, fault)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
