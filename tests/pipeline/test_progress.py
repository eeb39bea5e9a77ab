"""Progress adds up over workers and is gone after the run."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.progress import Monitor, Presence, Stop, Tally, progress_line, read_tallies
from pipeline.storage import Storage


def test_tallies_of_several_workers_add_up(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for name in ("one", "two"):
        tally = Tally(storage, 2024, "r", name)
        tally.add(tiles=1, pixels=100)
        tally.add(tiles=1, failed=1)
        tally.put()
    assert read_tallies(storage, 2024, "r") == Counter(tiles=4, pixels=200, failed=2)


def test_the_monitor_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with Monitor(storage, 2024, "r", tiles=1, blocks=1, stream=io.StringIO()):
        Tally(storage, 2024, "r").put()
    assert list(storage.list("")) == []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.progress.TALLY_SECONDS", 0.01)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("quick")
def test_a_launcher_notices_the_living_and_buries_the_dead(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage(str(tmp_path))
    Presence(storage, 2024, "dead").arrive()
    Tally(storage, 2024, "dead").put()
    with (
        Monitor(storage, 2024, "first", 1, 1, stream=io.StringIO()),
        Monitor(storage, 2024, "second", 1, 1, stream=io.StringIO()),
    ):
        wait_for(lambda: "another launcher is at work" in caplog.text)
        wait_for(lambda: "launch dead ended without a word" in caplog.text)
        assert not list(storage.list("records/2024/progress/dead"))
        assert list(storage.list("records/2024/progress/first"))
    assert "launch first ended" not in caplog.text
    assert list(storage.list("")) == []


@pytest.mark.usefixtures("quick")
def test_workers_hear_when_the_launcher_says_stop(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    heard, said = Stop(storage, 2024, "r"), Stop(storage, 2024, "r")
    assert not heard.asked()
    said.say()
    wait_for(heard.asked)
    assert not Stop(storage, 2024, "other").asked()


@pytest.mark.usefixtures("quick")
def test_a_store_that_fails_does_not_end_the_watch(tmp_path: Path) -> None:
    counted: list[Counter[str]] = []

    def count(counts: Counter[str]) -> None:
        counted.append(counts)
        raise OSError("for a moment")

    with Monitor(Storage(str(tmp_path)), 2024, "r", 1, 1, count, io.StringIO()):
        wait_for(lambda: len(counted) > 2)


def test_the_line_says_how_far_and_how_long() -> None:
    counts = Counter(tiles=2, blocks=30, pixels=30_000, failed=1)
    line = progress_line(counts, tiles=8, blocks=120, seconds=60)
    assert "tiles 2/8" in line
    assert "500 px/s" in line
    assert "failed 1" in line
    assert "left 3:00" in line
