"""A tile that kills its workers is known by its notes; one whose job was killed is not blamed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pipeline import notes
from pipeline.notes import DEATHS, Note
from pipeline.storage import Storage
from tests.pipeline.test_records import TILE
from tests.pipeline.test_summary import OTHER

KEY = notes.note_key(2024, TILE)


def die(storage: Storage, launch: str) -> Note:
    """Begin the tile and leave the note, as a worker does that is killed."""
    with contextlib.ExitStack() as held:
        note = held.enter_context(notes.working_on(storage, 2024, TILE, launch))
        left = storage.read(KEY)
    storage.write(KEY, left)
    return note


def test_deaths_count_within_one_launch(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    assert [die(storage, "one").deaths for _ in range(2)] == [0, 1]
    assert [die(storage, "two").deaths for _ in range(2)] == [0, 1]
    assert notes.noted(storage, 2024) == {TILE.name}
    with notes.working_on(storage, 2024, TILE, "two") as note:
        assert note == Note("two", 2)
    assert not notes.noted(storage, 2024)


def test_the_note_of_a_poisoned_tile_stays_until_another_launch_ends_it(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for _ in range(DEATHS):
        die(storage, "one")
    with notes.working_on(storage, 2024, TILE, "one") as note:
        assert note.poisoned
    notes.clear_ended(storage, 2024, [TILE])
    assert notes.noted(storage, 2024) == {TILE.name}
    with notes.working_on(storage, 2024, TILE, "two") as note:
        assert not note.poisoned
    assert not notes.noted(storage, 2024)


def test_notes_of_ended_tiles_and_of_stopped_launches_are_cleared(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    die(storage, "one")
    notes.clear_ended(storage, 2024, [OTHER])
    notes.clear_launch(storage, 2024, "two")
    assert notes.noted(storage, 2024) == {TILE.name}
    notes.clear_ended(storage, 2024, [TILE])
    assert not notes.noted(storage, 2024)
    die(storage, "one")
    notes.clear_launch(storage, 2024, "one")
    assert not notes.noted(storage, 2024)


def test_a_damaged_note_is_one_of_nobody(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write(KEY, b'{"laun')
    with notes.working_on(storage, 2024, TILE, "one") as note:
        assert note == Note("one", 0)
