"""The file of a head: the same back, and nothing else is believed."""

from __future__ import annotations

import json
import pickle
import struct
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_mosaic.model.heads.files import FORMAT, decode_head, encode_head
from tessera_mosaic.model.heads.head import (
    Head,
    HeadClass,
    HeadError,
    HeadKind,
    Task,
    TrainingSpace,
)
from tessera_mosaic.model.sealed_tensors import MOST_VALUES, SEAL, digest_of


def head(classes: int = 2, dims: int = 4, kind: HeadKind = HeadKind.LOGISTIC) -> Head:
    """A small head."""
    rng = np.random.default_rng(0)

    def some(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    return Head(
        kind=kind,
        task=Task.CLASS,
        layers={"weight": some(classes, dims), "bias": some(classes)},
        space=TrainingSpace(
            some(classes, dims), some(2, dims), np.abs(some(2)) + 1, 0.5, np.abs(some(101))
        ),
        classes=tuple(HeadClass(n + 1, f"class {n}", (n, 2 * n, 3)) for n in range(classes)),
        mosaic="f" * 64,
        model="tessera-v1.1",
        dims=dims,
        years=(2022,),
        year_means=some(1, dims),
        pixels=np.arange(5, dtype=np.uint64),
        labels_sha256="0" * 64,
        scores={"trusted": "block", "folds": []},
        software={"numpy": "2"},
    )


DATA = encode_head(head())


def test_a_head_comes_back_as_it_was_bit_for_bit() -> None:
    again = decode_head(DATA)
    assert encode_head(again) == DATA == encode_head(head())
    assert again.classes == head().classes
    np.testing.assert_array_equal(again.layers["weight"], head().layers["weight"])


def test_a_head_of_twenty_classes_is_small() -> None:
    size = len(encode_head(head(classes=20, dims=128)))
    assert 10_000 < size < 30_000


def test_a_pickle_is_refused_by_name() -> None:
    for data in (pickle.dumps({"weights": [1, 2]}), b"PK\x03\x04 what torch.save writes"):
        with pytest.raises(HeadError, match="it is a pickle"):
            decode_head(data)


def test_a_tampered_head_is_refused() -> None:
    told = json.loads(_told(DATA))
    told["classes"][0]["name"] = "gold"
    with pytest.raises(HeadError, match="not as it was written"):
        decode_head(_with(DATA, told))
    with pytest.raises(HeadError, match="not as it was written"):
        decode_head(DATA[:-1] + bytes([DATA[-1] ^ 1]))


def test_a_head_that_tells_more_than_any_head_is_refused() -> None:
    told = json.loads(_told(DATA)) | {"scores": {"folds": [[]] * (MOST_VALUES // 2)}}
    with pytest.raises(HeadError, match="tells more than 1,000,000 values"):
        decode_head(_with(DATA, told))


@settings(max_examples=150)
@given(st.binary(max_size=200))
def test_no_bytes_are_a_head_by_chance(data: bytes) -> None:
    with pytest.raises(HeadError):
        decode_head(data)


@settings(max_examples=150)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255), st.booleans())
def test_damage_is_always_told_in_one_line(place: int, change: int, cut: bool) -> None:
    broken = bytearray(DATA)
    broken[place] ^= change
    data = bytes(broken[:place] if cut else broken)
    again, message = read(data)
    assert "\n" not in message
    assert again is None or encode_head(again) == DATA


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@settings(max_examples=200)
@given(st.data(), JUNK)
def test_a_sealed_file_of_nonsense_is_refused_or_read_whole(data: Any, junk: Any) -> None:
    told = json.loads(_told(DATA))
    told[data.draw(st.sampled_from(sorted(told)))] = junk
    assert "\n" not in read(_sealed(DATA, told))[1]


@settings(max_examples=100)
@given(st.data())
def test_sealed_tensors_of_other_shapes_are_refused(data: Any) -> None:
    tensors = safetensors.numpy.load(DATA)
    name = data.draw(st.sampled_from(sorted(tensors)))
    shape = tuple(data.draw(st.lists(st.integers(0, 3), max_size=3)))
    kind = data.draw(st.sampled_from(["<f4", "<f8", "i1", "<u8"]))
    value = data.draw(st.sampled_from([0, 1, np.nan])) if kind[1] == "f" else 1
    if tensors[name].shape == shape and tensors[name].dtype == np.dtype(kind) and value == 1:
        return
    tensors[name] = np.full(shape, value, kind)
    told = json.loads(_told(DATA))
    told[SEAL] = digest_of(told, tensors)
    sealed = safetensors.numpy.save(tensors, {FORMAT.entry: json.dumps(told)})
    again, message = read(sealed)
    assert "\n" not in message
    assert again is None or again.layers["weight"].shape == (2, 4)


def read(data: bytes) -> tuple[Head | None, str]:
    """The head of a file, or why it is none."""
    try:
        return decode_head(data), ""
    except HeadError as error:
        return None, str(error)


def _told(data: bytes) -> str:
    (length,) = struct.unpack_from("<Q", data)
    return str(json.loads(data[8 : 8 + length])["__metadata__"][FORMAT.entry])


def _with(data: bytes, told: dict[str, Any]) -> bytes:
    return safetensors.numpy.save(safetensors.numpy.load(data), {FORMAT.entry: json.dumps(told)})


def _sealed(data: bytes, told: dict[str, Any]) -> bytes:
    told = told | {SEAL: digest_of(told, safetensors.numpy.load(data))}
    return _with(data, told)
