"""The command `verify`: every planned shard against its record and its bytes.

Nothing is listed: the plan names the tiles, the records name their objects, and each small object
carries its own digest.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.sealed import unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import keys, records, tile_lists
from tessera_mosaic.pipeline.ledger.keys import MANIFEST, REGION, REGISTRY
from tessera_mosaic.pipeline.ledger.records import READ_THREADS, Failure, Record, State
from tessera_mosaic.pipeline.ledger.summary import decode_summary
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.mosaic.identity import fingerprint, pixels_named
from tessera_mosaic.pipeline.mosaic.metadata import encode_json, root_node
from tessera_mosaic.pipeline.mosaic.store import ROOT, Mosaic, metadata_objects
from tessera_mosaic.pipeline.publishing.manifest import AFRESH
from tessera_mosaic.pipeline.publishing.painted_chunks import is_of_picture
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, WIDTH, Tile
from tessera_mosaic.pipeline.tiling.region import wanted_pixels
from tessera_mosaic.pipeline.verification.findings import Checked, Problem, object_checked
from tessera_mosaic.pipeline.verification.tile_checks import (
    ENOUGH_PIXELS,
    ROUGHEST_BORDER,
    Histograms,
    Wanted,
    border_roughness,
    survey_tile,
)

AGAIN = "`publish` writes it again"
RUN = "the next `run` makes it"

ABSENT = "it is not there"

BATCH = 1024
"""Tiles that are handed out to the cores at once."""

LEAST_THREADS = 4
"""Tiles that are read at once, even by few cores: they wait for the store more than they work."""

ENOUGH_TILES = 8
"""Fewer tiles than this say nothing about what is usual."""

FARTHEST_HISTOGRAM = 0.5
"""Share of a tile's codes that may lie elsewhere than in the store as a whole."""


@dataclass(frozen=True)
class Report:
    """What a tile's bytes came to: its problems, its short record, and its embedded codes."""

    problems: tuple[Problem, ...]
    row: TileSummary | None = None
    histogram: NDArray[np.int64] | None = None


def check_tiles(mosaic: Mosaic, years: Iterable[int]) -> Iterator[Checked]:
    """Check the plan and the tiles of some years."""
    wanted, region = check_region(mosaic)
    yield from region
    for year in years:
        histograms = Histograms()
        for zone in mosaic.zones:
            yield from check_zone(mosaic, year, zone, wanted, histograms)
        yield from unusual(year, histograms)


def check_region(mosaic: Mosaic) -> tuple[Wanted | None, tuple[Checked, ...]]:
    """Which pixels are embedded, and the region that says so where the mosaic has one."""
    told, margin = mosaic.identity["pixels"], mosaic.identity["margin"]
    if told == pixels_named(None):
        return functools.partial(wanted_pixels, margin=margin), ()
    try:
        data = mosaic.storage.read(REGION)
    except FileNotFoundError:
        return None, (object_checked(REGION, "missing", f"{ABSENT}; {RUN}"),)
    if told != pixels_named(data):
        return None, (object_checked(REGION, "plan", f"not the region of the mosaic; {RUN}"),)
    wanted = functools.partial(wanted_pixels, margin=margin, inside=shapely.from_wkb(data))
    return wanted, (object_checked(REGION),)


def check_objects(mosaic: Mosaic) -> Iterator[Checked]:
    """Check a mosaic's metadata, and what `publish` wrote."""
    yield from check_metadata(mosaic)
    yield from check_published(mosaic.storage)


def check_metadata(mosaic: Mosaic) -> Iterator[Checked]:
    """The metadata and coordinates of every node are those that the root's attributes imply."""
    yield _check_object(mosaic.storage, ROOT, encode_json(root_node(mosaic)))
    with ThreadPoolExecutor(READ_THREADS) as pool:
        yield from pool.map(lambda e: _check_object(mosaic.storage, *e), metadata_objects(mosaic))


def check_published(storage: Storage) -> Iterator[Checked]:
    """What `publish` wrote, down to each piece of the picture, against its sealed list."""
    try:
        listed = unseal(storage.read(MANIFEST))
    except FileNotFoundError:
        if storage.exists(REGISTRY):
            yield object_checked(MANIFEST, "missing", f"there is a registry but no list; {AGAIN}")
        return
    except Altered as error:
        yield object_checked(MANIFEST, "published", f"{error}; {AGAIN}")
        return
    yield object_checked(MANIFEST)
    for key, entry in listed.items():
        page = is_of_picture(key)
        wrong = _published_wrongly(storage, key, entry["sha256"])
        told = f"not as it was published; {AFRESH if page else AGAIN}"
        yield object_checked(key, wrong, told)
        if page and not wrong:
            pieces = unseal(storage.read(key))
            with ThreadPoolExecutor(READ_THREADS) as pool:
                found = pool.map(lambda piece: _published_wrongly(storage, *piece), pieces.items())
                for piece, wrong in zip(pieces, found, strict=True):
                    yield object_checked(piece, wrong, f"not as it was painted; {AFRESH}")


def _published_wrongly(storage: Storage, key: str, sha256: str) -> str:
    """The class of what is wrong with an object; empty where nothing is."""
    try:
        whole = hashlib.sha256(storage.read(key)).hexdigest() == sha256
    except FileNotFoundError:
        return "missing"
    return "" if whole else "published"


def _check_object(storage: Storage, key: str, expected: bytes) -> Checked:
    try:
        whole = storage.read(key) == expected
    except FileNotFoundError:
        return object_checked(key, "missing", f"it is not there; {AGAIN}")
    return object_checked(key, "" if whole else "metadata", f"not as it was written; {AGAIN}")


def check_zone(
    mosaic: Mosaic, year: int, zone: int, wanted: Wanted | None, histograms: Histograms
) -> Iterator[Checked]:
    """The plan of a zone and year, the requests it came from, its tiles, and their summary.

    Parameters
    ----------
    mosaic, year, zone
        Which.
    wanted
        Which pixels of a window are embedded; None where that is not known.
    histograms
        Takes those of the tiles' codes.
    """
    storage, key = mosaic.storage, keys.planned_key(year, zone)
    rows, told = _read_summary(storage, keys.summary_key(year, zone))
    try:
        data = storage.read(key)
        tiles = list(tile_lists.decode_tiles(data))
    except FileNotFoundError:
        if told != ABSENT:
            yield object_checked(key, "missing", "there is a summary of tiles but no plan", year)
        return
    except Altered as error:
        yield object_checked(key, "plan", str(error), year)
        return
    yield object_checked(key)
    for request in unseal(data)["requests"]:
        yield _check_request(storage, keys.request_key(year, request, zone), year)
    made = False
    for tile, report in _side_by_side(lambda tile: check_tile(mosaic, tile, year, wanted), tiles):
        problems = list(report.problems)
        if not told and report.row != rows.pop(tile.name, None):
            problems.append(Problem(tile.name, "summary", "the summary has it otherwise", year))
        if report.histogram is not None:
            histograms.add(tile.name, report.histogram)
        made |= report.row is not None
        yield Checked(tile.name, year, tuple(problems))
    if told == ABSENT and not made:
        return
    if rows:
        told = f"{', '.join(list(rows)[:5])} are in the summary, but not planned"
    yield object_checked(keys.summary_key(year, zone), "summary" if told else "", told, year)


def _read_summary(storage: Storage, key: str) -> tuple[dict[str, TileSummary], str]:
    """A summary's rows by tile, or why there are none."""
    try:
        return decode_summary(storage.read(key)), ""
    except FileNotFoundError:
        return {}, ABSENT
    except Altered as error:
        return {}, f"{error}; the next `run` writes it again"


def _check_request(storage: Storage, key: str, year: int) -> Checked:
    try:
        unseal(storage.read(key))
    except FileNotFoundError:
        return object_checked(key, "missing", "it is not there", year)
    except Altered as error:
        return object_checked(key, "plan", str(error), year)
    return object_checked(key)


def unusual(year: int, histograms: Histograms) -> Iterator[Checked]:
    """Tiles whose codes are not distributed like the others'."""
    if len(histograms) < ENOUGH_TILES:
        return
    for name, apart in histograms.apart():
        if apart > FARTHEST_HISTOGRAM:
            detail = f"{apart:.0%} of its codes lie elsewhere than the store's"
            yield Checked(name, year, (Problem(name, "histogram", detail, year),), again=True)


def check_tile(mosaic: Mosaic, tile: Tile, year: int, wanted: Wanted | None) -> Report:
    """One tile against its record, its bytes, and its neighbours to the east and south."""

    def blame(problem: str, detail: str) -> Problem:
        return Problem(tile.name, problem, detail, year)

    try:
        record = records.read_record(mosaic.storage, year, tile)
    except Altered as error:
        return Report((blame("record", str(error)),))
    if record is None:
        return Report((blame("untried", f"it was planned and has no record; {RUN}"),))
    row = TileSummary.of(record)
    expected = (tile.name, year, fingerprint(mosaic.identity))
    if (record.tile, record.year, record.fingerprint) != expected:
        return Report((blame("record", "the record is that of another tile, year or run"),), row)
    if record.state is not State.DONE:
        problems = []
        if record.state is State.FAILED:
            failure = record.error or Failure("unknown")
            problems.append(blame("failed", f"{failure.kind}: {failure.message}"))
        first, *_, last = mosaic.keys(tile, year)
        # Shards are put, and taken away, from the first to the last.
        if any(mosaic.storage.exists(key) for key in (first, last)):
            problems.append(blame("record", f"a tile that is {record.state} has objects"))
        return Report(tuple(problems), row)
    survey = survey_tile(mosaic, tile, year, record, wanted)
    problems = [blame(*problem) for problem in survey.problems]
    if not problems:
        problems += [blame("border", told) for told in _rough_borders(mosaic, tile, year, record)]
    telling = survey.embedded >= ENOUGH_PIXELS and not problems
    return Report(tuple(problems), row, survey.histogram if telling else None)


def _rough_borders(mosaic: Mosaic, tile: Tile, year: int, record: Record) -> Iterator[str]:
    """In words, each border to the east or south that is rougher than the ground beside it."""
    for vertical in (False, True):
        row, col = tile.row + vertical, tile.col + (not vertical)
        if row >= HEIGHT // tile.side or col >= WIDTH // tile.side:
            continue
        other = Tile(tile.zone, row, col, tile.side)
        try:
            beside = records.read_record(mosaic.storage, year, other)
        except Altered:
            continue
        if beside is None or beside.state is not State.DONE:
            continue
        ratio = border_roughness(mosaic, record, beside, vertical)
        if ratio is not None and ratio > ROUGHEST_BORDER:
            yield f"the border to {other.name} is {ratio:.1f} times as rough as any line near it"


def _side_by_side(
    check: Callable[[Tile], Report], tiles: list[Tile]
) -> Iterator[tuple[Tile, Report]]:
    """Check tiles with every core, in order, a batch at a time."""
    threads = max(usable_cores(), LEAST_THREADS)
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        for start in range(0, len(tiles), BATCH):
            batch = tiles[start : start + BATCH]
            yield from zip(batch, pool.map(check, batch), strict=True)
