"""How far the embeddings of a year lie from those of another on the same ground.

A head that is carried to another year breaks by a shift of the mean, not by its ranking: taking
that out gives most of it back (measured on real embeddings).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from shapely import from_wkb

from tessera_mosaic.pipeline.downstream.foreign_tile import reader_of
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic
from tessera_mosaic.pipeline.tiling.lattice import CHUNK, Tile
from tessera_mosaic.pipeline.tiling.region import wanted_pixels

MOST_TILES, MOST_CHUNKS = 200, 64
"""Tiles of a region from which the means are taken, evenly spread, and chunks of each of them."""

RADAR_DIFFERENCE = 0.1
"""Difference of the shares of pixels with radar, beyond which two years are of two regimes."""


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
    sums = np.zeros((2, mosaic.layout.dims))
    pixels, radar = 0, np.zeros((2, 2), np.int64)
    every = -(-len(tiles) // MOST_TILES)
    for tile in tiles[::every]:
        found = _of_tile(mosaic, tile, (to, year), inside)
        if found is not None:
            sums += found[0]
            pixels += found[1]
            radar += found[2]
    if not pixels:
        raise BadInput(
            f"{mosaic.storage.url} has no ground of the region in both {to} and {year}",
            "match_years",
        )
    means = sums / pixels
    vector = (means[0] - means[1]).astype(np.float32)
    return YearShift(year, to, tuple(vector.tolist()), pixels, _radar(radar, pixels, (to, year)))


def _of_tile(
    mosaic: AnyMosaic, tile: Tile, years: tuple[int, int], inside: bytes | None
) -> tuple[NDArray[np.float64], int, NDArray[np.int64]] | None:
    """Sums of the embeddings of both years, pixels, and pixels with any and with radar counts."""
    readers = [reader_of(mosaic, tile, year) for year in years]
    if any(reader.source() is None for reader in readers):
        return None
    scales = [reader.scales() for reader in readers]
    region = None if inside is None else from_wkb(inside)
    common = wanted_pixels(tile.window, 0, region)
    for each in scales:
        common &= np.isfinite(each)
    across = tile.side // CHUNK
    every = max(1, across**2 // MOST_CHUNKS)
    picked = np.zeros(across**2, bool)
    picked[::every] = True
    squares = picked.reshape(across, across)
    taken = common & np.repeat(np.repeat(squares, CHUNK, axis=0), CHUNK, axis=1)
    sums = np.zeros((2, mosaic.layout.dims))
    for number, reader in enumerate(readers):
        for row in reader.rows():
            for chunk in row:
                here = np.s_[chunk.row : chunk.row + CHUNK, chunk.col : chunk.col + CHUNK]
                mine = taken[here].ravel()
                if mine.any():
                    scale = scales[number][here].ravel()[mine].astype(np.float64)
                    sums[number] += chunk.codes()[:, mine].astype(np.float64) @ scale
    seen = np.zeros((2, 2), np.int64)
    for number, reader in enumerate(readers):
        counts = {name: of[taken].astype(np.int64) for name, of in reader.counts().items()}
        radar = sum(of for name, of in counts.items() if name != "s2")
        seen[number] = (np.sum(sum(counts.values()) > 0), np.sum(radar > 0))
    return sums, int(taken.sum()), seen


def _radar(seen: NDArray[np.int64], pixels: int, years: tuple[int, int]) -> str:
    """What has to be said of the radar of two years."""
    if not (seen[:, 0] > 0).all():
        return "observation counts are unknown: nobody can tell whether one year lacks radar"
    shares = seen[:, 1] / pixels
    if abs(shares[0] - shares[1]) <= RADAR_DIFFERENCE:
        return ""
    return (
        f"radar saw {shares[0]:.0%} of the pixels in {years[0]} and {shares[1]:.0%} in "
        f"{years[1]}: part of the shift is that, and pixels differ in it"
    )
