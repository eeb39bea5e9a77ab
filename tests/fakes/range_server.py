"""A web server for the files of a folder that answers ranges and lists nothing."""

from __future__ import annotations

import contextlib
import http.server
import mimetypes
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path


class Files(http.server.BaseHTTPRequestHandler):
    """Files of a folder, whole or by range."""

    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, *rest: object) -> None:
        self._folder = folder
        super().__init__(*rest)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self._folder / self.path.partition("?")[0].lstrip("/")
        there = path.is_file()
        data, status = path.read_bytes() if there else b"", 200 if there else 404
        size, asked = len(data), self.headers.get("Range")
        if asked and there:
            low, _, high = asked.removeprefix("bytes=").partition("-")
            first = int(low) if low else max(size - int(high), 0)
            last = min(int(high), size - 1) if low and high else size - 1
            data, status = data[first : last + 1], 206
        self.send_response(status)
        self.send_header("Content-Type", mimetypes.guess_type(path.name)[0] or "application/x-data")
        self.send_header("Content-Length", str(len(data)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{first + len(data) - 1}/{size}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def range_server(folder: Path) -> Iterator[str]:
    """The address of a server of a folder's files; it ends with the block."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
