"""A small simulated mosaic over two zones, and what a search of it finds by brute force."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.mosaic.store import Mosaic, create_store
from tessera_mosaic.pipeline.tiling.lattice import (
    NORTH_EDGE,
    PIXEL,
    WEST_EDGE,
    Tile,
    from_lonlat,
    to_lonlat,
)
from tessera_mosaic.pipeline.tiling.ownership import owned
from tests import samples

SIDE, YEAR, DEPTH = 64, 2024, 16


def tiles() -> list[Tile]:
    """Sixteen tiles, eight on either side of the meridian of 6 degrees."""
    found = []
    for zone, left in ((31, -1), (32, 0)):
        east, north = from_lonlat(zone).transform(6.0, 50.0)
        row = int((NORTH_EDGE - north) / PIXEL) // SIDE
        col = int((east - WEST_EDGE) / PIXEL) // SIDE
        found += [Tile(zone, row + r, col + left + c, SIDE) for r in range(4) for c in range(2)]
    return found


def pixels(tile: Tile, year: int) -> Pixels:
    """Fields of eight covers, one of them the same everywhere; water, holes, seldom seen ground."""
    rng = np.random.default_rng([tile.zone, tile.row, tile.col, year])
    covers = np.random.default_rng(1).normal(0, 40, (8, 128))
    field = np.repeat(np.repeat(rng.integers(0, 8, (8, 8)), 8, axis=0), 8, axis=1)
    noise = rng.normal(0, 9, (SIDE, SIDE, 128)) * (field != 3)[..., None]
    codes = np.clip(np.rint(covers[field] + noise), -127, 127).astype(np.int8)
    scales = rng.uniform(0.01, 0.03, (SIDE, SIDE)).astype(np.float32)
    scales[:9, :5], scales[30:33, 7:50] = np.nan, np.inf
    scales[~owned(tile.window)] = np.inf
    codes[~np.isfinite(scales)] = 0
    names = ("s2", "s1_ascending", "s1_descending")
    counts = {name: rng.integers(0, 60, (SIDE, SIDE)).astype(np.uint16) for name in names}
    return Pixels(codes, scales, counts)


@dataclass(frozen=True)
class Land:
    """The mosaic with all of its pixels in one row.

    Parameters
    ----------
    mosaic
        The mosaic.
    codes : int8 (pixels, D)
        Of all pixels that their zone owns, tile by tile.
    scales : float32 (pixels,)
        Of the same pixels.
    s2 : uint16 (pixels,)
        Observations of the same pixels by Sentinel-2.
    zone, row, col : (pixels,)
        Where they lie on the lattice.
    """

    mosaic: Mosaic
    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    s2: NDArray[np.uint16]
    zone: NDArray[np.int64]
    row: NDArray[np.int64]
    col: NDArray[np.int64]

    @property
    def store(self) -> str:
        """Path of the mosaic."""
        return self.mosaic.storage.url

    def lonlat(self, of: NDArray[np.int64]) -> NDArray[np.float64]:
        """Longitudes and latitudes of the centres of some pixels: (pixels, 2)."""
        at = np.empty((len(of), 2))
        for k, each in enumerate(of):
            x = WEST_EDGE + (self.col[each] + 0.5) * PIXEL
            y = NORTH_EDGE - (self.row[each] + 0.5) * PIXEL
            at[k] = to_lonlat(int(self.zone[each])).transform(x, y)
        return at

    def cosines(self, examples: NDArray[np.int64], dims: int = 128) -> NDArray[np.float64]:
        """Cosine of every pixel to the mean direction of some, NaN where there is none."""
        vectors = self.codes[:, :dims].astype(np.float64)
        with np.errstate(invalid="ignore"):
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        mean = vectors[examples].mean(axis=0)
        return np.where(np.isfinite(self.scales), vectors @ (mean / np.linalg.norm(mean)), np.nan)

    def best(
        self,
        scores: NDArray[np.float64],
        top: int,
        square: int,
        among: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int64]:
        """Numbers of the best pixels, one in each square, as a loop over all of them finds them."""
        counts = np.isfinite(scores) if among is None else np.isfinite(scores) & among
        # What is as good to 11 digits is told apart by its place.
        keys = np.round(np.where(counts, scores, -9), 11)
        taken, found = set(), []
        for each in np.lexsort((self.col, self.row, self.zone, -keys)):
            place = (self.zone[each], self.row[each] // square, self.col[each] // square)
            if not counts[each] or len(found) == top:
                break
            if place not in taken:
                taken.add(place)
                found.append(int(each))
        return np.array(found)


def write_land(folder: Path) -> Land:
    """Make the mosaic as a run leaves it."""
    every = tiles()
    layout = Layout(SIDE, 128, (DEPTH,))
    mosaic = create_store(Storage(str(folder)), layout, samples.identity(), [YEAR], [31, 32])
    samples.add_tiles(mosaic, every, YEAR, pixels)
    parts = []
    for tile in every:
        held, mine = pixels(tile, YEAR), owned(tile.window, margin=0)
        rows, cols = np.nonzero(mine)
        at = tile.window
        parts.append(
            (
                held.codes[mine],
                held.scales[mine],
                held.counts["s2"][mine],
                np.full(len(rows), tile.zone),
                at.row + rows,
                at.col + cols,
            )
        )
    return Land(mosaic, *(np.concatenate(each) for each in zip(*parts, strict=True)))
