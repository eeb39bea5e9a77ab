"""Thousands of tiles are looked up at once, while runs go on and after they were killed."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import keys, records, summary, tile_lists
from tessera_mosaic.pipeline.ledger.journal import JOURNAL_ROWS, Journal, compact
from tessera_mosaic.pipeline.ledger.records import Record, State
from tessera_mosaic.pipeline.ledger.standing import standing
from tessera_mosaic.pipeline.ledger.summary import find_summaries, forget, read_summary
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tests.fakes.stores import WatchedStorage
from tests.pipeline.ledger.test_records import TILE, a_record

OTHER = Tile(31, 1449, 137, 256)


def journal(
    storage: Storage, *entries: tuple[Tile, Record], compact_puts: float = math.inf
) -> None:
    """Put rows into the journal as a worker does, who compacts by chance."""
    book = Journal(storage, 2024, compact_puts)
    for tile, record in entries:
        book.add(tile.zone, TileSummary.of(record))
    book.put()


def states(storage: Storage) -> dict[str, str]:
    return {name: row.state for name, row in read_summary(storage, 2024, 31).items()}


def test_the_journal_goes_into_the_summary_and_is_gone(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    journal(storage, (TILE, a_record(TILE, State.FAILED)))
    compact(storage, 2024, 31)
    journal(storage, (TILE, a_record()), (OTHER, a_record(OTHER)))
    compact(storage, 2024, 31)
    assert states(storage) == {TILE.name: "done", OTHER.name: "done"}
    assert list(storage.list("")) == [keys.summary_key(2024, 31)]


def test_what_was_written_last_stands_whoever_wrote_it(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for worker in range(6):
        newest = worker == 3
        state, second = (State.FAILED, 30) if newest else (State.DONE, worker)
        row = dataclasses.replace(a_record(state=state), written=f"2025-01-01T00:00:{second:02}")
        journal(storage, (TILE, row))
    compact(storage, 2024, 31)
    assert states(storage) == {TILE.name: "failed"}


@pytest.mark.parametrize("part", [slice(0, 0), slice(0, 40), slice(0, -1), slice(1, None)])
def test_a_damaged_summary_counts_as_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, part: slice
) -> None:
    storage, key = Storage(str(tmp_path)), keys.summary_key(2024, 31)
    records.write_record(storage, TILE, a_record())
    journal(storage, (TILE, a_record()))
    compact(storage, 2024, 31)
    storage.write(key, storage.read(key)[part])
    [found] = find_summaries(storage, 2024, [TILE])
    assert (found.finished, found.asked) == (True, True)
    assert caplog.text.count(key) == 1


def test_a_damaged_journal_is_dropped_and_the_rest_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage(str(tmp_path))
    journal(storage, (TILE, a_record()))
    journal(storage, (OTHER, a_record(OTHER)))
    damaged = f"{keys.journal_prefix(2024, 31)}worker-0.json"
    storage.write(damaged, b'{"tile"')
    compact(storage, 2024, 31)
    assert states(storage) == {TILE.name: "done", OTHER.name: "done"}
    assert list(storage.list("")) == [keys.summary_key(2024, 31)]
    assert damaged in caplog.text


def test_a_worker_does_not_gather_rows_without_end(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    book = Journal(storage, 2024, compact_puts=math.inf)
    for col in range(JOURNAL_ROWS):
        assert not list(storage.list(""))
        tile = Tile(31 + col % 2, 1449, col, 256)
        book.add(tile.zone, TileSummary.of(a_record(tile)))
    assert len(list(storage.list(""))) == 2


def test_workers_compact_where_no_launcher_does(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    journal(storage, (TILE, a_record()), compact_puts=1)
    assert states(storage) == {TILE.name: "done"}
    assert list(storage.list("")) == [keys.summary_key(2024, 31)]


def test_forgotten_tiles_are_asked_again(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    journal(storage, (TILE, a_record()), (OTHER, a_record(OTHER)))
    compact(storage, 2024, 31)
    forget(storage, 2024, [TILE])
    assert states(storage) == {OTHER.name: "done"}
    asked = {found.tile: found.asked for found in find_summaries(storage, 2024, [TILE, OTHER])}
    assert asked == {TILE: True, OTHER: False}


def test_standing_trusts_summaries_only_for_finished_tiles(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    tiles = [Tile(31, 1449, col, 256) for col in range(5)]
    tile_lists.add_planned(storage, 2024, tiles[:3], "one")
    tile_lists.add_planned(storage, 2024, tiles[2:], "two")
    states = [State.DONE, State.EMPTY, State.FAILED, State.FAILED]
    made = [a_record(tile, state) for tile, state in zip(tiles, states, strict=False)]
    for tile, record in zip(tiles, made, strict=False):
        records.write_record(storage, tile, record)
    journal(storage, *zip(tiles, made, strict=False))
    compact(storage, 2024, 31)
    records.write_record(storage, tiles[3], a_record(tiles[3], State.DONE))

    found = standing(storage, 2024)
    assert (found.planned, found.done, found.empty, found.failed, found.missing) == (5, 3, 1, 1, 1)
    assert found.failures == {"corrupt": 1}
    assert tiles[2].name in found.examples["corrupt"]
    assert (found.pixels, found.uncertain) == (3 * 4096, 0)


ZONES, COLUMNS, ROWS = range(1, 61), range(0, 33), range(200, 382)
"""360,360 tiles: more than the Earth's land has."""


def globe(zone: int) -> Iterator[Tile]:
    for row in ROWS:
        yield from (Tile(zone, row, col, 2048) for col in COLUMNS)


def test_status_over_the_globe_asks_little(tmp_path: Path) -> None:
    """As after a run that was killed half way: half the tiles are in no summary."""
    storage = Storage(str(tmp_path))
    pattern = TileSummary.of(a_record(TILE))
    for zone in ZONES:
        tiles = list(globe(zone))
        tile_lists.add_planned(storage, 2024, tiles, "all")
        if zone % 2:
            rows = {tile.name: dataclasses.replace(pattern, tile=tile.name) for tile in tiles}
            summary.write_summary(storage, 2024, zone, rows)

    asked: list[str] = []
    watched = WatchedStorage(storage.url, lambda method, key: asked.append(method))
    found = standing(watched, 2024)
    assert (found.planned, found.done, found.missing) == (360_360, 180_180, 180_180)
    assert found.uncertain == 180_180 - summary.LOOK_UP
    # The plans, and the records of the one zone that are looked up.
    assert Counter(asked) == {"read": 121, "list": 2}
