"""A server that says what it is told, byte by byte, however little sense it makes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Say = Callable[[Callable[[bytes], None], bytes], None]
"""Is given a function that sends bytes, and what was asked; returns when all is said."""


@dataclass
class RawServer:
    """Where it listens, and what it was asked.

    Attributes
    ----------
    host, port
        Address and port.
    seen
        Heads of the requests that came.
    """

    host: str
    port: int
    seen: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://{self.host}:{self.port}"


@contextlib.contextmanager
def raw_server(say: Say, host: str = "127.0.0.1") -> Iterator[RawServer]:
    """A running server: one thread a connection, one answer each."""
    with socket.create_server((host, 0), backlog=64) as listening:
        server = RawServer(host, listening.getsockname()[1])
        threading.Thread(target=_serve, args=(listening, server, say), daemon=True).start()
        yield server
        # Who waits in `accept` is not woken by closing alone.
        listening.shutdown(socket.SHUT_RDWR)


def _serve(listening: socket.socket, server: RawServer, say: Say) -> None:
    with contextlib.suppress(OSError):
        while True:
            client = listening.accept()[0]
            threading.Thread(target=_answer, args=(client, server, say), daemon=True).start()


def _answer(client: socket.socket, server: RawServer, say: Say) -> None:
    with client, contextlib.suppress(OSError):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(1 << 16)
            if not part:
                return
            head += part
        server.seen.append(head)
        say(client.sendall, head)


def dripping(data: bytes, pause: float = 0.02) -> Say:
    """Says some bytes one by one, the last of them over and over."""

    def say(send: Callable[[bytes], None], asked: bytes) -> None:
        wait = threading.Event()
        for byte in data:
            send(bytes([byte]))
            wait.wait(pause)
        while True:
            send(data[-1:])
            wait.wait(pause)

    return say
