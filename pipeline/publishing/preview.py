"""The picture of the whole mosaic in degrees, `global_rgb`, painted tile by tile.

Every pixel of it belongs to one tile, by the zone of its longitude, so tiles can be painted in any
order and again, and what they leave is the same. Each place shows the newest year it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.ledger.records import Record, State, read_record
from tessera_mosaic.pipeline.mosaic.preview_pyramid import (
    HEIGHT,
    LEVELS,
    SIDE,
    STEP,
    WIDTH,
    Colours,
    level_shape,
    strongest_components,
)
from tessera_mosaic.pipeline.mosaic.shards import stream_chunks
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.publishing.manifest import THREADS
from tessera_mosaic.pipeline.publishing.painted_chunks import PaintedChunks, Place
from tessera_mosaic.pipeline.tiling.lattice import PIXEL, Tile, from_lonlat, lonlat_bounds, zone_of

FIT_TILES, FIT_CHUNKS, FIT_PIXELS = 64, 16, 64
"""Tiles, inner chunks of each and pixels of each chunk that the colours are fitted to, at most."""

STRETCH = (2.0, 98.0)
"""Percentiles of the fitted pixels that become black and full light."""

LEAST_STRETCH = 1e-5
"""Least difference between black and full light, in units of the embedding."""

DIGITS = 6
"""Decimals to which the colours are kept."""

KNOTS = 32
"""Pixels between the points at which degrees are projected exactly; between them, linearly."""


def fit_colours(mosaic: Mosaic, made: Iterable[tuple[Tile, int]]) -> Colours | None:
    """Fit three principal components to pixels spread over a mosaic.

    Parameters
    ----------
    mosaic
        The mosaic that holds the tiles.
    made
        Tiles that are done, and their years, in any order; the same ones give the same colours.

    Returns
    -------
    The colours; None where no tile is done.
    """
    ordered = sorted(made)
    chosen = [ordered[n] for n in _spread(len(ordered), FIT_TILES)]
    found = [_some_pixels(mosaic, tile, year) for tile, year in chosen]
    if not sum(map(len, found)):
        return None
    return colours_of(np.concatenate(found))


def colours_of(values: NDArray[np.float64]) -> Colours:
    """Colours by the three principal components of embeddings.

    Parameters
    ----------
    values : float64 (pixels, dims)
        Some embeddings.
    """
    mean = values.mean(axis=0, dtype=np.float64)
    apart = values - mean
    components = strongest_components(apart)
    low, high = np.percentile(apart @ components.T, STRETCH, axis=0)
    high = np.maximum(high, low + LEAST_STRETCH)
    plain = [part.round(DIGITS).tolist() for part in (mean, low, high)]
    weights = tuple(tuple(row) for row in components.round(DIGITS).tolist())
    return Colours(tuple(plain[0]), weights, tuple(plain[1]), tuple(plain[2]))


def _some_pixels(mosaic: Mosaic, tile: Tile, year: int) -> NDArray[np.float64]:
    """Embeddings (pixels, dims) from chunks spread over a tile."""
    record = read_record(mosaic.storage, year, tile)
    if record is None or record.state is not State.DONE:
        return np.zeros((0, mosaic.layout.dims))
    rng = np.random.default_rng([tile.zone, tile.row, tile.col])
    full, found = mosaic.layout.embeddings[-1], []
    n, step = full.inner, max(full.across**2 // FIT_CHUNKS, 1)
    seen = -1
    try:
        scales = _scales(mosaic, record)
        for i, j, chunk in _codes(mosaic, record):
            here = scales[i * n : i * n + n, j * n : j * n + n]
            rows, cols = np.nonzero(np.isfinite(here))
            seen += bool(len(rows))
            if not len(rows) or seen % step:
                continue
            picked = rng.permutation(len(rows))[:FIT_PIXELS]
            rows, cols = rows[picked], cols[picked]
            found.append(chunk[:, rows, cols].T * here[rows, cols, None].astype(np.float64))
    except Altered as error:
        raise Altered(f"tile {tile.name} of {year}: {error}") from None
    return np.concatenate(found) if found else np.zeros((0, full.bands))


def _spread(count: int, most: int) -> list[int]:
    """At most so many of `count` places, evenly spread."""
    return sorted({round(at) for at in np.linspace(0, count - 1, min(count, most))})


@dataclass(frozen=True)
class Picture:
    """A tile in colours, and what its codes came to.

    Parameters
    ----------
    image : uint8 (side, side, 4)
        Red, green, blue, and 255 where there is an embedding.
    code_power
        Mean square of the embedded codes.
    scale
        Median of the scales.
    """

    image: NDArray[np.uint8]
    code_power: float
    scale: float


def draw_tile(mosaic: Mosaic, record: Record, colours: Colours) -> Picture:
    """Read a tile once and draw it in the zone's own pixels."""
    side, n = mosaic.layout.side, mosaic.layout.embeddings[-1].inner
    image = np.zeros((side, side, 4), np.uint8)
    scales, power = _scales(mosaic, record), 0.0
    known = np.isfinite(scales)
    for i, j, chunk in _codes(mosaic, record):
        at = np.s_[i * n : i * n + n, j * n : j * n + n]
        here = known[at]
        codes = chunk[:, here].T.astype(np.float32)
        power += float(np.square(codes, dtype=np.float64).sum())
        image[at][here, :3] = colours.paint(codes * scales[at][here, None])
    image[known, 3] = 255
    values = max(int(known.sum()), 1) * mosaic.layout.dims
    return Picture(image, power / values, float(np.median(scales[known])) if known.any() else 0.0)


def _codes(mosaic: Mosaic, record: Record) -> Iterator[tuple[int, int, NDArray[np.int8]]]:
    full = mosaic.layout.embeddings[-1]
    stored = record.objects[mosaic.layout.arrays.index(full)]
    yield from stream_chunks(mosaic.storage, full, stored)


def _scales(mosaic: Mosaic, record: Record) -> NDArray[np.float32]:
    array = mosaic.layout.scales
    n, plane = array.inner, np.full((array.side, array.side), array.fill, np.float32)
    stored = record.objects[mosaic.layout.arrays.index(array)]
    for i, j, chunk in stream_chunks(mosaic.storage, array, stored):
        plane[i * n : i * n + n, j * n : j * n + n] = chunk
    return plane


def paint_tile(tile: Tile, image: NDArray[np.uint8], chunks: PaintedChunks, pool: Executor) -> None:
    """Paint a tile into the finest level: all pixels that are its own, whether known or not.

    Parameters
    ----------
    tile
        The tile.
    image : uint8 (side, side, 4)
        Its picture, as in `Picture`; all 0 where it is to be cleared.
    chunks
        Chunks of the picture of the world.
    pool
        Threads on which chunks are painted side by side.
    """
    west, south, east, north = lonlat_bounds(tile.window)
    rows = range(_cell(90.0 - north, HEIGHT), _cell(90.0 - south, HEIGHT) + 1)
    # A tile across the antimeridian has columns beyond the last or before the first.
    columns = range(int((west + 180.0) / STEP) // SIDE, int((east + 180.0) / STEP) // SIDE + 1)

    def paint(place: Place) -> None:
        mine, at = _own_pixels(tile, place.row, place.col)
        if mine.any():
            chunk = chunks.read(place)
            chunk[mine] = image[at]
            chunks.put(place, chunk)

    places = {Place(0, row, column % -(-WIDTH // SIDE)) for row in rows for column in columns}
    for _ in pool.map(paint, sorted(places)):
        pass


def _cell(degrees: float, size: int) -> int:
    return int(np.clip(degrees / STEP, 0, size - 1)) // SIDE


def _own_pixels(
    tile: Tile, row: int, col: int
) -> tuple[NDArray[np.bool_], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Which pixels of a chunk of level 0 are the tile's, and which of the tile's they show."""
    lats = 90.0 - (row * SIDE + np.arange(SIDE) + 0.5) * STEP
    lons = -180.0 + (col * SIDE + np.arange(SIDE) + 0.5) * STEP
    knots = np.append(np.arange(0, SIDE, KNOTS), SIDE - 1)
    x, y = from_lonlat(tile.zone).transform(*np.meshgrid(lons[knots], lats[knots]))
    along = np.array([np.interp(np.arange(SIDE), knots, unit) for unit in np.eye(len(knots))])
    window = tile.window
    cols = np.floor((along.T @ x @ along - window.west) / PIXEL).astype(np.int64)
    rows = np.floor((window.north - along.T @ y @ along) / PIXEL).astype(np.int64)
    mine = (rows >= 0) & (rows < tile.side) & (cols >= 0) & (cols < tile.side)
    mine &= (zone_of(lons.astype(np.float64)) == tile.zone) & (lons < 180.0)
    return mine, (rows[mine], cols[mine])


def coarsen(chunks: PaintedChunks) -> None:
    """Bring the coarser levels up to date with chunks of level 0 that were painted."""

    def draw(place: Place) -> None:
        level, row, col = place
        fine = np.zeros((2 * SIDE, 2 * SIDE, 4), np.uint8)
        for down in (0, 1):
            for right in (0, 1):
                part = chunks.read(Place(level - 1, 2 * row + down, 2 * col + right))
                fine[down * SIDE :, right * SIDE :][:SIDE, :SIDE] = part
        coarse = halve(fine)
        height, width = level_shape(level)
        coarse[max(height - row * SIDE, 0) :] = 0
        coarse[:, max(width - col * SIDE, 0) :] = 0
        chunks.put(place, coarse)

    touched = {(row, col) for _, row, col in chunks.painted}
    with ThreadPoolExecutor(THREADS) as pool:
        for level in range(1, LEVELS):
            touched = {(row // 2, col // 2) for row, col in touched}
            for _ in pool.map(draw, sorted(Place(level, row, col) for row, col in touched)):
                pass


def halve(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of each 2 x 2 pixels, uint8 (height / 2, width / 2, 4), over those that are known."""
    height, width, _ = image.shape
    quads = image.reshape(height // 2, 2, width // 2, 2, 4).swapaxes(1, 2).astype(np.float32)
    weight = quads[..., 3:] / 255
    share = weight.sum(axis=(2, 3))
    colour = (quads[..., :3] * weight).sum(axis=(2, 3)) / np.maximum(share, 1)
    return np.concatenate([colour.round(), 255 * (share > 0)], axis=-1).astype(np.uint8)
