"""The job of a map, whatever makes its tiles: a store that is made ready, a list and a maker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import shapely

from tessera_mosaic.pipeline.downstream.map_objects import key_templates
from tessera_mosaic.pipeline.downstream.map_store import MapStore, create_map, read_map
from tessera_mosaic.pipeline.errors import BadInput, StoreMismatch
from tessera_mosaic.pipeline.io.store_errors import before_work, store_errors
from tessera_mosaic.pipeline.job.job_request import JobRequest
from tessera_mosaic.pipeline.job.maker import Maker
from tessera_mosaic.pipeline.ledger.map_recipe import (
    MapRecipe,
    MapYear,
    add_map_year,
    read_map_recipe,
)
from tessera_mosaic.pipeline.ledger.tile_lists import TileList
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, tiles_with_shards
from tessera_mosaic.pipeline.tiling.area import AreaRequest, read_area
from tessera_mosaic.pipeline.tiling.lattice import Tile

MOST_ASKED = 200
"""Tiles that are asked for one by one before a map is begun, to see whether there is anything."""


@dataclass(frozen=True)
class MapGround:
    """Which tiles and pixels are mapped.

    Parameters
    ----------
    tiles
        The tiles.
    inside
        The region as WKB where only its own pixels are mapped; None for whole tiles.
    """

    tiles: TileList
    inside: bytes | None


def read_ground(asked: AreaRequest) -> MapGround:
    """The tiles and pixels of an area.

    Raises
    ------
    BadInput
        If the area cannot be used.
    """
    area = read_area(asked)
    inside = bytes(shapely.to_wkb(area.region)) if area.inside else None
    return MapGround(TileList.of(area.tiles()), inside)


def check_ground(mosaic: AnyMosaic, year: int, tiles: Sequence[Tile], region: str) -> None:
    """Check that a mosaic has embeddings of some tile, where the tiles are few enough to ask.

    Raises
    ------
    BadInput
        If it has none of them.
    """
    if len(tiles) > MOST_ASKED:
        return
    if next(tiles_with_shards(mosaic, year, tiles), None) is None:
        raise BadInput(f"{mosaic.storage.url} has no embeddings of {year} there", "region", region)


@dataclass(frozen=True)
class MapJob:
    """A map that was found to be possible; its store is not touched yet.

    Parameters
    ----------
    job
        What is asked of the tile job.
    maker
        What is made of each tile.
    map
        The store as it will be.
    files
        What all tiles depend on, such as the head, by key.
    from_region
        What the bytes of a year depend on that comes from the region, for the message where the
        store has the year with another one.
    """

    job: JobRequest
    maker: Maker
    map: MapStore
    files: Mapping[str, bytes]
    from_region: str

    def create_store(self) -> MapStore:
        """Write the store's metadata and files, or check that they are those of this map.

        Raises
        ------
        StoreMismatch
            If the store holds another map.
        """
        told, year = replace(self.map, storage=self.job.open_store()), self.job.year
        with before_work(), store_errors(told.storage.url):
            self._check_year()
            made = create_map(
                told.storage,
                told.layout,
                told.identity,
                told.years,
                told.zones,
                told.matched,
                told.compared,
                (year,),
                told.valid_range,
            )
            for key, data in self.files.items():
                told.storage.write(key, data)
            by = MapRecipe(told.command, tuple(self.files), {})
            entry = MapYear(self.maker.fingerprint, key_templates(made, year))
            add_map_year(told.storage, year, entry, by)
        return made

    def _check_year(self) -> None:
        """Check that the year there was mapped in the same way, if it was."""
        try:
            known = read_map_recipe(self.map.storage).years.get(self.job.year)
            same_map = read_map(self.map.storage).identity == self.map.identity
        except FileNotFoundError:
            return
        if same_map and known is not None and known.fingerprint != self.maker.fingerprint:
            raise StoreMismatch(
                f"{self.map.storage.url} holds {self.job.year} with {self.from_region} or other "
                "arrays, and that comes from the region: choose another place"
            )
