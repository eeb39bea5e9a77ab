"""The maker of a search: from a tile's embeddings and queries to the best of its pixels.

A tile is read chunk by chunk, only where a pixel may be a hit. Its hits and the scores of some of
its pixels, drawn at random, are one small object; whoever makes it, it has the same bytes.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from shapely import from_wkb

from tessera_mosaic.pipeline.downstream.foreign_tile import Chunk, Reader, read_rows, reader_of
from tessera_mosaic.pipeline.downstream.search_heap import Heap, Hits, TileHeap
from tessera_mosaic.pipeline.downstream.search_queries import Query
from tessera_mosaic.pipeline.downstream.search_raster import encode_scores
from tessera_mosaic.pipeline.downstream.search_scan import Batch, Candidates, Scanner, squares_of
from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.io.stored_object import StoredObject
from tessera_mosaic.pipeline.ledger.keys import heap_key, score_key
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import Record, State, TileResult, known_record
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, open_any, read_pixels
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.lattice import CHUNK, Tile
from tessera_mosaic.pipeline.tiling.region import wanted_pixels

BATCH = 32
"""Chunks that a thread scores together at most: what is done for all of them at once is cheaper."""


@dataclass(frozen=True)
class SearchMaker:
    """Searches the tiles of a mosaic.

    Parameters
    ----------
    store, year
        Path or URL of the mosaic, and the calendar year.
    fingerprint
        Digest of all that decides the bytes of a tile's heap.
    queries
        What is looked for.
    top, square
        Number of hits that a tile keeps of each query, and side in pixels of the squares of ground
        that have one at most.
    background
        Number of pixels of a tile whose scores are kept.
    min_observations
        Least number of observations by Sentinel-2 of a hit.
    inside
        The region as WKB; None for whole tiles.
    promised
        Whether the mosaic was asked for all of the tiles, so that what it lacks is a failure.
    shallow
        The queries of a nested depth by which candidates are found; none for `queries` themselves.
    scores
        Whether the scores of all pixels are kept.
    """

    store: str
    year: int
    fingerprint: str
    queries: tuple[Query, ...]
    top: int
    square: int
    background: int
    min_observations: int = 0
    inside: bytes | None = None
    promised: bool = False
    shallow: tuple[Query, ...] = ()
    scores: bool = False

    def steps(self, tile: Tile) -> int:
        """Number of rows of chunks of a tile."""
        return tile.side // CHUNK

    def open(self, storage: Storage, threads: int) -> TileSearcher:
        """Open the mosaic in a worker process."""
        return TileSearcher(self, storage, threads)


class TileSearcher:
    """Searches tiles in one worker process.

    Parameters
    ----------
    maker
        What is looked for, and where.
    storage
        Where the heaps go.
    threads
        Number of cores that the process may use.
    """

    def __init__(self, maker: SearchMaker, storage: Storage, threads: int) -> None:
        self._maker, self._storage = maker, storage
        self._mosaic: AnyMosaic = open_any(maker.store, storage.patience)
        self._exact = Scanner(maker.queries)
        self._scanner = Scanner(maker.shallow) if maker.shallow else self._exact
        self._depth = maker.shallow[0].dims if maker.shallow else None
        self._squares = functools.lru_cache(4096)(squares_of)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "search", torch.set_num_threads, (1,))

    def make(
        self, tile: Tile, before: Record | None, meter: Meter, writing: Callable[[], None]
    ) -> TileResult | None:
        """Read a tile's embeddings, score them, and put what was found."""
        maker = self._maker
        reader = reader_of(self._mosaic, tile, maker.year, self._depth)
        with meter("find"), store_errors(maker.store):
            source = reader.source()
            if source is None:
                self._check_made(tile)
        if before is not None and before.scenes() == ({source} if source else set()):
            return None
        known = np.zeros((tile.side, tile.side), bool)
        scales = np.full(known.shape, np.inf, np.float32)
        if source is not None:
            with meter("read"), store_errors(maker.store):
                scales = reader.scales()
                known = self._known(tile, reader, scales)
        scan = _TileScan(maker, tile, known, scales, reader.inner)
        if known.any():
            self._scan(scan, reader, meter)
            if maker.shallow:
                with meter("read"), store_errors(maker.store):
                    self._draw_deep(scan)
        objects = {heap_key(tile): scan.heap().encode()}
        if scan.scores is not None:
            objects[score_key(tile)] = encode_scores(tile, scan.scores)
        writing()
        with meter("write"):
            for key, data in objects.items():
                self._storage.write(key, data)
        return TileResult(
            State.DONE,
            scenes_used=(source,) if source else (),
            pixels={"owned": int(known.size), "embedded": int(known.sum())},
            objects=tuple(StoredObject.of(key, data) for key, data in objects.items()),
        )

    def keys(self, tile: Tile) -> Iterable[str]:
        """Keys of what is found in a tile."""
        return (heap_key(tile), score_key(tile))

    def renew(self) -> None:
        """Credentials are the store's own, and renewed by its client."""

    def _check_made(self, tile: Tile) -> None:
        """Check that a tile without embeddings is known to be empty, where it was promised.

        Raises
        ------
        StoreError
            If the mosaic was asked for it and has not made it.
        """
        if not (self._maker.promised and isinstance(self._mosaic, Mosaic)):
            return
        record = known_record(self._mosaic.storage, self._maker.year, tile)
        if record is None or record.state is not State.EMPTY:
            raise StoreError(
                f"{self._maker.store} was asked for the tile and does not have it: make it there"
            )

    def _known(self, tile: Tile, reader: Reader, scales: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Pixels of a tile that may be hits: bool (side, side)."""
        maker = self._maker
        inside = None if maker.inside is None else from_wkb(maker.inside)
        known = wanted_pixels(tile.window, 0, inside) & np.isfinite(scales)
        if maker.min_observations and known.any():
            known &= reader.counts()["s2"] >= maker.min_observations
        return known

    def _scan(self, scan: _TileScan, reader: Reader, meter: Meter) -> None:
        """Score the chunks of a tile that hold a pixel which counts."""
        side = reader.inner
        across = scan.tile.side // side
        squares = scan.known.reshape(across, side, across, side)
        needed: NDArray[np.bool_] = np.any(squares, axis=(1, 3))

        def found(chunks: Sequence[Chunk]) -> tuple[Sequence[Chunk], Candidates | None]:
            batch = scan.batch(chunks, side, self._squares, self._scanner)
            scan.tell(chunks, side, batch, self._exact)
            return chunks, self._scanner.candidates(batch, limits)

        rows: Iterator[Sequence[Chunk]] = reader.rows(needed)
        for chunks in read_rows(rows, meter, self._maker.store):
            with meter("encode"):
                limits = scan.limits()
                size = min(BATCH, -(-len(chunks) // self._threads) or 1)
                parts = [chunks[at : at + size] for at in range(0, len(chunks), size)]
                for some, candidates in self._pool.map(found, parts):
                    if candidates is not None:
                        scan.add(some, side, candidates)
            meter.add(blocks=max(1, side // CHUNK))

    def _draw_deep(self, scan: _TileScan) -> None:
        """Score the drawn pixels with all of their values, where a nested depth was scanned."""
        tile, drawn = scan.tile, scan.drawn
        row, col = np.divmod(drawn, tile.side)
        zone = np.full(len(drawn), tile.zone)
        found = read_pixels(
            self._mosaic,
            self._maker.year,
            zone,
            row + tile.row * tile.side,
            col + tile.col * tile.side,
        )
        codes = np.ascontiguousarray(found.codes.T)
        scan.background[:] = self._exact.exact(codes, found.scales)


class _TileScan:
    """What is known of a tile while it is scanned."""

    def __init__(
        self,
        maker: SearchMaker,
        tile: Tile,
        known: NDArray[np.bool_],
        scales: NDArray[np.float32],
        side: int,
    ) -> None:
        self._square = maker.square
        self.tile, self.known, self.scales_of_tile = tile, known, scales
        self.heaps = [Heap(maker.top, maker.square) for _ in maker.queries]
        self.drawn = draw(tile, known, maker.background)
        self.drawn_in = in_chunks(self.drawn, tile.side, side)
        self.background = np.full((len(maker.queries), len(self.drawn)), -np.inf)
        self._shallow = bool(maker.shallow)
        shape = (len(maker.queries), tile.side, tile.side)
        self.scores = np.full(shape, np.nan, np.float32) if maker.scores else None

    def limits(self) -> NDArray[np.float64]:
        """Scores below which nobody is among the best of a query: float64 (queries,)."""
        return np.array([heap.limit for heap in self.heaps])

    def batch(
        self,
        chunks: Sequence[Chunk],
        side: int,
        squares: Callable[..., NDArray[np.int32]],
        scanner: Scanner,
    ) -> Batch:
        """Chunks with what is known of their pixels, and their scores in single precision."""
        tile, square = self.tile, self._square
        places = [np.s_[each.row : each.row + side, each.col : each.col + side] for each in chunks]
        corners = [
            (tile.row * tile.side + each.row, tile.col * tile.side + each.col) for each in chunks
        ]
        scales = np.stack([self.scales_of_tile[here].ravel() for here in places])
        known = np.stack([self.known[here].ravel() for here in places])
        quick = np.empty((len(chunks), len(self.heaps), side**2), np.float32)
        codes = []
        for k, chunk in enumerate(chunks):
            codes.append(chunk.codes())
            quick[k] = scanner.quick(codes[k], scales[k], known[k])
        return Batch(
            codes,
            quick,
            scales,
            known,
            np.stack(
                [squares(top % square, left % square, side, side, square) for top, left in corners]
            ),
        )

    def tell(self, chunks: Sequence[Chunk], side: int, batch: Batch, scanner: Scanner) -> None:
        """Keep the scores of pixels that are kept whatever they are."""
        if self._shallow:
            return
        for number, chunk in enumerate(chunks):
            codes, scales, mine = batch.codes[number], batch.scales[number], batch.known[number]
            here = np.s_[chunk.row : chunk.row + side, chunk.col : chunk.col + side]
            if self.scores is not None:
                scored = scanner.exact(codes, np.where(mine, scales, np.float32(1)))
                shown = np.where(mine & np.isfinite(scored), scored, np.nan)
                self.scores[(slice(None), *here)] = shown.reshape(-1, side, side)
            of = self.drawn_in[chunk.row // side, chunk.col // side]
            if len(of):
                row, col = np.divmod(self.drawn[of], self.tile.side)
                pixel = (row - chunk.row) * side + col - chunk.col
                self.background[:, of] = scanner.exact(codes[:, pixel], scales[pixel])

    def add(self, chunks: Sequence[Chunk], side: int, found: Candidates) -> None:
        """Add candidates to the heaps of their queries."""
        tile = self.tile
        corner = np.array([(each.row, each.col) for each in chunks])[found.chunk]
        row = (tile.row * tile.side + corner[:, 0] + found.pixel // side).astype(np.int32)
        col = (tile.col * tile.side + corner[:, 1] + found.pixel % side).astype(np.int32)
        every = Hits(found.score, np.full(len(row), tile.zone, np.int32), row, col)
        for number in np.unique(found.query).tolist():
            self.heaps[number].add(every.take(np.flatnonzero(found.query == number)))

    def heap(self) -> TileHeap:
        """All that was found."""
        pixels = int(self.known.sum())
        return TileHeap(tuple(each.best() for each in self.heaps), self.background, pixels)


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


def in_chunks(pixels: NDArray[np.int64], width: int, side: int) -> NDArray[np.object_]:
    """Places in a list of a tile's pixels of those that lie in each chunk: (chunks, chunks)."""
    across = width // side
    found = np.empty((across, across), object)
    number = pixels // width // side * across + pixels % width // side
    order = np.argsort(number, kind="stable")
    stops = np.cumsum(np.bincount(number, minlength=across**2))
    for chunk, of in enumerate(np.split(order, stops[:-1])):
        found[divmod(chunk, across)] = of
    return found
