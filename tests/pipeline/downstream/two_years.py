"""A small mosaic of two years on both sides of a zone line and of the equator."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.mosaic.store import Mosaic, create_store
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tests import samples

TILES = tuple(tile for tile in samples.TILES if tile.zone in (31, 32))
"""Four tiles on both sides of a zone line, the equator between them."""

FROM, TO = samples.YEARS

Pair = dict[tuple[Tile, int], Pixels]
"""Pixels by tile and year."""


def near(tile: Tile, year: int) -> Pixels:
    """Pixels of a tile that differ a little from year to year, as embeddings do."""
    found = samples.pixels(tile, FROM, dims=16)
    rng = np.random.default_rng([tile.zone, tile.row, tile.col, year])
    spread = rng.uniform(5, 20, found.scales.shape)[..., None]
    codes = found.codes + np.rint(rng.normal(0, spread, found.codes.shape))
    codes = np.clip(codes, -127, 127).astype(np.int8)
    codes[~np.isfinite(found.scales)] = 0
    return Pixels(codes, found.scales, {name: of.copy() for name, of in found.counts.items()})


def pair_of_years() -> Pair:
    """What a mosaic of the four tiles holds of two years."""
    return {(tile, year): near(tile, year) for tile in TILES for year in samples.YEARS}


def write_pair(folder: Path, held: Pair) -> Mosaic:
    """A mosaic of what is given; a tile that is not given was never made."""
    layout = Layout(samples.SIDE, 16)
    made = create_store(Storage(str(folder)), layout, samples.identity(), samples.YEARS, {31, 32})
    for year in samples.YEARS:
        tiles = [tile for tile in TILES if (tile, year) in held]
        samples.add_tiles(made, tiles, year, lambda tile, year: held[tile, year])
    return made
