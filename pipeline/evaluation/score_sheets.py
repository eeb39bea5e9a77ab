"""Scores of what was told of pixels whose label is known, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 300
"""Draws of a bootstrap interval."""

LEVEL = (2.5, 97.5)
"""Percentiles between which 95 % of the draws lie."""

BINS = 10
"""Bins of confidence in a calibration."""


@dataclass(frozen=True)
class Estimate:
    """A score and its 95 % interval, by drawing the groups that folds did not cut."""

    value: float
    low: float
    high: float

    def to_json(self) -> list[float]:
        """Value, low and high, to four digits."""
        return [round(each, 4) for each in (self.value, self.low, self.high)]

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class CalibrationBin:
    """Pixels whose confidence lies in one bin.

    Parameters
    ----------
    confidence, right
        Mean confidence, and share of the pixels whose class is right, 0 to 1.
    pixels
        Number of them.
    """

    confidence: float
    right: float
    pixels: int


@dataclass(frozen=True)
class ClassSheet:
    """Scores of classes.

    Parameters
    ----------
    accuracy, macro_f1
        Share of the pixels whose class is right, and mean of F1 over the classes.
    recall, precision, f1
        Of each class.
    confusion : int64 (classes, classes)
        Pixels by their class, and by the class that was told.
    calibration
        How far confidence can be believed.
    """

    accuracy: Estimate
    macro_f1: Estimate
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    f1: tuple[float, ...]
    confusion: NDArray[np.int64]
    calibration: tuple[CalibrationBin, ...]

    @property
    def headline(self) -> Estimate:
        """The score that stands for all."""
        return self.macro_f1

    @property
    def calibration_error(self) -> float:
        """Mean distance of confidence and share of right ones over the pixels."""
        pixels = sum(each.pixels for each in self.calibration)
        apart = (abs(each.confidence - each.right) * each.pixels for each in self.calibration)
        return sum(apart) / pixels if pixels else 0.0

    def most_confused_with(self, number: int) -> tuple[int, int] | None:
        """The class that pixels of a class are most often taken for, and how many; or None."""
        wrong = self.confusion[number].copy()
        wrong[number] = 0
        other = int(wrong.argmax())
        return (other, int(wrong[other])) if wrong[other] else None

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON values."""
        return {
            "accuracy": self.accuracy.to_json(),
            "macro_f1": self.macro_f1.to_json(),
            "recall": [round(each, 4) for each in self.recall],
            "precision": [round(each, 4) for each in self.precision],
            "f1": [round(each, 4) for each in self.f1],
            "confusion": self.confusion.tolist(),
            "most_confused_with": [
                self.most_confused_with(number) for number in range(len(self.recall))
            ],
            "calibration": [
                {name: round(value, 4) for name, value in asdict(each).items()}
                for each in self.calibration
            ],
            "calibration_error": round(self.calibration_error, 4),
        }


@dataclass(frozen=True)
class ValueSheet:
    """Scores of values.

    Parameters
    ----------
    r2
        Share of the variance that is explained, over all pixels at once.
    rmse, bias
        Root mean square error, and mean error, in the unit of the values.
    r2_of_folds
        Mean of that share over the folds, each against its own mean.
    """

    r2: Estimate
    rmse: Estimate
    bias: float
    r2_of_folds: float

    @property
    def headline(self) -> Estimate:
        """The score that stands for all."""
        return self.r2

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON values."""
        return {
            "r2": self.r2.to_json(),
            "rmse": self.rmse.to_json(),
            "bias": round(self.bias, 4),
            "r2_of_folds": round(self.r2_of_folds, 4),
        }


def class_sheet(
    labels: NDArray[np.int64], told: NDArray[np.float32], groups: NDArray[np.int32] | None
) -> ClassSheet:
    """Score classes.

    Parameters
    ----------
    labels : int64 (P,)
        Place of each pixel's class.
    told : float32 (classes, P)
        Probabilities that were told.
    groups : int32 (P,) or None
        What folds did not cut, which the bootstrap draws; None for no intervals.
    """
    count = len(told)
    predicted, confidence = told.argmax(axis=0), told.max(axis=0)
    cells = labels * count + predicted

    def matrix(weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
        found = np.bincount(cells, weights, count * count)
        return found.reshape(count, count).astype(np.float64)

    def scores(weights: NDArray[np.float64] | None) -> tuple[float, float]:
        confusion = matrix(weights)
        # A class of which nothing was drawn has no score.
        f1 = _f1(confusion)[2][confusion.sum(axis=1) > 0]
        return float(np.trace(confusion) / confusion.sum()), float(f1.mean())

    confusion = matrix(None)
    recall, precision, f1 = _f1(confusion)
    accuracy, macro = bootstrap(scores, groups)
    return ClassSheet(
        accuracy=accuracy,
        macro_f1=macro,
        recall=tuple(recall.tolist()),
        precision=tuple(precision.tolist()),
        f1=tuple(f1.tolist()),
        confusion=confusion.astype(np.int64),
        calibration=_calibration(confidence, predicted == labels),
    )


def value_sheet(
    values: NDArray[np.float64],
    told: NDArray[np.float32],
    folds: Sequence[NDArray[np.int64]],
    groups: NDArray[np.int32] | None,
) -> ValueSheet:
    """Score values.

    Parameters
    ----------
    values : float64 (P,)
        What is known.
    told : float32 (P,)
        What was told.
    folds
        Test pixels of each fold.
    groups : int32 (P,) or None
        What folds did not cut, which the bootstrap draws; None for no intervals.
    """
    wrong = told.astype(np.float64) - values

    def scores(weights: NDArray[np.float64] | None) -> tuple[float, float]:
        squared = float(np.average(wrong**2, weights=weights))
        middle = np.average(values, weights=weights)
        variance = float(np.average((values - middle) ** 2, weights=weights))
        return 1 - squared / variance if variance else 0.0, squared**0.5

    r2, rmse = bootstrap(scores, groups)
    each = [
        1 - float((wrong[of] ** 2).mean()) / float(values[of].var())
        for of in folds
        if len(of) > 1 and values[of].var() > 0
    ]
    return ValueSheet(r2, rmse, float(wrong.mean()), float(np.mean(each)) if each else 0.0)


def difference(
    truth: NDArray[np.float64],
    told: NDArray[np.float32],
    other: NDArray[np.float32],
    groups: NDArray[np.int32],
) -> Estimate:
    """By how much one telling scores above another of the same pixels: in macro F1, or in R2.

    Parameters
    ----------
    truth : float64 (P,)
        Classes by their place, or values.
    told, other : float32 (outputs, P)
        Probabilities, or values where there is one output.
    groups : int32 (P,)
        What folds did not cut, which the bootstrap draws.
    """
    count = len(told)
    labels = truth.astype(np.int64)

    def score(of: NDArray[np.float32], weights: NDArray[np.float64] | None) -> float:
        if count == 1:
            squared = np.average((of[0] - truth) ** 2, weights=weights)
            middle = np.average(truth, weights=weights)
            return 1 - float(squared / np.average((truth - middle) ** 2, weights=weights))
        cells = np.bincount(labels * count + of.argmax(axis=0), weights, count * count)
        confusion = cells.reshape(count, count).astype(np.float64)
        return float(_f1(confusion)[2][confusion.sum(axis=1) > 0].mean())

    def scores(weights: NDArray[np.float64] | None) -> tuple[float, float]:
        return score(told, weights) - score(other, weights), 0.0

    return bootstrap(scores, groups)[0]


def _f1(confusion: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Recall, precision and F1 of each class; 0 where there is nothing to divide by."""
    right = np.diag(confusion)
    known, said = confusion.sum(axis=1), confusion.sum(axis=0)
    recall = right / np.maximum(known, 1e-12)
    precision = right / np.maximum(said, 1e-12)
    return recall, precision, 2 * right / np.maximum(known + said, 1e-12)


def bootstrap(
    scores: Callable[[NDArray[np.float64] | None], tuple[float, float]],
    groups: NDArray[np.int32] | None,
) -> tuple[Estimate, Estimate]:
    """Two scores with their intervals, by drawing groups with replacement."""
    found = scores(None)
    if groups is None:
        return Estimate(found[0], found[0], found[0]), Estimate(found[1], found[1], found[1])
    _, of = np.unique(groups, return_inverse=True)
    count = int(of.max()) + 1
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        times = np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)
        weights = times[of]
        if weights.sum() > 0:
            drawn.append(scores(weights))
    low, high = np.percentile(np.array(drawn), LEVEL, axis=0)
    return (
        Estimate(found[0], float(low[0]), float(high[0])),
        Estimate(found[1], float(low[1]), float(high[1])),
    )


def _calibration(
    confidence: NDArray[np.float32], right: NDArray[np.bool_]
) -> tuple[CalibrationBin, ...]:
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    found = []
    for number in range(BINS):
        of = bins == number
        if of.any():
            found.append(
                CalibrationBin(float(confidence[of].mean()), float(right[of].mean()), int(of.sum()))
            )
    return tuple(found)
