"""Which ground of a mosaic is searched: tiles that it has, and what it lacks of the region."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import shapely

from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.ledger.tile_lists import TileList, ever_planned, planned_tiles
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, listed_tiles, tiles_with_shards
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.area import MOST_CORNERS_INSIDE, AreaRequest, read_area
from tessera_mosaic.pipeline.tiling.lattice import Tile

EVERYWHERE = "global"


@dataclass(frozen=True)
class Ground:
    """What is searched.

    Parameters
    ----------
    tiles
        Tiles that are read.
    absent
        Names of tiles of the region that the mosaic was never asked for, or has nothing of.
    promised
        Whether the mosaic was asked for all of the tiles that are read.
    inside
        The region as WKB, of which alone pixels count; None for whole tiles.
    """

    tiles: TileList
    absent: tuple[str, ...]
    promised: bool
    inside: bytes | None


def ground_of(mosaic: AnyMosaic, year: int, region: str | None) -> Ground:
    """Find what is searched.

    Parameters
    ----------
    mosaic, year
        The mosaic and the calendar year.
    region
        As in `AreaRequest`; None for all of the mosaic.

    Raises
    ------
    BadInput
        If the mosaic has nothing there, or has no list of its tiles and no region is given.
    """
    asked, inside = _asked(mosaic, region)
    promised = isinstance(mosaic, Mosaic) and ever_planned(mosaic.storage, year, mosaic.zones)
    if promised:
        planned = list(planned_tiles(mosaic.storage, year, mosaic.zones))
        known = set(planned)
        tiles = planned if asked is None else [tile for tile in asked if tile in known]
    elif asked is None:
        tiles = list(_listed(mosaic, year))
    else:
        tiles = list(tiles_with_shards(mosaic, year, asked))
    if not tiles:
        raise BadInput(f"{mosaic.storage.url} has no embeddings of {year} there", "region", region)
    read = set(tiles)
    absent = tuple(tile.name for tile in asked or () if tile not in read)
    return Ground(TileList.of(tiles), absent, promised, inside)


def _asked(mosaic: AnyMosaic, region: str | None) -> tuple[list[Tile] | None, bytes | None]:
    """The tiles of a region, and the region where only its own pixels count."""
    if region is None:
        return None, None
    request = AreaRequest(region, mosaic.layout.side, 0)
    area = read_area(request)
    if request.is_list or region.strip().casefold() == EVERYWHERE:
        return list(area.tiles()), None
    corners = int(shapely.get_num_coordinates(area.region))
    if corners > MOST_CORNERS_INSIDE:
        raise BadInput(
            f"it has {corners:,} corners and may have {MOST_CORNERS_INSIDE:,}: simplify it",
            "region",
            region,
        )
    return list(area.tiles()), bytes(shapely.to_wkb(area.region))


def _listed(mosaic: AnyMosaic, year: int) -> Iterator[Tile]:
    """Tiles of a mosaic without records, by the keys of its shards."""
    if not isinstance(mosaic, Mosaic):
        raise BadInput(
            f"{mosaic.storage.url} has no list of its tiles: say what is searched", "region"
        )
    for zone in mosaic.zones:
        try:
            tiles = listed_tiles(mosaic, zone, year)
        except (BadInput, StoreError) as error:
            raise BadInput(
                f"{mosaic.storage.url} cannot be listed, say what is searched ({error})", "region"
            ) from None
        yield from tiles
