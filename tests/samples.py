"""A small mosaic of random pixels at the places where stores go wrong.

Two zone lines (6 degrees east and the antimeridian), both sides of the equator, two years, water,
holes one row and many rows wide, and nested depths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.grid import Tile, Window, owned
from pipeline.identity import Identity, run_identity
from pipeline.mosaic import COUNTS, Layout, Mosaic, Pixels, create_store
from pipeline.storage import Storage

SIDE = 128
EQUATOR_ROW = 933_888 // SIDE
YEARS = (2018, 2019)
DEPTHS = (16, 32, 64)

# The tiles of each zone that hold its eastern or western meridian at the equator.
TILES = tuple(
    Tile(zone, row, col, SIDE)
    for zone, col in ((31, 532), (32, 11), (60, 532), (1, 11))
    for row in (EQUATOR_ROW - 1, EQUATOR_ROW)
)

WATER = (slice(20, 40), slice(30, 60))
HOLE = (slice(70, 90), slice(30, 60))
SLIT = (slice(100, 101), slice(10, 100))


def identity(**changed: object) -> Identity:
    """An identity such as a run has."""
    encoder = {"weights_sha256": "5eed" * 16, "card": {"name": "sample"}, "precision": "fp32"}
    return run_identity(encoder, "mpc", {"kernel": "bilinear"}, 32) | changed


def pixels(tile: Tile, year: int, dims: int = 128) -> Pixels:
    """Random pixels of a tile, the same each time, with water and holes."""
    rng = np.random.default_rng([tile.zone, tile.row, tile.col, year])
    shape = tile.window.shape
    codes = rng.integers(-127, 128, (*shape, dims), np.int8)
    scales = rng.uniform(0.001, 0.2, shape).astype(np.float32)
    scales[WATER], scales[HOLE], scales[SLIT] = np.nan, np.inf, np.inf
    mine = owned(tile.window)
    scales[~mine] = np.inf
    codes[~np.isfinite(scales)] = 0
    counts = {name: rng.integers(1, 200, shape, np.uint16) for name in COUNTS}
    for count in counts.values():
        count[~np.isfinite(scales)] = 0
    return Pixels(codes, scales, counts)


def part(of: Pixels, tile: Tile, window: Window) -> tuple[object, ...]:
    """Arguments of `ShardWriter.put` for a block of a tile."""
    at = window.within(tile.window)
    return window, of.codes[at], of.scales[at], {n: c[at] for n, c in of.counts.items()}


@dataclass(frozen=True)
class Sample:
    """The mosaic and what was written into it."""

    mosaic: Mosaic
    tiles: dict[tuple[Tile, int], Pixels]


def write_sample(storage: Storage) -> Sample:
    """Make the mosaic."""
    layout = Layout(SIDE, 128, DEPTHS)
    mosaic = create_store(storage, layout, identity(), YEARS, {tile.zone for tile in TILES})
    written = {}
    for year in YEARS:
        for tile in TILES:
            written[tile, year] = pixels(tile, year)
            with mosaic.writer(tile, year) as shard:
                for block in tile.window.blocks(SIDE):
                    shard.put(*part(written[tile, year], tile, block))
                shard.close()
    return Sample(mosaic, written)
