"""How much of the labels a frozen representation holds: light heads on top, folds by field.

Pixels of one field look alike, so a fold that has some of a field's pixels in training and others
in the test measures memory. Folds here never cut a group; random ones can stand beside them to
show how much that matters.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

NEIGHBOURS = 5
FOLDS = 5

HEADS = ("knn", "logistic", "mlp")
"""The 5 nearest neighbours; a regression with an L2 penalty of 1; one hidden layer of 64."""

Split = tuple[NDArray[np.int64], NDArray[np.int64]]


def make_head(name: str, seed: int = 0) -> Pipeline:
    """One of `HEADS`, on standardised input; the seed is of what it draws."""
    heads = {
        "knn": lambda: KNeighborsClassifier(NEIGHBOURS),
        "logistic": lambda: LogisticRegression(max_iter=2000),
        "mlp": lambda: MLPClassifier((64,), max_iter=200, random_state=seed),
    }
    return make_pipeline(StandardScaler(), heads[name]())


def grouped_folds(labels: NDArray[np.int32], groups: NDArray[np.int32]) -> Iterator[Split]:
    """Training and test pixels of 5 folds that cut no group, of about equal size."""
    yield from GroupKFold(FOLDS).split(labels, labels, groups)


def random_folds(labels: NDArray[np.int32], seed: int) -> Iterator[Split]:
    """Training and test pixels of 5 folds that know nothing of groups."""
    yield from StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels)


def worth_probing(
    labels: NDArray[np.int32], groups: NDArray[np.int32], pixels: int = 60, in_groups: int = 2
) -> NDArray[np.bool_]:
    """Labelled pixels of classes that have enough pixels, in enough groups."""
    keep = np.zeros(len(labels), bool)
    for label in np.unique(labels[labels != 0]):
        of_class = labels == label
        if of_class.sum() >= pixels and len(np.unique(groups[of_class])) >= in_groups:
            keep |= of_class
    return keep


def knn_accuracy(
    features: NDArray[np.float32], labels: NDArray[np.int32], groups: NDArray[np.int32]
) -> float:
    """Mean accuracy over grouped folds of the 5 nearest neighbours."""
    return float(
        np.mean(
            [
                make_head("knn")
                .fit(features[train], labels[train])
                .score(features[test], labels[test])
                for train, test in grouped_folds(labels, groups)
            ]
        )
    )
