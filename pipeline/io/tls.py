"""Connections that nobody in between can read, also by way of a proxy that itself is one's end."""

from __future__ import annotations

import io
import ssl
from collections.abc import Callable
from typing import Any, Protocol

AT_ONCE = 1 << 16
"""Bytes that are read of the outer connection at once."""


class Wire(Protocol):
    """What a connection can do, as sockets can."""

    def gettimeout(self) -> float | None: ...

    def settimeout(self, value: float, /) -> None: ...

    def sendall(self, data: bytes, /) -> None: ...

    def recv_into(self, buffer: Any, /) -> int: ...

    def fileno(self) -> int: ...

    def close(self) -> None: ...


def secured(
    wire: Any, host: str, context: ssl.SSLContext, timely: Callable[[Wire], io.RawIOBase]
) -> Wire:
    """Speak TLS on a connection, to who proves to be a host.

    Parameters
    ----------
    wire
        A socket, or one that is secured already.
    host
        Whose certificate is wanted.
    context
        Whose certificates are trusted.
    timely
        Gives what comes in by a connection, in time.

    Raises
    ------
    OSError
        If the certificate is not accepted, or they do not agree in time.
    """
    if isinstance(wire, ssl.SSLSocket):
        return _Nested(wire, host, context, timely(wire))
    return context.wrap_socket(wire, server_hostname=host)


def unread(wire: Wire) -> bool:
    """Whether bytes that were received lie in a connection, where its socket does not show them."""
    pending = getattr(wire, "pending", None)
    return pending is not None and pending() > 0


class _Nested:
    """TLS within TLS, which `ssl` has for buffers of bytes alone."""

    def __init__(
        self, wire: ssl.SSLSocket, host: str, context: ssl.SSLContext, source: io.RawIOBase
    ) -> None:
        self._wire, self._source = wire, source
        self._came, self._due = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._due, server_hostname=host)
        self.gettimeout, self.settimeout = wire.gettimeout, wire.settimeout
        self.fileno, self.close = wire.fileno, wire.close
        self._do(self._tls.do_handshake)

    def pending(self) -> int:
        """Bytes that were received, of either layer."""
        return self._tls.pending() + self._came.pending + self._wire.pending()

    def sendall(self, data: bytes) -> None:
        """Send bytes; of a buffer in memory all are taken at once."""
        self._do(self._tls.write, data)

    def recv_into(self, buffer: Any) -> int:
        """Receive bytes into a buffer; their number, 0 at the end."""
        try:
            return int(self._do(self._tls.read, len(buffer), buffer))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return 0

    def _do(self, step: Callable[..., Any], *args: Any) -> Any:
        """Take a step, and have it what it needs of the other side."""
        while True:
            done, wants = None, False
            try:
                done = step(*args)
            except ssl.SSLWantReadError:
                wants = True
            if due := self._due.read():
                self._wire.sendall(due)
            if not wants:
                return done
            if data := self._source.read(AT_ONCE):
                self._came.write(data)
            else:
                self._came.write_eof()
