"""The command `publish`: what a mosaic shows of itself to people, catalogues and readers.

It goes zone by zone and reads only tiles that are new since it ran last, so its work is that of
the new tiles and its memory that of a zone. Killed, it goes on with the zone it was at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.sealed import seal
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
    read_mosaic,
)
from tessera_mosaic.pipeline.publishing import attribution
from tessera_mosaic.pipeline.publishing.coverage_map import coverage_map
from tessera_mosaic.pipeline.publishing.manifest import (
    THREADS,
    Entry,
    being_painted,
    entry,
    put_if_other,
    read_list,
    read_listed,
    wipe,
    write_list,
)
from tessera_mosaic.pipeline.publishing.painted_chunks import Ledger, is_of_picture
from tessera_mosaic.pipeline.publishing.preview import (
    Picture,
    coarsen,
    draw_tile,
    fit_colours,
    paint_tile,
)
from tessera_mosaic.pipeline.publishing.registry import (
    Key,
    Row,
    decode_rows,
    encode_rows,
    join_parts,
    make_row,
    missing_row,
)
from tessera_mosaic.pipeline.publishing.report import report_page
from tessera_mosaic.pipeline.publishing.stac import (
    Extent,
    encode_item,
    make_collection,
    make_item,
)
from tessera_mosaic.pipeline.publishing.totals import Overview
from tessera_mosaic.pipeline.tiling.lattice import Tile, parse_tile

log = logging.getLogger(__name__)


@dataclass
class Published:
    """What a `publish` knows of the store's published objects, and what it did.

    Parameters
    ----------
    listed
        Objects that the list has, as they are now.
    overview
        Of the rows so far.
    items
        Extents of the catalogue's items by key.
    kept
        Keys of objects that belong to what is published now.
    new, painted
        Tiles and years whose records were read, and tiles painted.
    """

    listed: dict[str, Entry]
    overview: Overview = field(default_factory=Overview)
    items: dict[str, Extent] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    new: int = 0
    painted: int = 0

    def put(self, storage: Storage, key: str, data: bytes) -> None:
        """Put an object unless it is there already, for the list."""
        put_if_other(storage, key, data)
        self.listed[key] = entry(data)
        self.kept.add(key)


def publish(storage: Storage) -> dict[str, int]:
    """Bring all that is published of a mosaic up to date with its tiles' records.

    Returns
    -------
    `tiles` in the registry, `new` ones among them, and `painted` ones.

    Raises
    ------
    Altered
        If a tile's record or objects are damaged, or part of the picture is.
    """
    with locked(storage, keys.PUBLISH_LOCK):
        # Another launcher may add years and zones at any time: nothing that was read before counts.
        mosaic = read_mosaic(storage)
        mosaic = write_metadata(storage, mosaic.colours or fit_colours(mosaic, _done(mosaic)))
        state = Published(_remembered(storage))
        interrupted = being_painted(storage, mosaic.zones)
        for zone in mosaic.zones:
            _publish_zone(mosaic, zone, state, interrupted)
        _publish_whole(mosaic, state)
    return {"tiles": state.overview.total().tiles, "new": state.new, "painted": state.painted}


def write_metadata(storage: Storage, colours: Colours | None) -> Mosaic:
    """Give a mosaic its colours, if it has none, and mend its metadata, the root's last."""
    with locked(storage, METADATA_LOCK), ThreadPoolExecutor(THREADS) as pool:
        mosaic = read_mosaic(storage)
        mosaic = replace(mosaic, colours=mosaic.colours or colours)
        for _ in pool.map(lambda e: put_if_other(storage, *e), metadata_objects(mosaic)):
            pass
        put_if_other(storage, ROOT, encode_json(root_node(mosaic)))
    return mosaic


def _remembered(storage: Storage) -> dict[str, Entry]:
    """The list of what was published; without one that is whole, all is made afresh."""
    try:
        listed = read_list(storage)
    except Altered as error:
        log.warning("%s: %s; all is published afresh", keys.MANIFEST, error)
        listed = {}
    if not listed:
        wipe(storage)
    return listed


def _found(mosaic: Mosaic, year: int, zone: int) -> Iterator[Found]:
    """Every planned tile of a zone and year with its short record."""
    journal.compact(mosaic.storage, year, zone)
    planned = tile_lists.planned_tiles(mosaic.storage, year, [zone])
    yield from summary.find_summaries(mosaic.storage, year, planned)


def _done(mosaic: Mosaic) -> Iterator[tuple[Tile, int]]:
    """Every tile that is done, and its year."""
    for year in mosaic.years:
        for zone in mosaic.zones:
            for found in _found(mosaic, year, zone):
                if found.summary is not None and found.summary.state is State.DONE:
                    yield found.tile, year


def _publish_zone(
    mosaic: Mosaic, zone: int, state: Published, interrupted: dict[int, set[str]]
) -> None:
    """Bring a zone's rows, its part of the picture and its items up to date."""
    storage, key = mosaic.storage, keys.registry_part_key(zone)
    part = read_listed(storage, key, state.listed)
    known = decode_rows(part) if part is not None else {}
    rows, news = _rows(mosaic, zone, known)
    unsure = interrupted.get(zone, set())
    if part is None and key in state.listed:
        # What was painted is not known: all tiles are painted, and cleared where they are not done.
        unsure = {name for name, _ in rows}
    shown = _shown(rows)
    changed = _changed(_shown(known), shown, news) | unsure
    if news or changed:
        storage.write(keys.painting_key(zone), seal({"tiles": sorted(changed)}))
        ledger = Ledger(storage, unsure=bool(interrupted))
        rows |= _paint(mosaic, news, changed, shown, ledger)
        coarsen(ledger)
        state.listed |= ledger.write()
        state.new, state.painted = state.new + len(news), state.painted + len(changed)
    if rows:
        state.put(storage, key, part if part and rows == known else encode_rows(rows.values()))
    for year in mosaic.years:
        _show(mosaic, zone, year, [rows[each] for each in sorted(rows) if each[1] == year], state)
    if news or changed:
        write_list(storage, state.listed)
        storage.delete(keys.painting_key(zone))


def _rows(mosaic: Mosaic, zone: int, known: dict[Key, Row]) -> tuple[dict[Key, Row], set[Key]]:
    """The row of every planned tile of a zone, and which of them have to be made of records."""
    rows: dict[Key, Row] = {}
    news: set[Key] = set()
    for year in mosaic.years:
        for found in _found(mosaic, year, zone):
            key = found.tile.name, year
            row = known.get(key)
            if found.summary is None:
                rows[key] = missing_row(found.tile, year)
            elif row is not None and row["written"] == found.summary.written:
                rows[key] = row
            else:
                rows[key] = missing_row(found.tile, year) | {"state": found.summary.state.value}
                news.add(key)
    return rows, news


def _shown(rows: dict[Key, Row]) -> dict[str, int]:
    """What the picture shows of each tile: the newest year that is done."""
    done = [(year, name) for (name, year), row in rows.items() if row["state"] == State.DONE]
    return {name: year for year, name in sorted(done)}


def _changed(before: dict[str, int], after: dict[str, int], news: set[Key]) -> set[str]:
    """Names of tiles of which the picture has to show something else, or nothing any more."""
    other = {n for n, year in after.items() if before.get(n) != year or (n, year) in news}
    return other | (before.keys() - after.keys())


def _paint(
    mosaic: Mosaic, news: set[Key], changed: set[str], shown: dict[str, int], ledger: Ledger
) -> dict[Key, Row]:
    """Read the new tiles and those to be painted, and paint; the rows of what was read."""
    rows: dict[Key, Row] = {}
    nothing = np.zeros((mosaic.layout.side, mosaic.layout.side, 4), np.uint8)
    wanted = news | {(name, shown[name]) for name in changed & shown.keys()}
    with ThreadPoolExecutor(THREADS, thread_name_prefix="paint") as pool:
        for (name, year), row, picture in _looks(mosaic, sorted(wanted)):
            rows[name, year] = row
            if name in changed and shown.get(name) == year:
                image = nothing if picture is None else picture.image
                paint_tile(parse_tile(name, mosaic.layout.side), image, ledger, pool)
        for name in sorted(changed - shown.keys()):
            paint_tile(parse_tile(name, mosaic.layout.side), nothing, ledger, pool)
    return rows


def _looks(mosaic: Mosaic, wanted: list[Key]) -> Iterator[tuple[Key, Row, Picture | None]]:
    """Row and picture of tiles, the picture of those that are done; drawn with every core."""
    colours, threads = mosaic.colours, usable_cores()

    def look(key: Key) -> tuple[Key, Row, Picture | None]:
        tile, year = parse_tile(key[0], mosaic.layout.side), key[1]
        record = records.read_record(mosaic.storage, year, tile)
        if record is None:
            return key, missing_row(tile, year), None
        row = make_row(tile, year, record)
        if colours is None or record.state is not State.DONE:
            return key, row, None
        try:
            picture = draw_tile(mosaic, record, colours)
        except Altered as error:
            raise Altered(f"tile {tile.name} of {year}: {error}") from None
        told = {"code_power": picture.code_power, "scale_median": picture.scale}
        return key, row | told, picture

    with ThreadPoolExecutor(threads, thread_name_prefix="draw") as pool:
        for start in range(0, len(wanted), threads):
            yield from pool.map(look, wanted[start : start + threads])


def _show(mosaic: Mosaic, zone: int, year: int, rows: list[Row], state: Published) -> None:
    """Add a zone and year to the overview, and put its item."""
    state.overview.add(zone, year, rows)
    made = [row for row in rows if row["state"] == State.DONE]
    if made:
        item, key = make_item(mosaic, zone, year, made), keys.item_key(zone, year)
        state.items[key] = Extent(item["bbox"], year)
        state.put(mosaic.storage, key, encode_item(item))


def _publish_whole(mosaic: Mosaic, state: Published) -> None:
    """Put what is told of all zones together, remove what is no longer told, and write the list."""
    storage, overview = mosaic.storage, state.overview
    maps = {
        year: coverage_map(overview.grounds[year], overview.total(year).states, f"Tiles of {year}")
        for year in overview.years
    }
    parts = [keys.registry_part_key(zone) for zone in mosaic.zones]
    state.put(
        storage, keys.REGISTRY, join_parts(storage.read(key) for key in parts if key in state.kept)
    )
    text = attribution.attribution(mosaic.identity, overview.made)
    state.put(storage, keys.ATTRIBUTION, text.encode())
    state.put(storage, keys.REPORT, report_page(mosaic, overview, maps).encode())
    if maps:
        state.put(storage, keys.COVERAGE_MAP, maps[overview.years[-1]])
    if state.items:
        items = dict(sorted(state.items.items()))
        state.put(storage, keys.COLLECTION, encode_item(make_collection(mosaic, items)))
    for key in [key for key in state.listed if not (is_of_picture(key) or key in state.kept)]:
        storage.delete(key)
        del state.listed[key]
    write_list(storage, state.listed)
