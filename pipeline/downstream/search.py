"""Search a mosaic for places that look alike, and put what was found.

The mosaic may be read-only: the list of tiles, their records and their heaps lie in a folder beside
the result, which goes when the result is whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tessera_mosaic.pipeline import __version__
from tessera_mosaic.pipeline.downstream.places import pixels_of
from tessera_mosaic.pipeline.downstream.search_blocks import look_at_blocks
from tessera_mosaic.pipeline.downstream.search_heap import Hits
from tessera_mosaic.pipeline.downstream.search_output import (
    Ranked,
    encode_record,
    encode_table,
    hits_state,
    hits_table,
    place_of,
)
from tessera_mosaic.pipeline.downstream.search_plan import PreparedSearch, prepare_search
from tessera_mosaic.pipeline.downstream.search_raster import put_scores
from tessera_mosaic.pipeline.downstream.search_request import SearchRequest
from tessera_mosaic.pipeline.downstream.search_result import Background, join_heaps, score_again
from tessera_mosaic.pipeline.downstream.search_sheet import (
    EXAMPLES,
    FIRST,
    MOST_QUERIES,
    Patch,
    Strip,
    draw_sheet,
)
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.records import State
from tessera_mosaic.pipeline.ledger.summary import find_summaries
from tessera_mosaic.pipeline.mosaic.identity import fingerprint, model_name
from tessera_mosaic.pipeline.tiling.lattice import Tile

SHOWN = (0, 1, 5, 25, 50, 75, 95, 99, 100)
"""Percentiles of the background that the record tells."""

FIRST_ROWS = 5
"""Hits of a query that are told at once."""

NOT_TRIED = "it was not tried: run the search again"


@dataclass(frozen=True)
class Searched:
    """What a search came to; of a share that was not the last to end, what came of its tiles.

    Parameters
    ----------
    outcome
        What came of the tiles.
    hits
        Number of hits of all queries together.
    out, record, sheet
        Where the table, the record and the contact sheet lie.
    scores
        Where the scores of all pixels lie, a file a zone.
    read, absent
        Names of the tiles that were read, and of those of the region that the mosaic was never
        asked for or has nothing of.
    failed
        Why tiles could not be read, by their names.
    notes
        What has to be said of the search.
    first
        The first hits of each query: fields of the table's rows.
    """

    outcome: Outcome
    hits: int
    out: str
    record: str
    sheet: str
    scores: tuple[str, ...]
    read: tuple[str, ...]
    absent: tuple[str, ...]
    failed: Mapping[str, str]
    notes: tuple[str, ...]
    first: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """The fields of `search --json`: those of `run`, and what was found."""
        return self.outcome.to_json() | {
            "hits": self.hits,
            "out": self.out,
            "record": self.record,
            "picture": self.sheet,
            "scores": list(self.scores),
            "tiles_read": len(self.read),
            "tiles_failed": dict(self.failed),
            "tiles_absent": list(self.absent),
            "notes": list(self.notes),
            "first": [dict(row) for row in self.first],
        }


@dataclass(frozen=True)
class Standing:
    """Which tiles were searched.

    Parameters
    ----------
    read
        Those that were.
    failed
        Why others were not, by their names.
    """

    read: Sequence[Tile]
    failed: Mapping[str, str]


def search(request: SearchRequest) -> Searched:
    """Look for places in a mosaic; run again, it resumes.

    Parameters
    ----------
    request
        What is looked for, where, and where the hits go.

    Raises
    ------
    BadInput
        On anything that cannot be used, before anything is written.
    BrokenOff
        If the runner gave up before all tiles were tried. What is done stays done.

    Examples
    --------
    >>> like = ((2.996, 50.846),)
    >>> found = tm.search(tm.SearchRequest("valley.zarr", 2024, "hits.parquet", like, top=3))
    >>> found.hits, found.outcome.done, found.first[0]["percentile"]
    (3, 12, 100.0)
    """
    prepared = prepare_search(request)
    if request.blocks:
        look = look_at_blocks(prepared)
        standing = Standing(look.read, look.failed)
        with store_errors(request.out):
            found = _ranked(prepared, look.hits, look.background)
            return _put(prepared, look.outcome, found, look.background, standing, (look.note,))
    outcome = launch(prepared.job, prepared.maker)
    if not outcome.ends_list:
        # Whoever ends the last share joins what was found in all tiles.
        return Searched(outcome, 0, "", "", "", (), (), prepared.ground.absent, {}, (), ())
    with store_errors(request.out):
        return put_result(prepared, outcome)


def put_result(prepared: PreparedSearch, outcome: Outcome) -> Searched:
    """Join what was found in the tiles, put it, and clear the job away if all of it was made."""
    request, maker, mosaic = prepared.request, prepared.maker, prepared.mosaic
    job = prepared.job.open_store()
    standing = _standing(job, prepared)
    heaps, background = join_heaps(job, standing.read, len(maker.queries), maker.top, maker.square)
    if maker.shallow:
        heaps = [
            score_again(mosaic, request.year, hits, query, request.top, maker.square)
            for hits, query in zip(heaps, maker.queries, strict=True)
        ]
    scores = _put_rasters(prepared, job, standing.read)
    found = _ranked(prepared, heaps, background)
    searched = _put(prepared, outcome, found, background, standing, (), scores)
    if outcome.done == outcome.tiles and not standing.failed:
        clear(job)
    return searched


def _ranked(
    prepared: PreparedSearch, heaps: Sequence[Hits], background: Background
) -> list[Ranked]:
    """The hits of each query with their percentiles."""
    return [
        Ranked(query.name, hits, background.percentiles(number, hits.score))
        for number, (query, hits) in enumerate(zip(prepared.maker.queries, heaps, strict=True))
    ]


def _put(
    prepared: PreparedSearch,
    outcome: Outcome,
    found: Sequence[Ranked],
    background: Background,
    standing: Standing,
    notes: tuple[str, ...],
    scores: tuple[str, ...] = (),
) -> Searched:
    """Put the table of hits, the contact sheet and the record."""
    request, mosaic = prepared.request, prepared.mosaic
    read, failed = standing.read, standing.failed
    table = hits_table(found, mosaic, request.year, prepared.several)
    storage, key = place_of(request.out, request.store_patience)
    to = None if prepared.shift is None else prepared.shift.to
    head = None if prepared.head is None else prepared.head.sha256
    state = hits_state(mosaic, request.year, to, head, table)
    storage.write(key, encode_table(table, request.out, state))
    folder, name = place_of(request.sheet, request.store_patience)
    folder.write(name, draw_sheet(mosaic, _strips(prepared, found)))
    notes += _notes(prepared)
    folder, name = place_of(request.record, request.store_patience)
    record = _record(prepared, found, background, read, failed, notes)
    folder.write(name, encode_record(record))
    first = [row for each in range(len(found)) for row in _first_rows(table, found, each)]
    return Searched(
        outcome=outcome,
        hits=len(table),
        out=request.out,
        record=request.record,
        sheet=request.sheet,
        scores=scores,
        read=tuple(tile.name for tile in read),
        absent=prepared.ground.absent,
        failed=failed,
        notes=notes,
        first=tuple(first),
    )


def _standing(job: Storage, prepared: PreparedSearch) -> Standing:
    """Tiles of which there is a heap of this search, and why there is none of the others."""
    read: list[Tile] = []
    failed: dict[str, str] = {}
    for found in find_summaries(job, prepared.request.year, prepared.ground.tiles):
        row = found.summary
        if row is not None and row.state is State.DONE:
            if row.fingerprint == prepared.maker.fingerprint:
                read.append(found.tile)
                continue
            row = None
        error = None if row is None else row.error
        failed[found.tile.name] = NOT_TRIED if error is None else error.message
    return Standing(read, failed)


def clear(job: Storage) -> None:
    """Take away all that a job has left."""
    if job.folder is not None:
        shutil.rmtree(job.folder, ignore_errors=True)
        return
    for key in list(job.list("")):
        job.delete(key)


def _put_rasters(prepared: PreparedSearch, job: Storage, read: Sequence[Tile]) -> tuple[str, ...]:
    """Put the scores of all pixels, where they were asked for: paths or URLs, zone by zone."""
    asked = prepared.request.scores
    if asked is None:
        return ()
    zones = sorted({tile.zone for tile in read})
    names = [query.name or "score" for query in prepared.maker.queries]
    put = []
    for zone in zones:
        stem, dot, ending = asked.rpartition(".")
        url = asked if len(zones) == 1 else f"{stem}-utm{zone:02d}{dot}{ending}"
        storage, key = place_of(url, prepared.request.store_patience)
        put_scores(job, [tile for tile in read if tile.zone == zone], names, storage, key)
        put.append(url)
    return tuple(put)


def _strips(prepared: PreparedSearch, found: Sequence[Ranked]) -> list[Strip]:
    """What the contact sheet shows: examples and first hits of the first queries."""
    asked, year = prepared.asked, prepared.request.year
    strips = []
    for number, each in enumerate(found[:MOST_QUERIES]):
        examples: list[Patch] = []
        if asked is not None:
            mine = np.flatnonzero((asked.query == number) & asked.like)[:EXAMPLES]
            pixels = pixels_of(asked.places)
            for count, place in enumerate(mine, 1):
                at = int(np.flatnonzero(pixels.place == place)[0])
                zone, row, col = (int(of[at]) for of in (pixels.zone, pixels.row, pixels.col))
                examples.append(Patch(zone, row, col, prepared.like_year, f"example {count}"))
        hits, shares = each.hits.take(slice(FIRST)), each.percentile
        patches = [
            Patch(
                int(hits.zone[k]),
                int(hits.row[k]),
                int(hits.col[k]),
                year,
                f"{k + 1}: {hits.score[k]:.4g}, {shares[k]:.4g} %",
            )
            for k in range(len(hits))
        ]
        name = f"{each.query}: " if each.query else ""
        title = f"{name}{len(each.hits):,} hits in {year}"
        strips.append(Strip(title, tuple(examples), tuple(patches)))
    return strips


def _notes(prepared: PreparedSearch) -> tuple[str, ...]:
    """What has to be said of a search."""
    shift, notes = prepared.shift, []
    if shift is not None:
        notes.append(
            f"what is looked for is of {shift.to}: the mean shift to {shift.year} over "
            f"{shift.pixels:,} pixels was taken out, and what else changed between the years was "
            "not"
        )
        if shift.radar:
            notes.append(shift.radar)
    return tuple(notes)


def _record(
    prepared: PreparedSearch,
    found: Sequence[Ranked],
    background: Background,
    read: Sequence[Tile],
    failed: Mapping[str, str],
    notes: Sequence[str],
) -> dict[str, Any]:
    """What was looked for, where, and what the scores of the ground are."""
    request, mosaic, asked = prepared.request, prepared.mosaic, prepared.asked
    queries = []
    for number, (query, each) in enumerate(zip(prepared.maker.queries, found, strict=True)):
        told: dict[str, Any] = {"query": query.name, "hits": len(each.hits)}
        if asked is not None:
            told |= {"like": asked.told(number, True), "unlike": asked.told(number, False)}
        told |= {"measure": query.measure, "weights": list(query.weights), "bias": query.bias}
        shares = {str(share): _number(background.at(number, share)) for share in SHOWN}
        queries.append(told | {"scores_at_percentiles": shares})
    return {
        "made_by": f"tessera-mosaic {__version__}",
        "store": mosaic.storage.url,
        "mosaic": {
            "fingerprint": fingerprint(mosaic.identity),
            "model": model_name(mosaic.identity),
        },
        "year": request.year,
        "like_year": prepared.like_year if prepared.head is None else None,
        "head": None
        if prepared.head is None
        else {"sha256": prepared.head.sha256, "years": list(prepared.head.head.years)},
        "region": request.region,
        "top": request.top,
        "spacing": request.spacing,
        "min_observations": request.min_observations,
        "depth": request.depth,
        "first_look_at_blocks": request.blocks,
        "fingerprint": prepared.maker.fingerprint,
        "queries": queries,
        "background": {"pixels": background.pixels, "drawn": background.scores.shape[1]},
        "tiles": {
            "read": [tile.name for tile in read],
            "failed": dict(failed),
            "missing": list(prepared.ground.absent),
        },
        "notes": list(notes),
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _first_rows(table: pa.Table, found: Sequence[Ranked], query: int) -> list[Mapping[str, Any]]:
    """The first rows of a query's hits."""
    start = sum(len(each.hits) for each in found[:query])
    rows: list[Mapping[str, Any]] = table.slice(
        start, min(FIRST_ROWS, len(found[query].hits))
    ).to_pylist()
    return rows
