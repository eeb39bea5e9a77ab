"""Bring what a mosaic shows of itself up to date: for people, catalogues and readers.

It goes zone by zone and reads only tiles that are new since it ran last, so its work is that of
the new tiles and its memory that of a zone. Killed, it goes on with the zone it was at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.pipeline.errors import Altered, BadInput
from tessera_mosaic.pipeline.io.exclusion import settled
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.patience import PATIENCE
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import journal, keys, records, summary, tile_lists
from tessera_mosaic.pipeline.ledger.records import State
from tessera_mosaic.pipeline.ledger.summary import Found
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
from tessera_mosaic.pipeline.publishing.coverage_map import coverage_map
from tessera_mosaic.pipeline.publishing.manifest import (
    THREADS,
    Digest,
    Manifest,
    being_painted,
    note_painting,
    painted,
    put_all,
    put_if_other,
    read_listed,
    read_manifest,
    wipe,
    write_manifest,
)
from tessera_mosaic.pipeline.publishing.painted_chunks import PaintedChunks, is_page
from tessera_mosaic.pipeline.publishing.preview import (
    Picture,
    coarsen,
    draw_tile,
    fit_colours,
    paint_tile,
)
from tessera_mosaic.pipeline.publishing.registry import (
    Row,
    RowKey,
    TileState,
    decode_rows,
    encode_rows,
    join_parts,
)
from tessera_mosaic.pipeline.publishing.report import report_page
from tessera_mosaic.pipeline.publishing.stac import Extent, make_collection, make_item
from tessera_mosaic.pipeline.publishing.totals import Totals
from tessera_mosaic.pipeline.tiling.lattice import Tile, parse_tile

log = logging.getLogger(__name__)

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
    """

    tiles: int
    new: int
    painted: int
    report: str
    registry: str

    def to_json(self) -> dict[str, int | str]:
        """The fields of `publish --json`."""
        return dict(vars(self))


def publish(
    store: str, store_patience: float = PATIENCE, single_launcher: bool = False
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
        return publish_mosaic(storage)
    except Altered as error:
        raise BadInput(f"{store} is damaged, `verify` names all of it: {error}") from None


@dataclass
class Publication:
    """What is known, while it is published, of the store's published objects.

    Parameters
    ----------
    manifest
        Objects that the manifest has, as they are now.
    totals
        What the rows come to so far.
    items
        What the catalogue's items cover, by their keys.
    kept
        Keys of objects that belong to what is published now.
    new, painted
        Numbers of tiles and years whose records were read, and of tiles that were painted.
    """

    manifest: Manifest
    totals: Totals = field(default_factory=Totals)
    items: dict[str, Extent] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    new: int = 0
    painted: int = 0

    def put(self, storage: Storage, key: str, data: bytes) -> None:
        """Put an object unless it is there already, for the manifest."""
        put_if_other(storage, key, data)
        self.manifest[key] = Digest.of(data)
        self.kept.add(key)


def publish_mosaic(storage: Storage) -> Published:
    """Publish the mosaic in a store.

    Raises
    ------
    Altered
        If a tile's record or objects are damaged, or part of the picture is.
    """
    with locked(storage, keys.PUBLISH_LOCK):
        # Another launcher may add years and zones at any time: nothing that was read before counts.
        mosaic = read_mosaic(storage)
        planned = _planned(mosaic)
        colours = mosaic.colours or fit_colours(mosaic, _done(mosaic, planned))
        mosaic = write_metadata(storage, colours)
        state = Publication(_remembered(storage))
        interrupted = being_painted(storage, mosaic.zones)
        for zone in mosaic.zones:
            _publish_zone(mosaic, zone, planned.get(zone, []), state, interrupted)
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


def _remembered(storage: Storage) -> Manifest:
    """What was published; without a manifest that is whole, all is made afresh."""
    try:
        manifest = read_manifest(storage)
    except Altered as error:
        log.warning("%s: %s; all is published afresh", keys.MANIFEST, error)
        manifest = {}
    if not manifest:
        wipe(storage)
    return manifest


def _found(mosaic: Mosaic, year: int, zone: int) -> Iterator[Found]:
    """Every planned tile of a zone and year with its summary; the year has some there."""
    journal.compact(mosaic.storage, year, zone)
    planned = tile_lists.planned_tiles(mosaic.storage, year, [zone])
    yield from summary.find_summaries(mosaic.storage, year, planned)


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
            for found in _found(mosaic, year, zone):
                if found.summary is not None and found.summary.state is State.DONE:
                    yield found.tile, year


def _publish_zone(
    mosaic: Mosaic,
    zone: int,
    years: Sequence[int],
    state: Publication,
    interrupted: Mapping[int, Set[str]],
) -> None:
    """Bring a zone's rows, its part of the picture and its items up to date."""
    storage, key = mosaic.storage, keys.registry_part_key(zone)
    part = read_listed(storage, key, state.manifest)
    known = decode_rows(part) if part is not None else {}
    rows, news = _rows(mosaic, zone, years, known)
    unsure: Set[str] = interrupted.get(zone, frozenset())
    if part is None and key in state.manifest:
        # What was painted is not known: all tiles are painted, and cleared where they are not done.
        unsure = {row.tile for row in rows}
    shown = _shown(rows)
    changed = _changed(_shown(known), shown, news) | unsure
    if news or changed:
        note_painting(storage, zone, changed)
        chunks = PaintedChunks(storage, unsure=bool(interrupted))
        rows |= _paint(mosaic, news, changed, shown, chunks)
        coarsen(chunks)
        state.manifest |= chunks.write_pages()
        state.new, state.painted = state.new + len(news), state.painted + len(changed)
    if rows:
        state.put(storage, key, part if part and rows == known else encode_rows(rows.values()))
    for year in mosaic.years:
        _show(mosaic, zone, year, [rows[each] for each in sorted(rows) if each.year == year], state)
    if news or changed:
        write_manifest(storage, state.manifest)
        painted(storage, zone)


def _rows(
    mosaic: Mosaic, zone: int, years: Sequence[int], known: Mapping[RowKey, Row]
) -> tuple[dict[RowKey, Row], set[RowKey]]:
    """The row of every planned tile of a zone, and which of them have to be made of records."""
    rows: dict[RowKey, Row] = {}
    news: set[RowKey] = set()
    for year in years:
        for found in _found(mosaic, year, zone):
            key = RowKey(found.tile.name, year)
            row = known.get(key)
            if found.summary is None:
                rows[key] = Row.missing(found.tile, year)
            elif row is not None and row.written == found.summary.written:
                rows[key] = row
            else:
                state = TileState(found.summary.state)
                rows[key] = replace(Row.missing(found.tile, year), state=state)
                news.add(key)
    return rows, news


def _shown(rows: Mapping[RowKey, Row]) -> dict[str, int]:
    """What the picture shows of each tile: the newest year that is done."""
    done = [(key.year, key.tile) for key, row in rows.items() if row.done]
    return {name: year for year, name in sorted(done)}


def _changed(before: dict[str, int], after: dict[str, int], news: Set[RowKey]) -> set[str]:
    """Names of tiles of which the picture has to show something else, or nothing any more."""
    other = {n for n, year in after.items() if before.get(n) != year or RowKey(n, year) in news}
    return other | (before.keys() - after.keys())


def _paint(
    mosaic: Mosaic,
    news: Set[RowKey],
    changed: Set[str],
    shown: Mapping[str, int],
    chunks: PaintedChunks,
) -> dict[RowKey, Row]:
    """Read the new tiles and those to be painted, and paint; the rows of what was read."""
    rows: dict[RowKey, Row] = {}
    nothing = np.zeros((mosaic.layout.side, mosaic.layout.side, 4), np.uint8)
    wanted = news | {RowKey(name, shown[name]) for name in changed & shown.keys()}
    with ThreadPoolExecutor(THREADS, thread_name_prefix="paint") as pool:
        for row, picture in _looks(mosaic, sorted(wanted)):
            rows[row.key] = row
            if row.tile in changed and shown.get(row.tile) == row.year:
                image = nothing if picture is None else picture.image
                paint_tile(parse_tile(row.tile, mosaic.layout.side), image, chunks, pool)
        for name in sorted(changed - shown.keys()):
            paint_tile(parse_tile(name, mosaic.layout.side), nothing, chunks, pool)
    return rows


def _looks(mosaic: Mosaic, wanted: list[RowKey]) -> Iterator[tuple[Row, Picture | None]]:
    """Row and picture of tiles, the picture of those that are done; drawn with every core."""
    colours, threads = mosaic.colours, usable_cores()

    def look(key: RowKey) -> tuple[Row, Picture | None]:
        tile, year = parse_tile(key.tile, mosaic.layout.side), key.year
        record = records.read_record(mosaic.storage, year, tile)
        if record is None:
            return Row.missing(tile, year), None
        row = Row.of(tile, year, record)
        if colours is None or record.state is not State.DONE:
            return row, None
        try:
            picture = draw_tile(mosaic, record, colours)
        except Altered as error:
            raise Altered(f"tile {tile.name} of {year}: {error}") from None
        return replace(row, code_power=picture.code_power, scale_median=picture.scale), picture

    with ThreadPoolExecutor(threads, thread_name_prefix="draw") as pool:
        for start in range(0, len(wanted), threads):
            yield from pool.map(look, wanted[start : start + threads])


def _show(mosaic: Mosaic, zone: int, year: int, rows: list[Row], state: Publication) -> None:
    """Add a zone and year to the totals, and put its item."""
    state.totals.add(zone, year, rows)
    made = [row for row in rows if row.done]
    if made:
        item = make_item(mosaic, zone, year, made)
        state.items[item.key] = item.extent
        state.put(mosaic.storage, item.key, item.data)


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
    state.put(storage, keys.REPORT, report_page(mosaic, totals, maps).encode())
    if maps:
        state.put(storage, keys.COVERAGE_MAP, maps[totals.years[-1]])
    if state.items:
        extents = dict(sorted(state.items.items()))
        state.put(storage, keys.COLLECTION, make_collection(mosaic, extents))
    for key in [key for key in state.manifest if not (is_page(key) or key in state.kept)]:
        storage.delete(key)
        del state.manifest[key]
    write_manifest(storage, state.manifest)
