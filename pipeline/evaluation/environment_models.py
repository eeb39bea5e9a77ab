"""What tells values of rows held out: a constant, ridge, trees, and what validation takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.fitting import PENALTIES, Labelled, Recipe
from tessera_mosaic.model.heads.head import HeadKind, Task
from tessera_mosaic.pipeline.evaluation.environment_splits import HeldOut
from tessera_mosaic.pipeline.evaluation.environments import Rows

CHOSEN = "chosen"
"""What is told of the method that validation takes, fold by fold."""

Told = NDArray[np.float64]
Watch = Callable[[Iterable[HeldOut]], Iterable[HeldOut]]


class ValueMethod(StrEnum):
    """What tells a value."""

    CONSTANT = "constant"
    """The mean of what is learnt from."""
    RIDGE = "ridge"
    """The ridge regression of `train`, with one of its penalties."""
    TREES = "trees"
    """scikit-learn's gradient-boosted trees, as they come."""


class ModelChoice(StrEnum):
    """By what of the errors of validation environments a model is chosen."""

    MEAN = "mean"
    MAX = "max"
    SPREAD = "spread"
    """Largest minus smallest."""

    def of(self, errors: NDArray[np.float64]) -> float:
        """The number that the chosen model has least of.

        Examples
        --------
        >>> ModelChoice("spread").of(np.array([1.0, 2.0, 4.0]))
        3.0
        """
        if self is ModelChoice.MEAN:
            return float(errors.mean())
        return float(errors.max() - (errors.min() if self is ModelChoice.SPREAD else 0.0))


@dataclass(frozen=True)
class Candidate:
    """A method with one setting.

    Parameters
    ----------
    method
        The method.
    penalty
        Of ridge: weight of the squared coefficients.
    """

    method: ValueMethod
    penalty: float = 0.0

    def tell(self, rows: Rows, train: NDArray[np.int64], test: NDArray[np.int64]) -> Told:
        """Values of some rows, learnt from others: float64 (tests,)."""
        features, target = rows.features[train], rows.target[train]
        if self.method is ValueMethod.CONSTANT:
            return np.full(len(test), target.mean())
        if self.method is ValueMethod.RIDGE:
            recipe = Recipe(HeadKind.RIDGE, Task.VALUE, 1)
            layers = recipe.fit(Labelled(features, target, np.ones(len(target))), self.penalty)
            return recipe.predict(layers, rows.features[test])[0].astype(np.float64)
        from sklearn.ensemble import HistGradientBoostingRegressor

        trees = HistGradientBoostingRegressor(random_state=0).fit(features, target)
        return np.asarray(trees.predict(rows.features[test]), np.float64)


def candidates(method: ValueMethod) -> tuple[Candidate, ...]:
    """The settings of a method among which validation chooses."""
    if method is ValueMethod.RIDGE:
        return tuple(Candidate(method, penalty) for penalty in PENALTIES[HeadKind.RIDGE])
    return (Candidate(method),)


@dataclass(frozen=True)
class Trial:
    """What methods tell of rows held out.

    Parameters
    ----------
    tested : int64 (T,)
        The rows.
    told
        What each method tells of them, float64 (T,), and what the chosen one tells.
    taken
        How often validation takes each method.
    """

    tested: NDArray[np.int64]
    told: Mapping[str, Told]
    taken: Mapping[str, int]


def tell(
    rows: Rows,
    splits: Iterable[HeldOut],
    methods: Sequence[ValueMethod],
    choice: ModelChoice = ModelChoice.MEAN,
    fewest: int = 1,
) -> Trial:
    """Have methods tell the rows that a split holds out.

    Settings, and the method that is called chosen, are those with the least error on the
    validation rows, environment by environment; then each learns from these rows, too.

    Parameters
    ----------
    rows, splits
        The rows, and the ways to hold some out.
    methods
        What tells.
    choice
        By what of the errors of validation environments.
    fewest
        Rows of a validation environment that counts, where one has so many.
    """
    parts: dict[str, list[Told]] = {name: [] for name in (*methods, CHOSEN)}
    taken: Counter[str] = Counter()
    tests = []
    for split in splits:
        best = {
            method: _best(rows, split, candidates(method), choice, fewest) for method in methods
        }
        for method, (candidate, _) in best.items():
            parts[method].append(candidate.tell(rows, split.train, split.test))
        tests.append(split.test)
        winner = min(best, key=lambda method: best[method][1])
        parts[CHOSEN].append(parts[winner][-1])
        taken[winner.value] += 1
    tested = np.concatenate(tests)
    told = {str(name): np.concatenate(values) for name, values in parts.items()}
    if len(methods) == 1:
        del told[CHOSEN]
    return Trial(tested, told, dict(taken))


def _best(
    rows: Rows, split: HeldOut, among: Sequence[Candidate], choice: ModelChoice, fewest: int
) -> tuple[Candidate, float]:
    """The candidate with the least error on the validation rows, and that error."""
    if not len(split.validation):
        return among[len(among) // 2], 0.0
    environment = rows.environment[split.validation]
    losses = []
    for candidate in among:
        wrong = candidate.tell(rows, split.fit, split.validation) - rows.target[split.validation]
        _, errors, counts = rmse_of_each(environment, wrong)
        # Of a few rows an error is chance, and would choose what tells next to nothing.
        enough = counts >= min(fewest, int(counts.max()))
        losses.append(choice.of(errors[enough]))
    least = int(np.argmin(losses))
    return among[least], losses[least]


def rmse_of_each(
    environment: NDArray[Any], wrong: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.int64]]:
    """Root mean square error of each environment.

    Parameters
    ----------
    environment : int (P,)
        Number of the environment of each row.
    wrong : float64 (P,)
        What was told minus what was measured.

    Returns
    -------
    Numbers of the environments, ascending, their errors, and how many rows they have.

    Examples
    --------
    >>> rmse_of_each(np.array([7, 7, 3]), np.array([3.0, -4.0, 1.0]))[1].round(3).tolist()
    [1.0, 3.536]
    """
    numbers, of, counts = np.unique(environment, return_inverse=True, return_counts=True)
    return numbers, np.sqrt(np.bincount(of.ravel(), wrong**2) / counts), counts
