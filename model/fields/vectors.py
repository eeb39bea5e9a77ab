"""The vectors that a field is made of: int8 codes and a scale each, as a mosaic holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.fields.fidelity import Fidelity, cosines_of
from tessera_mosaic.model.fields.field import AT_ONCE, Field, FieldError, Rectangle


@dataclass(frozen=True)
class Vectors:
    """All vectors of some ground in some years.

    Parameters
    ----------
    rectangles, years
        The ground, and the number of years.
    codes : int8 (V, D)
        Codes of the vectors that there are.
    scales : float32 (V,)
        What they are multiplied with.
    pixel, year : int64 (V,)
        Pixel of each, numbered through the rectangles, and the place of its year; by year and
        pixel ascending.

    Raises
    ------
    FieldError
        If there is none.
    """

    rectangles: tuple[Rectangle, ...]
    years: int
    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    pixel: NDArray[np.int64]
    year: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not len(self.codes):
            raise FieldError("there is no embedding")

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def dims(self) -> int:
        """Number of values of a vector."""
        return self.codes.shape[1]

    @property
    def pixels(self) -> int:
        """Number of pixels of all rectangles."""
        return sum(each.pixels for each in self.rectangles)

    def values(self, which: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Some of the vectors, float32 (some, D)."""
        return self.codes[which].astype(np.float32) * self.scales[which, None]

    def parts(self) -> Iterator[slice]:
        """All of them, so many at once as need little memory."""
        for start in range(0, len(self), AT_ONCE):
            yield slice(start, min(start + AT_ONCE, len(self)))

    @cached_property
    def known(self) -> NDArray[np.bool_] | None:
        """Of which pixels there are vectors: bool (years, pixels), None for all."""
        if len(self) == self.years * self.pixels:
            return None
        known = np.zeros((self.years, self.pixels), np.bool_)
        known[self.year, self.pixel] = True
        return known

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """The mean vector, float64 (D,)."""
        sums = sum(self.values(part).sum(axis=0, dtype=np.float64) for part in self.parts())
        mean: NDArray[np.float64] = np.asarray(sums) / len(self)
        return mean

    @cached_property
    def variance(self) -> float:
        """Sum of the squares about the mean, over all vectors and values."""
        parts = (self.values(part) - self.mean for part in self.parts())
        return float(sum(np.square(part).sum() for part in parts))

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal digest of all that there is."""
        digest = hashlib.sha256(f"{self.rectangles} {self.years} {self.codes.shape}".encode())
        for array in (self.codes, self.scales, self.pixel, self.year):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def fidelity(self, field: Field) -> Fidelity:
        """How close a field comes to them."""
        cosines, lost = np.empty(len(self), np.float32), 0.0
        for part in self.parts():
            values, told = self.values(part), field.vectors(self.pixel[part], self.year[part])
            cosines[part] = cosines_of(values, told)
            lost += float(np.square(values - told, dtype=np.float64).sum())
        return Fidelity.of(cosines, lost, self.variance)
