"""What products tell together: penalties of blocks, folds that cut nothing, tests over folds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_mosaic.model.heads.fitting import Labelled, Recipe
from tessera_mosaic.model.heads.head import HeadKind, Task
from tessera_mosaic.pipeline.evaluation.complementarity import (
    PlanScores,
    Verdict,
    adjust,
    complementarity,
    score_products,
    signed_rank,
)
from tessera_mosaic.pipeline.evaluation.fold_plans import degree_cells, fold_plans
from tessera_mosaic.pipeline.evaluation.folds import random_folds
from tessera_mosaic.pipeline.evaluation.penalty_choice import GAINS, Choice, choose
from tessera_mosaic.pipeline.evaluation.representations import linear_cka, participation_ratio

VALUES = Recipe(HeadKind.RIDGE, Task.VALUE, 1)


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_ridge_with_penalties_of_blocks_is_what_the_normal_equations_say() -> None:
    rng = draw()
    x, y = rng.normal(size=(80, 7)), rng.normal(size=80)
    recipe = Recipe(HeadKind.RIDGE, Task.VALUE, 1, blocks=(3, 4))
    layers = recipe.fit(Labelled(x.astype(np.float32), y, np.ones(80)), 2.0, (1.0, 0.1))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    penalties = np.diag([2.0] * 3 + [200.0] * 4)
    weight = np.linalg.solve(z.T @ z + penalties, z.T @ (y - y.mean())) / x.std(axis=0)
    np.testing.assert_allclose(layers["weight"][0], weight, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layers["bias"][0], y.mean() - weight @ x.mean(axis=0), atol=1e-5)
    left_out = recipe.fit(Labelled(x.astype(np.float32), y, np.ones(80)), 2.0, (1.0, 0.0))
    alone = VALUES.fit(Labelled(x[:, :3].astype(np.float32), y, np.ones(80)), 2.0)
    np.testing.assert_allclose(left_out["weight"][0, :3], alone["weight"][0], rtol=1e-5)
    assert not left_out["weight"][0, 3:].any()


@pytest.mark.parametrize("kind", [HeadKind.RIDGE, HeadKind.LOGISTIC])
def test_a_block_of_noise_is_left_out_or_small_and_a_useful_one_is_not(kind: HeadKind) -> None:
    rng = draw(1)
    useful, noise = rng.normal(size=(300, 4)), rng.normal(size=(300, 60))
    value = useful @ rng.normal(size=4) + 0.5 * rng.normal(size=300)
    task = Task.VALUE if kind is HeadKind.RIDGE else Task.CLASS
    targets = value if task is Task.VALUE else (value > 0).astype(np.float64)
    outputs = 1 if task is Task.VALUE else 2
    data = Labelled(np.hstack([noise, useful]).astype(np.float32), targets, np.ones(300))
    splits = random_folds(targets, task is Task.CLASS, 3)
    choice = choose(Recipe(kind, task, outputs, blocks=(60, 4)), data, splits)
    assert choice.gains[1] > 3 * choice.gains[0]
    assert choose(Recipe(kind, task, outputs), data, []).gains == ()


def test_the_choice_is_never_worse_than_one_penalty_for_all() -> None:
    rng = draw(2)
    x = rng.normal(size=(120, 20))
    y = x[:, :10].sum(axis=1) + 0.1 * x[:, 10:].sum(axis=1) + rng.normal(size=120)
    data, splits = Labelled(x.astype(np.float32), y, np.ones(120)), random_folds(y, False, 3)
    recipe = Recipe(HeadKind.RIDGE, Task.VALUE, 1, blocks=(10, 10))

    def loss(choice: Choice) -> float:
        wrong = []
        for train, test in splits:
            layers = recipe.fit(data.take(train), choice.penalty, choice.gains)
            wrong.append(recipe.predict(layers, data.features[test])[0] - y[test])
        return float(np.mean(np.concatenate(wrong) ** 2))

    found = choose(recipe, data, splits)
    alike = choose(Recipe(HeadKind.RIDGE, Task.VALUE, 1), data, splits)
    assert loss(found) <= loss(Choice(alike.penalty, (1.0, 1.0))) + 1e-9
    assert set(found.gains) <= set(GAINS)


def plot(seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Points in cells of a degree with an offset each: `sky` sees the ground, `soil` the rest of
    it, `place` knows where it is and nothing else."""
    rng = draw(seed)
    lon, lat = rng.uniform(0, 6, 900), rng.uniform(40, 46, 900)
    cell = degree_cells(lon, lat, 1.0)
    sky, soil = rng.normal(size=(900, 5)), rng.normal(size=(900, 5))
    offset = rng.normal(size=cell.max() + 1)[cell] * 1.5
    y = sky @ np.ones(5) + soil @ np.ones(5) + offset + rng.normal(size=900)
    place = np.eye(cell.max() + 1)[cell]
    vectors = {"sky": sky, "soil": soil, "place": place}
    return {name: of.astype(np.float32) for name, of in vectors.items()}, y, lon, lat


def by_name(plans: list[PlanScores]) -> dict[str, PlanScores]:
    return {plan.name: plan for plan in plans}


def test_a_product_that_knows_the_place_gains_at_random_and_not_by_cells() -> None:
    vectors, y, lon, lat = plot()
    plans, notes = fold_plans(lon, lat, y, False, [1.0, 2.0, 50.0], 6)
    assert notes == ["1 cells of 50 deg hold points: too few for 6 folds"]
    told: list[tuple[int, int]] = []
    found = by_name(score_products(vectors, y, VALUES, plans, lambda *at: told.append(at)))
    assert told[-1] == (3 * 6 * 7, 3 * 6 * 7)
    assert list(found) == ["random", "cells of 1 deg", "cells of 2 deg"]

    def verdict(plan: str, *products: str) -> Verdict:
        gains = {gain.products: gain for gain in found[plan].gains}
        return gains[products].verdict

    assert verdict("random", "sky", "place") is Verdict.GAIN
    assert verdict("cells of 1 deg", "sky", "place") is not Verdict.GAIN
    assert verdict("cells of 2 deg", "sky", "place") is not Verdict.GAIN
    for plan in found:
        assert verdict(plan, "sky", "soil") is Verdict.GAIN
    gain = next(each for each in found["cells of 1 deg"].gains if each.products == ("sky", "soil"))
    assert gain.complementarity.low < gain.complementarity.value < gain.complementarity.high
    assert gain.p_adjusted < 0.1


def test_no_fold_cuts_a_cell_nor_do_inner_ones() -> None:
    _, y, lon, lat = plot()
    plans, _ = fold_plans(lon, lat, y, False, [1.0], 6)
    for plan in plans[1:]:
        for train, test in plan.splits:
            assert not set(plan.groups[train]) & set(plan.groups[test])
            some, inner = plan.inner(train)
            for one, other in inner:
                assert not set(plan.cells[some][one]) & set(plan.cells[some][other])


def test_cells_are_halved_until_there_are_enough() -> None:
    lon, lat = draw().uniform(3.0, 3.01, (2, 200))
    plans, notes = fold_plans(lon, lat, lon, False, [2.0, 10.0], 10)
    side = plans[1].degrees
    assert side == 2.0 / 1024
    assert plans[1].cells.max() + 1 >= 10 > degree_cells(lon, lat, 2 * side).max() + 1
    assert len(notes) == 2


def test_classes_are_scored_by_their_accuracy() -> None:
    vectors, y, lon, lat = plot()
    labels = (y > np.median(y)).astype(np.float64)
    recipe = Recipe(HeadKind.LOGISTIC, Task.CLASS, 2)
    plans, _ = fold_plans(lon, lat, labels, True, [1.0], 4)
    two = {name: vectors[name] for name in ("sky", "soil")}
    found = by_name(score_products(two, labels, recipe, plans))["cells of 1 deg"]
    both = next(each for each in found.scores if len(each.products) == 2)
    assert 0.7 < both.score.value < 0.95
    assert both.score.value == pytest.approx(np.mean(both.of_folds), abs=0.03)
    assert found.gains[0].verdict is Verdict.GAIN


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=20))
def test_adjusted_as_scipy_does(tests: list[float]) -> None:
    from scipy.stats import false_discovery_control

    np.testing.assert_allclose(adjust(tests), false_discovery_control(tests, method="bh"))


def test_folds_that_are_all_equal_prove_nothing() -> None:
    assert signed_rank([0.5] * 10, [0.5] * 10) == 1.0
    better = [0.5 + k / 100 for k in range(10)]
    assert signed_rank(better, [0.4] * 10) == pytest.approx(2 / 2**10)
    assert complementarity(1.0, 1.0) == 0


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 6))
def test_alike_whatever_the_axes_and_between_0_and_1(seed: int, dims: int, other: int) -> None:
    rng = draw(seed)
    x, y = rng.normal(size=(30, dims)), rng.normal(size=(30, other))
    turned, _ = np.linalg.qr(rng.normal(size=(dims, dims)))
    assert 0 <= linear_cka(x, y) <= 1 + 1e-12
    assert linear_cka(x, 3 * x @ turned + 1) == pytest.approx(1)
    assert linear_cka(x, y) == pytest.approx(linear_cka(y, x))
    assert 1 - 1e-9 <= participation_ratio(x) <= dims + 1e-9
    assert participation_ratio(x @ turned) == pytest.approx(participation_ratio(x))
    assert participation_ratio(np.ones((5, dims))) == 0
