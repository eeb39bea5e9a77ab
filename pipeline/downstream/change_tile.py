"""The maker of a map of change: from a tile's embeddings in two years to how far they lie apart.

A tile is read chunk by chunk, both years side by side. Sums of products of codes are exact, so that
bytes do not depend on how many threads or processes are at work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely import from_wkb

from tessera_mosaic.pipeline.downstream.change import (
    BEYOND,
    NOTHING,
    Noise,
    PixelState,
    cosines_of,
    pixel_states,
)
from tessera_mosaic.pipeline.downstream.foreign_tile import read_rows
from tessera_mosaic.pipeline.downstream.map_objects import empty_tile, put_tile, tile_keys
from tessera_mosaic.pipeline.downstream.map_pixels import LARGEST_WINDOW, column_areas
from tessera_mosaic.pipeline.downstream.map_store import MapStore, read_map
from tessera_mosaic.pipeline.downstream.year_pairs import PairedSquare, PairReader
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import Record, State, TileResult
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, open_any
from tessera_mosaic.pipeline.tiling.lattice import CHUNK, Tile
from tessera_mosaic.pipeline.tiling.region import wanted_pixels

CHANGED = "changed"
"""What a tile's record calls its pixels beyond the noise."""

COUNTED = {
    PixelState.COMPARED: "embedded",
    PixelState.RADAR_GAP: "radar_gap",
    PixelState.NOT_IN_BOTH: "not_in_both",
}
"""What a tile's record calls the pixels of each state; those compared are what it is a map of."""


@dataclass(frozen=True)
class ChangeMaker:
    """Makes the tiles of a map of change.

    Parameters
    ----------
    store
        Path or URL of the mosaic.
    years
        The earlier and the later calendar year.
    fingerprint
        Digest of all that decides the bytes of a tile.
    noise
        How far unchanged ground lies apart.
    inside
        The region as WKB where only its own pixels are wanted; None for whole tiles.
    """

    store: str
    years: tuple[int, int]
    fingerprint: str
    noise: Noise
    inside: bytes | None = None

    def steps(self, tile: Tile) -> int:
        """Number of rows of chunks in which a tile is made."""
        return tile.side // CHUNK

    def open(self, storage: Storage, threads: int) -> TileComparer:
        """Open mosaic and map in a worker process."""
        return TileComparer(self, storage, threads)


class TileComparer:
    """Makes tiles of a map of change in one worker process.

    Parameters
    ----------
    maker
        What is made.
    storage
        The store of the map.
    threads
        Number of cores that the process may use.
    """

    def __init__(self, maker: ChangeMaker, storage: Storage, threads: int) -> None:
        self._maker, self._storage = maker, storage
        self._map: MapStore = read_map(storage)
        self._mosaic: AnyMosaic = open_any(maker.store, storage.patience)
        self._pool = ThreadPoolExecutor(threads, "change")

    def make(
        self, tile: Tile, before: Record | None, meter: Meter, writing: Callable[[], None]
    ) -> TileResult | None:
        """Read a tile's embeddings of both years, compare them, write arrays and GeoTIFF."""
        maker = self._maker
        pair = PairReader(self._mosaic, tile, maker.years)
        with meter("find"), store_errors(maker.store):
            sources = pair.sources
        read = tuple(source for source in sources if source)
        if before is not None and before.scenes() == set(read):
            return None
        inside = None if maker.inside is None else from_wkb(maker.inside)
        wanted = wanted_pixels(tile.window, 0, inside)
        values = empty_tile(self._map.layout)
        if read:
            with meter("read"), store_errors(maker.store):
                values["state"] = pixel_states(wanted, pair.scales(), pair.counts())
            if len(read) == len(sources):
                self._compare(pair, values, meter)
        pixels = {"owned": int(wanted.sum())} | count_states(tile, values)
        with store_errors(self._storage.url):
            writing()
            if (values["state"] == NOTHING).all():
                return TileResult(State.EMPTY, scenes_used=read, pixels=pixels)
            with meter("write"):
                objects = put_tile(self._map, tile, maker.years[1], values)
        return TileResult(State.DONE, scenes_used=read, pixels=pixels, objects=objects)

    def keys(self, tile: Tile) -> Iterable[str]:
        """Keys of the shards of a tile, and of its GeoTIFF."""
        return tile_keys(self._map, tile, self._maker.years[1])

    def renew(self) -> None:
        """Credentials are the store's own, and renewed by its client."""

    def _compare(self, pair: PairReader, values: dict[str, NDArray[Any]], meter: Meter) -> None:
        """Put the cosines of a tile's pixels, and what they come to, where they belong."""
        states = values["state"]
        compared = states == PixelState.COMPARED

        def cosines(square: PairedSquare) -> tuple[PairedSquare, NDArray[np.float64] | None]:
            if not compared[square.here].any():
                return square, None
            return square, cosines_of((square.one.codes(), square.other.codes()))

        for squares in read_rows(pair.rows(), meter, self._maker.store):
            with meter("encode"):
                for square, found in self._pool.map(cosines, squares):
                    if found is not None:
                        mine = compared[square.here]
                        here = found.reshape(mine.shape)[mine]
                        values["cosine"][square.here][mine] = here
                        values["value"][square.here][mine] = self._maker.noise.change(here)
            meter.add(blocks=1)
        # Nothing but zeros points nowhere: there is no cosine to it.
        states[compared & ~np.isfinite(values["cosine"])] = PixelState.NOT_IN_BOTH


def count_states(tile: Tile, values: dict[str, NDArray[Any]]) -> dict[str, int]:
    """Pixels of a tile by state and beyond the noise, and the true size of these in m2, by name."""
    counts = np.bincount(values["state"].ravel(), minlength=len(PixelState))
    found = {name: int(counts[state]) for state, name in COUNTED.items()}
    changed, size = values["value"] >= BEYOND, 0.0
    for window in tile.window.blocks(LARGEST_WINDOW):
        size += float((changed[window.within(tile.window)] * column_areas(window)).sum())
    return found | {CHANGED: int(changed.sum()), f"{CHANGED}_square_metres": round(size)}
