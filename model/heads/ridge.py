"""Linear regression with an L2 penalty, by sums that serve every penalty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RidgeSums:
    """All that ridge regressions of one set of pixels need.

    Parameters
    ----------
    gram : float64 (D, D)
        Sums of the products of each two inputs.
    cross : float64 (D,)
        Sums of the products of each input and the target without its mean.
    middle
        Mean of the target.
    """

    gram: Floats
    cross: Floats
    middle: float

    @classmethod
    def of(cls, inputs: Floats, targets: Floats, weights: Floats) -> RidgeSums:
        """Sums over pixels.

        Parameters
        ----------
        inputs : float64 (P, D)
            Inputs of mean 0.
        targets, weights : float64 (P,)
            Values, and how much each pixel counts.
        """
        middle = float(np.average(targets, weights=weights))
        weighted = inputs * weights[:, None]
        return cls(weighted.T @ inputs, weighted.T @ (targets - middle), middle)

    def solve(self, penalty: float, gains: Floats | None = None) -> Floats:
        """Coefficients of the inputs, float64 (D,).

        Parameters
        ----------
        penalty
            Weight of the squared coefficients.
        gains : float64 (D,) or None
            By how much each input is stretched before; 0 leaves it out. None for 1.

        Examples
        --------
        >>> x = np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
        >>> sums = RidgeSums.of(x, x @ np.array([2.0, 3.0]), np.ones(4))
        >>> sums.solve(4.0).tolist(), sums.solve(4.0, np.array([0.0, 2.0])).tolist()
        ([1.0, 1.5], [0.0, 2.4])
        """
        if gains is None:
            gram = self.gram + penalty * np.eye(len(self.gram))
            return np.asarray(np.linalg.solve(gram, self.cross))
        kept = np.flatnonzero(gains > 0)
        stretch, found = gains[kept], np.zeros(len(gains))
        gram = self.gram[np.ix_(kept, kept)] * np.multiply.outer(stretch, stretch)
        gram[np.diag_indices(len(kept))] += penalty
        found[kept] = np.linalg.solve(gram, self.cross[kept] * stretch) * stretch
        return found
