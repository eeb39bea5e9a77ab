"""Records, tile lists and summaries survive the store."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import records
from pipeline.errors import Corrupt, StoreError
from pipeline.grid import Tile
from pipeline.records import Record, State
from pipeline.status import standing
from pipeline.storage import Storage

TILE = Tile(31, 1449, 136, 256)


def a_record(tile: Tile = TILE, state: State = State.DONE) -> Record:
    error = records.failure(Corrupt("cut short", "S2_1", "B04")) if state == "failed" else None
    return Record(
        tile.name,
        2024,
        state,
        "f" * 64,
        scenes_used=("S2_1", "S1_1"),
        scenes_unused=(("S2_2", "no clear pixel"),),
        observations={"s2": {"sum": 10, "max": 2}},
        pixels={"owned": 65536, "embedded": 4096},
        objects=({"key": "utm31/scales/c/0/1/2", "size": 12, "sha256": "0" * 64},),
        error=error,
        seconds={"read": 1.5},
    )


def test_a_record_comes_back_as_written(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    written = records.write_record(storage, TILE, a_record())
    assert records.read_record(storage, 2024, TILE) == written
    assert written.written.endswith("+00:00")
    assert written.software["torch"]


def test_a_damaged_record_is_an_error_that_names_the_tile(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write(records.record_key(2024, TILE), b'{"tile": 1')
    with pytest.raises(StoreError, match=TILE.name):
        records.read_record(storage, 2024, TILE)


def test_the_class_of_an_error_is_recorded_with_its_scene_and_asset() -> None:
    assert records.failure(Corrupt("cut short", "S2_1", "B04")) == {
        "class": "corrupt",
        "message": "S2_1 B04: cut short",
        "scene": "S2_1",
        "asset": "B04",
    }
    assert records.failure(ZeroDivisionError("x"))["class"] == "internal"


tile_lists = st.sets(
    st.builds(Tile, st.just(31), st.integers(0, 7135), st.integers(0, 271), st.just(256)),
    min_size=1,
)


@given(tile_lists)
def test_a_list_of_tiles_comes_back(tiles: set[Tile]) -> None:
    assert list(records.decode_tiles(records.encode_tiles(tiles))) == sorted(tiles)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"rows": 3}', b'{"rows": {"1": [[1]]}}'])
def test_what_is_no_list_of_tiles_is_an_error(data: bytes) -> None:
    with pytest.raises(StoreError):
        list(records.decode_tiles(data))


def test_standing_trusts_summaries_only_for_finished_tiles(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    tiles = [Tile(31, 1449, col, 256) for col in range(5)]
    records.add_planned(storage, 2024, tiles[:3])
    records.add_planned(storage, 2024, tiles[2:])
    states = [State.DONE, State.EMPTY, State.FAILED, State.FAILED]
    rows = []
    for tile, state in zip(tiles, states, strict=False):
        rows.append(records.write_record(storage, tile, a_record(tile, state)).short())
    records.merge_summary(storage, 2024, 31, rows)
    records.write_record(storage, tiles[3], a_record(tiles[3], State.DONE))

    found = standing(storage, 2024)
    assert (found.planned, found.done, found.empty, found.failed, found.missing) == (5, 3, 1, 1, 1)
    assert found.failures == {"corrupt": 1}
    assert tiles[2].name in found.examples["corrupt"]
    assert found.pixels == 3 * 4096


def test_a_later_run_updates_the_summary(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    other = Tile(31, 1449, 137, 256)
    records.merge_summary(storage, 2024, 31, [a_record(TILE, State.FAILED).short()])
    records.merge_summary(storage, 2024, 31, [a_record(TILE).short(), a_record(other).short()])
    summary = records.read_summary(storage, 2024, 31)
    assert {name: row["state"] for name, row in summary.items()} == {
        TILE.name: "done",
        other.name: "done",
    }
