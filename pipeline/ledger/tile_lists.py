"""The lists of tiles that jobs were asked for, zone by zone, as a store keeps them."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.sealed import seal, unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import listed, member, named, text, whole
from tessera_mosaic.pipeline.ledger.keys import (
    RECORDS,
    planned_key,
    planned_lock,
    planned_prefix,
    request_key,
    requests_prefix,
    summaries_prefix,
    zone_of,
)
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, TILE_SIDES, WIDTH, Tile

log = logging.getLogger(__name__)

MOST_TILES = 2_000_000
"""Most tiles of one zone: those of 512 px that cover all of it, and a third more."""


@dataclass(frozen=True)
class TileList:
    """The tiles that a job is asked for, zone by zone, as the store holds them.

    Parameters
    ----------
    id
        A digest of the tiles: the same tiles have the same one.
    by_zone
        The tiles by number of their zone, in order.
    encoded
        The same by number of the zone, as they are stored.
    """

    id: str
    by_zone: dict[int, list[Tile]]
    encoded: dict[int, bytes]

    @classmethod
    def of(cls, tiles: Iterable[Tile]) -> TileList:
        """The list of some tiles, of which those of a zone come one after another."""
        by_zone = {zone: list(of) for zone, of in itertools.groupby(tiles, lambda tile: tile.zone)}
        encoded = {zone: encode_tiles(members) for zone, members in by_zone.items()}
        digest = hashlib.sha256(b"".join(encoded.values())).hexdigest()
        return cls(digest[:16], by_zone, encoded)

    def __iter__(self) -> Iterator[Tile]:
        return itertools.chain.from_iterable(self.by_zone.values())

    def __len__(self) -> int:
        return sum(map(len, self.by_zone.values()))

    @property
    def zones(self) -> list[int]:
        """Numbers of the zones that have tiles, in order."""
        return sorted(self.by_zone)

    def names(self) -> set[str]:
        """Names of all tiles."""
        return {tile.name for tile in self}

    def write(self, storage: Storage, year: int, zones: Iterable[int] | None = None) -> None:
        """Write the tiles where workers find them, and add them to all that were ever planned.

        Parameters
        ----------
        storage, year
            The store and the calendar year.
        zones
            Zones whose tiles are written, in this order; all by default.
        """
        for zone in self.encoded if zones is None else zones:
            storage.write(request_key(year, self.id, zone), self.encoded[zone])
            add_planned(storage, year, self.by_zone[zone], self.id)


def ever_planned(storage: Storage, year: int, zones: Iterable[int]) -> bool:
    """Whether any job was asked for tiles of some zones before, without listing."""
    return any(storage.exists(planned_key(year, zone)) for zone in zones)


def listed_already(storage: Storage, year: int, zone: int, request: str) -> bool:
    """Whether the tiles of a zone of a list are among those that were ever planned."""
    try:
        return request in requests_in(storage.read(planned_key(year, zone)))
    except (FileNotFoundError, Altered):
        return False


def years_planned(storage: Storage) -> list[int]:
    """Years of which a store has records of any kind, by one look at its folders."""
    return [int(name) for name in storage.folders(RECORDS) if name.isdigit()]


def zones_planned(storage: Storage, year: int) -> list[int]:
    """Numbers of the zones of which any run was asked for tiles, in order, by one listing."""
    return _zones_below(storage, planned_prefix(year))


def zones_summed_up(storage: Storage, year: int) -> list[int]:
    """Numbers of the zones that have a summary, in order, by one listing."""
    return _zones_below(storage, summaries_prefix(year))


def _zones_below(storage: Storage, prefix: str) -> list[int]:
    zones = (zone_of(key) for key in storage.list(prefix))
    return sorted(zone for zone in zones if zone is not None)


def encode_tiles(tiles: Iterable[Tile], requests: Iterable[str] = ()) -> bytes:
    """A zone's tiles as sealed JSON: their side, and runs of columns `[first, last]` by row.

    Parameters
    ----------
    tiles
        Tiles of one zone, at least one.
    requests
        Ids of the lists that they came from, for the list of all planned tiles.
    """
    ordered = sorted(set(tiles))
    head = {"zone": ordered[0].zone, "side": ordered[0].side, "requests": sorted(requests)}
    return seal({**head, "rows": runs_by_row(ordered)})


def runs_by_row(tiles: Iterable[Tile]) -> dict[str, list[list[int]]]:
    """Tiles of one zone, in order, as runs of columns `[first, last]` by row."""
    rows: dict[str, list[list[int]]] = {}
    for tile in tiles:
        runs = rows.setdefault(str(tile.row), [])
        if runs and runs[-1][1] == tile.col - 1:
            runs[-1][1] = tile.col
        else:
            runs.append([tile.col, tile.col])
    return rows


def decode_tiles(data: bytes) -> Iterator[Tile]:
    """Read a zone's tiles back, in order.

    Raises
    ------
    Altered
        If the bytes are no tile list.
    """
    try:
        yield from listed_tiles(unseal(data))
    except (Altered, ValueError) as error:
        raise Altered(f"a list of tiles cannot be read: {error}") from None


def listed_tiles(content: Any) -> Iterator[Tile]:
    """The tiles of a list with its `zone`, `side` and `rows`; ValueError if it is none."""
    zone, side, rows = _checked_list(content)
    for row, runs in rows.items():
        for first, last in runs:
            for col in range(first, last + 1):
                yield Tile(zone, row, col, side)


def _checked_list(content: Any) -> tuple[int, int, dict[int, list[tuple[int, int]]]]:
    """Zone, side and runs of columns by row of a list; ValueError if it is none."""
    zone = member(content, "zone", lambda value: whole(value, 1, 60))
    side = member(content, "side", whole)
    if side not in TILE_SIDES:
        raise ValueError(f"there are no tiles of {side} px")

    def run(value: Any) -> tuple[int, int]:
        first, last = listed(value, lambda col: whole(col, 0, WIDTH // side - 1), 2)
        if first > last:
            raise ValueError("its columns do not ascend")
        return first, last

    runs = member(
        content,
        "rows",
        lambda value: named(value, lambda each: listed(each, run, MOST_TILES), HEIGHT // side),
    )
    count = sum(last - first + 1 for of in runs.values() for first, last in of)
    if count > MOST_TILES:
        raise ValueError(f"it has {count:,} tiles, more than {MOST_TILES:,}")
    rows = {whole(int(row), 0, HEIGHT // side - 1): list(of) for row, of in runs.items()}
    return zone, side, rows


def add_planned(storage: Storage, year: int, tiles: list[Tile], request: str) -> None:
    """Add the tiles of one zone that a request asks for to those that were ever asked for.

    A damaged list is made again from all requests, which is logged.
    """
    zone = tiles[0].zone
    key = planned_key(year, zone)
    with locked(storage, planned_lock(year, zone)):
        known, requests = set(tiles), {request}
        try:
            data = storage.read(key)
            known.update(decode_tiles(data))
            requests.update(requests_in(data))
        except FileNotFoundError:
            pass
        except Altered as error:
            log.warning("%s: %s; it is made again from the requests", key, error)
            for each, asked in _requests(storage, year, zone):
                known.update(asked)
                requests.add(each)
        storage.write(key, encode_tiles(known, requests))


def requests_in(data: bytes) -> tuple[str, ...]:
    """Ids of the lists that one of all planned tiles came from.

    Raises
    ------
    Altered
        If it does not say.
    """
    try:
        return member(unseal(data), "requests", lambda value: listed(value, text, MOST_TILES))
    except ValueError as error:
        raise Altered(f"a list of tiles cannot be read: {error}") from None


def _requests(storage: Storage, year: int, zone: int) -> Iterator[tuple[str, list[Tile]]]:
    """Every request of a zone that can be read, and its tiles."""
    prefix = requests_prefix(year)
    for key in storage.list(prefix):
        request = key.removeprefix(prefix).split("/")[0]
        if key == request_key(year, request, zone):
            try:
                yield request, list(decode_tiles(storage.read(key)))
            except Altered as error:
                log.warning("%s: %s", key, error)


def requested_tiles(storage: Storage, year: int, request: str) -> Iterator[Tile]:
    """The tiles that one run was asked for, zone by zone."""
    for zone in _zones_below(storage, f"{requests_prefix(year)}{request}/"):
        yield from _tiles_in(storage, request_key(year, request, zone))


def planned_tiles(
    storage: Storage, year: int, zones: Iterable[int] | None = None
) -> Iterator[Tile]:
    """Every tile that any run on the store was asked for, of some zones or all, zone by zone."""
    for zone in zones_planned(storage, year) if zones is None else zones:
        yield from _tiles_in(storage, planned_key(year, zone))


def _tiles_in(storage: Storage, key: str) -> Iterator[Tile]:
    try:
        data = storage.read(key)
    except FileNotFoundError:
        return
    yield from decode_tiles(data)
