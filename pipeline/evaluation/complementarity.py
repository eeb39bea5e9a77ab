"""Whether products tell more together than the best of them alone, under honest folds.

After van der Plas et al. 2026 (Better Together, arXiv 2605.18667): vectors are standardised and put
side by side, C = (fused - best) / (1 - best), with a Wilcoxon signed-rank test over the folds and
the correction of Benjamini and Hochberg over the combinations. Beyond it: each product has a
penalty of its own, chosen by inner folds; folds by cells stand beside random ones; and there is no
gain unless the interval under the cells lies above 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.fitting import Labelled, Recipe, one_thread
from tessera_mosaic.model.heads.head import Task
from tessera_mosaic.pipeline.evaluation.fold_plans import FoldPlan
from tessera_mosaic.pipeline.evaluation.penalty_choice import Choice, choose, out_of_fold
from tessera_mosaic.pipeline.evaluation.score_sheets import Estimate, bootstrap

Names = tuple[str, ...]
Vectors = Mapping[str, NDArray[np.float32]]
"""Vectors of the same places, float32 (P, D), by the name of their product."""

Tell = Callable[[int, int], None]


class Verdict(StrEnum):
    """What the interval of a difference says."""

    GAIN = "gain"
    """It lies above 0."""
    NO_GAIN = "no gain"
    """It holds 0."""
    LOSS = "loss"
    """It lies below 0."""


@dataclass(frozen=True)
class CombinationScore:
    """What heads on some products score together.

    Parameters
    ----------
    products
        Their names.
    score
        Accuracy, or R2 over all places at once, with its interval.
    of_folds
        The score of each fold.
    gains
        By how much each product counts, in the mean over the folds; 0 where none took it.
    """

    products: Names
    score: Estimate
    of_folds: tuple[float, ...]
    gains: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON values."""
        return {
            "products": list(self.products),
            "score": self.score.to_json(),
            "of_folds": [round(each, 4) for each in self.of_folds],
            "gains": [round(each, 4) for each in self.gains],
        }


@dataclass(frozen=True)
class Gain:
    """What products tell together beyond the best of them.

    Parameters
    ----------
    products, best
        Their names, and that of the one that scores best alone.
    difference
        Score of all less that of the best.
    complementarity
        C: the difference as a share of what the best leaves to be gained.
    p, p_adjusted
        Of a Wilcoxon signed-rank test over the folds, and adjusted for the number of combinations.
    """

    products: Names
    best: str
    difference: Estimate
    complementarity: Estimate
    p: float
    p_adjusted: float

    @property
    def verdict(self) -> Verdict:
        """What the interval of the difference says."""
        if self.difference.low > 0:
            return Verdict.GAIN
        return Verdict.LOSS if self.difference.high < 0 else Verdict.NO_GAIN

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON values."""
        return {
            "products": list(self.products),
            "best": self.best,
            "difference": self.difference.to_json(),
            "complementarity": self.complementarity.to_json(),
            "p": round(self.p, 6),
            "p_adjusted": round(self.p_adjusted, 6),
            "verdict": self.verdict.value,
        }


@dataclass(frozen=True)
class PlanScores:
    """Scores and gains under one kind of folds.

    Parameters
    ----------
    name, degrees
        What people call the folds, and the side of their cells; 0 for random ones.
    cells
        Number of the cells that hold places; of random folds that of the places.
    scores
        Of every combination, single products first.
    gains
        Of every combination of more than one.
    """

    name: str
    degrees: float
    cells: int
    scores: tuple[CombinationScore, ...]
    gains: tuple[Gain, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON values."""
        return {
            "folds": self.name,
            "degrees": self.degrees,
            "cells": self.cells,
            "scores": [each.to_json() for each in self.scores],
            "gains": [each.to_json() for each in self.gains],
        }


def combined(names: Sequence[str]) -> list[Names]:
    """The combinations that are scored: each product, each two, and all.

    Examples
    --------
    >>> combined(["a", "b", "c"])
    [('a',), ('b',), ('c',), ('a', 'b'), ('a', 'c'), ('b', 'c'), ('a', 'b', 'c')]
    """
    sizes = sorted({1, 2, len(names)} & set(range(1, len(names) + 1)))
    return [each for size in sizes for each in combinations(names, size)]


def side_by_side(
    vectors: Vectors, products: Names, targets: NDArray[np.float64]
) -> tuple[Labelled, tuple[int, ...]]:
    """The vectors of some products in one row a place, and the lengths of their blocks."""
    blocks = [vectors[name] for name in products]
    data = Labelled(np.concatenate(blocks, axis=1), targets, np.ones(len(targets)))
    return data, tuple(block.shape[1] for block in blocks) if len(blocks) > 1 else ()


def score_products(
    vectors: Vectors,
    targets: NDArray[np.float64],
    recipe: Recipe,
    plans: Sequence[FoldPlan],
    tell: Tell = lambda done, all_: None,
) -> list[PlanScores]:
    """Score every combination of products under every kind of folds.

    Parameters
    ----------
    vectors
        Vectors of the places by product.
    targets : float64 (P,)
        Classes by their place, or values.
    recipe
        What kind of head.
    plans
        The folds.
    tell
        Called with the number of heads that are done, and of all.
    """
    combos = combined(list(vectors))
    steps = sum(len(plan.splits) for plan in plans) * len(combos)
    done, found = 0, []
    with one_thread():
        for plan in plans:
            told = {}
            scores = []
            for products in combos:
                data, blocks = side_by_side(vectors, products, targets)
                mine = Recipe(recipe.kind, recipe.task, recipe.outputs, recipe.seed, blocks)
                choices = []
                for train, _ in plan.splits:
                    some, inner = plan.inner(train, recipe.seed)
                    choices.append(choose(mine, data.take(some), inner))
                    done += 1
                    tell(done, steps)
                told[products] = out_of_fold(mine, data, plan.splits, choices)
                scores.append(_score(mine, products, targets, told[products], plan, choices))
            gains = _gains(recipe.task, targets, told, scores, plan.groups)
            cells = len(np.unique(plan.groups))
            found.append(PlanScores(plan.name, plan.degrees, cells, tuple(scores), gains))
    return found


def points_of(
    task: Task, targets: NDArray[np.float64], told: NDArray[np.float32]
) -> Callable[[Any], float]:
    """The score of what was told, by weights or indices of the places: accuracy, or R2."""
    if task is Task.CLASS:
        right = told.argmax(axis=0) == targets
        return lambda weights: float(np.average(right, weights=weights))
    squared = (told[0].astype(np.float64) - targets) ** 2

    def r2(weights: Any) -> float:
        middle = np.average(targets, weights=weights)
        variance = float(np.average((targets - middle) ** 2, weights=weights))
        return 1 - float(np.average(squared, weights=weights)) / variance if variance else 0.0

    return r2


def of_each_fold(
    task: Task,
    targets: NDArray[np.float64],
    told: NDArray[np.float32],
    splits: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[float, ...]:
    """The score of each fold; R2 against the fold's own mean."""
    return tuple(points_of(task, targets[test], told[:, test])(None) for _, test in splits)


def _score(
    recipe: Recipe,
    products: Names,
    targets: NDArray[np.float64],
    told: NDArray[np.float32],
    plan: FoldPlan,
    choices: Sequence[Choice],
) -> CombinationScore:
    score = points_of(recipe.task, targets, told)
    estimate, _ = bootstrap(lambda weights: (score(weights), 0.0), plan.groups)
    gains = np.array([choice.gains or (1.0,) for choice in choices]).mean(axis=0)
    folds = of_each_fold(recipe.task, targets, told, plan.splits)
    return CombinationScore(products, estimate, folds, tuple(gains.tolist()))


def _gains(
    task: Task,
    targets: NDArray[np.float64],
    told: Mapping[Names, NDArray[np.float32]],
    scores: Sequence[CombinationScore],
    groups: NDArray[np.int32],
) -> tuple[Gain, ...]:
    """What each combination tells beyond its best product."""
    alone = {each.products[0]: each for each in scores if len(each.products) == 1}
    fused = [each for each in scores if len(each.products) > 1]
    best = [max(each.products, key=lambda name: alone[name].score.value) for each in fused]
    tests = [
        signed_rank(each.of_folds, alone[name].of_folds)
        for each, name in zip(fused, best, strict=True)
    ]
    found = []
    for each, name, p, adjusted in zip(fused, best, tests, adjust(tests), strict=True):
        together = points_of(task, targets, told[each.products])
        single = points_of(task, targets, told[name,])
        difference, share = bootstrap(_difference(together, single), groups)
        found.append(Gain(each.products, name, difference, share, p, adjusted))
    return tuple(found)


def _difference(
    together: Callable[[Any], float], single: Callable[[Any], float]
) -> Callable[[NDArray[np.float64] | None], tuple[float, float]]:
    def both(weights: NDArray[np.float64] | None) -> tuple[float, float]:
        fused, best = together(weights), single(weights)
        return fused - best, complementarity(fused, best)

    return both


def complementarity(fused: float, best: float) -> float:
    """C: the share of what the best product leaves that is gained; 0 where it leaves nothing.

    Examples
    --------
    >>> round(complementarity(0.767, 0.711), 3)
    0.194
    """
    return (fused - best) / (1 - best) if best < 1 else 0.0


def signed_rank(one: Sequence[float], other: Sequence[float]) -> float:
    """P of a two-sided Wilcoxon signed-rank test over folds; 1 where all are equal."""
    from scipy.stats import wilcoxon

    apart = np.subtract(one, other)
    return float(wilcoxon(apart).pvalue) if np.any(apart) else 1.0


def adjust(tests: Sequence[float]) -> list[float]:
    """P of several tests, adjusted as Benjamini and Hochberg do.

    Examples
    --------
    >>> [round(p, 4) for p in adjust([0.01, 0.04, 0.03])]
    [0.03, 0.04, 0.04]
    """
    order = np.argsort(tests)[::-1]
    found, least = np.ones(len(tests)), 1.0
    for rank, place in zip(range(len(tests), 0, -1), order, strict=True):
        least = min(least, tests[place] * len(tests) / rank)
        found[place] = least
    return [float(p) for p in found]
