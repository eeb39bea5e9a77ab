"""Whether a store's bytes are those that its records tell of, by some of its tiles.

All of them is what `verify` reads. Here a few are enough to notice a store that was edited, or that
gives another year's bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tessera_mosaic.pipeline.contracts.state import Extent
from tessera_mosaic.pipeline.errors import Altered, StoreError
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.stored_object import check_object, object_as_it_stands
from tessera_mosaic.pipeline.ledger.records import Record, State, read_record
from tessera_mosaic.pipeline.ledger.summary import LOOK_UP, find_summaries
from tessera_mosaic.pipeline.ledger.tile_lists import planned_tiles
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.mosaic.shards import decode_shard
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, lonlat_bounds

MOST_TILES = 4
"""Tiles of a year whose objects are read."""

MOST_BYTES = 256 << 20
"""Bytes of a tile's objects beyond which it is not read."""

RADAR = ("s1_ascending", "s1_descending")
"""Counts that tell of radar."""


@dataclass(frozen=True)
class YearRecords:
    """What a store's summaries tell of a year.

    Parameters
    ----------
    tiles
        Tiles that are done.
    fingerprints
        Fingerprints of what made them.
    sensors
        Sensors that were observed, `s1` and `s2`; None where nobody counted.
    """

    tiles: tuple[Tile, ...]
    fingerprints: frozenset[str]
    sensors: tuple[str, ...] | None


def year_records(storage: Storage, year: int) -> YearRecords:
    """What a store's summaries tell of a year; nothing where it has none."""
    found = list(find_summaries(storage, year, planned_tiles(storage, year), LOOK_UP))
    done = [(of.tile, of.summary) for of in found if of.summary and of.summary.state is State.DONE]
    return YearRecords(
        tuple(tile for tile, _ in done),
        frozenset(summary.fingerprint for _, summary in done),
        _sensors([summary for _, summary in done]),
    )


def _sensors(summaries: Sequence[TileSummary]) -> tuple[str, ...] | None:
    counted = {
        name for each in summaries for name, of in each.observations.items() if of.get("sum", 0)
    }
    if not any(each.observations for each in summaries):
        return None
    radar = ("s1",) if counted.intersection(RADAR) else ()
    return (*radar, "s2") if "s2" in counted else radar


def extent_of(tiles: Sequence[Tile]) -> Extent | None:
    """West, south, east and north in degrees of tiles; None where there are none."""
    boxes = []
    for zone in sorted({tile.zone for tile in tiles}):
        mine = [tile for tile in tiles if tile.zone == zone]
        at, side = np.array([(tile.row, tile.col) for tile in mine]), mine[0].side
        (top, left), (bottom, right) = (of.tolist() for of in (at.min(axis=0), at.max(axis=0) + 1))
        size = (bottom - top) * side, (right - left) * side
        boxes.append(lonlat_bounds(Window(zone, top * side, left * side, *size)))
    if not boxes:
        return None
    west, south, east, north = zip(*boxes, strict=True)
    if max(east) > 180 or min(west) < -180:
        return -180.0, min(south), 180.0, max(north)
    return min(west), min(south), max(east), max(north)


def spread(tiles: Sequence[Tile]) -> list[Tile]:
    """Some of many tiles, from the first to the last."""
    if len(tiles) <= MOST_TILES:
        return list(tiles)
    return [tiles[k * (len(tiles) - 1) // (MOST_TILES - 1)] for k in range(MOST_TILES)]


def wrong_bytes(
    storage: Storage, years: Mapping[int, YearRecords], of_embeddings: bool
) -> Iterator[str]:
    """What is wrong with objects of some tiles: not as they were put, or another year's.

    Parameters
    ----------
    storage
        The store.
    years
        What its summaries tell, by calendar year.
    of_embeddings
        Whether no two years of a tile can have the same bytes, as those of a map can.
    """
    every = {tile for of in years.values() for tile in of.tiles}
    for tile in spread(sorted(every)):
        seen: dict[str, int] = {}
        for year in sorted(years):
            if tile not in years[year].tiles:
                continue
            try:
                record = read_record(storage, year, tile)
                if record is None or sum(of.size for of in record.objects) > MOST_BYTES:
                    continue
                for stored in record.objects:
                    check_object(storage, stored)
            except Altered as altered:
                yield f"tile {tile.name} of {year} is not as it was written: {altered}"
                continue
            if (digest := _largest(record) if of_embeddings else "") in seen:
                yield f"tile {tile.name} of {year} has the bytes of {seen[digest]}"
            elif digest:
                seen[digest] = year


def _largest(record: Record) -> str:
    """Digest of a tile's largest object; empty where no pixel of it is embedded or mapped."""
    if not record.objects or record.pixels.get("embedded") == 0:
        return ""
    return max(record.objects, key=lambda stored: stored.size).sha256


def same_years(mosaic: Mosaic, tiles: Mapping[int, Sequence[Tile]]) -> Iterator[str]:
    """Years of a mosaic without records that have the bytes of others."""
    for tile in spread(sorted({tile for of in tiles.values() for tile in of})):
        seen: dict[str, int] = {}
        for year in sorted(tiles):
            if tile not in tiles[year] or not _has_pixels(mosaic, tile, year):
                continue
            stored = object_as_it_stands(mosaic.storage, mosaic.keys(tile, year)[0])
            if stored.sha256 in seen:
                yield f"tile {tile.name} of {year} has the bytes of {seen[stored.sha256]}"
            seen.setdefault(stored.sha256, year)


def _has_pixels(mosaic: Mosaic, tile: Tile, year: int) -> bool:
    array = mosaic.layout.scales
    try:
        scales = decode_shard(array, mosaic.storage.read(array.key(tile, mosaic.step(year))))
    except (FileNotFoundError, StoreError):
        return False
    return bool(np.isfinite(scales).any())
