"""A sealed object passes as written, and in no other way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.io.foreign_json import cleaned
from tessera_mosaic.pipeline.io.sealed import seal, unseal

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
contents = st.dictionaries(st.text().filter(lambda name: name != "sha256"), values)


@given(contents)
def test_what_was_sealed_comes_back(fields: dict) -> None:
    # Texts are printable once they are read, whatever was written.
    assert unseal(seal(fields)) == cleaned(fields)


@given(contents, st.data())
def test_no_flipped_bit_passes(fields: dict, data: st.DataObject) -> None:
    whole = bytearray(seal(fields))
    place = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[place // 8] ^= 1 << place % 8
    with pytest.raises(StoreError):
        unseal(bytes(whole))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"a": 1}', b"null", b"\xff"])
def test_what_was_never_sealed_is_refused(data: bytes) -> None:
    with pytest.raises(StoreError):
        unseal(data)
