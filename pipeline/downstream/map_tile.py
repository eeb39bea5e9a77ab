"""The maker of a map: from a tile's embeddings and a head to classes or values.

A tile is read chunk by chunk. Every chunk is scored by itself, on one thread, so that its bytes do
not depend on how many threads or processes are at work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from shapely import from_wkb

from tessera_mosaic.model.heads.files import decode_head
from tessera_mosaic.model.heads.head import Head
from tessera_mosaic.model.heads.scoring import Scored, scorer_of
from tessera_mosaic.pipeline.downstream.extra_layer import ExtraLayer
from tessera_mosaic.pipeline.downstream.foreign_tile import Chunk, Reader, read_rows, reader_of
from tessera_mosaic.pipeline.downstream.map_layout import (
    DISTANCE_STEP,
    MEASURES,
    NO_DATA,
    NO_QUALITY,
    UNKNOWN,
    MapLayout,
)
from tessera_mosaic.pipeline.downstream.map_objects import empty_tile, put_tile, tile_keys
from tessera_mosaic.pipeline.downstream.map_pixels import LARGEST_WINDOW, column_areas
from tessera_mosaic.pipeline.downstream.map_store import MapStore, read_map
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.ledger.keys import HEAD
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import Record, State, TileResult
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, open_any
from tessera_mosaic.pipeline.mosaic.layout import COUNTS
from tessera_mosaic.pipeline.tiling.lattice import CHUNK, Tile
from tessera_mosaic.pipeline.tiling.region import wanted_pixels

FULL = 254
"""What `confidence` and `probability` hold of a probability of 1."""


@dataclass(frozen=True)
class MapMaker:
    """Makes the tiles of a map.

    Parameters
    ----------
    store
        Path or URL of the mosaic.
    year
        Calendar year of the embeddings.
    fingerprint
        Digest of all that decides the bytes of a tile.
    limit
        Mahalanobis distance beyond which a pixel is of no known class; None for no limit.
    shift
        What is added to every embedding, one value a dimension; None for nothing.
    inside
        The region as WKB where only its own pixels are wanted; None for whole tiles.
    extra
        Numbers of another source that the head takes; None where it takes none.
    """

    store: str
    year: int
    fingerprint: str
    limit: float | None = None
    shift: tuple[float, ...] | None = None
    inside: bytes | None = None
    extra: ExtraLayer | None = None

    def steps(self, tile: Tile) -> int:
        """Number of rows of chunks in which a tile is made."""
        return tile.side // CHUNK

    def open(self, storage: Storage, threads: int) -> TileMapper:
        """Open mosaic, map and head in a worker process."""
        return TileMapper(self, storage, threads)


class TileMapper:
    """Makes tiles of a map in one worker process.

    Parameters
    ----------
    maker
        What is made.
    storage
        The store of the map.
    threads
        Number of cores that the process may use.
    """

    def __init__(self, maker: MapMaker, storage: Storage, threads: int) -> None:
        self._maker, self._storage = maker, storage
        self._map: MapStore = read_map(storage)
        self._mosaic: AnyMosaic = open_any(maker.store, storage.patience)
        self._head: Head = decode_head(storage.read_document(HEAD))
        layout = self._map.layout
        shift = None if maker.shift is None else np.array(maker.shift, np.float32)
        distances = layout.quality or maker.limit is not None or not layout.of_classes
        self._score = scorer_of(self._head, distances, shift)
        self._codes = np.array([each.code for each in layout.classes], np.uint8)
        self._pool = ThreadPoolExecutor(threads, "map", torch.set_num_threads, (1,))

    def make(
        self, tile: Tile, before: Record | None, meter: Meter, writing: Callable[[], None]
    ) -> TileResult | None:
        """Read a tile's embeddings, score them, write its arrays and its GeoTIFF."""
        maker, layout = self._maker, self._map.layout
        reader = reader_of(self._mosaic, tile, maker.year)
        with meter("find"), store_errors(maker.store):
            source = reader.source()
        if before is not None and before.scenes() == ({source} if source else set()):
            return None
        inside = None if maker.inside is None else from_wkb(maker.inside)
        wanted = wanted_pixels(tile.window, 0, inside)
        values = empty_tile(layout)
        mapped = 0
        if source is not None:
            with meter("read"), store_errors(maker.store):
                scales = reader.scales()
            known = wanted & np.isfinite(scales)
            layer = None
            if maker.extra is not None and known.any():
                with meter("read"):
                    layer = maker.extra.on(tile.window)
                known &= np.isfinite(layer).all(axis=0)
            mapped = int(known.sum())
            if mapped:
                self._fill(reader, known, scales, layer, values, meter)
        with store_errors(self._storage.url):
            writing()
            if not mapped:
                return TileResult(
                    State.EMPTY,
                    scenes_used=(source,) if source else (),
                    pixels={"owned": int(wanted.sum()), "embedded": 0},
                )
            with meter("write"):
                objects = put_tile(self._map, tile, maker.year, values)
        return TileResult(
            State.DONE,
            scenes_used=(source,) if source else (),
            pixels={"owned": int(wanted.sum()), "embedded": mapped}
            | count_pixels(layout, tile, values),
            objects=objects,
        )

    def keys(self, tile: Tile) -> Iterable[str]:
        """Keys of the shards of a tile, and of its GeoTIFF."""
        return tile_keys(self._map, tile, self._maker.year)

    def renew(self) -> None:
        """Credentials are the store's own, and renewed by its client."""

    def _fill(
        self,
        reader: Reader,
        known: NDArray[np.bool_],
        scales: NDArray[np.float32],
        layer: NDArray[np.float32] | None,
        values: dict[str, NDArray[Any]],
        meter: Meter,
    ) -> None:
        """Score the chunks of a tile and put what they tell where it belongs."""
        side = CHUNK

        def score(chunk: Chunk) -> tuple[Chunk, Scored | None]:
            here = np.s_[chunk.row : chunk.row + side, chunk.col : chunk.col + side]
            mine = known[here]
            if not mine.any():
                return chunk, None
            extra = None
            if layer is not None:
                extra = np.where(mine, layer[(slice(None), *here)], 0).reshape(len(layer), -1)
            scale = np.where(mine, scales[here], 0).ravel()
            return chunk, self._score(chunk.codes(), scale, extra)

        strips: NDArray[np.bool_] = np.any(known.reshape(-1, side, known.shape[1]), axis=(1, 2))
        meter.plan(int(strips.sum()), of=len(strips))
        rows: Iterator[Sequence[Chunk]] = reader.rows()
        for chunks in read_rows(rows, meter, self._maker.store):
            with meter("encode"):
                for chunk, scored in self._pool.map(score, chunks):
                    if scored is not None:
                        here = np.s_[chunk.row : chunk.row + side, chunk.col : chunk.col + side]
                        self._tell(scored, known[here], here, values)
            # A row of chunks that are all fill has none.
            meter.add(blocks=int(bool(chunks) and strips[chunks[0].row // side]))
        if self._map.layout.quality:
            with meter("read"), store_errors(self._maker.store):
                counts = reader.counts()
            for number, name in enumerate(COUNTS):
                if name in counts:
                    seen = np.minimum(counts[name], NO_QUALITY - 1)
                    values["quality"][number][known] = seen[known]

    def _tell(
        self,
        scored: Scored,
        mine: NDArray[np.bool_],
        here: tuple[slice, slice],
        values: dict[str, NDArray[Any]],
    ) -> None:
        """Put what a chunk's pixels come to into the arrays of the tile."""
        shape, layout, limit = mine.shape, self._map.layout, self._maker.limit
        distance = None if scored.distance is None else scored.distance.reshape(shape)
        beyond = None
        if distance is not None:
            if limit is not None:
                beyond = distance > np.float32(limit)
            if layout.quality:
                steps = np.minimum(np.rint(distance / np.float32(DISTANCE_STEP)), NO_QUALITY - 1)
                measured = values["quality"][(MEASURES.index("distance"), *here)]
                np.copyto(measured, steps, casting="unsafe", where=mine)
        if layout.of_classes:
            of = self._codes[scored.best].reshape(shape)
            sure = np.rint(scored.sure * np.float32(FULL)).astype(np.uint8).reshape(shape)
            if beyond is not None:
                of[beyond], sure[beyond] = UNKNOWN, 0
            np.copyto(values["class"][here], of, where=mine)
            np.copyto(values["confidence"][here], sure, where=mine)
            if layout.probabilities:
                share = np.rint(scored.outputs * np.float32(FULL)).astype(np.uint8)
                told = values["probability"][(slice(None), *here)]
                np.copyto(told, share.reshape(-1, *shape), where=mine)
            return
        found = {"value": scored.outputs[0].reshape(shape)}
        if distance is not None:
            pixels = np.float32(max(len(self._head.pixels), 1))
            spread = np.sqrt(1 + (1 + np.square(distance)) / pixels)
            found["uncertainty"] = np.float32(self._head.error) * spread
        for name, each in found.items():
            if beyond is not None:
                each[beyond] = np.nan
            np.copyto(values[name][here], each, where=mine)


def count_pixels(layout: MapLayout, tile: Tile, values: dict[str, NDArray[Any]]) -> dict[str, int]:
    """Pixels of each class of a tile, and their true size in square metres, by name."""
    if not layout.of_classes:
        return {}
    pixels, areas = np.zeros(256, np.int64), np.zeros(256)
    for window in tile.window.blocks(LARGEST_WINDOW):
        classes = values["class"][window.within(tile.window)]
        sizes = np.broadcast_to(column_areas(window), classes.shape)
        pixels += np.bincount(classes.ravel(), minlength=256)
        areas += np.bincount(classes.ravel(), sizes.ravel(), 256)
    found = {}
    for code in np.flatnonzero(pixels[:NO_DATA]).tolist():
        found[f"class_{code}"] = int(pixels[code])
        found[f"square_metres_{code}"] = round(float(areas[code]))
    return found
