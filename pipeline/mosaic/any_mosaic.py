"""A mosaic to read, whoever made it: one of ours, or one that somebody else published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.contracts.state import State
from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.io.patience import PATIENCE
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import before_work
from tessera_mosaic.pipeline.mosaic.foreign import ForeignMosaic, foreign_mosaic
from tessera_mosaic.pipeline.mosaic.metadata import parse_root
from tessera_mosaic.pipeline.mosaic.mosaic_state import mosaic_state
from tessera_mosaic.pipeline.mosaic.part_reader import nothing, read_at, read_part
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.mosaic.store import ROOT, Mosaic
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, tiles_on

MOST_ASKED = 64
"""Shards that are asked for before a part counts as having some."""

READERS = 16
"""Questions for shards that are asked at once."""

AnyMosaic = Mosaic | ForeignMosaic
"""What is read in the same way: both have `years`, `zones`, `layout`, `identity` and `read`."""


def open_any(url: str, patience: float = PATIENCE) -> AnyMosaic:
    """The mosaic at a path or URL that a user gave, whoever made it.

    Parameters
    ----------
    url
        Path or URL of the mosaic.
    patience
        Seconds for which its store is asked again that is busy or does not answer.

    Raises
    ------
    BadInput
        If there is none.
    """
    storage = Storage(url, patience=patience)
    try:
        with before_work():
            data = storage.read_document(ROOT)
    except FileNotFoundError:
        raise BadInput(f"{storage.url} holds no mosaic: it has no {ROOT}") from None
    try:
        return Mosaic(**vars(parse_root(data)), storage=storage)
    except StoreError:
        return foreign_mosaic(storage, data)


def state_of(mosaic: AnyMosaic) -> State:
    """What a mosaic says of itself, but for its years, which its shards tell."""
    return mosaic_state(mosaic.layout, mosaic.identity, mosaic.zones)


def read_pixels(
    mosaic: AnyMosaic,
    year: int,
    zone: NDArray[np.integer],
    row: NDArray[np.integer],
    col: NDArray[np.integer],
) -> Pixels:
    """Scattered pixels at full depth, each inner chunk read once; fill where nothing is.

    Parameters
    ----------
    mosaic, year
        The mosaic, and the calendar year.
    zone, row, col : (pixels,)
        UTM zone of each pixel, and its row and column of the zone's lattice.

    Returns
    -------
    Pixels
        Codes int8 (pixels, dims), scales float32 (pixels,), counts uint16 (pixels,) by name.

    Raises
    ------
    StoreError
        If an object is damaged.
    """
    held = nothing((len(zone),), mosaic.layout)
    for number in np.unique(zone):
        of = np.flatnonzero(zone == number)
        if int(number) not in mosaic.zones:
            continue
        place = int(number), row[of].astype(np.int64), col[of].astype(np.int64)
        if isinstance(mosaic, ForeignMosaic):
            found = mosaic.read_at(*place, year)
        else:
            found = read_at(mosaic, *place, year)
        held.codes[of], held.scales[of] = found.codes, found.scales
        for name, count in found.counts.items():
            held.counts[name][of] = count
    return held


def part_of(mosaic: AnyMosaic, window: Window, year: int) -> Pixels:
    """A window at full depth, of which no more than its chunks are read."""
    if isinstance(mosaic, ForeignMosaic):
        return mosaic.read_window(window, year)
    return read_part(mosaic, window, year)


def seen_by(mosaic: AnyMosaic, window: Window) -> tuple[slice, slice]:
    """Rows and columns of a zone's arrays that hold a window, as far as they reach."""
    if isinstance(mosaic, ForeignMosaic):
        return mosaic.seen(window)
    bottom, right = window.row + window.height, window.col + window.width
    return slice(window.row, bottom), slice(window.col, right)


def has_shards(mosaic: AnyMosaic, windows: Iterable[Window], year: int) -> bool:
    """Whether any shard of embeddings lies on windows of a mosaic's zones.

    Windows of more than `MOST_ASKED` tiles are taken to have some.
    """
    side = mosaic.layout.side
    tiles: list[Tile] = []
    for window in windows:
        tiles += islice(tiles_on(window, side), MOST_ASKED + 1)
        if len(tiles) > MOST_ASKED:
            return True
    return next(tiles_with_shards(mosaic, year, tiles), None) is not None


def listed_tiles(mosaic: Mosaic, zone: int, year: int) -> list[Tile]:
    """Tiles of a zone and year by the keys of their shards, in order.

    Raises
    ------
    BadInput, StoreError
        If the store cannot be listed.
    """
    keys = mosaic.storage.list(mosaic.layout.scales.prefix(zone, mosaic.step(year)))
    places = (key.split("/")[-2:] for key in keys)
    return sorted(
        Tile(zone, int(row), int(col), mosaic.layout.side)
        for row, col in places
        if row.isdigit() and col.isdigit()
    )


def tiles_with_shards(mosaic: AnyMosaic, year: int, tiles: Iterable[Tile]) -> Iterator[Tile]:
    """Tiles on which shards of embeddings lie, in the order of the tiles."""

    def holds(tile: Tile) -> bool:
        if isinstance(mosaic, ForeignMosaic):
            return mosaic.holds(tile, year)
        return mosaic.storage.exists(mosaic.keys(tile, year)[-1])

    asked = [tile for tile in tiles if tile.zone in mosaic.zones]
    with ThreadPoolExecutor(READERS, thread_name_prefix="shards") as pool:
        yield from (
            tile for tile, there in zip(asked, pool.map(holds, asked), strict=True) if there
        )
