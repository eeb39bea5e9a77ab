"""What a search came to: the heaps of all tiles joined, and scores as percentiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.search_heap import (
    Heap,
    Hits,
    TileHeap,
    best_of,
    decode_heap,
)
from tessera_mosaic.pipeline.downstream.search_queries import Query
from tessera_mosaic.pipeline.downstream.search_scan import best_pixels
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import heap_key
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, read_pixels
from tessera_mosaic.pipeline.tiling.lattice import Tile

READERS = 16
"""Heaps that are read at once."""

AT_ONCE = 4096
"""Candidates that are scored again at once: their chunks are read together."""


@dataclass(frozen=True)
class Background:
    """Scores of pixels that were drawn at random, by which others are told in percentiles.

    Parameters
    ----------
    scores : float64 (queries, drawn)
        Of each query, ascending.
    weights : float64 (queries, drawn)
        Number of pixels for which each stands.
    pixels
        Number of pixels that were drawn from.
    """

    scores: NDArray[np.float64]
    weights: NDArray[np.float64]
    pixels: int

    def percentiles(self, query: int, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the ground, 0 to 100, that scores no more: float64 (hits,)."""
        below = np.concatenate([[0.0], np.cumsum(self.weights[query])])
        places = np.searchsorted(self.scores[query], scores, side="right")
        total = below[-1] or np.nan
        found: NDArray[np.float64] = 100 * below[places] / total
        return found

    def at(self, query: int, percentile: float) -> float:
        """The score at a percentile of the ground; NaN where nothing was drawn."""
        if not self.scores.shape[1]:
            return float("nan")
        summed = np.cumsum(self.weights[query])
        place = int(np.searchsorted(summed, percentile / 100 * summed[-1]))
        return float(self.scores[query, min(place, len(summed) - 1)])


def join_heaps(
    job: Storage, tiles: Sequence[Tile], queries: int, most: int, square: int
) -> tuple[list[Hits], Background]:
    """The best hits of all tiles, ranked, for each query, and the pixels drawn of all.

    Parameters
    ----------
    job
        Where the tiles' heaps lie.
    tiles
        Tiles that were searched.
    queries
        Number of queries.
    most, square
        As in `best_of`.
    """
    heaps = [Heap(most, square) for _ in range(queries)]
    scores = [np.zeros((queries, 0))]
    weights = [np.zeros(0)]
    pixels = 0
    for found in _heaps(job, tiles):
        for heap, hits in zip(heaps, found.hits, strict=True):
            heap.add(hits)
        drawn = found.background.shape[1]
        if drawn:
            scores.append(found.background)
            weights.append(np.full(drawn, found.pixels / drawn))
        pixels += found.pixels
    every, weight = np.concatenate(scores, axis=1), np.concatenate(weights)
    order = np.argsort(every, axis=1, kind="stable")
    background = Background(np.take_along_axis(every, order, axis=1), weight[order], pixels)
    return [heap.best() for heap in heaps], background


def _heaps(job: Storage, tiles: Iterable[Tile]) -> Iterator[TileHeap]:
    """What was found in tiles, in their order."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="heaps") as pool:
        waiting = list(tiles)
        for start in range(0, len(waiting), 16 * READERS):
            part = waiting[start : start + 16 * READERS]
            yield from pool.map(lambda tile: decode_heap(job.read(heap_key(tile))), part)


def score_again(
    mosaic: AnyMosaic, year: int, hits: Hits, query: Query, most: int, square: int
) -> Hits:
    """The best of candidates by all values of their embeddings, ranked.

    Parameters
    ----------
    mosaic, year
        Where they are read, and of which calendar year.
    hits
        Candidates, with the scores of a nested depth.
    query
        What is looked for, by all values.
    most, square
        As in `best_of`.
    """
    scanner, scores = best_pixels([query]), np.empty(len(hits))
    for start in range(0, len(hits), AT_ONCE):
        part = hits.take(slice(start, start + AT_ONCE))
        found = read_pixels(mosaic, year, part.zone, part.row, part.col)
        codes = np.ascontiguousarray(found.codes.T)
        scores[start : start + AT_ONCE] = scanner.exact(codes, found.scales)[0]
    return best_of(Hits(scores, hits.zone, hits.row, hits.col), most, square)
