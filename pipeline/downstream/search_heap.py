"""The best pixels of a search: one in each square of ground, the best so many of them.

Heaps of parts of the ground, joined, are the heap of all of it: whoever is best in a square is best
in the part that he lies in, and has fewer better squares there than everywhere.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, WIDTH

OFTEN = 1 / 8
"""New hits, as a share of those that are kept, after which the worst are dropped: the sooner that
is known which score is too low, the fewer pixels are looked at closely."""


@dataclass(frozen=True)
class Hits:
    """Pixels with their scores.

    Parameters
    ----------
    score : float64 (hits,)
        Score of each.
    zone, row, col : int32 (hits,)
        UTM zone, and row and column of the zone's lattice.
    """

    score: NDArray[np.float64]
    zone: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.score)

    def take(self, which: NDArray[np.integer] | slice) -> Hits:
        """Some of them, in the order that is given."""
        return Hits(self.score[which], self.zone[which], self.row[which], self.col[which])


def no_hits() -> Hits:
    """None at all."""
    none = np.zeros(0, np.int32)
    return Hits(np.zeros(0), none, none, none)


def joined(parts: Iterable[Hits]) -> Hits:
    """All hits of several parts, one after another."""
    kept = [no_hits(), *parts]
    return Hits(
        *(np.concatenate([getattr(each, name) for each in kept]) for name in Hits.__annotations__)
    )


def ranked(hits: Hits) -> Hits:
    """Hits from the best to the worst; of equals those first that come first on the lattice."""
    return hits.take(np.lexsort((hits.col, hits.row, hits.zone, -hits.score)))


def best_of(hits: Hits, most: int, square: int) -> Hits:
    """The best hits, one in each square of ground, ranked.

    Parameters
    ----------
    hits
        In any order; those that are no numbers, or minus infinity, are left out.
    most
        Number of hits at most.
    square
        Side of a square in pixels; squares lie on the zone's lattice.

    Examples
    --------
    >>> at = np.array([0, 1, 20], np.int32)
    >>> hits = Hits(np.array([0.5, 0.7, 0.6]), at * 0 + 31, at, at * 0)
    >>> best_of(hits, 2, 16).row.tolist()
    [1, 20]
    """
    order = ranked(hits.take(np.flatnonzero(hits.score > -np.inf)))
    if square > 1:
        zone, row = order.zone.astype(np.int64), order.row.astype(np.int64)
        places = (zone * HEIGHT + row // square) * WIDTH + order.col // square
        _, first = np.unique(places, return_index=True)
        order = order.take(np.sort(first)[:most])
    return order.take(slice(most))


class Heap:
    """The best hits of one query, while more of them come.

    Parameters
    ----------
    most, square
        As in `best_of`.
    """

    def __init__(self, most: int, square: int) -> None:
        self._most, self._square = most, square
        self._best, self._later, self._waiting = no_hits(), list[Hits](), 0
        self.limit = -np.inf
        """A score below which no hit is among the best."""

    def add(self, hits: Hits) -> None:
        """Add hits; now and then those are dropped that are not among the best."""
        self._later.append(hits)
        self._waiting += len(hits)
        if self._waiting > self._most * OFTEN:
            self.best()

    def best(self) -> Hits:
        """The best hits so far, ranked."""
        if self._later:
            self._best = best_of(joined([self._best, *self._later]), self._most, self._square)
            self._later, self._waiting = [], 0
            if len(self._best) == self._most:
                self.limit = float(self._best.score[-1])
        return self._best


@dataclass(frozen=True)
class TileHeap:
    """What a search found in a tile.

    Parameters
    ----------
    hits
        The best pixels of each query, ranked.
    background : float64 (queries, drawn)
        Scores of pixels that were drawn at random.
    pixels
        Number of pixels that they were drawn from.
    """

    hits: tuple[Hits, ...]
    background: NDArray[np.float64]
    pixels: int

    def encode(self) -> bytes:
        """As an archive of numpy's, which holds no program."""
        file = io.BytesIO()
        every = joined(self.hits)
        np.savez(
            file,
            counts=np.array([len(each) for each in self.hits], np.int64),
            score=every.score,
            zone=every.zone,
            row=every.row,
            col=every.col,
            background=self.background,
            pixels=np.array(self.pixels, np.int64),
        )
        return file.getvalue()


def decode_heap(data: bytes) -> TileHeap:
    """Read back what a search found in a tile.

    Raises
    ------
    Altered
        If the bytes are no such object.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
        every = Hits(*(held[name] for name in ("score", "zone", "row", "col")))
        stops = np.cumsum(held["counts"]).tolist()
        starts = [0, *stops[:-1]]
        hits = tuple(every.take(slice(a, b)) for a, b in zip(starts, stops, strict=True))
        return TileHeap(hits, held["background"], int(held["pixels"]))
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise Altered(f"what a search found in a tile cannot be read: {error}") from None
