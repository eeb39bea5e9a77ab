"""Bounds are checked as they are told."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tessera_mosaic as tm
from tessera_mosaic.pipeline.bounds import Bounds, bounds_of, check_bounds
from tessera_mosaic.pipeline.errors import BadInput

LIMIT = st.none() | st.integers(-50, 50)

BOUNDS = st.builds(
    Bounds,
    st.just("choose another"),
    LIMIT,
    LIMIT,
    LIMIT,
    LIMIT,
    st.none() | st.integers(1, 20),
    st.just(()) | st.lists(st.integers(-50, 50), min_size=1).map(tuple),
)


@given(BOUNDS, st.integers(-60, 60))
def test_a_number_is_refused_as_its_schema_refuses_it(bounds: Bounds, value: int) -> None:
    validator = jsonschema.Draft202012Validator(bounds.schema())
    assert bounds.hold(value) == validator.is_valid(value)


@given(BOUNDS, st.sampled_from([float("nan"), float("inf"), float("-inf")]))
def test_what_is_no_number_is_never_within(bounds: Bounds, value: float) -> None:
    assert not bounds.hold(value)


@dataclass(frozen=True)
class Asked:
    least: int = 0
    share: float | None = field(default=None, metadata=Bounds("choose 0 to 1", 0, 1).metadata)

    def __post_init__(self) -> None:
        check_bounds(self)


def test_the_field_that_lies_beyond_is_named() -> None:
    assert Asked().share is None
    assert list(bounds_of(Asked)) == ["share"]
    with pytest.raises(BadInput, match=r"^share 2: choose 0 to 1$"):
        Asked(share=2)


def requests() -> list[type]:
    return [getattr(tm, name) for name in tm.__all__ if name.endswith("Request")]


@pytest.mark.parametrize("request_class", requests(), ids=lambda each: each.__name__)
def test_defaults_lie_within_their_bounds(request_class: type) -> None:
    defaults = {each.name: each.default for each in dataclasses.fields(request_class)}
    for name, bounds in bounds_of(request_class).items():
        if defaults[name] not in (None, dataclasses.MISSING):
            assert bounds.hold(defaults[name]), name
