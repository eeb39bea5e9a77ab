"""The maker of a search: from a tile's embeddings and queries to the best of its pixels.

A tile is read chunk by chunk, only where a pixel may be a hit. Its hits and the scores of some of
its pixels, drawn at random, are one small object; whoever makes it, it has the same bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from shapely import from_wkb

from tessera_mosaic.model.heads.best import Ground
from tessera_mosaic.pipeline.downstream.foreign_tile import Chunk, Reader, read_rows, reader_of
from tessera_mosaic.pipeline.downstream.search_queries import Query
from tessera_mosaic.pipeline.downstream.search_raster import encode_scores
from tessera_mosaic.pipeline.downstream.search_scan import TileScan, best_pixels, draw
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
        self._best = best_pixels(maker.shallow or maker.queries)
        self._depth = maker.shallow[0].dims if maker.shallow else None
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
        drawn = draw(tile, known, maker.background)
        top, left = tile.row * tile.side, tile.col * tile.side
        scan = TileScan(
            tile,
            Ground(known, scales, top, left, maker.square),
            reader.inner,
            self._best,
            maker.top,
            drawn[:0] if maker.shallow else drawn,
            maker.scores,
        )
        if known.any():
            self._scan(scan, reader, meter)
        heap = scan.heap()
        if maker.shallow and known.any():
            with meter("read"), store_errors(maker.store):
                heap = replace(heap, background=self._with_all_values(tile, drawn))
        objects = {heap_key(tile): heap.encode()}
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

    def _scan(self, scan: TileScan, reader: Reader, meter: Meter) -> None:
        """Score the chunks of a tile that hold a pixel which counts."""
        rows: Iterator[Sequence[Chunk]] = reader.rows(scan.needed())
        for chunks in read_rows(rows, meter, self._maker.store):
            with meter("encode"):
                score = functools.partial(scan.score, limits=scan.limits())
                size = -(-len(chunks) // self._threads) or 1
                parts = [chunks[at : at + size] for at in range(0, len(chunks), size)]
                for found in self._pool.map(score, parts):
                    scan.add(found)
            meter.add(blocks=max(1, reader.inner // CHUNK))

    def _with_all_values(self, tile: Tile, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores (queries, drawn) of pixels of a tile of which a nested depth was scanned."""
        row, col = np.divmod(drawn, tile.side)
        found = read_pixels(
            self._mosaic,
            self._maker.year,
            np.full(len(drawn), tile.zone),
            row + tile.row * tile.side,
            col + tile.col * tile.side,
        )
        codes = np.ascontiguousarray(found.codes.T)
        return best_pixels(self._maker.queries).exact(codes, found.scales)
