"""Paths and URLs, and which of them are on this machine."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

WEB = ("http", "https")
"""Schemes of addresses that are asked over HTTP."""


def is_local(url: str) -> bool:
    """Tell whether an address is that of a file of this machine."""
    return "://" not in url or url.startswith("file://")


def scheme_of(url: str) -> str:
    """Scheme of an address as it is written there; empty for a file of this machine."""
    return "" if is_local(url) else url.partition("://")[0]


def local_path(url: str) -> str:
    """Path of the file that a local address names."""
    return url.removeprefix("file://")


def plain(url: str) -> str:
    """Address for messages and names: without query and user, which may be credentials."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
