"""Connections that lead where they may, and answers that come in time.

urllib3 waits anew for each piece that comes, however small it is, so that a server which sends a
byte now and then is waited for without end. Here each wait is also cut at the time by which the
whole of what is read has to be there, below urllib3, where the bytes come in: in status lines,
headers and bodies alike.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import threading
import time
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from tessera_mosaic.pipeline.errors import Refused
from tessera_mosaic.pipeline.io.certificates import trust
from tessera_mosaic.pipeline.io.private_hosts import Hosts
from tessera_mosaic.pipeline.io.throttle import IN_FLIGHT


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


def connections(
    hosts: Hosts, connect: float, read: float, deadline: Deadline
) -> urllib3.PoolManager:
    """Connections to servers themselves, shared by threads.

    Parameters
    ----------
    hosts
        Which hosts may be at private addresses.
    connect, read
        Seconds within which a connection has to be there, and without a byte after which a server
        counts as silent.
    deadline
        When answers have to be there.

    Returns
    -------
    The connections. A request raises `Refused` for a host that is where it may not be, before it
    is connected to.
    """
    return _timely(urllib3.PoolManager(**_settings(connect, read)), hosts, connect, read, deadline)


def connections_through(
    proxy: str, connect: float, read: float, deadline: Deadline
) -> urllib3.PoolManager:
    """Connections by way of a proxy, which then has to keep names out of private networks.

    Parameters
    ----------
    proxy
        Address of the proxy, which may hold a user and a password.
    connect, read, deadline
        As for `connections`.

    Raises
    ------
    Refused
        If it is no address of a proxy.
    """
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=login) if parts.username else None
        manager = urllib3.ProxyManager(place, proxy_headers=headers, **_settings(connect, read))
    except (ValueError, urllib3.exceptions.HTTPError):
        raise Refused("the proxy that the environment names is not at an http address") from None
    return _timely(manager, None, connect, read, deadline)


def _settings(connect: float, read: float) -> dict[str, Any]:
    timeout = urllib3.Timeout(connect=connect, read=read)
    return {
        "num_pools": 64,
        "maxsize": IN_FLIGHT,
        "timeout": timeout,
        "ssl_context": trust(),
    }


def _timely(
    manager: urllib3.PoolManager,
    hosts: Hosts | None,
    connect: float,
    read: float,
    deadline: Deadline,
) -> urllib3.PoolManager:
    """Give a manager connections that keep to a deadline, and to the hosts if there are any."""

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self.fp = io.BufferedReader(_Timely(sock, self.fp.detach(), read, deadline))

    class Plain(HTTPConnection):
        response_class = Response

        def _new_conn(self) -> socket.socket:
            sock = _connect(self, hosts, connect)
            deadline.set(read)
            return sock

    class Secure(HTTPSConnection):
        response_class = Response

        def _new_conn(self) -> socket.socket:
            sock = _connect(self, hosts, connect)
            deadline.set(read)
            return sock

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return manager


class _Timely(io.RawIOBase):
    """What comes in by a socket, in time or not at all."""

    def __init__(
        self, sock: socket.socket, source: io.RawIOBase, silence: float, deadline: Deadline
    ) -> None:
        self._sock, self._source = sock, source
        self._silence, self._deadline = silence, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.wait(self._silence))
        return self._source.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()


def _connect(connection: HTTPConnection, hosts: Hosts | None, seconds: float) -> socket.socket:
    """A socket that is connected to the host of a connection, at an address where it may be."""
    host, until = connection.host.strip("[]"), time.monotonic() + seconds
    try:
        found = socket.getaddrinfo(host, connection.port, 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameResolutionError(host, connection, error) from error
    if hosts is not None:
        right = hosts.reachable(host, list(dict.fromkeys(str(each[4][0]) for each in found)))
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
            for option in connection.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(wait)
            sock.connect(place)
            # What follows on it, such as the handshake of TLS, is waited for as long again.
            sock.settimeout(seconds)
            return sock
        except OSError as error:
            sock.close()
            failed = error
    if failed is None or isinstance(failed, TimeoutError):
        raise ConnectTimeoutError(connection, f"no connection to {host} in time")
    raise NewConnectionError(connection, f"no connection to {host}: {failed}") from failed
