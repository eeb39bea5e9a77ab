"""Which observations become tokens."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_mosaic.model.observations import (
    DRAWN,
    Origin,
    Stack,
    append_pattern,
    draw,
    length_bin,
    pad_pattern,
    pixel_keys,
    seen_by_s1,
    seen_by_s2,
)


@pytest.mark.parametrize(
    ("family", "pattern"), [("v2", pad_pattern), ("v11", append_pattern)], ids=["v2", "v1.1"]
)
def test_patterns_equal_the_reference_for_every_count(shared: Path, family, pattern) -> None:
    wanted = json.loads((shared / "golden/resample_indices.json").read_text())[family]
    counts = range(1, 601)
    assert [pattern(n, length_bin(n)).tolist() for n in counts] == [wanted[str(n)] for n in counts]


def test_lengths_are_multiples_of_8_up_to_256() -> None:
    assert [length_bin(n) for n in (0, 1, 8, 9, 255, 256, 257, 3000)] == [
        *(0, 8, 8, 16, 256, 256, 256, 256)
    ]


def stack_of_two_pixels() -> Stack:
    """Two pixels, of which the second is never clear and has one descending pass."""
    return Stack(
        bands=np.arange(3 * 2 * 10, dtype=np.uint16).reshape(3, 1, 2, 10),
        masks=np.array([[[1, 0]], [[0, 0]], [[1, 0]]], np.uint8),
        doys=np.array([10, 20, 366], np.uint16),
        sar_ascending=np.array([[[[5, 0], [0, 0]]]], np.int16),
        sar_ascending_doy=np.array([100], np.int16),
        sar_descending=np.array([[[[0, 7], [0, 0]]], [[[0, 0], [1, 1]]]], np.int16),
        sar_descending_doy=np.array([60, 61], np.int16),
    )


def test_pixels_see_their_own_valid_dates_ascending_orbit_first() -> None:
    stack = stack_of_two_pixels()
    s2, s1 = seen_by_s2(stack, slice(0, 2)), seen_by_s1(stack, slice(0, 2))
    assert s2.counts.tolist() == [2, 0]
    assert s2.days[s2.dates].tolist() == [10, 366]
    assert s1.counts.tolist() == [2, 1]
    assert s1.days[s1.dates].tolist() == [100, 60, 61]
    assert s1.kinds[s1.dates].tolist() == [0, 1, 1]
    assert stack.blank().tolist() == [[False, False]]


def test_of_a_part_of_a_stack_the_rest_was_never_seen() -> None:
    stack = stack_of_two_pixels()
    assert stack.only(np.ones((1, 2), bool)) is stack
    part = stack.only(np.array([[False, True]]))
    assert part.blank().tolist() == [[True, False]]
    assert all(part.counts()[name][0, 1] == count[0, 1] for name, count in stack.counts().items())
    assert stack.blank().tolist() == [[False, False]]


@given(st.integers(1, 400), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(2017, 2030))
def test_draws_are_ordered_and_distinct_where_they_can_be(
    count: int, row: int, col: int, year: int
) -> None:
    drawn = draw(pixel_keys(Origin(31, row, col, year), (2, 3), sensor=2), count)
    assert drawn.shape == (6, DRAWN)
    assert drawn.min() >= 0
    assert drawn.max() < count
    steps = np.diff(drawn, axis=1)
    assert (steps >= 0).all() if count < DRAWN else (steps > 0).all()


def test_draws_follow_the_pixel_and_differ_by_place_year_and_sensor() -> None:
    at = Origin(31, 1000, 2000, 2024)
    block = pixel_keys(at, (8, 9), sensor=2).reshape(8, 9)
    inner = dataclasses.replace(at, row=1003, col=2004)
    assert np.array_equal(pixel_keys(inner, (5, 5), 2).reshape(5, 5), block[3:, 4:])
    others = [dataclasses.replace(at, **{name: getattr(at, name) + 1}) for name in ("zone", "year")]
    keys = [block.ravel(), pixel_keys(at, (8, 9), 1), *(pixel_keys(o, (8, 9), 2) for o in others)]
    assert len(np.unique(np.concatenate(keys))) == 4 * 72


@pytest.mark.parametrize("count", [7, 39, 40, 90])
def test_draws_are_uniform(count: int) -> None:
    pixels = 20_000
    drawn = draw(pixel_keys(Origin(31, 0, 0, 2024), (100, 200), sensor=1), count)
    often = np.bincount(drawn.ravel(), minlength=count)
    # Without replacement the counts vary less than a binomial; six deviations never happen.
    share = 1 / count
    deviation = np.sqrt(pixels * DRAWN * share * (1 - share))
    assert np.abs(often - pixels * DRAWN * share).max() < 6 * deviation
