"""Where the training data of a head lies, so that pixels unlike all of it can be told."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.head import HeadKind, Task, TrainingSpace
from tessera_mosaic.model.heads.scoring import Scorer

AXES = 16
"""Principal axes that have a variance of their own: they hold nine tenths of the variance of
TESSERA's embeddings (measured on real ones)."""

PIXELS_AN_AXIS = 4
"""Training pixels that it takes at least to tell the variance along an axis."""

FLOOR = 1e-6
"""Least variance, relative to the mean squared value."""


def training_space(
    features: NDArray[np.float32], groups: NDArray[np.int32], axes: int = AXES
) -> TrainingSpace:
    """Means, common covariance and percentiles of the distance of training data.

    Parameters
    ----------
    features : float32 (P, D)
        Embeddings of the training pixels.
    groups : int32 (P,)
        Class of each pixel; all the same where a value is predicted.
    axes
        Largest number of principal axes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(500, 8)).astype(np.float32)
    >>> space = training_space(features, np.zeros(500, np.int32))
    >>> bool(2.4 < space.limit(50) < 3.0)
    True
    """
    values = features.astype(np.float64)
    _, of, counts = np.unique(groups, return_inverse=True, return_counts=True)
    means = np.zeros((len(counts), values.shape[1]))
    np.add.at(means, of, values)
    means /= counts[:, None]
    within = values - means[of]
    dims = values.shape[1]
    freedom = max(len(values) - len(counts), 1)
    covariance = within.T @ within / freedom
    floor = FLOOR * float((values**2).mean()) + np.finfo(np.float32).tiny
    variances, vectors = np.linalg.eigh(covariance)
    count = min(axes, dims - 1, freedom // PIXELS_AN_AXIS)
    left = float(variances[: dims - count].sum()) / (dims - count)
    rest = max(left, floor)
    told = TrainingSpace(
        means=means.astype(np.float32),
        axes=np.ascontiguousarray(vectors.T[::-1][:count], np.float32),
        variances=np.maximum(variances[::-1][:count], rest).astype(np.float32),
        rest=rest,
        percentiles=np.zeros(101, np.float32),
    )
    distance = _distances(told, features)
    percentiles = np.percentile(distance, np.arange(101)).astype(np.float32)
    return TrainingSpace(told.means, told.axes, told.variances, rest, percentiles)


def _distances(space: TrainingSpace, features: NDArray[np.float32]) -> NDArray[np.float32]:
    dims = features.shape[1]
    nothing = {"weight": np.zeros((1, dims), np.float32), "bias": np.zeros(1, np.float32)}
    scorer = Scorer(HeadKind.RIDGE, Task.VALUE, nothing, 1, space)
    told = scorer(np.ascontiguousarray(features.T), np.ones(len(features), np.float32)).distance
    if told is None:
        raise AssertionError("distances were asked for")
    return told
