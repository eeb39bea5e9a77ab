"""The records of a zone's tiles in short, in one object: its summary.

Workers put what they finish into a `journal`, a small object every half minute; whoever compacts
brings the journal's entries into the zones' summaries and removes them. So thousands of tiles are
looked up with one read a zone and without listing anything, after a run that was killed too.
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
"""Records that are read one by one, at most, where summaries leave tiles open: some seconds'
worth."""


def read_summary(storage: Storage, year: int, zone: int) -> dict[str, TileSummary]:
    """Records of a zone in short by name of the tile, as they were last compacted.

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
    """Records in short by name of the tile, as a summary or an object of the journal has them.

    Raises
    ------
    Altered
        If the bytes are no such object.
    """
    return {name: TileSummary.from_json(row) for name, row in unseal(data).items()}


def encode_summary(rows: dict[str, TileSummary]) -> bytes:
    """Records in short by name of the tile as sealed JSON, in the order given."""
    return seal({name: row.to_json() for name, row in rows.items()})


def write_summary(storage: Storage, year: int, zone: int, rows: dict[str, TileSummary]) -> None:
    """Write the summary of a zone, in the order of the tiles' names."""
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
    """What is known of a tile.

    Parameters
    ----------
    tile
        The tile.
    summary
        Its record in short; None where it has none.
    asked
        Whether the record itself was read, rather than the zone's summary.
    """

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
    """The records of many tiles in short.

    The zones' summaries answer for finished tiles. Of the others, which a run may have made since,
    the record itself is read.

    Parameters
    ----------
    storage, year
        The store and the calendar year of the records.
    tiles
        The tiles, of which those of a zone come one after another.
    most
        Number of records that are read at most; None for as many as it takes. Tiles beyond that
        are as in the summaries.
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
