"""A light HTTP server of a folder, for benchmarks: in a process of its own, and cheap in it.

`benchmarks.server` can do every fault there is, on a thread a connection; its own cost would be
measured with the readers'. This one answers ranges of files that it holds in memory, from one
thread, and counts the bytes of bodies that it really sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import re
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

RANGE = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d*)", re.IGNORECASE)

MOST_HEAD = 1 << 16
"""Bytes that the head of a request may have."""


class Served:
    """A folder's server as the readers' process sees it.

    Parameters
    ----------
    talk
        The way to its process.
    """

    def __init__(self, talk: Connection) -> None:
        self._talk = talk
        self.url: str = talk.recv()

    def counts(self) -> dict[str, int]:
        """Requests and bytes of bodies sent since the last call."""
        self._talk.send("counts")
        told: dict[str, int] = self._talk.recv()
        return told


@contextlib.contextmanager
def serving_lightly(folder: Path, latency: float) -> Iterator[Served]:
    """Serve a folder from a process of its own, each answer so many seconds late."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(folder, latency, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Served(ours)
    finally:
        ours.close()
        process.join(5)
        process.kill()


def _serve(folder: Path, latency: float, talk: Connection) -> None:
    with contextlib.suppress(EOFError, asyncio.CancelledError):
        asyncio.run(_run(folder, latency, talk))


async def _run(folder: Path, latency: float, talk: Connection) -> None:
    counts: Counter[str] = Counter()
    files: dict[str, bytes | None] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(folder, latency, counts, files), "127.0.0.1", 0, backlog=1024
    )
    talk.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    ended = loop.create_future()

    def answer() -> None:
        try:
            talk.recv()
        except EOFError:
            loop.remove_reader(talk.fileno())
            ended.set_result(None)
            return
        talk.send(dict(counts))
        counts.clear()

    loop.add_reader(talk.fileno(), answer)
    await ended


class _Connection(asyncio.Protocol):
    """One connection, which is kept open."""

    def __init__(
        self,
        folder: Path,
        latency: float,
        counts: Counter[str],
        files: dict[str, bytes | None],
    ) -> None:
        self._folder, self._latency, self._counts, self._files = folder, latency, counts, files
        self._head = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._head += data
        while b"\r\n\r\n" in self._head:
            head, _, self._head = self._head.partition(b"\r\n\r\n")
            parts = self._answer(head)
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._send, parts)
            else:
                self._send(parts)
        if len(self._head) > MOST_HEAD:
            self._transport.close()

    def _send(self, parts: tuple[bytes, bytes | memoryview]) -> None:
        if not self._transport.is_closing():
            self._transport.writelines(parts)

    def _answer(self, head: bytes) -> tuple[bytes, bytes | memoryview]:
        """Head and body of the answer to a request."""
        method, target, _ = head.split(b" ", 2)
        content = self._content(target.partition(b"?")[0].decode().lstrip("/"))
        self._counts["requests"] += 1
        if content is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b""
        size, status, where = len(content), "200 OK", ""
        start, stop = 0, size
        if found := RANGE.search(head):
            start = int(found[1])
            stop = min(int(found[2]) + 1, size) if found[2] else size
            status, where = (
                "206 Partial Content",
                f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n",
            )
        if start >= stop:
            return b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n", b""
        length = f"Content-Length: {stop - start}\r\n\r\n"
        answer = f"HTTP/1.1 {status}\r\nAccept-Ranges: bytes\r\n{where}{length}"
        if method == b"HEAD":
            return answer.encode(), b""
        self._counts["bytes"] += stop - start
        return answer.encode(), memoryview(content)[start:stop]

    def _content(self, path: str) -> bytes | None:
        """Bytes of a file, None if there is none."""
        if path not in self._files:
            file = self._folder / path
            self._files[path] = file.read_bytes() if file.is_file() else None
        return self._files[path]
