"""Codes and scales."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tessera_mosaic.model.quantize import (
    check_scales,
    dequantize,
    fidelity,
    quantize,
)

vectors = arrays(
    np.float32, (5, 16), elements=st.floats(-100, 100, width=32, allow_subnormal=False)
)


@given(vectors)
def test_a_code_is_within_half_a_scale_of_its_value(values: np.ndarray) -> None:
    codes, scales = quantize(values)
    assert codes.dtype == np.int8
    assert scales.dtype == np.float32
    assert np.abs(codes.astype(int)).max() <= 127
    error = np.abs(dequantize(codes, scales) - values)
    assert (error <= scales[:, None] * np.float32(0.500001)).all()
    large = np.abs(values).max(axis=-1) > 1e-5
    assert (np.abs(codes[large]).max(axis=-1) == 127).all()


def test_halves_go_to_even_and_codes_are_symmetric() -> None:
    values = np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5, -127]], np.float32) / 256
    codes, scales = quantize(values)
    assert codes.tolist() == [[127, 0, 2, 2, 0, -2, -127]]
    assert scales.tolist() == [1 / 256]


def test_zeros_have_a_scale_that_readers_take_for_valid() -> None:
    codes, scales = quantize(np.zeros((2, 8), np.float32))
    assert not codes.any()
    assert ((scales > 0) & (scales < 1)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 128.0, -3e38])
def test_a_vector_that_no_scale_below_1_holds_is_refused(bad: float) -> None:
    values = np.ones((3, 4), np.float32)
    values[1, 2] = bad
    with pytest.raises(FloatingPointError, match="1 of 3 embeddings"):
        quantize(values)


@pytest.mark.parametrize("scale", [0.0, -0.5, 1.0, np.nan, -np.inf])
def test_only_scales_between_0_and_1_are_written(scale: float) -> None:
    check_scales(np.array([1e-8, 0.5, 0.999], np.float32))
    with pytest.raises(FloatingPointError):
        check_scales(np.array([0.5, scale], np.float32))


def test_nothing_dequantizes_to_nan() -> None:
    values = dequantize(np.ones((3, 2), np.int8), np.array([0.5, np.inf, np.nan], np.float32))
    assert values[0].tolist() == [0.5, 0.5]
    assert np.isnan(values[1:]).all()


def test_fidelity_tells_loss_and_adds_up() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=(40, 32)).astype(np.float32)
    codes, scales = quantize(values)
    scales[3] = np.inf
    whole = fidelity(values, codes, scales)
    assert whole.pixels == 39
    assert 0.999 < whole.least_cosine <= whole.mean_cosine < 1
    assert whole.largest_error <= scales[np.isfinite(scales)].max() * 0.5001
    assert 1 / 32 <= whole.share_at_limit < 3 / 32
    parts = [
        fidelity(values[half], codes[half], scales[half]) for half in (slice(20), slice(20, 40))
    ]
    together = parts[0] + parts[1]
    assert together.pixels == whole.pixels
    assert together.mean_cosine == pytest.approx(whole.mean_cosine)
    assert together.share_at_limit == pytest.approx(whole.share_at_limit)
    assert (together.least_cosine, together.largest_error) == (
        whole.least_cosine,
        whole.largest_error,
    )
    assert fidelity(values[3:4], codes[3:4], scales[3:4]) is None
    zeros = np.zeros((2, 32), np.float32)
    kept = fidelity(zeros, *quantize(zeros))
    assert (kept.mean_cosine, kept.least_cosine, kept.largest_error) == (1, 1, 0)
    worse = codes.copy()
    worse[0] = -worse[0]
    assert fidelity(values, worse, scales).least_cosine < -0.99
