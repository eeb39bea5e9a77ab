"""Small JSON objects that carry their own digest, so that a flipped bit in one never passes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.foreign_json import read_json

SEAL = "sha256"
"""Name of the last field: the digest of the object without it."""

MOST_VALUES = 16_000_000
"""Most values of one object: those of the tiles of a zone, several times over."""

_NAME, _END = f'"{SEAL}": '.encode(), b"\n}\n"


def seal(fields: dict[str, Any]) -> bytes:
    """JSON object of some fields, each on a line of its own, with their digest as the last."""
    digest = hashlib.sha256(_lines(fields)).hexdigest()
    return _lines(fields | {SEAL: digest})


def unseal(data: bytes) -> dict[str, Any]:
    """Fields of a sealed object, without the digest.

    Raises
    ------
    Altered
        If the bytes are not exactly those that `seal` made.
    """
    # A line break stands before a field's name alone: within JSON it would be escaped.
    end = data.rfind(b"\n" + _NAME) + 1
    digest = hashlib.sha256(data[:end].removesuffix(b",\n") + _END).hexdigest()
    if data[end:] != _NAME + json.dumps(digest).encode() + _END:
        raise Altered("its bytes are not those that were written")
    try:
        fields: dict[str, Any] = read_json(data, MOST_VALUES)
    except ValueError as error:
        raise Altered(f"it is not what was written: {error}") from None
    del fields[SEAL]
    return fields


def _lines(fields: dict[str, Any]) -> bytes:
    lines = (f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in fields.items())
    return ("{\n" + ",\n".join(lines)).encode() + _END
