"""A tile of a mosaic in two years: what both hold of the same ground, and a sample of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from shapely import from_wkb

from tessera_mosaic.pipeline.downstream.foreign_tile import Chunk, reader_of
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic
from tessera_mosaic.pipeline.tiling.lattice import CHUNK, Tile
from tessera_mosaic.pipeline.tiling.region import wanted_pixels

MOST_TILES, MOST_SQUARES = 200, 64
"""Tiles of a sample, and squares of a whole one that are read, both evenly spread."""

FEWEST_SQUARES = 16
"""Squares that are read of a tile with less ground, where it has so many."""

MOST_LOOKED_AT = 2000
"""Tiles that are looked at to find those of a sample."""

RADAR_DIFFERENCE = 0.1
"""Difference of the shares of pixels with radar, beyond which two years are of two regimes."""

Value = TypeVar("Value", bound=np.generic)

Years = tuple[int, int]
"""Two calendar years."""

Both = tuple[NDArray[Value], NDArray[Value]]
"""An array of each of two years."""

Counts = dict[str, NDArray[np.uint16]]
"""Observation counts by name, as far as they are known: (side, side)."""


@dataclass(frozen=True)
class PairedSquare:
    """A square of a tile of which both years hold embeddings.

    Parameters
    ----------
    here
        Its rows and columns in the tile.
    one, other
        Its embeddings in the first year and in the second.
    """

    here: tuple[slice, slice]
    one: Chunk
    other: Chunk


class PairReader:
    """What a mosaic holds of a tile in two years.

    Parameters
    ----------
    mosaic, tile
        The mosaic and the tile.
    years
        The calendar years.
    """

    def __init__(self, mosaic: AnyMosaic, tile: Tile, years: Years) -> None:
        self._shape = tile.window.shape
        self._readers = tuple(reader_of(mosaic, tile, year) for year in years)

    def present(self) -> bool:
        """Whether there is something to read of both years."""
        return all(reader.present() for reader in self._readers)

    @functools.cached_property
    def sources(self) -> tuple[str | None, str | None]:
        """Names of what is read of each year, as `TileReader.source` tells them."""
        one, other = (reader.source() for reader in self._readers)
        return one, other

    def scales(self) -> Both[np.float32]:
        """Scales of each year, float32 (side, side); +inf in a year that has nothing."""
        one, other = (
            np.full(self._shape, np.inf, np.float32) if source is None else reader.scales()
            for reader, source in zip(self._readers, self.sources, strict=True)
        )
        return one, other

    def counts(self) -> tuple[Counts, Counts]:
        """Observation counts of each year by name, as far as they are known."""
        one, other = (reader.counts() for reader in self._readers)
        return one, other

    def rows(self, picked: NDArray[np.bool_] | None = None) -> Iterator[list[PairedSquare]]:
        """Squares of which both years hold embeddings, row after row of them.

        Parameters
        ----------
        picked : bool (squares, squares) or None
            Which squares of the tile are wanted; None for all.
        """
        for one, other in zip(*(reader.rows(picked) for reader in self._readers), strict=True):
            beside = {chunk.col: chunk for chunk in other}
            yield [
                PairedSquare(
                    np.s_[chunk.row : chunk.row + CHUNK, chunk.col : chunk.col + CHUNK],
                    chunk,
                    beside[chunk.col],
                )
                for chunk in one
                if chunk.col in beside
            ]


@dataclass(frozen=True)
class SampledTile:
    """A tile of a sample, of which both years hold something.

    Parameters
    ----------
    tile
        The tile.
    pair
        Its reader.
    squares : bool (squares, squares)
        Which of its squares are in the sample.
    pixels : bool (side, side)
        Which of its pixels are: those of the region.
    in_both : bool (side, side)
        Which of these have an embedding in both years.
    scales : float32 (side, side)
        Scales of the tile in each year.
    """

    tile: Tile
    pair: PairReader
    squares: NDArray[np.bool_]
    pixels: NDArray[np.bool_]
    in_both: NDArray[np.bool_]
    scales: Both[np.float32]

    def read(self, taken: NDArray[np.bool_]) -> Iterator[tuple[Both[np.int8], Both[np.float32]]]:
        """Codes (dims, pixels) and scales (pixels,) of both years, square by square.

        Parameters
        ----------
        taken : bool (side, side)
            Pixels of the sample that are wanted.
        """
        for row in self.pair.rows(self.squares):
            for square in row:
                mine = taken[square.here].ravel()
                if mine.any():
                    one, other = (each[square.here].ravel()[mine] for each in self.scales)
                    codes = square.one.codes()[:, mine], square.other.codes()[:, mine]
                    yield codes, (one, other)


def sampled_tiles(
    mosaic: AnyMosaic, tiles: Sequence[Tile], years: Years, inside: bytes | None
) -> Iterator[SampledTile]:
    """A sample of the tiles of which a mosaic has both years, always the same.

    Parameters
    ----------
    mosaic
        The mosaic.
    tiles
        Tiles of a region, in order.
    years
        The calendar years.
    inside
        The region as WKB where only its own pixels are wanted.
    """
    region = None if inside is None else from_wkb(inside)
    found = 0
    for tile in spread_out(tiles, MOST_TILES)[:MOST_LOOKED_AT]:
        pair = PairReader(mosaic, tile, years)
        if pair.present():
            wanted, scales = wanted_pixels(tile.window, 0, region), pair.scales()
            in_both = wanted & np.isfinite(scales[0]) & np.isfinite(scales[1])
            squares = even_squares(squares_of(in_both)) & squares_of(wanted)
            pixels = np.repeat(np.repeat(squares, CHUNK, axis=0), CHUNK, axis=1) & wanted
            yield SampledTile(tile, pair, squares, pixels, pixels & in_both, scales)
            found += 1
            if found == MOST_TILES:
                return


def spread_out(tiles: Sequence[Tile], count: int) -> list[Tile]:
    """The same tiles, ordered so that any first `count` of them are spread over all.

    Examples
    --------
    >>> tiles = [Tile(31, 0, col) for col in range(6)]
    >>> [tile.col for tile in spread_out(tiles, 2)]
    [0, 3, 1, 4, 2, 5]
    """
    every = max(1, -(-len(tiles) // count))
    return [tile for first in range(every) for tile in tiles[first::every]]


def squares_of(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which squares of a tile hold any of its pixels (side, side): bool (squares, squares)."""
    across = len(pixels) // CHUNK
    return np.asarray(pixels.reshape(across, CHUNK, across, CHUNK).any(axis=(1, 3)))


def even_squares(held: NDArray[np.bool_], most: int = MOST_SQUARES) -> NDArray[np.bool_]:
    """Evenly spread squares of a tile, at most so many of a whole one: bool (across, across).

    Where they meet few of the squares that hold ground, they lie closer to one another.

    Parameters
    ----------
    held : bool (across, across)
        Which squares of the tile hold ground.
    most
        Number of squares that are picked at most where all hold ground.

    Examples
    --------
    >>> even_squares(np.ones((4, 4), bool), 4).astype(int).tolist()
    [[0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]]
    """
    step = 1
    while (len(held) // step) ** 2 > most:
        step *= 2
    wanted = min(FEWEST_SQUARES, most, int(held.sum()))
    while True:
        picked = np.zeros_like(held)
        picked[step // 2 :: step, step // 2 :: step] = True
        if step == 1 or (picked & held).sum() >= wanted:
            return picked
        step //= 2


def radar_seen(counts: Counts) -> NDArray[np.bool_] | None:
    """Whether each pixel was seen by radar at all: bool (side, side); None where nobody knows."""
    radar = [count > 0 for name, count in counts.items() if name != "s2"]
    return np.logical_or.reduce(radar) if radar else None


def counts_known(counts: Counts) -> NDArray[np.bool_] | None:
    """Whether each pixel has any count, without which its radar is unknown, too."""
    if "s2" not in counts:
        return None
    return np.logical_or.reduce([count > 0 for count in counts.values()])


class RadarShares:
    """In how many pixels of a sample radar saw something, in each of two years."""

    def __init__(self) -> None:
        self._seen = np.zeros((2, 2), np.int64)
        self._pixels = 0

    def add(self, counts: tuple[Counts, Counts], taken: NDArray[np.bool_]) -> None:
        """Count some pixels: bool (side, side)."""
        self._pixels += int(taken.sum())
        for number, each in enumerate(counts):
            radar = radar_seen(each)
            if radar is not None:
                known = counts_known(each)
                every = taken if known is None else taken & known
                self._seen[number] += int(every.sum()), int((every & radar).sum())

    @property
    def shares(self) -> tuple[float, float] | None:
        """Share of the pixels with radar in each year; None where counts are unknown."""
        if not self._pixels or not (self._seen[:, 0] > 0).all():
            return None
        one, other = (self._seen[:, 1] / self._pixels).tolist()
        return one, other

    def describe(self, years: Years) -> str:
        """What has to be said of the radar of the two years; empty where it is alike."""
        shares = self.shares
        if shares is None:
            return "observation counts are unknown: nobody can tell whether one year lacks radar"
        if abs(shares[0] - shares[1]) <= RADAR_DIFFERENCE:
            return ""
        return (
            f"radar saw {shares[0]:.0%} of the pixels in {years[0]} and {shares[1]:.0%} in "
            f"{years[1]}"
        )
