"""Addresses of the web as they are asked for: a server, and what it is asked."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from tessera_mosaic.pipeline.errors import Refused

PORTS = {"http": 80, "https": 443}

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What may be the name of a header, by RFC 9110."""

HOST = re.compile(r"[0-9A-Za-z._-]+|[0-9A-Fa-f:.]+")
"""What may be the name of a host, or its number."""

ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
"""A byte of an address that is encoded."""

IN_PATH = "!$&'()*+,;=:@/"
"""What stands in a path as it is, beside letters, digits and `-._~`, by RFC 3986."""


@dataclass(frozen=True)
class Server:
    """Where requests are sent to.

    Parameters
    ----------
    scheme
        `http` or `https`.
    host
        Name or number, without brackets.
    port
        Port.
    """

    scheme: str
    host: str
    port: int

    @property
    def is_secure(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.scheme == "https"

    @property
    def bracketed(self) -> str:
        """The host as it stands before a port."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @functools.cached_property
    def authority(self) -> str:
        """Host and port as they stand in an address, the port if it is not the usual one."""
        usual = self.port == PORTS[self.scheme]
        return self.bracketed if usual else f"{self.bracketed}:{self.port}"


@dataclass(frozen=True)
class Address:
    """Where a request goes.

    Parameters
    ----------
    server
        Who is asked.
    target
        What the server is asked for: path and query, with all that cannot stand there encoded.
    """

    server: Server
    target: str

    @classmethod
    @functools.lru_cache(maxsize=4096)
    def of(cls, url: str) -> Address:
        """The parts of an address.

        Raises
        ------
        ValueError
            If it is none.

        Examples
        --------
        >>> Address.of("https://a.example/b c/../d.tif?sig=a%3D#e").target
        '/d.tif?sig=a%3D'
        """
        place, mark, query = url.partition("#")[0].partition("?")
        parts = urlsplit(place)
        server = _server(parts.scheme, parts.hostname, parts.port)
        path = _without_dots(_encoded(parts.path, IN_PATH)) or "/"
        return cls(server, path + mark + _encoded(query, IN_PATH + "?"))


@dataclass(frozen=True)
class Proxy:
    """A server that hands requests on.

    Parameters
    ----------
    server
        Where it is.
    headers
        What proves who asks it.
    """

    server: Server
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str) -> Proxy:
        """The proxy at an address, which may hold a user and a password.

        Raises
        ------
        Refused
            If there can be none.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            server = _server(parts.scheme, parts.hostname, parts.port)
            login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
            basic = base64.b64encode(login.encode("latin-1")).decode()
        except ValueError:
            said = "the proxy that the environment names is not at an http address"
            raise Refused(said) from None
        return cls(server, {"Proxy-Authorization": f"Basic {basic}"} if parts.username else {})


def request_head(
    method: str, target: str, host: str, headers: Mapping[str, str], body: bytes | None = None
) -> bytes:
    """The head of a request.

    Parameters
    ----------
    method, target
        What is asked for.
    host
        The server's name, and its port if need be.
    headers
        Names and values to send.
    body
        What will be sent after it; None for nothing.

    Raises
    ------
    ValueError
        If a header could be read as anything else.

    Examples
    --------
    >>> request_head("GET", "/a", "a.example", {"Range": "bytes=0-9"})
    b'GET /a HTTP/1.1\\r\\nHost: a.example\\r\\nRange: bytes=0-9\\r\\n\\r\\n'
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    for name, value in headers.items():
        if HEADER_NAME.fullmatch(name) is None or not value.isprintable():
            raise ValueError(f"{name[:80]!r} is no header")
        lines.append(f"{name}: {value}")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("latin-1")


def _server(scheme: str, host: str | None, port: int | None) -> Server:
    if scheme not in PORTS or not host:
        raise ValueError(f"there is no server at {host!r}")
    name = host.rstrip(".") if host.isascii() else host.rstrip(".").encode("idna").decode()
    if HOST.fullmatch(name) is None:
        raise ValueError(f"{name[:80]!r} is no host")
    return Server(scheme, name, PORTS[scheme] if port is None else port)


def _encoded(text: str, also: str) -> str:
    """A part of an address in which all that cannot stand there is encoded, and the rest is not."""
    # Where a percent sign stands for itself, all do.
    text, encoded = ENCODED.subn(lambda found: found[0].upper(), text)
    return quote(text, also + "%" if encoded == text.count("%") else also)


def _without_dots(path: str) -> str:
    """A path without steps to where it is or above, by RFC 3986."""
    if "/." not in path:
        return path
    steps, kept = path.split("/"), list[str]()
    for step in steps[1:]:
        if step == "..":
            del kept[-1:]
        elif step != ".":
            kept.append(step)
    if steps[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
