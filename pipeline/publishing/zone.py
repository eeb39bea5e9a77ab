"""Bring the rows, the picture and the items of one zone up to date.

Only tiles that are new since the zone was published last are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.ledger import journal, keys, records, summary, tile_lists
from tessera_mosaic.pipeline.ledger.records import State
from tessera_mosaic.pipeline.ledger.summary import Found
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.publishing.manifest import (
    THREADS,
    note_painting,
    painted,
    read_listed,
    write_manifest,
)
from tessera_mosaic.pipeline.publishing.painted_chunks import PaintedChunks
from tessera_mosaic.pipeline.publishing.preview import Picture, coarsen, draw_tile, paint_tile
from tessera_mosaic.pipeline.publishing.publication import Publication
from tessera_mosaic.pipeline.publishing.registry import (
    Row,
    RowKey,
    TileState,
    decode_rows,
    embedded_window,
    encode_rows,
)
from tessera_mosaic.pipeline.publishing.stac_item import make_item
from tessera_mosaic.pipeline.tiling.lattice import parse_tile


def publish_zone(
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
        for found in planned_summaries(mosaic, year, zone):
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
        row = replace(row, code_power=picture.code_power, scale_median=picture.scale)
        return row.on(embedded_window(tile, picture.image[..., 3] > 0)), picture

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


def planned_summaries(mosaic: Mosaic, year: int, zone: int) -> Iterator[Found]:
    """Every planned tile of a zone and year with its summary; the year has some there."""
    journal.compact(mosaic.storage, year, zone)
    planned = tile_lists.planned_tiles(mosaic.storage, year, [zone])
    yield from summary.find_summaries(mosaic.storage, year, planned)
