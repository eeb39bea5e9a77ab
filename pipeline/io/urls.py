"""Paths and URLs, and which of them are on this machine."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit, urlunsplit

log = logging.getLogger(__name__)


WEB = ("http", "https")


def is_local(url: str) -> bool:
    """Whether an address is a file of this machine."""
    return "://" not in url or url.startswith("file://")


def scheme_of(url: str) -> str:
    """Scheme of an address, as it is written there; empty for a file of this machine."""
    return "" if is_local(url) else url.partition("://")[0]


def local_path(url: str) -> str:
    """Path of a local address."""
    return url.removeprefix("file://")


def plain(url: str) -> str:
    """An address without its query, which may hold a credential, for messages and names."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
