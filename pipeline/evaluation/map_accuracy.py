"""How right a map of classes is, and how much of each class there is, from a stratified sample.

The estimators are those of Olofsson et al. (2014) where strata are the map's classes, and those of
Stehman (2014) where they are others; `stratified_estimates` has both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.evaluation.intervals import CONFIDENCE
from tessera_mosaic.pipeline.evaluation.stratified_estimates import (
    Estimate,
    Sample,
    ratio,
    shares,
)


@dataclass(frozen=True)
class Accuracy:
    """What a sample says of a map of classes.

    Parameters
    ----------
    classes
        Names of the classes, those of the map first.
    overall
        Share of the ground that is mapped right.
    areas
        Share of the ground that is of each class, in their order.
    users
        Share of what is mapped as each class that is so.
    producers
        Share of what is of each class that is mapped so.
    matrix : float64 (classes, classes)
        Estimated share of the ground, by class of the map (rows) and true class (columns).
    counts : int64 (classes, classes)
        Points, in the same order.
    """

    classes: tuple[str, ...]
    overall: Estimate
    areas: tuple[Estimate, ...]
    users: tuple[Estimate, ...]
    producers: tuple[Estimate, ...]
    matrix: NDArray[np.float64]
    counts: NDArray[np.int64]


def accuracy(
    sample: Sample,
    mapped: NDArray[np.int64],
    reference: NDArray[np.int64],
    classes: Sequence[str],
    stratum_classes: NDArray[np.int64] | None = None,
    confidence: float = CONFIDENCE,
) -> Accuracy:
    """Accuracy of a map, and the area of each class, with intervals.

    Parameters
    ----------
    sample
        The sample.
    mapped, reference : int (points,)
        Class of each point in the map and in truth, by its place in `classes`.
    classes
        Names of the classes.
    stratum_classes : int (strata,)
        Class of the map that each stratum consists of; None where strata are others, as in Stehman
        (2014).
    confidence
        Probability that each interval holds the truth.

    Examples
    --------
    >>> stratum = np.repeat([0, 1], [30, 30])
    >>> sample = Sample(stratum, np.array([90_000, 10_000]))
    >>> truth = np.where(np.arange(60) % 10 == 0, 1 - stratum, stratum)
    >>> found = accuracy(sample, stratum, truth, ("other", "wheat"), np.array([0, 1]))
    >>> round(found.overall.value, 2), round(found.areas[1].value, 2)
    (0.9, 0.18)
    """
    numbers = np.arange(len(classes))
    of_map, of_truth = mapped == numbers[:, None], reference == numbers[:, None]
    right = mapped == reference
    overall, *areas = shares(sample, np.concatenate([right[None], of_truth]), None, confidence)
    users, producers = [], []
    for k in numbers:
        inside = None if stratum_classes is None else stratum_classes == k
        same = None if inside is None else (inside, inside)
        other = None if inside is None else (inside, ~inside)
        users.append(ratio(sample, right & of_map[k], of_map[k], same, confidence))
        producers.append(ratio(sample, right & of_truth[k], of_truth[k], other, confidence))
    counts = np.zeros((len(classes), len(classes)), np.int64)
    matrix = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (mapped, reference), 1)
    np.add.at(matrix, (mapped, reference), sample.point_weights)
    return Accuracy(
        tuple(classes), overall, tuple(areas), tuple(users), tuple(producers), matrix, counts
    )
