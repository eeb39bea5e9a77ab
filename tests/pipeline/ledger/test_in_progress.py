"""A tile that kills its workers is known by its notes; one whose job was killed is not blamed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import in_progress, keys
from tessera_mosaic.pipeline.ledger.in_progress import DEATHS, InProgress
from tests.pipeline.ledger.test_records import TILE
from tests.pipeline.ledger.test_summary import OTHER

KEY = keys.note_key(2024, TILE)


def die(storage: Storage, launch: str) -> InProgress:
    """Begin the tile and leave the note, as a worker does that is killed."""
    with contextlib.ExitStack() as held:
        note = held.enter_context(in_progress.working_on(storage, 2024, TILE, launch))
        left = storage.read(KEY)
    storage.write(KEY, left)
    return note


def test_deaths_count_within_one_launch(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    assert [die(storage, "one").deaths for _ in range(2)] == [0, 1]
    assert [die(storage, "two").deaths for _ in range(2)] == [0, 1]
    assert in_progress.noted(storage, 2024) == {TILE.name}
    with in_progress.working_on(storage, 2024, TILE, "two") as note:
        assert note == InProgress("two", 2)
    assert not in_progress.noted(storage, 2024)


def test_the_note_of_a_poisoned_tile_stays_until_another_launch_ends_it(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for _ in range(DEATHS):
        die(storage, "one")
    with in_progress.working_on(storage, 2024, TILE, "one") as note:
        assert note.poisoned
    in_progress.clear_ended(storage, 2024, [TILE])
    assert in_progress.noted(storage, 2024) == {TILE.name}
    with in_progress.working_on(storage, 2024, TILE, "two") as note:
        assert not note.poisoned
    assert not in_progress.noted(storage, 2024)


def test_notes_of_ended_tiles_and_of_stopped_launches_are_cleared(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    die(storage, "one")
    in_progress.clear_ended(storage, 2024, [OTHER])
    in_progress.clear_launch(storage, 2024, "two")
    assert in_progress.noted(storage, 2024) == {TILE.name}
    in_progress.clear_ended(storage, 2024, [TILE])
    assert not in_progress.noted(storage, 2024)
    die(storage, "one")
    in_progress.clear_launch(storage, 2024, "one")
    assert not in_progress.noted(storage, 2024)


def test_a_damaged_note_is_one_of_nobody(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write(KEY, b'{"laun')
    with in_progress.working_on(storage, 2024, TILE, "one") as note:
        assert note == InProgress("one", 0)
