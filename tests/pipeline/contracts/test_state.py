"""States survive JSON, and what is no state is refused in one line."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_mosaic.pipeline.contracts.state import (
    LATTICE,
    MOST_BYTES,
    Input,
    Kind,
    Numbers,
    State,
    decode_state,
    encode_state,
)
from tessera_mosaic.pipeline.contracts.values import MOST
from tessera_mosaic.pipeline.errors import BadInput

WORDS = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=12)
YEARS = st.integers(1, 9999)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)
FILLED = State(
    Kind.MAP,
    ("m0",),
    (Input(Kind.HEAD, "h0"), Input(Kind.MOSAIC, "f0")),
    product="tessera",
    fingerprint="f0",
    imagery="mpc",
    dims=128,
    crs=("EPSG:32631",),
    lattice=LATTICE,
    pixel=10.0,
    extent=(2.0, 50.0, 3.0, 51.0),
    years=(2023, 2024),
    matched={2024: 2023},
    compared={2024: 2023},
    dtype="float32",
    numbers=Numbers.VALUES,
    unit="t/ha",
    valid_range=(0.0, 400.0),
    classes={0: "other", 1: "wheat"},
    nodata=math.inf,
    uncertainty="uncertainty",
    sensors={2023: ("s2",), 2024: ("s1", "s2")},
    design="random",
)

STATES = st.builds(
    State,
    st.sampled_from(Kind),
    st.lists(WORDS, max_size=3).map(tuple),
    st.lists(st.builds(Input, st.sampled_from(Kind), WORDS), max_size=3).map(tuple),
    product=st.none() | WORDS,
    dims=st.none() | st.integers(1, 4096),
    pixel=st.none() | NUMBERS,
    years=st.none() | st.sets(YEARS, max_size=5).map(lambda years: tuple(sorted(years))),
    matched=st.none() | st.dictionaries(YEARS, YEARS, max_size=3),
    numbers=st.none() | st.sampled_from(Numbers),
    classes=st.none() | st.dictionaries(st.integers(0, 253), WORDS, max_size=4),
    nodata=st.none() | NUMBERS | st.sampled_from([math.inf, -math.inf]),
    sensors=st.none() | st.dictionaries(YEARS, st.just(("s1", "s2")), max_size=3),
)


@given(STATES)
def test_a_state_survives_its_json(state: State) -> None:
    read = decode_state(encode_state(state))
    empty = {"years": None} if state.years == () else {}
    assert read == dataclasses.replace(state, **empty)
    assert encode_state(read) == encode_state(state)


def test_every_field_has_a_place_in_json() -> None:
    told = FILLED.to_json()
    assert list(told) == ["version", *(field.name for field in dataclasses.fields(State))]
    assert State.from_json(told) == FILLED
    json.dumps(told, allow_nan=False)


def test_what_is_not_known_is_not_told() -> None:
    assert State(Kind.HITS).to_json() == {"version": 1, "kind": "hits"}
    assert math.isnan(decode_state('{"version":1,"kind":"map","nodata":"nan"}').nodata or 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "picture"),
        ("kind", None),
        ("digests", "m0"),
        ("digests", ["m0"] * (MOST + 1)),
        ("inputs", [{"kind": "head"}]),
        ("inputs", [{"kind": "head", "digest": "h0", "more": 1}]),
        ("product", "x" * (MOST + 1)),
        ("dims", 0),
        ("dims", True),
        ("dims", 10**400),
        ("pixel", "10"),
        ("pixel", math.nan),
        ("extent", [2, 50, 3]),
        ("extent", [3, 50, 2, 51]),
        ("years", [2024, 2023]),
        ("years", [2024, 2024]),
        ("years", [20240]),
        ("matched", {"this year": 2023}),
        ("matched", {"²": 2023}),
        ("valid_range", [4, 1]),
        ("classes", ["wheat"]),
        ("nodata", "none"),
        ("nodata", None),
        ("sensors", {"2024": "s2"}),
        ("colour", "red"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(BadInput, match=f"^its state is damaged: .*{field}") as refused:
        State.from_json(FILLED.to_json() | {field: value})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "1",
        "{}",
        '{"kind":"map"}',
        '{"version":1}',
        '{"version":true,"kind":"map"}',
        "[" * 100_000,
        '{"version":1,"kind":"map","dims":' + "9" * 10_000 + "}",
        " " * (MOST_BYTES + 1),
        b"\xff\xfe",
    ],
)
def test_what_is_no_state_is_refused_in_one_line(text: str | bytes) -> None:
    with pytest.raises(BadInput, match=r"^its state is damaged: ") as refused:
        decode_state(text)
    assert len(str(refused.value)) < 200


def test_a_later_version_asks_for_an_update() -> None:
    with pytest.raises(BadInput, match="version 2, and this program reads up to 1: update"):
        State.from_json(FILLED.to_json() | {"version": 2, "kind": "hologram"})


def test_texts_are_printable_once_they_are_read() -> None:
    assert decode_state('{"version":1,"kind":"map","unit":"\\u001b[2J"}').unit == r"\x1b[2J"
