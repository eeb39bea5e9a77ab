"""Paths and URLs, and which of them are on this machine."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

WEB = ("http", "https")
"""Schemes of addresses that are asked over HTTP."""

CREDENTIALS = ("authorization", "cookie", "x-api-key", "api-key", "ocp-apim-subscription-key")
"""Headers that prove who sends a request: they go to the host of the address alone, and not to
where it leads."""

GDAL = "/vsi"
"""How the addresses begin that GDAL gives to files elsewhere, such as `/vsicurl/https://...`."""

GDAL_SCHEMES = {"curl": "", "s3": "s3://", "gs": "gs://"}
"""How the addresses begin for which those of GDAL stand, by what they have behind `GDAL`."""


SIGNATURES = ("sig", "signature", "x-amz-signature", "x-goog-signature", "x-oss-signature")
"""Parts of a query, in lower case, that sign the address: Azure's, and those of S3, Google,
CloudFront and their like."""

AZURE = "sv ss srt sp se st spr sig sip si sr ses skoid sktid skt ske sks skv saoid suoid scid sdd"
"""Parts of a query that belong to a signature of Azure's (SAS)."""

OTHERS = "signature expires policy key-pair-id awsaccesskeyid googleaccessid ossaccesskeyid"
"""Parts of a query that belong to older signatures of the others; newer ones begin with `x-`."""

HOST = re.compile("://(?=([^/?#@]*)(.))", re.DOTALL)
"""What stands where an address has its host, and what ends it."""

TOKENS = ("access_token", "token", "api_key", "api-key", "apikey", "subscription-key")
"""Parts of a query that are credentials and no signatures."""


def folder_and_key(url: str) -> tuple[str, str]:
    """The folder in which a file lies, and its name there; no name where it is a folder's.

    Examples
    --------
    >>> folder_and_key("gs://bucket/crops.head"), folder_and_key("crops.head")
    (('gs://bucket', 'crops.head'), ('.', 'crops.head'))
    >>> folder_and_key("/crops.head")
    ('/', 'crops.head')
    """
    folder, slash, key = url.rpartition("/")
    return (folder or "/") if slash else ".", key


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


def is_signed(url: str) -> bool:
    """Tell whether an address carries a signature, which is valid for some time.

    Examples
    --------
    >>> is_signed("https://a.example/b.tif?sv=2022-11-02&se=2024-05-01T00%3A00%3A00Z&sig=x%3D")
    True
    >>> is_signed("https://a.example/b.tif?version=2")
    False
    """
    return any(name.lower() in SIGNATURES for name, _ in _query(url))


def without_signature(url: str) -> str:
    """The address without its signature; as it stands if it has none.

    Examples
    --------
    >>> without_signature("https://a.example/b.tif?v=2&sv=2022-11-02&se=2024-05-01&sig=x%3D")
    'https://a.example/b.tif?v=2'
    """
    if not is_signed(url):
        return url
    names = {name.lower() for name, _ in _query(url)}
    signing = (AZURE if "sig" in names else OTHERS).split()
    address, _, query = url.partition("?")
    left = [
        part
        for part in query.split("&")
        if (name := part.partition("=")[0].lower()) not in signing
        and not name.startswith(("x-amz-", "x-goog-", "x-oss-"))
    ]
    return f"{address}?{'&'.join(left)}" if left else address


def has_expired(url: str) -> bool:
    """Tell whether a signature of Azure's says by itself that it is valid no more."""
    ends = next((value for name, value in _query(url) if name.lower() == "se"), "")
    try:
        end = dt.datetime.fromisoformat(ends.replace("Z", "+00:00"))
    except ValueError:
        return False
    end = end.replace(tzinfo=dt.UTC) if end.tzinfo is None else end
    return end <= dt.datetime.now(dt.UTC)


def has_credential(url: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a request proves who sends it, by its address or by its headers."""
    query = any(name.lower() in (*SIGNATURES, *TOKENS) for name, _ in _query(url))
    return query or any(name.lower() in CREDENTIALS for name in headers)


def for_host(headers: Mapping[str, str], url: str, target: str) -> dict[str, str]:
    """Headers for a target; without the credentials where it is on another host than the URL."""
    here, there = urlsplit(url), urlsplit(target)
    if (here.scheme, here.netloc) == (there.scheme, there.netloc):
        return dict(headers)
    return {name: value for name, value in headers.items() if name.lower() not in CREDENTIALS}


def _query(url: str) -> list[tuple[str, str]]:
    """Names and values of an address's query."""
    if "?" not in url or "://" not in url:
        return []
    return parse_qsl(url.partition("?")[2], keep_blank_values=True)


def plain(url: str) -> str:
    """Address for messages and names: without query and user, which may be credentials.

    Examples
    --------
    >>> plain("https://me:secret@a.example/b.tif?sig=secret")
    'https://a.example/b.tif'
    >>> plain("https://me:a/secret@a.example/b.tif")
    'https://...'
    """
    if "://" not in url and not url.startswith(GDAL):
        return url
    # Of addresses within one another, such as `simplecache::https://...`, too.
    for place in HOST.finditer(url[: url.rfind("@") + 1]):
        if _is_raw_password(*place.groups()):
            return f"{url[: place.end()]}..."
    address = url.partition("?")[0].partition("#")[0]
    return re.sub(r"://[^/]*@", "://", address)


def _is_raw_password(host: str, end: str) -> bool:
    """Whether what stands where a host should is a user and a password, which ends at an `@`.

    A slash, say, should have been written as `%2F` in it: what stands between the colon and the
    slash is no port then.
    """
    name, colon, port = host.partition(":")
    is_port = port.isdecimal() and len(port) <= 5 and int(port) < 2**16
    return bool(colon) and not (is_port or end == "@" or name.startswith("["))
