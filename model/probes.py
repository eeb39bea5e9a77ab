"""How much of the labels a frozen representation holds: light heads on top, folds by field.

Pixels of one field look alike, so a fold that has some of a field's pixels in training and others
in the test measures memory. Folds that cut no group tell what a stranger's field would get; random
ones stand beside them to show how much that matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

NEIGHBOURS = 5
"""Neighbours that vote on a pixel's class."""

FOLDS = 5
"""Folds of every kind."""

HEADS = ("knn", "logistic", "mlp")
"""The 5 nearest neighbours; a regression with an L2 penalty; one hidden layer of 64."""

PENALTY = 10.0
"""Weight of the regression's squared coefficients, relative to the sum of its losses."""

FRACTIONS = (0.01, 0.1, 0.3, 1.0)
"""Shares of the training labels that heads are fitted with."""

MIN_PIXELS, MIN_GROUPS = 60, 2
"""Pixels and groups that a class needs: with fewer, folds by group cannot learn it."""

Features = NDArray[np.float32]
"""Vectors of P pixels, float32 (P, D)."""

Labels = NDArray[np.int32]
"""Class or group of P pixels, int32 (P,); 0 is no class."""

Split = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Indices of the training pixels and of the test pixels of a fold."""


class ProbeError(ValueError):
    """Labels are too few for a probe. The message says why, in one line."""


@dataclass(frozen=True)
class Score:
    """What a head gets on pixels that it was not fitted with, as means over the folds.

    Parameters
    ----------
    accuracy
        Share of the pixels whose class is right, 0 to 1.
    balanced
        Mean of that share over the classes, 0 to 1.
    """

    accuracy: float
    balanced: float


def worth_probing(labels: Labels, groups: Labels) -> NDArray[np.bool_]:
    """Which pixels are of classes that have 60 pixels or more in two groups or more.

    Parameters
    ----------
    labels, groups : int32 (P,)
        Class of each pixel, 0 where it has none, and its field or block.

    Returns
    -------
    bool (P,)

    Raises
    ------
    ProbeError
        If there are not two such classes.
    """
    keep = np.zeros(len(labels), bool)
    for label in np.unique(labels[labels != 0]):
        of_class = labels == label
        if of_class.sum() >= MIN_PIXELS and len(np.unique(groups[of_class])) >= MIN_GROUPS:
            keep |= of_class
    if len(np.unique(labels[keep])) < 2:
        raise ProbeError(
            f"there are no two classes with {MIN_PIXELS} labelled pixels in {MIN_GROUPS} fields"
        )
    return keep


def grouped_folds(groups: Labels) -> list[Split]:
    """Training and test pixels of 5 folds of about equal size that cut no group.

    Parameters
    ----------
    groups : int32 (P,)
        Field or block of each pixel.

    Raises
    ------
    ProbeError
        If there are fewer than 5 groups.
    """
    count = len(np.unique(groups))
    if count < FOLDS:
        raise ProbeError(f"{FOLDS} folds need as many fields or blocks, and there are {count}")
    return list(GroupKFold(FOLDS).split(groups, groups, groups))


def random_folds(labels: Labels, seed: int) -> list[Split]:
    """Training and test pixels of 5 folds that know nothing of groups.

    Parameters
    ----------
    labels : int32 (P,)
        Class of each pixel, which every fold has about its share of.
    seed
        Seed of the shuffling.
    """
    return list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels))


def score(
    head: str,
    features: Features,
    labels: Labels,
    folds: list[Split],
    fraction: float = 1.0,
    seed: int = 0,
) -> Score:
    """Fit a head on each fold's training pixels and score it on its test pixels.

    Parameters
    ----------
    head
        Name of the head, one of `HEADS`.
    features : float32 (P, D)
        Vector of each pixel.
    labels : int32 (P,)
        Class of each pixel.
    folds
        Training and test pixels of each fold.
    fraction
        Share of each class's training pixels to fit with, 0 to 1; at least one pixel is taken.
    seed
        Seed of the drawing of that share, and of the head's own chance.

    Examples
    --------
    >>> features = np.repeat(np.eye(2, dtype=np.float32), 50, axis=0)
    >>> labels = np.repeat(np.array([1, 2], np.int32), 50)
    >>> score("knn", features, labels, random_folds(labels, seed=0)).accuracy
    1.0
    """
    accuracies, balanced = [], []
    for fold, (train, test) in enumerate(folds):
        kept = _thinned(labels[train], fraction, np.random.default_rng([seed, fold]))
        predicted = _predict(head, features, labels, train[kept], test, seed)
        accuracies.append(np.mean(predicted == labels[test]))
        balanced.append(_balanced(labels[test], predicted))
    return Score(float(np.mean(accuracies)), float(np.mean(balanced)))


def _predict(
    head: str,
    features: Features,
    labels: Labels,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    seed: int,
) -> Labels:
    classes = np.unique(labels[train])
    if len(classes) == 1:
        return np.full(len(test), classes[0])
    fitted = _make_head(head, len(train), seed).fit(features[train], labels[train])
    predicted: Labels = fitted.predict(features[test])
    return predicted


def _make_head(name: str, pixels: int, seed: int) -> Pipeline:
    """A head on standardised input, to be fitted with so many pixels."""
    heads = {
        "knn": lambda: KNeighborsClassifier(min(NEIGHBOURS, pixels)),
        "logistic": lambda: LogisticRegression(C=1 / PENALTY, max_iter=1000),
        "mlp": lambda: MLPClassifier(
            (64,), learning_rate_init=0.01, tol=1e-3, max_iter=500, random_state=seed
        ),
    }
    return make_pipeline(StandardScaler(), heads[name]())


def _thinned(labels: Labels, fraction: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """A share of the pixels of each class, in order."""
    if fraction >= 1:
        return np.arange(len(labels))
    kept: list[int] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        kept += rng.choice(members, max(round(fraction * len(members)), 1), replace=False).tolist()
    return np.sort(kept)


def _balanced(labels: Labels, predicted: Labels) -> float:
    """Mean over the classes of the test pixels."""
    return float(
        np.mean([np.mean(predicted[labels == label] == label) for label in np.unique(labels)])
    )


@dataclass(frozen=True)
class ProbeScore:
    """What one head gets with one share of the labels, under one kind of folds.

    Parameters
    ----------
    folds
        What the folds do not cut, such as `field`; `random` for nothing.
    head
        Name of the head, one of `HEADS`.
    fraction
        Share of the training labels that it was fitted with, 0 to 1.
    seed
        Seed of the draws.
    accuracy, balanced_accuracy
        Share of the pixels whose class is right, 0 to 1, and its mean over the classes.
    """

    folds: str
    head: str
    fraction: float
    seed: int
    accuracy: float
    balanced_accuracy: float


def learning_curves(
    features: Features,
    labels: Labels,
    groups: dict[str, Labels],
    seeds: int,
    heads: Sequence[str] = HEADS,
    fractions: Sequence[float] = FRACTIONS,
) -> Iterator[ProbeScore]:
    """Score every head with every share of the labels under every kind of folds.

    Parameters
    ----------
    features : float32 (P, D)
        Vector of each pixel.
    labels : int32 (P,)
        Class of each pixel.
    groups
        Kinds of groups, such as `field`, that folds must not cut; `random` folds are added.
    seeds
        Number of times to draw shares, random folds and initial weights.
    heads, fractions
        Names of the heads, and shares of the training labels that they are fitted with.
    """
    for seed in range(seeds):
        kinds = {kind: grouped_folds(numbers) for kind, numbers in groups.items()}
        kinds["random"] = random_folds(labels, seed)
        for kind, folds in kinds.items():
            for head in heads:
                for fraction in fractions:
                    got = score(head, features, labels, folds, fraction, seed)
                    yield ProbeScore(kind, head, fraction, seed, got.accuracy, got.balanced)
