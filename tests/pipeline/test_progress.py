"""Progress adds up over workers and is gone after the run."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.progress import (
    Monitor,
    Presence,
    Sight,
    Stop,
    Tally,
    progress_line,
    read_tallies,
)
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


EARLIER = Sight(60.0, Counter(blocks=30, blocks_kept=30, pixels_embedded=60_000, tiles_done=2))


def later(**news: float) -> Sight:
    """What is seen a minute after `EARLIER`."""
    return Sight(120.0, EARLIER.counts + Counter(news))


def test_the_line_says_how_far_and_how_long() -> None:
    now = later(
        blocks=30,
        tiles_done=2,
        tiles_failed=1,
        pixels_embedded=60_000,
        tokens=1_800_000,
        bytes_read=5e9,
        bytes_written=2e6,
    )
    line = progress_line(now, EARLIER, tiles=12, blocks=120)
    assert "tiles 5/12" in line
    assert "1k px/s  30k tokens/s" in line
    assert "5GB in 2MB out" in line
    assert "failed 1" in line
    # 60 of the 90 blocks that were to be made took two minutes.
    assert "left 1:00" in line


def test_tiles_that_were_there_before_hurry_nothing() -> None:
    now = Sight(60.0, Counter(blocks_kept=900, blocks=10))
    assert "left 9:00" in progress_line(now, Sight(0.0, Counter()), tiles=100, blocks=1_000)


def test_the_line_says_where_the_time_goes_and_when_the_rate_has_fallen() -> None:
    slow = later(blocks=1, pixels_embedded=2_000, seconds_wait=45, seconds_encode=15)
    line = progress_line(slow, EARLIER, tiles=12, blocks=120)
    assert "px/s (mean 517)" in line
    assert line.endswith("waiting for reads 75%, encoding 25%")
    steady = later(blocks=30, pixels_embedded=60_000, seconds_read=60, seconds_encode=60)
    line = progress_line(steady, EARLIER, tiles=12, blocks=120)
    assert "mean" not in line
    assert line.endswith("encoding 100%")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("quick")
def test_a_terminal_has_one_line_that_fits_and_is_gone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    with Monitor(Storage(str(tmp_path)), 2024, "r", 1, 1, stream=terminal):
        wait_for(lambda: terminal.getvalue().count("tiles 0/1") > 2)
    *lines, rest = terminal.getvalue().split("\r\x1b[2K")
    assert all(len(line) < 20 for line in lines)
    assert rest == ""
    assert "\n" not in terminal.getvalue()


@pytest.mark.usefixtures("quick")
def test_a_log_has_a_line_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.progress.LOG_SECONDS", 0.2)
    log, began = io.StringIO(), time.monotonic()
    with Monitor(Storage(str(tmp_path)), 2024, "r", 1, 1, stream=log):
        wait_for(lambda: log.getvalue().count("\n") >= 2)
    lines = log.getvalue().splitlines()
    assert all(line.startswith("tiles 0/1") for line in lines)
    assert len(lines) <= (time.monotonic() - began) / 0.2
