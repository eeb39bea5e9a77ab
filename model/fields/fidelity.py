"""How close vectors come to those that they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Fidelity:
    """How close vectors come to those of the mosaic.

    Parameters
    ----------
    mean, p5
        Mean cosine of both, and the cosine below which the worst twentieth lies.
    error
        Mean squared error over the variance: what share of it is lost.
    """

    mean: float
    p5: float
    error: float

    @classmethod
    def of(cls, cosines: NDArray[np.float32], lost: float, variance: float) -> Fidelity:
        """Of the cosines of all vectors, the squares that were lost and those that there were."""
        return cls(
            round(float(cosines.mean(dtype=np.float64)), 6),
            round(float(np.quantile(cosines, 0.05)), 6),
            round(lost / variance, 6) if variance > 0 else 0.0,
        )


def cosines_of(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines of the vectors of two arrays (P, D), float32 (P,); 0 where a vector is 0.

    Examples
    --------
    >>> cosines_of(np.float32([[1, 0], [0, 2]]), np.float32([[3, 0], [2, 0]])).tolist()
    [1.0, 0.0]
    """
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    products = (one * other).sum(axis=1)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
