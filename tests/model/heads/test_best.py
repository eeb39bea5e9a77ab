"""The best pixels of chunks in C and by numpy, as a comparison of all scores finds them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tessera_mosaic.model.heads.best import (
    FOUND,
    LARGEST_WEIGHT,
    MOST_DIMS,
    BestPixels,
    Ground,
    native_best,
)

WAYS = [
    False,
    pytest.param(
        True, marks=pytest.mark.skipif(native_best() is None, reason="nothing was compiled here")
    ),
]


def few_bits(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights whose sums of products with codes are exact."""
    return np.rint(weights * 2.0**30) / 2.0**30


def places(ground: Ground, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the lattice of a tile's pixels."""
    rows, cols = np.indices((side, side))
    return rows.ravel() + ground.row, cols.ravel() + ground.col


def best_in_squares(
    scores: NDArray[np.float64], ground: Ground, side: int, limit: float
) -> dict[tuple[int, int], float]:
    """The best score of each square of ground with one that is no worse than a limit."""
    found: dict[tuple[int, int], float] = {}
    counts = ground.known.ravel() & (scores >= limit) & np.isfinite(scores)
    for row, col, score in zip(
        *places(ground, side), np.where(counts, scores, -np.inf), strict=True
    ):
        square = int(row // ground.square), int(col // ground.square)
        found[square] = max(found.get(square, -np.inf), float(score))
    return {square: score for square, score in found.items() if score > -np.inf}


@pytest.mark.parametrize("native", WAYS)
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    inner=st.sampled_from([3, 8, 16]),
    across=st.integers(1, 2),
    dims=st.sampled_from([1, 2, 7, 64, 128]),
    queries=st.integers(1, 9),
    square=st.sampled_from([1, 3, 16, 50]),
    by_length=st.booleans(),
    share=st.floats(0, 1),
    spread=st.sampled_from([0, 1, 40, 128]),
)
def test_all_are_found_that_are_the_best_of_their_square(
    native: bool,
    seed: int,
    inner: int,
    across: int,
    dims: int,
    queries: int,
    square: int,
    by_length: bool,
    share: float,
    spread: int,
) -> None:
    rng = np.random.default_rng(seed)
    side = inner * across
    weights = few_bits(rng.normal(size=(queries, dims)) * 10.0 ** rng.integers(-2, 3))
    best = BestPixels(weights, few_bits(rng.normal(size=queries)), by_length, native)
    codes = rng.integers(-spread, max(spread, 1), (dims, side, side)).astype(np.int8)
    scales = rng.uniform(0.01, 0.05, (side, side)).astype(np.float32)
    known = rng.random((side, side)) < share
    scales[~known] = rng.choice([np.nan, np.inf, 0.02])
    ground = Ground(known, scales, *rng.integers(0, 99, 2).tolist(), square=square)
    with np.errstate(invalid="ignore"):
        exact = best.exact(codes.reshape(dims, -1), scales.ravel())
    limits = np.full(queries, -np.inf)
    if known.any() and np.isfinite(exact[:, known.ravel()]).all():
        # A limit is itself the score of a pixel.
        limits = np.quantile(exact[:, known.ravel()], rng.random(), axis=1, method="nearest")
    every = [
        best.find(
            np.ascontiguousarray(codes[:, row : row + inner, col : col + inner]).reshape(dims, -1),
            ground,
            row,
            col,
            limits,
        )
        for row in range(0, side, inner)
        for col in range(0, side, inner)
    ]
    found = np.concatenate([np.empty(0, FOUND), *(each for each in every if each is not None)])
    row, col = found["row"] - ground.row, found["col"] - ground.col
    # Each is a pixel that counts, with its exact score to the last bit.
    assert known[row, col].all()
    np.testing.assert_array_equal(found["score"], exact[found["query"], row * side + col])
    for query, limit in enumerate(limits):
        mine = found[found["query"] == query]
        told: dict[tuple[int, int], float] = {}
        for each in mine[(mine["score"] >= limit) & (mine["score"] > -np.inf)]:
            at = int(each["row"] // square), int(each["col"] // square)
            told[at] = max(told.get(at, -np.inf), float(each["score"]))
        assert told == best_in_squares(exact[query], ground, side, limit)


@pytest.mark.parametrize("native", WAYS)
def test_equals_are_found_all_of_them(native: bool) -> None:
    best = BestPixels(np.array([[0.25, -0.5]]), np.zeros(1), True, native)
    codes = np.tile(np.int8([[3], [4]]), (1, 64))
    ground = Ground(np.ones((8, 8), bool), np.ones((8, 8), np.float32), 8, 8, square=4)
    found = best.find(codes, ground, 0, 0, np.array([-0.25]))
    assert found is not None
    assert len(found) == 64
    assert best.find(codes, ground, 0, 0, np.array([-0.249])) is None


@pytest.mark.parametrize("native", WAYS)
def test_the_largest_sums_fit(native: bool) -> None:
    weights = np.full((2, MOST_DIMS), float(LARGEST_WEIGHT))
    weights[1] *= -1
    best = BestPixels(weights, np.zeros(2), False, native)
    codes = np.full((MOST_DIMS, 64), -128, np.int8)
    ground = Ground(np.ones((8, 8), bool), np.ones((8, 8), np.float32), 0, 0, square=8)
    found = best.find(codes, ground, 0, 0, np.full(2, 1e9))
    assert found is not None
    assert set(found["query"].tolist()) == {1}
    assert set(found["score"].tolist()) == {128.0 * LARGEST_WEIGHT * MOST_DIMS}


@pytest.mark.parametrize("native", WAYS)
def test_a_query_without_weights_finds_its_bias(native: bool) -> None:
    best = BestPixels(np.zeros((1, 3)), np.array([1.5]), False, native)
    ground = Ground(np.ones((8, 8), bool), np.ones((8, 8), np.float32), 0, 0, square=8)
    found = best.find(np.ones((3, 64), np.int8), ground, 0, 0, np.array([1.5]))
    assert found is not None
    assert set(found["score"].tolist()) == {1.5}
