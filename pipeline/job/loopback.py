"""Keep the local runner's ports to this machine.

Beam's local runner talks to its workers by gRPC, without authentication, and what travels there is
pickled code. It opens these ports on all interfaces (`[::]:0`) and has no option for it, so whoever
reaches the machine could take the place of a worker or of the runner. All of its servers come from
`grpc.server`: in the runner's own process, and nowhere else, that function is replaced by one whose
servers listen on `localhost`, which is where Beam's workers look for them.

That relies on how Beam makes its servers today. So the sockets of the process are looked at too, by
`beyond_loopback`, whoever opened them.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from typing import Any

DESCRIPTORS = "/dev/fd"
"""Folder with an entry for each descriptor of the process that looks into it."""


def on_loopback(make_server: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function like `grpc.server`, whose servers listen on loopback alone.

    Parameters
    ----------
    make_server
        `grpc.server`.
    """

    def make(*arguments: Any, **more: Any) -> Any:
        server = make_server(*arguments, **more)
        server.add_insecure_port = _on_localhost(server.add_insecure_port)
        server.add_secure_port = _on_localhost(server.add_secure_port)
        return server

    return make


def _on_localhost(add_port: Callable[..., int]) -> Callable[..., int]:
    return lambda address, *more: add_port(localhost(address), *more)


def localhost(address: str) -> str:
    """The address of gRPC's with the same port on loopback; a unix socket's stays as it is."""
    return address if address.startswith("unix") else f"localhost:{address.rpartition(':')[2]}"


def beyond_loopback() -> list[str]:
    """Addresses on which this process listens and that others than this machine may reach.

    Raises
    ------
    OSError
        If the system does not tell which sockets there are.
    """
    found = []
    for descriptor in map(int, os.listdir(DESCRIPTORS)):
        try:
            looked_at = socket.socket(fileno=descriptor)
        except OSError:  # It is no socket, or was closed meanwhile.
            continue
        try:
            if looked_at.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                found.append((looked_at.family, looked_at.getsockname()))
        except OSError:
            continue
        finally:
            looked_at.detach()
    return sorted(f"{name[0]} port {name[1]}" for family, name in found if _reachable(family, name))


def _reachable(family: int, name: Any) -> bool:
    """Whether a listening socket of some name may be reached from elsewhere."""
    if family == socket.AF_UNIX:
        return False
    if family not in (socket.AF_INET, socket.AF_INET6):
        return True
    address = ipaddress.ip_address(name[0])
    return not (getattr(address, "ipv4_mapped", None) or address).is_loopback
