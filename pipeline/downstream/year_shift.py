"""How far the embeddings of a year lie from those of another on the same ground.

A head that is carried to another year breaks by a shift of the mean, not by its ranking: taking
that out gives most of it back (measured on real embeddings).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.year_pairs import (
    RadarShares,
    sampled_tiles,
)
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic
from tessera_mosaic.pipeline.tiling.lattice import Tile


@dataclass(frozen=True)
class YearShift:
    """The shift from a year to the year of a head.

    Parameters
    ----------
    year, to
        Calendar year of the embeddings, and that of the head.
    vector
        What is added to every embedding of the year, one value a dimension.
    pixels
        Number of pixels that both means are taken over.
    radar
        What the observation counts say of radar in both years; empty where it is alike.
    """

    year: int
    to: int
    vector: tuple[float, ...]
    pixels: int
    radar: str = ""


def check_year(head_years: Sequence[int], year: int, match_years: bool) -> int | None:
    """The year of the head to shift to; None where the year is one of the head's.

    Raises
    ------
    BadInput
        If the year is another one and nobody asked for the shift to be taken out.
    """
    if year in head_years:
        return None
    if not match_years:
        told = ", ".join(map(str, head_years))
        raise BadInput(
            f"without it {year} is not mapped: the head was trained on {told}, and embeddings of "
            f"another year are shifted, which spoils what it says; or train one for {year}",
            "match_years",
        )
    return min(head_years, key=lambda each: (abs(each - year), each))


def year_shift(
    mosaic: AnyMosaic, year: int, to: int, tiles: Sequence[Tile], inside: bytes | None
) -> YearShift:
    """The shift of the mean over the mapped ground.

    Parameters
    ----------
    mosaic
        The mosaic.
    year, to
        Calendar year that is mapped, and that of the head.
    tiles
        Tiles that are mapped.
    inside
        The region as WKB where only its own pixels are mapped.

    Raises
    ------
    BadInput
        If the mosaic does not have both years there.
    """
    if to not in mosaic.years:
        raise BadInput(
            f"{mosaic.storage.url} has no embeddings of {to} to compare {year} with",
            "match_years",
        )
    years = (to, year)
    found, radar = YearMeans(mosaic.layout.dims), RadarShares()
    for sampled in sampled_tiles(mosaic, tiles, years, inside):
        for codes, of in sampled.read(sampled.in_both):
            found.add(codes, of)
        radar.add(sampled.pair.counts(), sampled.in_both)
    if not found.pixels:
        raise BadInput(
            f"{mosaic.storage.url} has no ground of the region in both {to} and {year}",
            "match_years",
        )
    told = radar.describe(years)
    if told and radar.shares is not None:
        told += ": part of the shift is that, and pixels differ in it"
    means = found.means
    vector = (means[0] - means[1]).astype(np.float32)
    return YearShift(year, to, tuple(vector.tolist()), found.pixels, told)


class YearMeans:
    """Mean embeddings of two years over the same pixels.

    Parameters
    ----------
    dims
        Number of dimensions.
    """

    def __init__(self, dims: int) -> None:
        self._sums = np.zeros((2, dims))
        self.pixels = 0

    def add(
        self,
        codes: tuple[NDArray[np.int8], NDArray[np.int8]],
        scales: tuple[NDArray[np.float32], NDArray[np.float32]],
    ) -> None:
        """Add pixels by their codes (dims, pixels) and finite scales (pixels,) of both years."""
        for number, (each, scale) in enumerate(zip(codes, scales, strict=True)):
            self._sums[number] += each.astype(np.float64) @ scale.astype(np.float64)
        self.pixels += codes[0].shape[1]

    @property
    def means(self) -> NDArray[np.float64]:
        """The means, float64 (2, dims), of at least one pixel."""
        return self._sums / self.pixels
