"""Addresses that stand in STAC documents, and to what they are relative."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urljoin

from tessera_mosaic.pipeline.io.urls import (
    GDAL,
    WEB,
    is_local,
    local_path,
    scheme_of,
    without_gdal,
)

MAX_TEXT = 4096
"""Longest name or address that is taken from an item."""

_WHOLE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def resolve(base: str, href: str, own: str = "") -> str:
    """The whole of an address that stands in a document; as it stands if it makes no sense.

    Parameters
    ----------
    base
        Address at which the document was read, after all redirects.
    href
        The address in it, which may be relative, and one of GDAL's.
    own
        Address that the document gives itself, of `own_address`. On the web relative ones are
        relative to it. A copy on this machine is taken as it lies: relative ones lead to the
        files that were copied with it, and only where there is none to what was not copied.
    """
    href = without_gdal(href)
    if _WHOLE.match(href) or href.startswith(GDAL):
        return href
    if not is_local(base):
        return _joined(own if own and scheme_of(base) in WEB else base, href)
    beside = _joined(base, href)
    if os.path.exists(local_path(beside)):
        return beside
    if own:
        return _joined(own, href)
    decoded = _joined(base, unquote(href)) if "%" in href and "://" not in base else beside
    return decoded if os.path.exists(local_path(decoded)) else beside


def own_address(document: Mapping[str, Any]) -> str:
    """Address that a document gives itself by its link `self`; empty if that is no whole one."""
    links = document.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and link.get("rel") == "self":
            href = link.get("href")
            if isinstance(href, str) and len(href) <= MAX_TEXT:
                href = without_gdal(href)
                return href if _WHOLE.match(href) and not is_local(href) else ""
    return ""


def _joined(base: str, href: str) -> str:
    """A relative address after the one to which it is relative."""
    scheme, mark, rest = base.partition("://")
    if not mark:
        return os.path.normpath(os.path.join(os.path.dirname(base), href))
    try:
        # urljoin knows the schemes of the web alone; those of object stores join the same way.
        return f"{scheme}://{urljoin(f'http://{rest}', href)[7:]}"
    except ValueError:
        return href
