"""A small mosaic of random pixels at the places where stores go wrong.

Two zone lines (6 degrees east and the antimeridian), both sides of the equator, two years, water,
holes one row and many rows wide, and nested depths.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import journal, keys, records, tile_lists
from tessera_mosaic.pipeline.ledger.records import Failure, Record, State, means_of
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.mosaic.identity import Identity, fingerprint, run_identity
from tessera_mosaic.pipeline.mosaic.layout import COUNTS, Layout
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.mosaic.store import Mosaic, create_store
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window
from tessera_mosaic.pipeline.tiling.ownership import owned

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
    np.put_along_axis(codes, rng.integers(0, dims, (*shape, 1)), 127, axis=-1)
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


def write_sample(
    storage: Storage,
    tiles: Iterable[Tile] = TILES,
    years: Iterable[int] = YEARS,
    zones: Iterable[int] = (),
) -> Sample:
    """Make the mosaic as a finished run leaves it; further zones may have no tiles."""
    tiles, years = list(tiles), list(years)
    layout = Layout(SIDE, 128, DEPTHS)
    every = {tile.zone for tile in tiles} | set(zones)
    mosaic = create_store(storage, layout, identity(), years, every)
    for year in years:
        add_tiles(mosaic, tiles, year)
    return Sample(mosaic, {(tile, year): pixels(tile, year) for tile in tiles for year in years})


def add_tiles(
    mosaic: Mosaic,
    tiles: Iterable[Tile],
    year: int,
    made: Callable[[Tile, int], Pixels] = pixels,
) -> None:
    """Put tiles into a mosaic as a run does, with pixels that a function makes."""
    storage, tiles = mosaic.storage, list(tiles)
    request = f"of-{len(tiles)}"
    for zone in {tile.zone for tile in tiles}:
        here = [tile for tile in tiles if tile.zone == zone]
        storage.write(keys.request_key(year, request, zone), tile_lists.encode_tiles(here))
        tile_lists.add_planned(storage, year, here, request)
    for tile in tiles:
        write_tile(mosaic, tile, year, made(tile, year))
    refresh(mosaic, year)


def refresh(mosaic: Mosaic, year: int) -> None:
    """Bring the summaries up to date with records that were written or changed."""
    storage, book = mosaic.storage, journal.Journal(mosaic.storage, year)
    for tile, record in records.read_records(
        storage, year, tile_lists.planned_tiles(storage, year)
    ):
        if record is not None:
            book.add(tile.zone, TileSummary.of(record))
    book.put()
    for zone in mosaic.zones:
        journal.compact(storage, year, zone)


def write_tile(mosaic: Mosaic, tile: Tile, year: int, put: Pixels) -> Record:
    """Put a tile's pixels and its record."""
    with mosaic.writer(tile, year) as shard:
        shard.put(*part(put, tile, tile.window))
        stored = shard.close()
    sums = {n: {"sum": int(c.sum(dtype=int)), "max": int(c.max())} for n, c in put.counts.items()}
    mine = int(owned(tile.window).sum())
    record = Record(
        tile.name,
        year,
        State.DONE,
        fingerprint(mosaic.identity),
        scenes_used=("S2A_1", "S1A_1"),
        scenes_unused=(("S2A_2", "no clear pixel"),),
        observations=sums,
        pixels={"owned": mine, "embedded": int(np.isfinite(put.scales).sum())},
        objects=stored,
        seconds={"read": 1.5, "encode": 2.5},
        means=means_of(
            float(put.scales[np.isfinite(put.scales)].sum(dtype=float)),
            put.codes.sum(axis=(0, 1), dtype=np.int64),
            int(np.isfinite(put.scales).sum()),
        ),
    )
    return records.write_record(mosaic.storage, tile, record)


def fail_tile(mosaic: Mosaic, tile: Tile, year: int) -> None:
    """Let a tile have failed in a later run, with a message that has to be escaped in a page."""
    record = records.read_record(mosaic.storage, year, tile)
    assert record is not None
    error = Failure("corrupt", "truncated <block>", "S2", "B04")
    failed = dataclasses.replace(record, state=State.FAILED, objects=(), error=error)
    records.write_record(mosaic.storage, tile, dataclasses.replace(failed, launch="again"))
    refresh(mosaic, year)


def read_node(storage: Storage, path: str) -> dict[str, object]:
    """The metadata of a node alone, without that of the nodes below it."""
    node = json.loads(storage.read(f"{path}/zarr.json"))
    node.pop("consolidated_metadata", None)
    return dict(node)


def contents(storage: Storage, start: str = "") -> dict[str, bytes]:
    """The objects of a store whose keys begin in a way."""
    return {key: storage.read(key) for key in storage.list("") if key.startswith(start)}
