"""The command `publish`: what a mosaic shows of itself to people, catalogues and readers.

It reads only tiles that are new since it ran last, which the registry remembers, and ends with one
sealed list of all that it wrote.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline import attribution, records, summary
from pipeline.coverage import coverage_map
from pipeline.errors import BadInput, StoreError
from pipeline.grid import Tile, parse_tile
from pipeline.mosaic import Mosaic, mosaic_at
from pipeline.mosaic.metadata import encode_json, root_node
from pipeline.mosaic.store import ROOT, metadata_objects
from pipeline.preview import LIST, Ledger, Picture, coarsen, draw_tile, fit_colours, paint_tile
from pipeline.records import Record, State
from pipeline.registry import KEY as REGISTRY
from pipeline.registry import Row, make_row, missing_row, read_registry, write_registry
from pipeline.report import report_page
from pipeline.seal import seal, unseal
from pipeline.stac import stac_objects
from pipeline.storage import Storage

MAP = "coverage.png"
REPORT = "report.html"

Key = tuple[str, int]
"""A tile's name and a year."""

THREADS = 16
"""Small objects read at once."""


@dataclass(frozen=True)
class New:
    """A tile and year that has to be read."""

    tile: Tile
    year: int
    record: Record

    @property
    def key(self) -> Key:
        """Of its row."""
        return self.tile.name, self.year


def publish(mosaic: Mosaic) -> dict[str, Any]:
    """Bring all that is published up to date with the tiles' records.

    Returns
    -------
    `tiles` in the registry, `new` ones among them, and `painted` ones.

    Raises
    ------
    StoreError
        If a tile's record or objects are damaged.
    """
    storage = mosaic.storage
    with storage.locked("publish"):
        known = read_registry(storage)
        rows, news = _news(mosaic, known)
        before, after = _shown(known), _shown(rows)
        news += _shown_again(mosaic, before, after, news)
        mosaic = _with_colours(mosaic, [new for new in news if new.record.state is State.DONE])
        write_again(mosaic)
        ledger, painted = Ledger(storage, afresh=not known), 0
        for new, picture in _pictures(mosaic, news):
            if picture is None:
                continue
            rows[new.key] |= {"code_power": picture.code_power, "scale_median": picture.scale}
            if after[new.tile.name][0] == new.year:
                paint_tile(storage, new.tile, picture.image, ledger)
                painted += 1
        for name in before.keys() - after.keys():
            tile = parse_tile(name, mosaic.layout.side)
            paint_tile(storage, tile, np.zeros((tile.side, tile.side, 4), np.uint8), ledger)
        coarsen(storage, ledger.painted, ledger)
        listed = read_list(storage) if known else {}
        _write_list(storage, listed, _documents(mosaic, rows), ledger.write())
    return {"tiles": len(rows), "new": len(news), "painted": painted}


def _news(mosaic: Mosaic, known: dict[Key, Row]) -> tuple[dict[Key, Row], list[New]]:
    """The row of every planned tile, and the tiles whose rows are not those known."""
    rows: dict[Key, Row] = {}
    news: list[New] = []
    for year in mosaic.years:
        for zone in mosaic.zones:
            summary.compact(mosaic.storage, year, zone)
        planned = records.planned_tiles(mosaic.storage, year)
        for found in summary.short_records(mosaic.storage, year, planned):
            key = found.tile.name, year
            row = known.get(key)
            if row is not None and found.row and row["written"] == found.row["written"]:
                rows[key] = row
                continue
            record = records.read_record(mosaic.storage, year, found.tile)
            if record is None:
                rows[key] = missing_row(found.tile, year)
            else:
                rows[key] = make_row(found.tile, year, record)
                news.append(New(found.tile, year, record))
    return rows, news


def _shown(rows: dict[Key, Row]) -> dict[str, tuple[int, str]]:
    """What the picture shows of each tile: the newest year that is done, and its digest."""
    done = (row for row in rows.values() if row["state"] == State.DONE)
    return {row["tile"]: (row["year"], row["digest"]) for row in sorted(done, key=_year)}


def _year(row: Row) -> int:
    return int(row["year"])


def _shown_again(
    mosaic: Mosaic,
    before: dict[str, tuple[int, str]],
    after: dict[str, tuple[int, str]],
    news: list[New],
) -> Iterator[New]:
    """Tiles of which an older year is shown again, because the newer one is no longer done."""
    read = {new.key for new in news}
    for name, (year, _) in after.items():
        if (name, year) not in read and before.get(name) != after[name]:
            tile = parse_tile(name, mosaic.layout.side)
            record = records.read_record(mosaic.storage, year, tile)
            if record is not None:
                yield New(tile, year, record)


def _with_colours(mosaic: Mosaic, made: list[New]) -> Mosaic:
    """The mosaic with the colours of its picture, fitted when its first tiles are published."""
    if mosaic.colours is not None or not made:
        return mosaic
    colours = fit_colours(mosaic, [(new.tile, new.record) for new in made])
    return replace(mosaic, colours=colours)


def write_again(mosaic: Mosaic) -> None:
    """Write every node of the metadata that is not as it should be, the root's last."""

    with mosaic.storage.locked("metadata"), ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(lambda e: put_if_other(mosaic.storage, *e), metadata_objects(mosaic)):
            pass
        put_if_other(mosaic.storage, ROOT, encode_json(root_node(mosaic)))


def _pictures(mosaic: Mosaic, news: list[New]) -> Iterator[tuple[New, Picture | None]]:
    """Each new tile with its picture, if it is done; drawn with every core, a few ahead."""
    colours, threads = mosaic.colours, os.cpu_count() or 1

    def draw(new: New) -> Picture | None:
        if colours is None or new.record.state is not State.DONE:
            return None
        try:
            return draw_tile(mosaic, new.record, colours)
        except StoreError as error:
            raise StoreError(f"tile {new.tile.name} of {new.year}: {error}") from None

    with ThreadPoolExecutor(threads, thread_name_prefix="publish") as pool:
        for start in range(0, len(news), threads):
            batch = news[start : start + threads]
            yield from zip(batch, pool.map(draw, batch), strict=True)


def _documents(mosaic: Mosaic, rows: dict[Key, Row]) -> dict[str, bytes]:
    """Keys and bytes of everything that is made from the registry's rows alone."""
    every = [rows[key] for key in sorted(rows)]
    years = sorted({row["year"] for row in every})
    made = sorted({row["year"] for row in every if row["state"] == State.DONE})
    maps = {
        year: coverage_map([row for row in every if row["year"] == year], f"Tiles of {year}")
        for year in years
    }
    documents = {
        REGISTRY: write_registry(every),
        attribution.KEY: attribution.attribution(mosaic.identity, made).encode(),
        REPORT: report_page(mosaic, every, maps).encode(),
        **stac_objects(mosaic, every),
    }
    if maps:
        documents[MAP] = maps[years[-1]]
    return documents


def _write_list(
    storage: Storage,
    listed: dict[str, dict[str, Any]],
    documents: dict[str, bytes],
    pages: list[str],
) -> None:
    """Put the documents that changed, then the list of them and of the picture's pages."""
    for key, data in documents.items():
        put_if_other(storage, key, data)
    for key, data in [*documents.items(), *((key, storage.read(key)) for key in pages)]:
        listed[key] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    put_if_other(storage, LIST, seal(dict(sorted(listed.items()))))


def put_if_other(storage: Storage, key: str, data: bytes) -> None:
    """Put an object unless it is there already, byte for byte."""
    try:
        whole = storage.read(key) == data
    except FileNotFoundError:
        whole = False
    if not whole:
        storage.write(key, data)


def read_list(storage: Storage) -> dict[str, dict[str, Any]]:
    """Size and sha256 of each published object; none where nothing was published.

    Raises
    ------
    StoreError
        If the list cannot be read.
    """
    try:
        return unseal(storage.read(LIST))
    except FileNotFoundError:
        return {}


def publish_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `publish`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")


def publish_command(args: argparse.Namespace) -> dict[str, Any]:
    """Publish a mosaic, say what is where, and return the fields of `publish --json`.

    Raises
    ------
    BadInput
        If there is no mosaic, or part of it is damaged.
    """
    mosaic = mosaic_at(args.store)
    try:
        result = publish(mosaic)
    except StoreError as error:
        raise BadInput(f"{args.store} is damaged, `verify` names all of it: {error}") from None
    storage = mosaic.storage
    where = {"report": storage.locate(REPORT), "registry": storage.locate(REGISTRY)}
    if not args.json:
        print(
            f"{result['tiles']:,} tiles in the registry, {result['new']:,} of them new; "
            f"{result['painted']:,} painted into the picture"
        )
        print(f"report: {where['report']}")
    return result | where
