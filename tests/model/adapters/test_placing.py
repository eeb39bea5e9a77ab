"""Embeddings are numbers before they are resampled, and lie where their transform says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tessera_mosaic.model.adapters.placing import Affine, place_embedding

TEN: Affine = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_600_000.0)


def stored(height: int, width: int, dims: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    codes = rng.integers(-127, 128, (height, width, dims), np.int8)
    return codes, rng.uniform(0.001, 0.1, (height, width)).astype(np.float32)


@pytest.mark.parametrize("bilinear", [True, False])
def test_on_its_own_grid_an_embedding_is_itself(bilinear: bool) -> None:
    codes, scales = stored(5, 7)
    placed = place_embedding(codes, scales, TEN, TEN, (5, 7), bilinear)
    np.testing.assert_allclose(
        placed.permute(1, 2, 0), codes * scales[..., None], rtol=2e-5, atol=1e-5
    )


def test_values_are_interpolated_and_codes_are_not() -> None:
    codes = np.array([[[100], [100]]], np.int8)
    scales = np.array([[0.01, 0.03]], np.float32)
    five: Affine = (5.0, 0.0, TEN[2], 0.0, -5.0, TEN[5])
    middle = place_embedding(codes, scales, TEN, five, (2, 4))[0, 1]
    np.testing.assert_allclose(middle, [1.0, 1.5, 2.5, 3.0], rtol=1e-5)


@given(st.integers(-3, 3), st.integers(-3, 3))
def test_a_shift_of_whole_pixels_moves_by_pixels(down: int, across: int) -> None:
    codes, scales = stored(8, 8)
    moved: Affine = (10.0, 0.0, TEN[2] + 10 * across, 0.0, -10.0, TEN[5] - 10 * down)
    placed = place_embedding(codes, scales, TEN, moved, (8, 8), bilinear=False)
    whole = np.full((14, 14, 3), np.nan, np.float32)
    whole[3:11, 3:11] = codes * scales[..., None]
    expected = whole[3 + down : 11 + down, 3 + across : 11 + across]
    np.testing.assert_allclose(placed.permute(1, 2, 0), expected, rtol=2e-5, atol=1e-5)


def test_a_neighbour_without_an_embedding_has_no_weight() -> None:
    codes = np.full((1, 3, 2), 50, np.int8)
    scales = np.array([[0.02, np.inf, np.nan]], np.float32)
    five: Affine = (5.0, 0.0, TEN[2], 0.0, -5.0, TEN[5])
    placed = place_embedding(codes, scales, TEN, five, (2, 6))
    np.testing.assert_allclose(placed[:, :, :3], 1.0, rtol=1e-5)
    assert torch.isnan(placed[:, :, 4:]).all()
