"""Bring what a mosaic shows of itself up to date: for people, catalogues and readers.

It goes zone by zone and reads only tiles that are new since it ran last, so its work is that of
the new tiles and its memory that of a zone. Killed, it goes on with the zone it was at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tessera_mosaic.pipeline.errors import Altered, BadInput
from tessera_mosaic.pipeline.io.exclusion import settled
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.patience import PATIENCE
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import keys, tile_lists
from tessera_mosaic.pipeline.ledger.records import State
from tessera_mosaic.pipeline.mosaic.metadata import encode_json, root_node
from tessera_mosaic.pipeline.mosaic.preview_pyramid import Colours
from tessera_mosaic.pipeline.mosaic.store import (
    METADATA_LOCK,
    ROOT,
    Mosaic,
    metadata_objects,
    mosaic_in,
    read_mosaic,
)
from tessera_mosaic.pipeline.publishing.attribution import attribution
from tessera_mosaic.pipeline.publishing.block_files import block_files
from tessera_mosaic.pipeline.publishing.coverage_map import coverage_map
from tessera_mosaic.pipeline.publishing.icechunk import IcechunkRequest, publish_icechunk
from tessera_mosaic.pipeline.publishing.manifest import (
    being_painted,
    put_all,
    put_if_other,
    write_manifest,
)
from tessera_mosaic.pipeline.publishing.map_page import files_beside, map_page
from tessera_mosaic.pipeline.publishing.painted_chunks import PaintedChunks, is_page
from tessera_mosaic.pipeline.publishing.preview import fit_colours
from tessera_mosaic.pipeline.publishing.publication import Publication, remembered
from tessera_mosaic.pipeline.publishing.registry import join_parts
from tessera_mosaic.pipeline.publishing.report import report_page
from tessera_mosaic.pipeline.publishing.report_pictures import cuttings
from tessera_mosaic.pipeline.publishing.stac import link_picture, make_catalog, make_collection
from tessera_mosaic.pipeline.publishing.zone import planned_summaries, publish_zone
from tessera_mosaic.pipeline.tiling.lattice import Tile

Planned = Mapping[int, Sequence[int]]
"""Years of which each zone has planned tiles, by its number."""


@dataclass(frozen=True)
class Published:
    """What was published of a mosaic.

    Parameters
    ----------
    tiles
        Number of tiles and years in the registry.
    new
        Number of those whose records were read, because they are new or were made again.
    painted
        Number of tiles that were painted into the picture.
    report, registry
        Paths or URLs of the report and of the registry.
    snapshots
        Snapshots of the Icechunk repositories, by the name of their layout, where there are some.
    """

    tiles: int
    new: int
    painted: int
    report: str
    registry: str
    snapshots: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The fields of `publish --json`."""
        return dict(vars(self))


def publish(
    store: str,
    store_patience: float = PATIENCE,
    single_launcher: bool = False,
    icechunk: IcechunkRequest | None = None,
) -> Published:
    """Bring a mosaic's metadata, registry, STAC catalogue, picture and report up to date.

    Only tiles that are new since it was last published are read. Killed and run again, it goes on
    where it was.

    Parameters
    ----------
    store
        Path or URL of the mosaic.
    store_patience
        Seconds for which a store is asked again that is busy or does not answer.
    single_launcher
        Whether nobody else writes to the store meanwhile, which has to be said of one that does
        not put objects only where there are none.
    icechunk
        Icechunk repositories of virtual references to bring up to date as well, if any.

    Returns
    -------
    Published
        Numbers of tiles, and where the report and the registry are.

    Raises
    ------
    BadInput
        If there is no mosaic, or part of it is damaged.

    Examples
    --------
    >>> published = tm.publish("valley.zarr")
    >>> published.tiles, published.new
    (12, 12)
    >>> published.report
    '...valley.zarr/report.html'
    """
    storage = Storage(store, patience=store_patience)
    storage.check_listable()
    storage = settled(mosaic_in(storage).storage, single_launcher)
    try:
        published = publish_mosaic(storage)
        if icechunk is None:
            return published
        with locked(storage, keys.PUBLISH_LOCK):
            snapshots = publish_icechunk(read_mosaic(storage), icechunk)
        return replace(published, snapshots=snapshots)
    except Altered as error:
        raise BadInput(f"{store} is damaged, `verify` names all of it: {error}") from None


def publish_mosaic(storage: Storage) -> Published:
    """Publish the mosaic in a store.

    Raises
    ------
    Altered
        If a tile's record or objects are damaged, or part of the picture is.
    """
    storage.sweep()
    with locked(storage, keys.PUBLISH_LOCK):
        # Another launcher may add years and zones at any time: nothing that was read before counts.
        mosaic = read_mosaic(storage)
        planned = _planned(mosaic)
        colours = mosaic.colours or fit_colours(mosaic, _done(mosaic, planned))
        mosaic = write_metadata(storage, colours)
        state = Publication(remembered(storage))
        interrupted = being_painted(storage, mosaic.zones)
        for zone in mosaic.zones:
            publish_zone(mosaic, zone, planned.get(zone, []), state, interrupted)
        _publish_whole(mosaic, state)
    return Published(
        tiles=state.totals.total().tiles,
        new=state.new,
        painted=state.painted,
        report=storage.locate(keys.REPORT),
        registry=storage.locate(keys.REGISTRY),
    )


def write_metadata(storage: Storage, colours: Colours | None) -> Mosaic:
    """Give a mosaic its colours, if it has none, and mend its metadata, the root's last."""
    with locked(storage, METADATA_LOCK):
        mosaic = read_mosaic(storage)
        mosaic = replace(mosaic, colours=mosaic.colours or colours)
        put_all(storage, metadata_objects(mosaic))
        put_if_other(storage, ROOT, encode_json(root_node(mosaic)))
    return mosaic


def _planned(mosaic: Mosaic) -> Planned:
    """The years, in order, of which each zone has planned tiles, listed once."""
    planned: dict[int, list[int]] = {zone: [] for zone in mosaic.zones}
    for year in tile_lists.years_planned(mosaic.storage):
        for zone in tile_lists.zones_planned(mosaic.storage, year):
            if zone in planned and year in mosaic.years:
                planned[zone].append(year)
    return planned


def _done(mosaic: Mosaic, planned: Planned) -> Iterator[tuple[Tile, int]]:
    """Every tile that is done, and its year."""
    for zone, years in planned.items():
        for year in years:
            for found in planned_summaries(mosaic, year, zone):
                if found.summary is not None and found.summary.state is State.DONE:
                    yield found.tile, year


def _publish_whole(mosaic: Mosaic, state: Publication) -> None:
    """Put what is told of all zones together, remove what is no longer told, and list the rest."""
    storage, totals = mosaic.storage, state.totals
    maps = {
        year: coverage_map(totals.grounds[year], totals.total(year).states, f"Tiles of {year}")
        for year in totals.years
    }
    parts = [keys.registry_part_key(zone) for zone in mosaic.zones]
    registry = join_parts(storage.read(key) for key in parts if key in state.kept)
    state.put(storage, keys.REGISTRY, registry)
    state.put(storage, keys.ATTRIBUTION, attribution(mosaic.identity, totals.made).encode())
    every = [ground for year in totals.years for ground in totals.grounds[year]]
    pictures = list(cuttings(PaintedChunks(storage), every)) if mosaic.colours else []
    state.put(storage, keys.REPORT, report_page(mosaic, totals, maps, pictures).encode())
    if maps:
        state.put(storage, keys.COVERAGE_MAP, maps[totals.years[-1]])
    if state.items:
        extents = dict(sorted(state.items.items()))
        state.put(storage, keys.COLLECTION, make_collection(mosaic, extents))
        state.put(storage, keys.CATALOG, make_catalog(mosaic))
        state.put(storage, keys.MAP_PAGE, map_page(mosaic, extents))
        for key, data in files_beside():
            state.put(storage, key, data)
        link_picture(storage, totals.made)
    files = block_files(storage)
    state.manifest |= files
    state.kept |= files.keys()
    for key in [key for key in state.manifest if not (is_page(key) or key in state.kept)]:
        storage.delete(key)
        del state.manifest[key]
    write_manifest(storage, state.manifest)
