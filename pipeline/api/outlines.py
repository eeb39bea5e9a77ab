"""The outline that a mosaic of a region's own pixels lies in, and which tiles it has outgrown.

A store may grow by regions: its outline is all of them together. A tile's record holds the part of
the outline that it was made with, so a tile is made again where that has grown since.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.errors import Altered, BadInput
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.outline import outline_kept, write_outline
from tessera_mosaic.pipeline.ledger.records import read_records
from tessera_mosaic.pipeline.ledger.summary import find_summaries
from tessera_mosaic.pipeline.ledger.tile_lists import planned_tiles, years_planned
from tessera_mosaic.pipeline.mosaic.store import METADATA_LOCK
from tessera_mosaic.pipeline.planning.revisits import ground_of
from tessera_mosaic.pipeline.tiling.area import MOST_CORNERS_INSIDE, Area
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tessera_mosaic.pipeline.tiling.polygons import joined

log = logging.getLogger(__name__)


def grown_outline(storage: Storage, asked: BaseGeometry) -> BaseGeometry:
    """The outline that a store will have once a region is in it; the region's own where none is.

    Parameters
    ----------
    storage
        The store.
    asked
        Region in degrees, whose own pixels are to be made.

    Raises
    ------
    BadInput
        If it would have more corners than a job can carry to its workers.
    """
    known = known_outline(storage)
    if known is None or known.equals(asked):
        return asked if known is None else known
    if known.covers(asked):
        return known
    both = joined(np.array([known, asked]), "of the store")
    corners = shapely.get_num_coordinates(both)
    if corners > MOST_CORNERS_INSIDE:
        raise BadInput(
            f"the store's outline would have {corners:,} corners and may have "
            f"{MOST_CORNERS_INSIDE:,}: choose another store, or take all pixels of its tiles",
            "pixels",
            "inside",
        )
    return both


def known_outline(storage: Storage) -> BaseGeometry | None:
    """The outline of a store, by what it says, else by its records; None where it has none."""
    try:
        return outline_kept(storage)
    except FileNotFoundError:
        return outline_of_records(storage)
    except Altered as error:
        log.warning("%s; it is put together again from the records", error)
        return outline_of_records(storage)


def outline_of_records(storage: Storage) -> BaseGeometry | None:
    """The outlines of all tiles that were made, together; None where no record tells any."""
    parts = []
    for year in years_planned(storage):
        for _, record in read_records(storage, year, planned_tiles(storage, year)):
            if record is not None and record.outline:
                parts.append(shapely.from_wkb(record.outline))
    return joined(np.array(parts), "of the store") if parts else None


def keep_outline(storage: Storage, asked: BaseGeometry) -> None:
    """Write the outline that a store has with a region; two launchers lose nothing of either."""
    with locked(storage, METADATA_LOCK):
        write_outline(storage, grown_outline(storage, asked))


def outgrown(
    storage: Storage, year: int, tiles: Iterable[Tile], margin: int, outline: BaseGeometry
) -> tuple[str, ...]:
    """Names of the finished tiles of which more pixels are wanted than they were made with.

    Outlines only grow, so that as many pixels are the same pixels.

    Parameters
    ----------
    storage, year
        The store and the calendar year.
    tiles
        Tiles that a run asks for, at least one.
    margin
        Number of pixels that are written beyond a zone's meridians.
    outline
        Region in degrees that the store has now.
    """
    listed = tuple(tiles)
    area = Area(outline, listed[0].side, margin, listed=listed, inside=True)
    ground = ground_of(area)
    wanted = {
        Tile(zone, row, col, area.side).name: pixels
        for (zone, row, col), pixels in zip(
            ground.tiles.tolist(), ground.pixels.tolist(), strict=True
        )
    }
    found = find_summaries(storage, year, listed)
    return tuple(
        each.tile.name
        for each in found
        if each.finished
        and each.summary is not None
        and each.summary.pixels.get("owned") != wanted[each.tile.name]
    )
