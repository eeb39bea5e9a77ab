"""Slabs hold every pixel once, within their limits, and the right tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.model.engine.packing import (
    RECURRENT,
    VOID,
    Packing,
    statistics_tables,
    weighted_pattern,
)
from tessera_mosaic.model.observations import Seen, append_pattern, length_bin, pad_pattern
from tessera_mosaic.model.sizes import Family

FAMILIES: tuple[Family, ...] = ("v1.0-float", "v1.0", "v1.1", "v2", "v2-teacher")


def seen_so_often(counts: np.ndarray) -> Seen:
    """Observations whose values tell which pixel and date they are of."""
    dates = int(counts.max(initial=1))
    valid = np.arange(dates)[:, None] < counts
    values = np.empty((dates, len(counts), 2), np.int16)
    values[..., 0] = np.arange(len(counts))
    values[..., 1] = np.arange(dates)[:, None]
    return Seen(
        values,
        np.arange(1, dates + 1) % 366 + 1,
        np.arange(dates) % 2,
        counts,
        np.cumsum(counts) - counts,
        np.nonzero(valid.T)[1],
    )


@settings(deadline=None)
@given(
    family=st.sampled_from(FAMILIES),
    fixed=st.booleans(),
    counts=st.lists(st.one_of(st.integers(0, 40), st.integers(0, 600)), min_size=1, max_size=80),
)
def test_every_pixel_is_in_one_slab_with_its_tokens(
    family: Family, fixed: bool, counts: list[int]
) -> None:
    packing = Packing(family, rows=2048, fixed=fixed)
    seen = seen_so_often(np.array(counts))
    keys = np.arange(len(counts), dtype=np.uint64)
    slabs = list(packing.slabs(seen.counts))
    assert sorted(np.concatenate(slabs)) == list(range(len(counts)))
    shapes = set()
    for pixels in slabs:
        slab = packing.fill(seen, pixels, keys)
        rows = len(slab.values)
        assert rows <= 2048 or (family in RECURRENT and len(pixels) <= 8)
        assert len(slab.kinds) == len(slab.days) == rows
        assert sum(group.pixels for group in slab.groups) >= len(pixels)
        lengths = packing.lengths(seen.counts[pixels])
        shapes.add((rows, int(lengths[0]) if family in RECURRENT else 0))
        used = int(lengths.sum())
        assert (slab.kinds[used:] == VOID).all()
        assert not slab.values[used:].any()
        starts = np.cumsum(lengths) - lengths
        for pixel, start, length in zip(pixels, starts, lengths, strict=True):
            own = slice(int(start), int(start + length))
            count = int(seen.counts[pixel])
            if not count:
                drawn = family in ("v1.0", "v1.0-float")
                assert (slab.kinds[own] == (0 if drawn else VOID)).all()
                assert not slab.values[own].any()
                assert (slab.days[own] == (180 if drawn else 0)).all()
                continue
            dates = slab.values[own, 1].numpy()
            assert (slab.values[own, 0] == pixel).all()
            assert np.array_equal(slab.days[own], seen.days[dates])
            assert np.array_equal(slab.kinds[own], seen.kinds[dates])
            if family == "v1.1":
                assert np.array_equal(dates, append_pattern(count, length_bin(count)))
            elif family in ("v2", "v2-teacher"):
                assert np.array_equal(dates, weighted_pattern(count)[0])
            else:
                steps = np.diff(dates)
                assert (steps >= 0).all() if count < 40 else (steps > 0).all()
    if fixed:
        assert len(shapes) == len({length for _, length in shapes}), "a length has one shape"


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 13, 41, 255, 256, 257, 1500])
def test_weights_stand_for_repeats(count: int) -> None:
    sources, log_weights = weighted_pattern(count)
    pattern = pad_pattern(count, length_bin(count))
    times = np.ones(len(sources)) if log_weights is None else np.exp(log_weights.numpy())
    np.testing.assert_allclose(
        np.bincount(pattern, minlength=count), np.bincount(sources, times, count), rtol=1e-6
    )


def test_the_last_kind_of_token_stays_zeros() -> None:
    for means, deviations in statistics_tables(card_named("v1.1-aws").statistics):
        assert not means[VOID].any()
        assert (deviations[VOID] == 1).all()
