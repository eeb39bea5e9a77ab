"""Areas and accuracies from samples: published examples, enumeration, and how often they hold."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation import stratified_estimates as estimates
from tessera_mosaic.pipeline.evaluation.intervals import (
    ratio_limits,
    share_limits,
    student_quantile,
)
from tessera_mosaic.pipeline.evaluation.map_accuracy import accuracy
from tessera_mosaic.pipeline.evaluation.sampling_designs import allocate, draw
from tessera_mosaic.pipeline.evaluation.stratified_estimates import Sample

DRAWS = 2000


def olofsson() -> tuple[Sample, NDArray[np.int64], NDArray[np.int64]]:
    """The example of Olofsson et al. (2014), tables 8 and 9: 30 m pixels, areas in hectares."""
    counts = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
    mapped, reference = (np.repeat(each, counts.ravel()) for each in np.divmod(np.arange(16), 4))
    pixels = np.array([200_000, 150_000, 3_200_000, 6_450_000])
    return Sample(mapped, pixels, pixels * 0.09), mapped, reference


def test_the_worked_example_of_olofsson_2014() -> None:
    sample, mapped, reference = olofsson()
    found = accuracy(sample, mapped, reference, "abcd", np.arange(4))
    areas = [area.times(900_000) for area in found.areas]
    assert [round(area.value) for area in areas] == [21_158, 11_686, 285_770, 581_386]
    half = [1.96 * area.standard_error for area in areas]
    np.testing.assert_allclose(half, [6_158, 3_756, 15_510, 16_282], atol=1.0)
    assert round(found.overall.value, 2) == 0.95
    assert [round(each.value, 2) for each in found.users] == [0.88, 0.73, 0.93, 0.96]
    assert [round(each.value, 2) for each in found.producers] == [0.75, 0.85, 0.93, 0.96]
    np.testing.assert_allclose(
        [1.96 * each.standard_error for each in found.users], [0.07, 0.10, 0.04, 0.02], atol=0.005
    )
    for each in (found.overall, *found.areas, *found.users, *found.producers):
        assert 0 <= each.low < each.value < each.high <= 1


def test_the_worked_example_of_stehman_2014() -> None:
    mapped = np.repeat([0, 1, 0, 1, 2, 1, 3], [7, 3, 1, 11, 6, 2, 10])
    reference = np.array(list("AAAAACBABCABBBBBAABBCCCCCDDBBADDDDDDDCCB"))
    numbers = np.array(["ABCD".index(each) for each in reference])
    sample = Sample(np.repeat(np.arange(4), 10), np.array([40_000, 30_000, 20_000, 10_000]))
    found = accuracy(sample, mapped, numbers, "ABCD")
    told = [found.overall, found.areas[0], found.areas[2], found.users[1], found.producers[1]]
    assert [round(each.value, 3) for each in told] == [0.63, 0.35, 0.2, 0.574, 0.794]
    assert [round(each.standard_error, 3) for each in told] == [0.085, 0.082, 0.064, 0.125, 0.117]


STRATA = np.array([0, 0, 0, 0, 1, 1, 1])
TRUTH = np.array([1, 1, 0, 0, 1, 0, 0], bool)
VALUES = np.array([5.0, 7.0, 1.0, 2.0, 9.0, 4.0, 4.5])


def all_samples(first: int, second: int) -> list[list[int]]:
    """Every sample of so many of the pixels of either stratum, all equally likely."""
    return [
        [*one, *other]
        for one in itertools.combinations(range(4), first)
        for other in itertools.combinations(range(4, 7), second)
    ]


def test_over_all_samples_of_a_small_population_estimates_and_variances_are_right() -> None:
    pixels = np.array([4, 3])
    shares, means, squares = [], [], []
    for chosen in all_samples(2, 2):
        sample = Sample(STRATA[chosen], pixels)
        shares.append(estimates.share(sample, TRUTH[chosen]))
        means.append(estimates.mean(sample, VALUES[chosen]))
        squares.append(sample.covariance(VALUES[chosen], VALUES[chosen]))
    assert np.mean([each.value for each in shares]) == pytest.approx(TRUTH.mean())
    assert np.mean([each.value for each in means]) == pytest.approx(VALUES.mean())
    errors = np.array([each.standard_error for each in shares])
    assert (errors**2).mean() == pytest.approx(np.var([each.value for each in shares]))
    assert np.mean(squares) == pytest.approx(np.var([each.value for each in means]))


def test_a_census_is_the_truth_and_has_no_width() -> None:
    sample = Sample(STRATA, np.array([4, 3]))
    for found, truth in (
        (estimates.share(sample, TRUTH), TRUTH.mean()),
        (estimates.mean(sample, VALUES), VALUES.mean()),
        (estimates.ratio(sample, TRUTH & (VALUES > 6), TRUTH), 2 / 3),
    ):
        assert found.value == pytest.approx(truth)
        assert (found.low, found.high) == pytest.approx((truth, truth))
        assert found.standard_error == pytest.approx(0)


@pytest.mark.parametrize("points", [2, 3, 30, 400])
@pytest.mark.parametrize("hits", [0, 1])
def test_a_sample_never_has_zero_width(points: int, hits: int) -> None:
    hit = np.full(points, bool(hits))
    for strata in (1, min(points // 2, 5)):
        stratum = np.arange(points) % strata
        sample = Sample(stratum, np.full(strata, 1000))
        for found in (estimates.share(sample, hit), estimates.ratio(sample, hit, hit | True)):
            assert found.value == hits
            assert found.high - found.low > 0.5 / points
        same = estimates.mean(sample, np.full(points, 7.0), spread=3.0) if strata < points else None
        assert same is None or same.low < 7.0 < same.high


strata_of_samples = st.lists(
    st.tuples(st.integers(2, 12), st.integers(0, 60), st.integers(0, 4)), min_size=1, max_size=4
)


@given(strata_of_samples, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_what_must_hold_of_any_sample(strata: list[tuple[int, int, int]], chance: object) -> None:
    rng = np.random.default_rng(chance.getrandbits(32))  # type: ignore[attr-defined]
    points, more, _ = (np.array(each) for each in zip(*strata, strict=True))
    sample = Sample(np.repeat(np.arange(len(points)), points), points + more)
    assert sample.weights.sum() == pytest.approx(1)
    assert sample.point_weights.sum() == pytest.approx(1)
    assert (1 / sample.inclusion[sample.stratum]).sum() == pytest.approx(sample.pixels.sum())
    classes, domains = rng.integers(0, 3, points.sum()), rng.integers(0, 4, points.sum())
    of = classes == np.arange(3)[:, None]
    found = estimates.shares(sample, of)
    assert sum(each.value for each in found) == pytest.approx(1)
    for k, whole in enumerate(found):
        assert whole.low <= whole.value <= whole.high
        assert whole.low >= 0
        assert whole.high <= 1
        parts = estimates.shares(sample, of[k] & (domains == np.arange(4)[:, None]))
        assert sum(part.value for part in parts) == pytest.approx(whole.value)
    other = estimates.share(sample, classes != 0)
    assert (other.low, other.high) == pytest.approx((1 - found[0].high, 1 - found[0].low), abs=1e-6)
    within = estimates.ratio(sample, (classes == 0) & (domains == 0), domains == 0)
    assert 0 <= within.low <= within.high <= 1


def binomial(points: int, share: float) -> NDArray[np.float64]:
    """Probability of each number of hits."""
    chance = np.ones(1)
    for _ in range(points):
        chance = np.convolve(chance, [1 - share, share])
    return chance


@pytest.mark.parametrize(
    ("points", "weights", "least"),
    [
        ((5,), (1.0,), 0.95),
        ((30,), (1.0,), 0.95),
        ((100,), (1.0,), 0.95),
        ((5, 5, 5), (0.7, 0.2, 0.1), 0.95),
        ((5, 5, 5), (1 / 3, 1 / 3, 1 / 3), 0.94),
        ((20, 5, 3), (0.8, 0.15, 0.05), 0.95),
    ],
)
def test_intervals_of_small_strata_hold_by_enumeration(
    points: tuple[int, ...], weights: tuple[float, ...], least: float
) -> None:
    counts = np.stack(np.meshgrid(*[np.arange(n + 1) for n in points], indexing="ij"), axis=-1)
    counts = counts.reshape(-1, len(points))
    n = np.array(points)
    low, high = share_limits(counts / n, n, np.full(len(n), 10**9), np.array(weights))
    rng = np.random.default_rng(1)
    rare = rng.uniform(0, 0.1, (100, len(n)))
    for shares in np.concatenate([rng.uniform(0, 1, (100, len(n))), rare]):
        chance = np.ones(1)
        for size, share in zip(points, shares, strict=True):
            chance = np.outer(chance, binomial(size, share)).ravel()
        truth = float(np.dot(weights, shares))
        assert chance[(low <= truth) & (truth <= high)].sum() >= least


def allocations(pixels: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    return {
        "class": allocate(pixels, 500),
        "proportional": np.maximum(np.round(500 * pixels / pixels.sum()).astype(int), 2),
    }


@pytest.mark.parametrize("design", ["random", "class", "proportional"])
def test_intervals_of_a_real_map_hold_as_often_as_they_say(shared: Path, design: str) -> None:
    tile = np.load(shared / "data" / "downstream" / "dynamic_world_tile.npz")
    expert = tile["expert"].ravel()
    mapped = tile["probs"].argmax(axis=0).ravel()[expert >= 0]
    expert = expert[expert >= 0]
    _, stratum = np.unique(mapped, return_inverse=True)
    if design == "random":
        stratum, pixels = np.zeros(len(mapped), int), np.array([len(mapped)])
        points = np.array([500])
    else:
        pixels = np.bincount(stratum)
        points = allocations(pixels)[design]
    hits = np.stack([mapped == expert, *(expert == k for k in range(9))], axis=1)
    hits = hits[:, hits.mean(axis=0) > 0.05]
    assert hits.shape[1] == 5
    rng = np.random.default_rng(0)
    shares = np.empty((DRAWS, hits.shape[1], len(pixels)))
    for k in range(len(pixels)):
        members = np.flatnonzero(stratum == k)
        for turn in range(DRAWS):
            chosen = rng.choice(members, points[k], replace=False)
            shares[turn, :, k] = hits[chosen].mean(axis=0)
    low, high = share_limits(shares, points, pixels, pixels / pixels.sum())
    covered = ((low <= hits.mean(axis=0)) & (hits.mean(axis=0) <= high)).mean(axis=0)
    assert np.all((covered >= 0.92) & (covered <= 0.97)), covered


def test_limits_of_ratios_agree_with_those_of_shares_where_both_are_the_same() -> None:
    assert ratio_limits((0.3, 0.25, 0.36), (0.7, 0.64, 0.75), -1.0) == pytest.approx((0.25, 0.36))
    assert ratio_limits((0.0, 0.0, 0.02), (0.0, 0.0, 0.3)) == (0.0, 1.0)
    low, high = ratio_limits((0.3, 0.25, 0.36), (0.0, 0.0, 0.04))
    assert 0.8 < low < high == 1.0


def test_quantiles_of_student_are_those_of_his_tables() -> None:
    tables = {(1, 0.95): 12.706, (2, 0.9): 2.920, (5, 0.95): 2.571, (10, 0.99): 3.169}
    for (degrees, confidence), value in tables.items():
        assert student_quantile(degrees, confidence) == pytest.approx(value, abs=5e-4)
    assert student_quantile(1e9) == pytest.approx(1.95996, abs=1e-4)


def test_the_distance_that_covers_pixels_is_held_by_new_ones() -> None:
    rng = np.random.default_rng(3)
    held = []
    for _ in range(400):
        drawn = rng.standard_normal(60)
        distance = estimates.covering_distance(drawn, np.ones(60), 0.9)
        assert distance is not None
        held.append(float((np.abs(rng.standard_normal(50)) <= distance).mean()))
    assert 0.89 <= np.mean(held) <= 0.93
    assert estimates.covering_distance(np.arange(10.0), np.ones(10)) is None


def test_samples_that_say_nothing_of_a_stratum_are_refused() -> None:
    with pytest.raises(BadInput, match="no point"):
        Sample(np.zeros(3, int), np.array([10, 10]))
    with pytest.raises(BadInput, match="more points than pixels"):
        Sample(np.zeros(3, int), np.array([2]))
    with pytest.raises(BadInput, match="one point"):
        estimates.mean(Sample(np.array([0, 0, 1]), np.array([10, 10])), np.arange(3.0))


@given(
    st.lists(st.integers(0, 10**9) | st.integers(0, 30), min_size=1, max_size=30),
    st.integers(1, 2000),
)
def test_points_are_shared_out_whole(pixels: list[int], points: int) -> None:
    of = np.array(pixels)
    if points < np.minimum(of, 2).sum():
        with pytest.raises(BadInput, match="strata need 2 points each"):
            allocate(of, points)
        return
    found = allocate(of, points)
    assert found.sum() == min(points, of.sum())
    assert np.all(found <= of)
    assert np.all(found >= np.minimum(of, 2))


def test_every_subset_is_drawn_as_often_and_the_seed_decides() -> None:
    drawn = [tuple(sorted(draw(5, 2, seed, "s").tolist())) for seed in range(3000)]
    counts = np.array([drawn.count(pair) for pair in itertools.combinations(range(5), 2)])
    assert counts.sum() == 3000
    assert counts.min() > 240
    assert counts.max() < 360
    assert draw(10**12, 50, 1, "a").tolist() != draw(10**12, 50, 1, "b").tolist()
    assert sorted(draw(7, 9, 4, "s").tolist()) == list(range(7))
