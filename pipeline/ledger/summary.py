"""The short records of a zone in one object, kept up to date while a run goes on.

Workers put what they finish into a journal, a small object every half minute; whoever compacts
brings the journal's rows into the zones' summaries and removes it. So thousands of tiles are
looked up with one read a zone and without listing anything, after a run that was killed too.

    records/<year>/summary/utmNN.json                the short records of a zone
    records/<year>/journal/utmNN/<worker>-<n>.json   those that are not in the summary yet
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.sealed import seal, unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import records
from tessera_mosaic.pipeline.ledger.keys import summary_key, summary_lock
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile

log = logging.getLogger(__name__)


LOOK_UP = 2000
"""Records that are asked for one by one where a summary leaves tiles open: some seconds' worth."""


def read_summary(storage: Storage, year: int, zone: int) -> dict[str, TileSummary]:
    """Short records of a zone by tile name, as they were last compacted.

    A damaged summary counts as empty, which is logged: the tiles' own records hold the same, and
    the next run brings them into it again.
    """
    key = summary_key(year, zone)
    try:
        return decode_summary(storage.read(key))
    except FileNotFoundError:
        return {}
    except Altered as error:
        log.warning("%s: %s; the tiles' own records are asked instead", key, error)
        return {}


def decode_summary(data: bytes) -> dict[str, TileSummary]:
    """Short records by tile name, as a summary or an object of the journal holds them.

    Raises
    ------
    Altered
        If the bytes are no such object.
    """
    return {name: TileSummary.from_json(row) for name, row in unseal(data).items()}


def encode_summary(rows: dict[str, TileSummary]) -> bytes:
    """Short records by tile name as sealed JSON, in the order given."""
    return seal({name: row.to_json() for name, row in rows.items()})


def write_summary(storage: Storage, year: int, zone: int, rows: dict[str, TileSummary]) -> None:
    """Write the short records of a zone, in the order of the tiles' names."""
    storage.write(summary_key(year, zone), encode_summary(dict(sorted(rows.items()))))


def forget(storage: Storage, year: int, tiles: Iterable[Tile]) -> None:
    """Take tiles out of the summaries, so that their own records are asked.

    Done before finished tiles are made again: if that is interrupted, they are not done.
    """
    for zone, members in itertools.groupby(sorted(tiles), lambda tile: tile.zone):
        with locked(storage, summary_lock(year, zone)):
            known = read_summary(storage, year, zone)
            for tile in members:
                known.pop(tile.name, None)
            write_summary(storage, year, zone, known)


class Found(NamedTuple):
    """A tile, its record in short or None where there is none, and whether its own was asked."""

    tile: Tile
    summary: TileSummary | None
    asked: bool

    @property
    def finished(self) -> bool:
        """Whether the tile is done, or known to have nothing to see."""
        return self.summary is not None and self.summary.finished


def find_summaries(
    storage: Storage, year: int, tiles: Iterable[Tile], most: int | None = None
) -> Iterator[Found]:
    """Short records of many tiles.

    The zones' summaries answer for finished tiles. For the others, which a run may have made
    since, the tile's own record is asked.

    Parameters
    ----------
    storage, year, tiles
        Of which store, year and tiles; a zone's tiles one after another.
    most
        Records that are asked for; None for as many as there are. Tiles beyond that are as in the
        summary.
    """
    unsure: list[Found] = []
    for zone, members in itertools.groupby(tiles, lambda tile: tile.zone):
        known = read_summary(storage, year, zone)
        for tile in members:
            found = Found(tile, known.get(tile.name), asked=False)
            if found.finished:
                yield found
            else:
                unsure.append(found)
    most = len(unsure) if most is None else most
    for tile, record in records.read_records(storage, year, (of.tile for of in unsure[:most])):
        yield Found(tile, TileSummary.of(record) if record else None, asked=True)
    yield from unsure[most:]
