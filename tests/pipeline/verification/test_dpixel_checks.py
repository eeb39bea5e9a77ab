"""What verify finds in a folder of d-pixels: every tile against its record and its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.stored_object import StoredObject
from tessera_mosaic.pipeline.ledger import keys, records, tile_lists
from tessera_mosaic.pipeline.ledger.journal import Journal, compact
from tessera_mosaic.pipeline.ledger.recipe import read_recipe
from tessera_mosaic.pipeline.ledger.records import Failure, Record, State, TileResult
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tessera_mosaic.pipeline.verification.status import status
from tessera_mosaic.pipeline.verification.verify import verify

YEAR = 2024
DONE, EMPTY, OTHER = (Tile(31, 1449, col, 256) for col in (136, 137, 138))
DATA = b"two d-pixels"


def write(storage: Storage, tile: Tile, result: TileResult) -> Record:
    """Write a tile's record as a job does."""
    record = Record.of(tile, YEAR, read_recipe(storage).fingerprint, result)
    return records.write_record(storage, tile, record)


def summed_up(storage: Storage, *written: Record) -> None:
    """Bring records into the summary."""
    journal = Journal(storage, YEAR)
    for record in written:
        journal.add(31, TileSummary.of(record))
    journal.put()
    compact(storage, YEAR, 31)


@pytest.fixture
def folder(tmp_path: Path) -> Storage:
    """Two tiles, one with d-pixels and one without, as `sample` leaves them."""
    storage = Storage(str(tmp_path / "d-pixels"))
    storage.write(keys.RECIPE, json.dumps({"year": YEAR, "seed": 0}).encode())
    tile_lists.add_planned(storage, YEAR, [DONE, EMPTY], "one")
    storage.write(keys.request_key(YEAR, "one", 31), tile_lists.encode_tiles([DONE, EMPTY]))
    key = keys.dpixels_key(DONE, YEAR)
    storage.write(key, DATA)
    stored = StoredObject.of(key, DATA)
    done = TileResult(State.DONE, pixels={"drawn": 2}, objects=(stored,))
    empty = TileResult(State.EMPTY, pixels={"drawn": 0})
    summed_up(storage, write(storage, DONE, done), write(storage, EMPTY, empty))
    storage.write(keys.INDEX, json.dumps({"files": {key: 2}, "failed": {}}).encode())
    return storage


def found(storage: Storage) -> set[tuple[str, str]]:
    """Names and kinds of what is wrong."""
    return {(problem.name, problem.kind.value) for problem in verify(storage.url).problems}


def test_a_sound_folder_has_no_problems(folder: Storage) -> None:
    findings = verify(folder.url, YEAR)
    assert findings.problems == []
    # The recipe, the plan and its request, two tiles, their summary, and the index.
    assert findings.checked == findings.ok == 7


def test_it_stands_as_its_records_say(folder: Storage) -> None:
    counted = status(folder.url)
    assert (counted.planned, counted.done, counted.missing) == (2, 2, 0)
    assert list(counted.years) == [YEAR]


@pytest.mark.parametrize(
    ("data", "kind"), [(None, "missing"), (DATA[:-1], "size"), (DATA + b"!", "size")]
)
def test_a_file_is_compared_with_its_record(folder: Storage, data: bytes | None, kind: str) -> None:
    key = keys.dpixels_key(DONE, YEAR)
    folder.delete(key)
    if data is not None:
        folder.write(key, data)
    assert found(folder) == {(DONE.name, kind)}


@pytest.mark.parametrize("place", range(len(DATA)))
def test_a_flipped_bit_is_found(folder: Storage, place: int) -> None:
    data = bytearray(DATA)
    data[place] ^= 1
    folder.write(keys.dpixels_key(DONE, YEAR), bytes(data))
    assert found(folder) == {(DONE.name, "checksum")}


def test_a_file_without_a_record_that_names_it(folder: Storage) -> None:
    folder.write(keys.dpixels_key(EMPTY, YEAR), DATA)
    assert found(folder) == {(EMPTY.name, "record")}


def test_tiles_that_failed_or_were_not_tried(folder: Storage) -> None:
    tile_lists.add_planned(folder, YEAR, [OTHER], "one")
    fingerprint = read_recipe(folder).fingerprint
    failed = Record(EMPTY.name, YEAR, State.FAILED, fingerprint, error=Failure("gone", "404"))
    summed_up(folder, records.write_record(folder, EMPTY, failed))
    assert found(folder) == {(EMPTY.name, "failed"), (OTHER.name, "untried")}
    (told,) = (p.detail for p in verify(folder.url).problems if p.name == OTHER.name)
    assert "the next `sample` makes it" in told


def test_a_record_of_another_recipe(folder: Storage) -> None:
    folder.write(keys.RECIPE, json.dumps({"year": YEAR, "seed": 1}).encode())
    assert found(folder) == {(DONE.name, "record"), (EMPTY.name, "record")}


@pytest.mark.parametrize(
    ("index", "kind"),
    [(None, "missing"), (b"{", "metadata"), (b'{"files": {}, "failed": {}}', "metadata")],
)
def test_an_index_that_does_not_go_with_the_records(
    folder: Storage, index: bytes | None, kind: str
) -> None:
    folder.delete(keys.INDEX)
    if index is not None:
        folder.write(keys.INDEX, index)
    assert found(folder) == {(keys.INDEX, kind)}


def test_bad_input(folder: Storage, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no year 2023: its d-pixels are of 2024"):
        verify(folder.url, 2023)
    with pytest.raises(BadInput, match="no tiles planned for 2023"):
        status(folder.url, 2023)
    folder.write(keys.RECIPE, b"{}")
    with pytest.raises(BadInput, match=r"recipe\.json is damaged"):
        verify(folder.url)
    older = Storage(str(tmp_path / "older"))
    older.write(keys.RECIPE, json.dumps({"year": YEAR}).encode())
    with pytest.raises(BadInput, match="run `sample` again"):
        verify(older.url)
