"""Which observations become tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from model.observations import (
    Stack,
    append_pattern,
    length_bin,
    pad_pattern,
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


def test_pixels_see_their_own_valid_dates_ascending_orbit_first() -> None:
    stack = Stack(
        bands=np.arange(3 * 2 * 10, dtype=np.uint16).reshape(3, 1, 2, 10),
        masks=np.array([[[1, 0]], [[0, 0]], [[1, 0]]], np.uint8),
        doys=np.array([10, 20, 366], np.uint16),
        sar_ascending=np.array([[[[5, 0], [0, 0]]]], np.int16),
        sar_ascending_doy=np.array([100], np.int16),
        sar_descending=np.array([[[[0, 7], [0, 0]]], [[[0, 0], [1, 1]]]], np.int16),
        sar_descending_doy=np.array([60, 61], np.int16),
    )
    s2, s1 = seen_by_s2(stack, slice(0, 2)), seen_by_s1(stack, slice(0, 2))
    assert s2.counts.tolist() == [2, 0]
    assert s2.days[s2.dates].tolist() == [10, 366]
    assert s1.counts.tolist() == [2, 1]
    assert s1.days[s1.dates].tolist() == [100, 60, 61]
    assert s1.kinds[s1.dates].tolist() == [0, 1, 1]
    assert stack.blank().tolist() == [[False, False]]
