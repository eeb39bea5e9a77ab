"""Small JSON objects that carry their own digest, so that a flipped bit in one never passes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pipeline.errors import StoreError

SEAL = "sha256"
"""Name of the last field: the digest of the object without it."""


def seal(fields: dict[str, Any]) -> bytes:
    """JSON of the fields, a line each, with their digest as the last."""
    digest = hashlib.sha256(_lines(fields)).hexdigest()
    return _lines(fields | {SEAL: digest})


def unseal(data: bytes) -> dict[str, Any]:
    """The fields of a sealed object.

    Raises
    ------
    StoreError
        If the bytes are not exactly those that `seal` made.
    """
    try:
        fields = json.loads(data)
        fields.pop(SEAL)
        whole = seal(fields) == data
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"no sealed object: {error!r}") from None
    if not whole:
        raise StoreError("its bytes are not those that were written")
    return fields


def _lines(fields: dict[str, Any]) -> bytes:
    lines = (f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in fields.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
