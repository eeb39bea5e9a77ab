"""Which tiles of a mosaic have data: by the records of ours, by the shards of anybody's."""

from __future__ import annotations

from collections.abc import Iterable

from tessera_mosaic.pipeline.ledger.records import State
from tessera_mosaic.pipeline.ledger.summary import find_summaries
from tessera_mosaic.pipeline.ledger.tile_lists import ever_planned
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, tiles_with_shards
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.lattice import Tile


def tiles_with_data(mosaic: AnyMosaic, year: int, tiles: Iterable[Tile]) -> list[Tile]:
    """Tiles of which a mosaic holds pixels, zone by zone, row by row.

    A mosaic of ours says so by its records. One without records, because it was copied without them
    or somebody else published it, is asked for its shards.

    Parameters
    ----------
    mosaic
        The mosaic.
    year
        Calendar year, one of the mosaic's.
    tiles
        The tiles that are asked for, of the mosaic's side.

    Raises
    ------
    BadInput
        If the mosaic does not have the year.
    """
    mosaic.step(year)
    asked = sorted(tiles)
    zones = sorted({tile.zone for tile in asked})
    if not isinstance(mosaic, Mosaic) or not ever_planned(mosaic.storage, year, zones):
        return list(tiles_with_shards(mosaic, year, asked))
    found = find_summaries(mosaic.storage, year, asked)
    return sorted(each.tile for each in found if each.summary and each.summary.state is State.DONE)
