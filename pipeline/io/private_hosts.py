"""Which hosts may be at addresses of private networks, or on this machine."""

from __future__ import annotations

import functools
import ipaddress
import threading
from collections.abc import Collection, Sequence

from tessera_mosaic.pipeline.errors import Refused

CARRYING = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96")))
"""Addresses whose last bits are of version 4, which gateways and systems translate (RFC 6052,
RFC 2765, RFC 4291)."""

LOCAL_GATEWAYS = ipaddress.IPv6Network("64:ff9b:1::/48")
"""Addresses that a network's own gateway translates to whatever it likes (RFC 8215)."""


class Hosts:
    """The hosts that may be at private addresses. Safe to use from many threads.

    Parameters
    ----------
    home
        Host of the catalogue, or of whatever else was asked for by its address. It may be at
        the private addresses at which it was found when it was first looked up, and at no others
        later: whoever owns a name decides where it leads, each time anew. Empty for none.
    allowed
        Hosts that may be anywhere.
    found
        Private addresses at which another process found `home`; None where none has looked.

    Attributes
    ----------
    found
        Private addresses at which `home` may be, none where it was found at a public one; None
        until it is looked up.
    """

    def __init__(
        self, home: str = "", allowed: Collection[str] = (), found: Collection[str] | None = None
    ) -> None:
        self._home, self._allowed = _canonical(home), {_canonical(host) for host in allowed}
        self.found = None if found is None else frozenset(found)
        self._lock = threading.Lock()

    def check(self, host: str) -> None:
        """Refuse a host whose very name is a private address.

        Raises
        ------
        Refused
            If it is one. Other names pass, until they are looked up.
        """
        if _canonical(host) not in (*self._allowed, self._home):
            refuse_private(host, host)

    def reachable(self, host: str, addresses: Sequence[str]) -> list[str]:
        """Those of a host's addresses that may be connected to, in their order.

        Parameters
        ----------
        host
            Name of the host.
        addresses
            What its name was looked up to: numbers of version 4 or 6.

        Raises
        ------
        Refused
            If there are none.
        """
        name = _canonical(host)
        if name in self._allowed:
            return list(addresses)
        private = [each for each in addresses if _why_private(each)]
        known: frozenset[str] = frozenset()
        if name and name == self._home:
            with self._lock:
                if self.found is None:
                    # A name that leads to the public web as well is no name of a private network.
                    self.found = frozenset(private if len(private) == len(addresses) else ())
                known = self.found
        found = [each for each in addresses if each in known or each not in private]
        if not found:
            for each in private:
                refuse_private(each, host)
        return found


def refuse_private(address: str, host: str) -> None:
    """Refuse an address of a private network, or of this machine.

    Parameters
    ----------
    address
        Number of version 4 or 6, or a name: names pass, until they have led to a number.
    host
        What the place was called, for the message.

    Raises
    ------
    Refused
        If it is one.
    """
    if why := _why_private(address):
        raise Refused(f"{host} is {why}, where nothing may lead unless its host is allowed")


@functools.lru_cache(maxsize=4096)
def _why_private(address: str) -> str:
    """What kind of private place an address is; empty if it is none."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        name = _canonical(address)
        here = name == "localhost" or name.endswith(".localhost")
        return "this machine" if here else ""
    ip = _carried(ip) if isinstance(ip, ipaddress.IPv6Address) else ip
    if ip.is_global and not ip.is_multicast and ip not in LOCAL_GATEWAYS:
        return ""
    return f"at the private address {ip}"


def _carried(
    ip: ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Address of version 4 that one of version 6 carries and leads to; itself if it has none."""
    for network in CARRYING:
        if ip in network:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def _canonical(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()
