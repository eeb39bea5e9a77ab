"""A whole raster at its coarsest resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ground = tuple[int, float, float, float, float]
"""Projection, west and north edge, and extent to the south and east in metres."""


@dataclass(frozen=True, eq=False)
class Overview:
    """A whole raster at its coarsest resolution.

    Parameters
    ----------
    pixels
        Its pixels, (rows, cols), 0 or NaN for no data.
    ground
        Ground that they cover.
    """

    pixels: NDArray[Any]
    ground: Ground

    def onto(self, other: Overview) -> NDArray[Any]:
        """The nearest pixels for those of another raster; 0 beyond this one.

        Returns
        -------
        Array of the shape of the other's pixels.
        """
        if self.ground == other.ground:
            rows, cols = (
                (2 * np.arange(size) + 1) * have // (2 * size)
                for size, have in zip(other.pixels.shape, self.pixels.shape, strict=True)
            )
            return self.pixels[np.ix_(rows, cols)]
        out = np.zeros(other.pixels.shape, self.pixels.dtype)
        if self.ground[0] != other.ground[0]:
            return out
        places, inside = [], []
        # Northings fall along the rows, eastings rise along the columns.
        for side, forward in enumerate((-1.0, 1.0)):
            size, have = other.pixels.shape[side], self.pixels.shape[side]
            edge = forward * (other.ground[2 - side] - self.ground[2 - side])
            metres = edge + (np.arange(size) + 0.5) * other.ground[3 + side] / size
            place = np.floor(metres * have / self.ground[3 + side]).astype(np.intp)
            good = (place >= 0) & (place < have)
            inside.append(np.flatnonzero(good))
            places.append(place[good])
        out[np.ix_(*inside)] = self.pixels[np.ix_(*places)]
        return out
