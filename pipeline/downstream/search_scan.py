"""What is known of a tile while it is searched, chunk by chunk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.best import FOUND, BestPixels, Found, Ground
from tessera_mosaic.pipeline.downstream.foreign_tile import Chunk
from tessera_mosaic.pipeline.downstream.search_heap import Heap, Hits, TileHeap
from tessera_mosaic.pipeline.downstream.search_queries import Measure, Query, check_alike
from tessera_mosaic.pipeline.tiling.lattice import Tile


def best_pixels(queries: Sequence[Query]) -> BestPixels:
    """What finds the best pixels of queries of one measure and one number of dimensions.

    Examples
    --------
    >>> best = best_pixels([Query("", (1.0, 0.0))])
    >>> best.exact(np.int8([[3, 4], [4, -3]]), np.float32([0.1, 0.1])).tolist()
    [[0.6, 0.8]]
    """
    check_alike(queries)
    return BestPixels(
        np.array([each.weights for each in queries]),
        np.array([each.bias for each in queries]),
        by_length=queries[0].measure is Measure.LENGTH,
    )


class TileScan:
    """The search of a tile. Threads may score its chunks; one of them adds what was found.

    Parameters
    ----------
    tile
        The tile.
    ground
        Its pixels.
    inner
        Side in pixels of its chunks.
    best
        What finds the best of them.
    top
        Number of hits that are kept of each query.
    drawn : int64 (drawn,)
        Numbers of the pixels whose scores are kept.
    scores
        Whether the scores of all pixels are kept.
    """

    def __init__(
        self,
        tile: Tile,
        ground: Ground,
        inner: int,
        best: BestPixels,
        top: int,
        drawn: NDArray[np.int64],
        scores: bool = False,
    ) -> None:
        self._tile, self._ground, self._inner, self._best = tile, ground, inner, best
        self._heaps = [Heap(top, ground.square) for _ in range(best.queries)]
        across = tile.side // inner
        chunk = drawn // tile.side // inner * across + drawn % tile.side // inner
        self._drawn, self._order = drawn, np.argsort(chunk, kind="stable")
        self._stops = np.cumsum(np.bincount(chunk, minlength=across**2)).tolist()
        self._background = np.full((best.queries, len(drawn)), -np.inf)
        shape = (best.queries, tile.side, tile.side)
        self.scores = np.full(shape, np.nan, np.float32) if scores else None

    def needed(self) -> NDArray[np.bool_]:
        """Which chunks hold a pixel that counts: bool (chunks, chunks)."""
        across = self._tile.side // self._inner
        chunks = self._ground.known.reshape(across, self._inner, across, self._inner)
        needed: NDArray[np.bool_] = np.any(chunks, axis=(1, 3))
        return needed

    def limits(self) -> NDArray[np.float64]:
        """Scores below which nobody is among the best of a query: float64 (queries,)."""
        return np.array([heap.limit for heap in self._heaps])

    def score(self, chunks: Iterable[Chunk], limits: NDArray[np.float64]) -> Found:
        """Decode chunks, and find the pixels that may be among the best."""
        every = []
        for chunk in chunks:
            codes = chunk.codes()
            found = self._best.find(codes, self._ground, chunk.row, chunk.col, limits)
            if found is not None:
                every.append(found.tobytes())
            self._keep(chunk, codes)
        # As bytes: of arrays with fields numpy compares the types one by one.
        return np.frombuffer(b"".join(every), FOUND)

    def add(self, found: Found) -> None:
        """Add pixels that were found to the heaps of their queries."""
        zone = np.full(len(found), self._tile.zone, np.int32)
        hits = Hits(found["score"], zone, found["row"], found["col"])
        for number in np.unique(found["query"]).tolist():
            self._heaps[number].add(hits.take(np.flatnonzero(found["query"] == number)))

    def heap(self) -> TileHeap:
        """All that was found."""
        pixels = int(self._ground.known.sum())
        return TileHeap(tuple(each.best() for each in self._heaps), self._background, pixels)

    def _keep(self, chunk: Chunk, codes: NDArray[np.int8]) -> None:
        """Keep the scores of a chunk's pixels that are kept whatever they are."""
        side = self._inner
        if self.scores is not None:
            here = np.s_[chunk.row : chunk.row + side, chunk.col : chunk.col + side]
            mine, scales = (of[here].ravel() for of in (self._ground.known, self._ground.scales))
            scored = self._best.exact(codes, np.where(mine, scales, np.float32(1)))
            shown = np.where(mine & np.isfinite(scored), scored, np.nan)
            self.scores[(slice(None), *here)] = shown.reshape(-1, side, side)
        number = chunk.row // side * (self._tile.side // side) + chunk.col // side
        start, stop = self._stops[number - 1] if number else 0, self._stops[number]
        if start < stop:
            of = self._order[start:stop]
            row, col = np.divmod(self._drawn[of], self._tile.side)
            pixel = (row - chunk.row) * side + col - chunk.col
            scales = self._ground.scales[row, col]
            self._background[:, of] = self._best.exact(codes[:, pixel], scales)


def draw(tile: Tile, known: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
    """Numbers of pixels of a tile that are drawn at random among those that count, ascending.

    Parameters
    ----------
    tile
        The tile, by which alone the draw is decided.
    known : bool (side, side)
        Pixels that count.
    most
        Number of pixels that are drawn at most.
    """
    pixels = np.flatnonzero(known)
    if len(pixels) <= most:
        return pixels
    seed = hashlib.sha256(tile.name.encode()).digest()
    rng = np.random.default_rng(np.frombuffer(seed, np.uint32))
    return pixels[np.sort(rng.choice(len(pixels), most, replace=False))]
