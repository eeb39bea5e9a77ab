"""Which penalty each block of features should have, by inner folds; and what heads tell with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.fitting import PENALTIES, Inputs, Labelled, Recipe
from tessera_mosaic.model.heads.head import HeadKind, Task
from tessera_mosaic.model.heads.ridge import RidgeSums
from tessera_mosaic.pipeline.evaluation.folds import Split

GAINS = (1.0, 0.3, 0.1, 0.03, 0.0)
"""By how much a block of features may count: its penalty is the common one over the square, and at
0 the block is left out."""

ROUNDS = 3
"""Times at most that every block's gain, and the penalty, are looked at again in turn."""

LEAST = 1e-6
"""Least probability that counts in the loss of a wrong class."""


@dataclass(frozen=True)
class Choice:
    """Penalties of a head.

    Parameters
    ----------
    penalty
        Weight of the squared coefficients.
    gains
        By how much each block of features counts; empty where there is one block.
    """

    penalty: float
    gains: tuple[float, ...] = ()


def choose(recipe: Recipe, data: Labelled, splits: Sequence[Split]) -> Choice:
    """The penalty with the least loss on inner folds, and the gain of each block.

    All penalties are tried while every block counts alike. Then each gain, and the penalty again,
    goes a step up or down as long as that is better, and each block is tried without.

    Parameters
    ----------
    recipe, data
        What kind of head, and what it learns from.
    splits
        Inner folds; without any, the middle penalty is taken.
    """
    penalties, blocks = PENALTIES[recipe.kind], len(recipe.blocks)
    ladders = [penalties, *[GAINS] * blocks]
    if not splits:
        return Choice(penalties[len(penalties) // 2], (1.0,) * blocks)
    if max(map(len, ladders)) == 1:
        return Choice(penalties[0])
    loss_of = _trials(recipe, data, splits)
    known: dict[tuple[int, ...], float] = {}

    def loss(at: tuple[int, ...]) -> float:
        if blocks and all(GAINS[step] == 0 for step in at[1:]):
            return np.inf
        if at not in known:
            known[at] = loss_of(_choice(ladders, at))
        return known[at]

    at = min(((step, *[0] * blocks) for step in range(len(penalties))), key=loss)
    for _ in range(ROUNDS if blocks else 0):
        before = at
        for axis in [*range(1, blocks + 1), 0]:
            at = _along(ladders, at, axis, loss)
        if at == before:
            break
    return _choice(ladders, at)


def _choice(ladders: Sequence[Sequence[float]], at: tuple[int, ...]) -> Choice:
    penalty, *gains = (ladder[step] for ladder, step in zip(ladders, at, strict=True))
    return Choice(penalty, tuple(gains))


def _along(
    ladders: Sequence[Sequence[float]],
    at: tuple[int, ...],
    axis: int,
    loss: Callable[[tuple[int, ...]], float],
) -> tuple[int, ...]:
    """The best place that is reached step by step along one axis, or at its far end."""

    def moved(step: int) -> tuple[int, ...]:
        return (*at[:axis], step, *at[axis + 1 :])

    last = len(ladders[axis]) - 1
    while True:
        steps = {max(at[axis] - 1, 0), min(at[axis] + 1, last), last if axis else at[axis]}
        best = min((at, *(moved(step) for step in sorted(steps))), key=loss)
        if not loss(best) < loss(at):
            return at
        at = best


def _trials(recipe: Recipe, data: Labelled, splits: Sequence[Split]) -> Callable[[Choice], float]:
    """The loss on inner folds by the choice. Of ridge regressions sums are taken once."""
    if recipe.kind is not HeadKind.RIDGE:
        return lambda choice: loss_of(
            recipe, data.targets, out_of_fold(recipe, data, splits, [choice] * len(splits))
        )
    prepared = []
    for train, test in splits:
        inputs = Inputs.of(data.take(train))
        sums = RidgeSums.of(inputs.values, data.targets[train], inputs.weights)
        prepared.append((sums, (data.features[test] - inputs.mean) / inputs.spread, test))

    def loss(choice: Choice) -> float:
        wrong = np.zeros(len(data.targets))
        for sums, inputs, test in prepared:
            weight = sums.solve(choice.penalty, recipe.stretch(choice.gains))
            wrong[test] = inputs @ weight + sums.middle - data.targets[test]
        return float(np.mean(wrong**2))

    return loss


def loss_of(recipe: Recipe, targets: NDArray[np.float64], told: NDArray[np.float32]) -> float:
    """The mean loss of what was told: squared error of values, log loss of classes."""
    if recipe.task is Task.VALUE:
        return float(np.mean((told[0] - targets) ** 2))
    right = told[targets.astype(np.int64), np.arange(len(targets))]
    return float(-np.log(np.maximum(right, LEAST)).mean())


def out_of_fold(
    recipe: Recipe, data: Labelled, splits: Sequence[Split], choices: Sequence[Choice]
) -> NDArray[np.float32]:
    """What heads tell of the pixels that they were not fitted with: (outputs, P)."""
    told = np.zeros((recipe.outputs, len(data.targets)), np.float32)
    for (train, test), choice in zip(splits, choices, strict=True):
        layers = recipe.fit(data.take(train), choice.penalty, choice.gains)
        told[:, test] = recipe.predict(layers, data.features[test])
    return told
