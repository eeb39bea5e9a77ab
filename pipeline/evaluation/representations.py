"""What vectors are like before any label: how many dimensions they fill, how alike two sets are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def participation_ratio(vectors: NDArray[Any]) -> float:
    """How many dimensions vectors fill: the squared sum of their covariance's eigenvalues over the
    sum of their squares.

    Parameters
    ----------
    vectors : (P, D)
        Vectors, as their product has them.

    Returns
    -------
    From 1, all on a line, to D, alike in all directions; 0 where all vectors are equal.

    Examples
    --------
    >>> round(participation_ratio(np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])), 3)
    2.0
    """
    centred = _centred(vectors)
    covariance = centred.T @ centred
    squares = float((covariance**2).sum())
    return float(np.trace(covariance)) ** 2 / squares if squares else 0.0


def linear_cka(one: NDArray[Any], other: NDArray[Any]) -> float:
    """How alike two sets of vectors of the same places are, whatever their axes and their scale.

    Centred kernel alignment with a linear kernel (Kornblith et al. 2019).

    Parameters
    ----------
    one : (P, D)
    other : (P, E)
        Vectors, row by row of the same places.

    Returns
    -------
    0 to 1: 1 where one is the other turned and scaled as a whole.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, -2.0]])
    >>> round(linear_cka(x, 3 * x[:, ::-1]), 3)
    1.0
    """
    a, b = _centred(one), _centred(other)
    beside = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(a.T @ b)) ** 2 / float(beside) if beside else 0.0


def _centred(vectors: NDArray[Any]) -> NDArray[np.float64]:
    found = vectors.astype(np.float64)
    return found - found.mean(axis=0)
