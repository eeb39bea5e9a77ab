"""Connections that lead where they may, and answers that come in time.

`http.client` makes sense of what comes in. A socket waits anew for each piece that comes, however
small it is, so that a server which sends a byte now and then is waited for without end. Here each
wait is also cut at the time by which the whole of what is read has to be there, or within a second
of it, where the bytes come in: in status lines, headers and bodies alike.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import math
import re
import select
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tessera_mosaic.pipeline.io.certificates import trust
from tessera_mosaic.pipeline.io.private_hosts import Hosts
from tessera_mosaic.pipeline.io.throttle import IN_FLIGHT
from tessera_mosaic.pipeline.io.tls import Wire, secured, unread
from tessera_mosaic.pipeline.io.web_addresses import Address, Proxy, Server, request_head

MOST_SERVERS = 64
"""Servers to which connections are kept, `IN_FLIGHT` to each."""

MOST_SIZE_LINE = 1 << 12
"""Longest line that tells the size of a chunk."""

SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;[^\n]*)?\r?\n")
"""Size of a chunk, and what may stand behind it."""


class Unreachable(OSError):
    """There is no way to a server."""


class Deadline(threading.local):
    """When the answer that a thread waits for has to be there; each thread has its own.

    Attributes
    ----------
    dripping
        Whether the last wait of the thread was cut short because bytes came, but too few.
    """

    until = math.inf
    dripping = False

    def set(self, seconds: float) -> None:
        """Give what the thread reads next so many seconds from now."""
        self.until, self.dripping = time.monotonic() + seconds, False

    def wait(self, silence: float) -> float:
        """Seconds that the thread may wait for the next byte.

        Parameters
        ----------
        silence
            Seconds without a byte after which a server counts as silent.

        Raises
        ------
        TimeoutError
            If there are none left.
        """
        left = self.until - time.monotonic()
        self.dripping = left < silence / 2
        if left <= 0:
            raise TimeoutError("the answer comes too slowly")
        return min(silence, left)


class Timely(io.RawIOBase):
    """What comes in by a socket, in time or not at all.

    Attributes
    ----------
    has_more
        Whether more had come than the answer, once that was read.
    """

    has_more = False

    def __init__(self, sock: Wire, silence: float, deadline: Deadline) -> None:
        self._sock, self._silence, self._deadline = sock, silence, deadline
        self.is_read = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.is_read:
            return 0
        be_patient(self._sock, self._deadline.wait(self._silence))
        return self._sock.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What `http.client` reads one answer from."""
        return _OneAnswer(self)


class _OneAnswer(io.BufferedReader):
    """What holds an answer, and perhaps more than it, until it is closed."""

    def close(self) -> None:
        if isinstance(self.raw, Timely) and not self.closed:
            self.raw.is_read = True
            self.raw.has_more = bool(self.peek(1))
        super().close()


class Reply(http.client.HTTPResponse):
    """An answer that can be read in one way alone.

    Parameters
    ----------
    came
        What comes in by the connection.
    method
        What was asked.
    """

    def __init__(self, came: Timely, method: str) -> None:
        self.came, self.asked = came, method
        wire: Any = came
        super().__init__(wire, method=method)

    def begin(self) -> None:
        """Read the head of the answer, and what may come before it.

        Raises
        ------
        OSError, http.client.HTTPException
            If there is none, or it does not tell where its body ends.
        """
        super().begin()
        while 102 <= self.status < 200:
            # It says that an answer will come, as 100 does, which is read over already.
            self.headers = None  # type: ignore[assignment]
            super().begin()
        if self.asked == "CONNECT":
            # What it says of a body says nothing: none follows.
            return
        codings = self.headers.get_all("Transfer-Encoding", [])
        lengths = {each.strip() for each in self.headers.get_all("Content-Length", [])}
        if codings and (len(codings) > 1 or not self.chunked):
            raise http.client.HTTPException("its body is in a coding that was not asked for")
        if len(lengths) > 1 or not all(each.isascii() and each.isdigit() for each in lengths):
            raise http.client.HTTPException("it does not tell the length of its body")
        if self.status == http.client.SWITCHING_PROTOCOLS or (codings and lengths):
            self.will_close = True

    def _read_next_chunk_size(self) -> int:
        """Of `http.client`, whose own takes sizes below 0 and reads on without end."""
        match = SIZE_LINE.fullmatch(self.fp.readline(MOST_SIZE_LINE))
        if match is None:
            raise ValueError("it is no size of a chunk")
        return int(match[1], 16)


@dataclass(frozen=True)
class Exchange:
    """A request that was sent, and the answer whose head is there.

    Parameters
    ----------
    response
        The answer.
    sock
        Connection by which it comes.
    server
        Where the connection leads; None for the proxy.
    """

    response: Reply
    sock: Wire
    server: Server | None


class Connections:
    """Connections to servers, kept and shared by threads.

    Parameters
    ----------
    hosts
        Which hosts may be at private addresses. By way of a proxy it is the proxy that has to keep
        names out of private networks.
    connect, read
        Seconds within which a connection has to be there, and without a byte after which a server
        counts as silent.
    deadline
        When answers have to be there.
    proxy
        By way of which servers are asked; None to ask them themselves.

    Raises
    ------
    BadInput
        If the environment names certificates that are none.
    """

    def __init__(
        self,
        hosts: Hosts,
        connect: float,
        read: float,
        deadline: Deadline,
        proxy: Proxy | None = None,
    ) -> None:
        self._hosts, self._proxy = hosts, proxy
        self._connect, self._read, self._deadline = connect, read, deadline
        self._context = trust()
        self._context.set_alpn_protocols(["http/1.1"])
        self._kept: OrderedDict[Server | None, list[Wire]] = OrderedDict()
        self._lock = threading.Lock()

    def ask(
        self, method: str, address: Address, headers: Mapping[str, str], body: bytes | None
    ) -> Exchange:
        """Send a request and wait for the head of the answer.

        Raises
        ------
        Refused
            If the host is where it may not be, before it is connected to.
        OSError, http.client.HTTPException
            If there is no answer; TimeoutError if there is none in time.
        ValueError
            If the headers are none.
        """
        server, target = address.server, address.target
        forwarded = self._proxy is not None and not server.is_secure
        if self._proxy and forwarded:
            target = f"http://{server.authority}{target}"
            headers = {**headers, **self._proxy.headers}
        head = request_head(method, target, server.authority, headers, body)
        place = None if forwarded else server
        self._deadline.set(self._read)
        sock = self._taken(place) or self._new(server, forwarded)
        try:
            return Exchange(self._answer(sock, method, head + (body or b"")), sock, place)
        except BaseException:
            sock.close()
            raise

    def end(self, exchange: Exchange, is_whole: bool) -> None:
        """Keep a connection whose answer was read to its end, and close any other."""
        response, sock = exchange.response, exchange.sock
        has_more = response.came.has_more or unread(sock)
        if not is_whole or response.will_close or has_more:
            # What was not read must not be taken for the next answer.
            response.close()
            sock.close()
            return
        left_over = [sock]
        with self._lock:
            kept = self._kept.setdefault(exchange.server, [])
            self._kept.move_to_end(exchange.server)
            if len(kept) < IN_FLIGHT:
                kept.append(left_over.pop())
            if len(self._kept) > MOST_SERVERS:
                left_over += self._kept.popitem(last=False)[1]
        for each in left_over:
            each.close()

    def _taken(self, server: Server | None) -> Wire | None:
        """A connection that was kept, and on which its server has said nothing since."""
        while True:
            with self._lock:
                kept = self._kept.get(server)
                if not kept:
                    return None
                sock = kept.pop()
            said = select.poll()
            said.register(sock, select.POLLIN)
            if not said.poll(0):
                return sock
            sock.close()

    def _new(self, server: Server, forwarded: bool) -> Wire:
        """A new connection to a server, or to the proxy that hands a request on to it."""
        proxy = self._proxy
        first, hosts = (proxy.server, None) if proxy else (server, self._hosts)
        sock: Wire = _connected(first, hosts, self._connect)
        self._deadline.set(self._read)
        try:
            if proxy and proxy.server.is_secure:
                sock = self._secured(sock, proxy.server)
            if proxy and not forwarded:
                place = f"{server.bracketed}:{server.port}"
                head = request_head("CONNECT", place, place, proxy.headers)
                answer = self._answer(sock, "CONNECT", head)
                if answer.status != http.client.OK:
                    raise Unreachable(f"the proxy says {answer.status}")
            if server.is_secure:
                sock = self._secured(sock, server)
        except BaseException:
            sock.close()
            raise
        return sock

    def _answer(self, sock: Wire, method: str, request: bytes) -> Reply:
        """Send a request by a connection; the answer, of which the head is read."""
        be_patient(sock, self._read)
        # Who hangs up in the midst of a request may have said why.
        with contextlib.suppress(BrokenPipeError):
            sock.sendall(request)
        response = Reply(self._timely(sock), method)
        response.begin()
        return response

    def _secured(self, sock: Wire, server: Server) -> Wire:
        """The same connection, spoken to over TLS; to agree on it takes as long as to connect."""
        sock.settimeout(self._connect)
        return secured(sock, server.host, self._context, self._timely)

    def _timely(self, sock: Wire) -> Timely:
        return Timely(sock, self._read, self._deadline)


def be_patient(sock: Wire, seconds: float) -> None:
    """Have a socket wait so long; more than five seconds, to the next whole one.

    To tell it is a call of the system, in which other threads take the interpreter. So it is not
    told again what it knows.
    """
    wait = math.ceil(seconds) if seconds > 5 else seconds
    if sock.gettimeout() != wait:
        sock.settimeout(wait)


def _connected(server: Server, hosts: Hosts | None, seconds: float) -> socket.socket:
    """A socket that is connected to a server, at an address where its host may be."""
    until = time.monotonic() + seconds
    try:
        found = socket.getaddrinfo(server.host, server.port, 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise Unreachable(f"nobody knows {server.host}") from error
    if hosts is not None:
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        right = hosts.reachable(server.host, addresses)
        found = [each for each in found if each[4][0] in right]
    failed: OSError | None = None
    for number, (family, kind, protocol, _, place) in enumerate(found):
        left = until - time.monotonic()
        if left <= 0:
            break
        # The next address gets its turn where one does not answer.
        wait = left if number == len(found) - 1 else left / 2
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(wait)
            sock.connect(place)
            return sock
        except OSError as error:
            sock.close()
            failed = error
    if failed is None or isinstance(failed, TimeoutError):
        raise TimeoutError(f"no connection to {server.host} in time")
    raise Unreachable(f"no connection to {server.host}: {failed}") from failed
