"""Texts that are meant as paths or addresses and can be none, with what to write instead."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

ONE_SLASH = re.compile(r"(file|local|s3a?|gs|gcs|https?|memory):/(?!/)(.*)", re.DOTALL)
"""An address that lacks a slash, which would be taken for a path."""

BUCKETS = ("s3", "s3a", "gs", "gcs")
"""Schemes in whose addresses two slashes in a row make another object."""


def why_no_address(text: str) -> str:
    """Why a text can be no path and no address; empty if it can be, or is something else.

    Parameters
    ----------
    text
        What a user gave.

    Examples
    --------
    >>> why_no_address("s3://bucket//mosaic.zarr")
    'it has two slashes in a row: write s3://bucket/mosaic.zarr'
    >>> why_no_address("s3://bucket/mosaic.zarr"), why_no_address("2.9,50.8,3.1,50.9")
    ('', '')
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return "that is not UTF-8: rename it, or name it by a link"
    if "\0" in text:
        return "no name has a zero byte"
    if found := ONE_SLASH.fullmatch(text):
        scheme, rest = found.groups()
        if scheme in ("file", "local"):
            return f"two slashes are missing: write {scheme}:///{rest}, or the path alone"
        return f"a slash is missing: write {scheme}://{rest}"
    if text.startswith("~") and os.path.expanduser(text).startswith("~"):
        home = text.partition("/")[0]
        return "" if os.path.exists(text) else f"nobody knows the home {home}: write the whole path"
    scheme, mark, rest = text.partition("://")
    if not mark or not re.fullmatch(r"[A-Za-z][\w+.-]*", scheme):
        return ""
    try:
        urlsplit(text)
    except ValueError:
        return "it is no address: see its brackets"
    if scheme in BUCKETS and "//" in rest.rstrip("/"):
        one = re.sub(r"/{2,}", "/", rest)
        return f"it has two slashes in a row: write {scheme}://{one}"
    return ""
