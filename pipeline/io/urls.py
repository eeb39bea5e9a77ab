"""Paths and URLs, and which of them are on this machine."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit, urlunsplit

WEB = ("http", "https")
"""Schemes of addresses that are asked over HTTP."""

GDAL = "/vsi"
"""How the addresses begin that GDAL gives to files elsewhere, such as `/vsicurl/https://...`."""

GDAL_SCHEMES = {"curl": "", "s3": "s3://", "gs": "gs://"}
"""How the addresses begin for which those of GDAL stand, by what they have behind `GDAL`."""


def is_local(url: str) -> bool:
    """Tell whether an address is that of a file of this machine."""
    return "://" not in url or url.startswith("file://")


def scheme_of(url: str) -> str:
    """Scheme of an address as it is written there; empty for a file of this machine."""
    return "" if is_local(url) else url.partition("://")[0]


def local_path(url: str) -> str:
    """Path of the file that a local address names.

    In `file://` addresses `%20` stands for a space. Some writers leave it as it is, so a file
    that is there under the name as written is taken first.
    """
    if not url.startswith("file://"):
        return url
    path = url.removeprefix("file://")
    return path if "%" not in path or os.path.exists(path) else unquote(path)


def without_gdal(url: str) -> str:
    """The address for which one of GDAL's stands; any other one as it is.

    Examples
    --------
    >>> without_gdal("/vsicurl/https://a.example/b.tif")
    'https://a.example/b.tif'
    >>> without_gdal("/vsis3/bucket/b.tif")
    's3://bucket/b.tif'
    """
    match = re.fullmatch(r"/vsi(curl|s3|gs)(?:_streaming)?/(.+)", url, re.DOTALL)
    return f"{GDAL_SCHEMES[match[1]]}{match[2]}" if match else url


def plain(url: str) -> str:
    """Address for messages and names: without query and user, which may be credentials."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
