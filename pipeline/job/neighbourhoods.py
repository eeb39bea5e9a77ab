"""In which order tiles go out to the workers, and how many at a time."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator

from tessera_mosaic.pipeline.tiling.lattice import Tile

MOST_NEIGHBOURS = 8
"""Tiles that a worker is given at a time, at most: hours of work on a CPU, minutes on a GPU."""

NEIGHBOURHOOD = 16_384
"""Side in pixels of the squares whose tiles are made one after the other: 164 km, one and a half
Sentinel-2 scenes."""

Numbers = tuple[int, int, int, int]
"""A tile as an element: the local runner holds all elements at once, and several times, and
numbers take a sixth of what a pickled tile does."""


def elements_of(tiles: Iterable[Tile], elements: int) -> Iterator[tuple[Numbers, ...]]:
    """Tiles of a zone as elements of the graph; see `neighbours`."""
    for near in neighbours(tiles, elements):
        yield tuple((tile.zone, tile.row, tile.col, tile.side) for tile in near)


def tiles_of(element: tuple[Numbers, ...]) -> Iterator[Tile]:
    """The tiles that an element stands for."""
    return (Tile(*numbers) for numbers in element)


def neighbours(tiles: Iterable[Tile], elements: int) -> Iterator[tuple[Tile, ...]]:
    """Tiles of a zone as they go out to the workers: a few neighbours at a time.

    Row by row, back and forth, so that each tile finds the scenes of the one before in the caches.
    Neighbourhoods come in an order that has nothing to do with where they are, so that workers ask
    for different parts of the archive. That order is the local runner's; others choose their own.

    Parameters
    ----------
    tiles
        Tiles of a zone that have to be made.
    elements
        Number of elements that should come of them: as long as there are no more tiles than that,
        each goes out by itself.
    """
    ordered = sorted(tiles, key=in_order)
    most = min(MOST_NEIGHBOURS, max(1, len(ordered) // elements))
    for _, members in itertools.groupby(ordered, _neighbourhood):
        near = tuple(members)
        parts = -(-len(near) // most)
        for part in range(parts):
            yield near[part * len(near) // parts : (part + 1) * len(near) // parts]


def in_order(tile: Tile) -> tuple[int, ...]:
    """Sorts tiles by zone, by neighbourhood, and in these row by row, back and forth."""
    col = tile.col if tile.row % 2 == 0 else -tile.col
    return tile.zone, *_neighbourhood(tile), tile.row, col


def _neighbourhood(tile: Tile) -> tuple[int, int, int]:
    step = max(1, NEIGHBOURHOOD // tile.side)
    row, col = tile.row // step, tile.col // step
    return zlib.crc32(f"{tile.zone} {row} {col}".encode()), row, col
