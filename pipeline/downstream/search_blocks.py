"""A first look: the means of blocks that `publish --blocks` made, searched in place of pixels."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.block_vectors import METRES, BlockTable, decode_blocks
from tessera_mosaic.pipeline.downstream.search_heap import Heap, Hits
from tessera_mosaic.pipeline.downstream.search_plan import PreparedSearch
from tessera_mosaic.pipeline.downstream.search_result import Background
from tessera_mosaic.pipeline.downstream.search_scan import best_pixels
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.keys import BLOCKS, blocks_key
from tessera_mosaic.pipeline.ledger.map_recipe import read_map_recipe
from tessera_mosaic.pipeline.ledger.records import State
from tessera_mosaic.pipeline.ledger.summary import find_summaries
from tessera_mosaic.pipeline.tiling.lattice import CHUNK, Tile

READERS = 16
"""Files that are read at once."""

NO_BLOCKS = "it has no blocks: run `publish --blocks`"


@dataclass(frozen=True)
class FirstLook:
    """What the blocks of a mosaic tell of a search.

    Parameters
    ----------
    outcome
        Tiles whose blocks were searched, and those without.
    hits
        The best blocks of each query, ranked, each by the pixel at its centre.
    background
        Scores of blocks all over the ground.
    read
        Tiles that were searched.
    failed
        Why tiles were not, by their names.
    blocks
        Number of blocks that were searched.
    """

    outcome: Outcome
    hits: list[Hits]
    background: Background
    read: list[Tile]
    failed: dict[str, str]
    blocks: int

    @property
    def note(self) -> str:
        """What has to be said of it."""
        return (
            f"this is a first look: the means of {self.blocks:,} blocks of {METRES} m were "
            "searched in place of pixels, so what is smaller is missed; without `blocks` every "
            "pixel is searched"
        )


def look_at_blocks(prepared: PreparedSearch) -> FirstLook:
    """Search the blocks of a mosaic.

    Parameters
    ----------
    prepared
        What is looked for, and where.

    Raises
    ------
    BadInput
        If the mosaic has no blocks of the year.
    """
    began = time.monotonic()
    request, maker = prepared.request, prepared.maker
    below = _place(prepared)
    read, empty, failed = _standing(below, prepared)
    scanner = best_pixels(maker.queries)
    heaps = [Heap(request.top, maker.square) for _ in maker.queries]
    inside = None if prepared.ground.inside is None else shapely.from_wkb(prepared.ground.inside)
    scores, weights = [np.zeros((len(heaps), 0))], [np.zeros(0)]
    blocks = pixels = 0
    for tile, table in _tables(below, request.year, read):
        wanted = np.ones(len(table.row), bool)
        if inside is not None:
            wanted = shapely.contains_xy(inside, table.lon, table.lat)
        which = np.flatnonzero(wanted)
        if not len(which):
            continue
        found = scanner.exact(np.ascontiguousarray(table.mean[:, which]), table.scale[which])
        for heap, score in zip(heaps, found, strict=True):
            heap.add(_hits(tile, table, which, score))
        every = -(-len(which) // maker.background)
        weight = table.pixels[which].astype(np.float64)
        scores.append(found[:, ::every])
        weights.append(weight[::every] * (weight.sum() / weight[::every].sum()))
        blocks, pixels = blocks + len(which), pixels + int(weight.sum())
    told, weight = np.concatenate(scores, axis=1), np.concatenate(weights)
    order = np.argsort(told, axis=1, kind="stable")
    background = Background(np.take_along_axis(told, order, axis=1), weight[order], pixels)
    outcome = Outcome(
        tiles=len(prepared.ground.tiles),
        done=len(read) + len(empty),
        failed=0,
        missing=len(failed),
        seconds=time.monotonic() - began,
        failures={},
        measures={"pixels_embedded": pixels},
    )
    hits = [heap.best() for heap in heaps]
    return FirstLook(outcome, hits, background, [*read, *empty], failed, blocks)


def _place(prepared: PreparedSearch) -> Storage:
    """Where the blocks of a mosaic lie, which has some of the year."""
    storage, year = prepared.mosaic.storage, prepared.request.year
    below = Storage(storage.locate(BLOCKS.rstrip("/")), patience=storage.patience)
    try:
        made = year in read_map_recipe(below).years
    except FileNotFoundError:
        made = False
    if not made:
        raise BadInput(f"{storage.url} has none of {year}: run `publish --blocks`", "blocks")
    return below


def _standing(
    below: Storage, prepared: PreparedSearch
) -> tuple[list[Tile], list[Tile], dict[str, str]]:
    """Tiles with blocks, those with nothing to see, and why others have none."""
    read: list[Tile] = []
    empty: list[Tile] = []
    failed: dict[str, str] = {}
    for found in find_summaries(below, prepared.request.year, prepared.ground.tiles):
        state = None if found.summary is None else found.summary.state
        if state is State.DONE:
            read.append(found.tile)
        elif state is State.EMPTY:
            empty.append(found.tile)
        else:
            failed[found.tile.name] = NO_BLOCKS
    return read, empty, failed


def _tables(below: Storage, year: int, tiles: Sequence[Tile]) -> Iterator[tuple[Tile, BlockTable]]:
    """The blocks of tiles, in their order."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="blocks") as pool:
        for start in range(0, len(tiles), 16 * READERS):
            part = tiles[start : start + 16 * READERS]
            yield from zip(
                part,
                pool.map(lambda tile: decode_blocks(below.read(blocks_key(tile, year))), part),
                strict=True,
            )


def _hits(
    tile: Tile, table: BlockTable, which: NDArray[np.int64], score: NDArray[np.float64]
) -> Hits:
    """Blocks as hits, each by the pixel at its centre."""
    zone = np.full(len(which), tile.zone, np.int32)
    row, col = (of[which] + np.int32(CHUNK // 2) for of in (table.row, table.col))
    return Hits(score, zone, row, col)
