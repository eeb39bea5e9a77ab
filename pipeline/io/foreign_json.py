"""JSON that somebody else wrote: bounded before it is decoded, and printable once it is."""

from __future__ import annotations

import json
import re
from typing import Any

from tessera_mosaic.pipeline.console import printable

MOST_VALUES = 4_000_000
"""Most values of one document, in all its lists and objects: some 400 MB of memory at worst."""

MARKS = (b",", b":", b"[", b"{")
"""One of these stands before every value but the first."""

_TOLD_OTHERWISE = re.compile(rb"\\[ubfnrt]|[\x7f-\xff]")
"""What JSON has in it whose texts may not be printable."""


def read_json(data: bytes | bytearray, most: int = MOST_VALUES) -> Any:
    """Decode a document.

    Parameters
    ----------
    data
        Its bytes.
    most
        Most values that it may have.

    Returns
    -------
    What it holds. All its texts, names of fields too, are printable.

    Raises
    ------
    ValueError
        In one line, if it is no JSON, is nested too deeply, or has more values.

    Examples
    --------
    >>> read_json(b'{"id": "a\\\\nb", "n": [1, 2]}')
    {'id': 'a\\\\nb', 'n': [1, 2]}
    """
    if sum(data.count(mark) for mark in MARKS) > most:
        raise ValueError(f"it has more than {most:,} values")
    try:
        content = json.loads(data.decode("utf-8-sig"))
        return cleaned(content) if _TOLD_OTHERWISE.search(data) else content
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def cleaned(value: Any) -> Any:
    """JSON's values, or those of another format that has the same, with printable texts."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [cleaned(each) for each in value]
    if isinstance(value, dict):
        return {cleaned(name): cleaned(each) for name, each in value.items()}
    return value
