"""Records, tile lists and summaries survive the store."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_mosaic.pipeline.errors import Corrupt, StoreError
from tessera_mosaic.pipeline.io.sealed import unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.stored_object import StoredObject
from tessera_mosaic.pipeline.ledger import keys, records, tile_lists
from tessera_mosaic.pipeline.ledger.records import Record, State
from tessera_mosaic.pipeline.tiling.lattice import Tile

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
        objects=(StoredObject("utm31/scales/c/0/1/2", 12, "0" * 64),),
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
    storage.write(keys.record_key(2024, TILE), b'{"tile": 1')
    with pytest.raises(StoreError, match=TILE.name):
        records.read_record(storage, 2024, TILE)


def test_the_class_of_an_error_is_recorded_with_its_scene_and_asset() -> None:
    assert records.failure(Corrupt("cut short", "S2_1", "B04")).to_json() == {
        "class": "corrupt",
        "message": "S2_1 B04: cut short",
        "scene": "S2_1",
        "asset": "B04",
    }
    assert records.failure(ZeroDivisionError("x")).kind == "internal"


some_tiles = st.sets(
    st.builds(Tile, st.just(31), st.integers(0, 7135), st.integers(0, 271), st.just(256)),
    min_size=1,
)


@given(some_tiles)
def test_a_list_of_tiles_comes_back(tiles: set[Tile]) -> None:
    assert list(tile_lists.decode_tiles(tile_lists.encode_tiles(tiles))) == sorted(tiles)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"rows": 3}', b'{"rows": {"1": [[1]]}}'])
def test_what_is_no_list_of_tiles_is_an_error(data: bytes) -> None:
    with pytest.raises(StoreError):
        list(tile_lists.decode_tiles(data))


def test_a_damaged_plan_is_made_again_from_its_requests(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage, tiles = Storage(str(tmp_path)), [Tile(31, 1449, col, 256) for col in range(6)]
    for request in ("one", "two", "three"):
        some = {"one": tiles[:2], "two": tiles[2:4], "three": tiles[4:]}[request]
        storage.write(keys.request_key(2024, request, 31), tile_lists.encode_tiles(some))
        if request == "three":
            key = keys.planned_key(2024, 31)
            storage.write(key, storage.read(key)[:-20])
        tile_lists.add_planned(storage, 2024, some, request)
    assert list(tile_lists.planned_tiles(storage, 2024)) == tiles
    assert set(unseal(storage.read(key))["requests"]) == {"one", "two", "three"}
    assert key in caplog.text


def test_a_damaged_record_counts_as_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    storage = Storage(str(tmp_path))
    storage.write(keys.record_key(2024, TILE), b'{"tile": 1')
    assert list(records.read_records(storage, 2024, [TILE])) == [(TILE, None)]
    assert TILE.name in caplog.text
