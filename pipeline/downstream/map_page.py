"""What the pages of all maps have in common: their frame, and escaped words."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tessera_mosaic.pipeline.publishing.report import STYLE


@dataclass(frozen=True)
class AreaSection:
    """What `areas` adds to a report.

    Parameters
    ----------
    page
        HTML that stands where the counts alone stood before.
    fields
        The same as JSON values.
    """

    page: str
    fields: Mapping[str, Any]


def plain_page(title: str, parts: Sequence[str]) -> str:
    """A page that needs nothing but itself, of a title and parts of HTML; empty ones are left out.

    Examples
    --------
    >>> plain_page("Map of 2024", ["<h1>Map</h1>", ""]).splitlines()[-2:]
    ['<h1>Map</h1>', '</body></html>']
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}"
        ".swatch { display: inline-block; width: 12px; height: 12px; border-radius: 2px; "
        "margin-right: 8px }</style></head><body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def swatch(colour: str) -> str:
    """A square of a colour, given as `#rrggbb`."""
    return f'<span class="swatch" style="background:{text(colour)}"></span>'


def text(words: object) -> str:
    """Words as HTML shows them."""
    return html.escape(str(words))
