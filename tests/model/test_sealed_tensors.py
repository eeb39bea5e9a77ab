"""A sealed file is the same bytes for the same content, and nothing in it changes unnoticed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tessera_mosaic.model.sealed_tensors import SealedFormat

FORMAT = SealedFormat("thing", 1, "thing", "make", 10_000, ValueError)
TENSORS = {"a": np.arange(3, dtype=np.int8), "b": np.ones((2, 2), np.float32)}
DATA = FORMAT.encode({"x": [1, "other"]}, TENSORS)


def test_the_same_content_is_the_same_bytes() -> None:
    assert FORMAT.encode({"x": [1, "other"]}, dict(reversed(TENSORS.items()))) == DATA
    told, tensors = FORMAT.decode(DATA, lambda told, tensors: (told, tensors))
    assert (told["x"], told["version"]) == ([1, "other"], 1)
    assert {name: array.tolist() for name, array in tensors.items()} == {
        name: array.tolist() for name, array in TENSORS.items()
    }


def test_what_was_changed_is_refused_and_kinds_are_told_apart() -> None:
    assert DATA.count(b"other") == 1
    with pytest.raises(ValueError, match="not as it was written"):
        FORMAT.decode(DATA.replace(b"other", b"otter"), lambda told, tensors: told)
    assert FORMAT.claims(DATA[:64])
    assert not replace(FORMAT, entry="thin").claims(DATA)


@pytest.mark.parametrize("data", [b"", b"\x00" * 20, b"\x80pickle", DATA[:50], DATA * 100])
def test_what_is_none_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"thing|pickle") as refused:
        FORMAT.decode(data, lambda told, tensors: json.dumps(told))
    assert "\n" not in str(refused.value)


def test_no_length_of_what_is_told_makes_a_pickle_of_it() -> None:
    """A file begins with the length of its JSON: one in 32 begins with the byte of a pickle."""
    begun = set()
    for words in range(0, 257, 4):
        told = {"name": "x" * words}
        data = FORMAT.encode(told, TENSORS)
        begun.add(data[0])
        assert FORMAT.decode(data, lambda told, _: told["name"]) == told["name"]
    assert 0x80 in begun
