"""Progress adds up over workers and is gone after the run."""

from __future__ import annotations

import dataclasses
import io
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tessera_mosaic.pipeline.console import ERASE, set_up_logging
from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.failure_limit import FailureLimit
from tessera_mosaic.pipeline.job.heartbeat import Heartbeat
from tessera_mosaic.pipeline.job.monitor import GAP, Monitor, Sight, fitting, progress_parts
from tessera_mosaic.pipeline.job.pacing import Pacing
from tessera_mosaic.pipeline.ledger.tally import (
    MOST_TALLY_SECONDS,
    TALLY_SECONDS,
    Tally,
    pause,
    read_tallies,
)
from tests.fakes.stores import WatchedStorage


def test_tallies_of_several_workers_add_up(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for _ in range(2):
        # As in two containers of a machine, where host and process have the same names.
        tally = Tally(storage, 2024, "r")
        tally.add(tiles=1, pixels=100)
        tally.add(tiles=1, failed=1)
        tally.put()
    assert read_tallies(storage, 2024, "r") == Counter(tiles=4, pixels=200, failed=2)


def test_what_is_counted_again_counts_once(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for _ in range(2):
        tally = Tally(storage, 2024, "r", "left-31")
        tally.add(tiles_kept=3)
        tally.put()
    assert read_tallies(storage, 2024, "r") == Counter(tiles_kept=3)


def test_the_monitor_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with (
        Heartbeat(storage, 2024, "r"),
        Monitor(storage, 2024, "r", tiles=1, blocks=1, stream=io.StringIO()),
    ):
        Tally(storage, 2024, "r").put()
    assert list(storage.list("")) == []


QUICK = Pacing(tally_seconds=0.01, beat_seconds=0.01, silent_seconds=0.5)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_launcher_notices_the_living_and_buries_the_dead(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage(str(tmp_path))
    Heartbeat(storage, 2024, "dead").arrive()
    Tally(storage, 2024, "dead").put()
    with Heartbeat(storage, 2024, "first", QUICK), Heartbeat(storage, 2024, "second", QUICK):
        wait_for(lambda: "another launcher is at work" in caplog.text)
        wait_for(lambda: "launch dead ended without a word" in caplog.text)
        wait_for(lambda: not list(storage.list("records/2024/progress/dead")))
        assert list(storage.list("records/2024/progress/first"))
    assert "launch first ended" not in caplog.text
    assert list(storage.list("")) == []


def test_workers_hear_when_one_says_stop(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    tally = Tally(storage, 2024, "r")
    heard, said = FailureLimit(storage, 2024, "r", 1.0, QUICK), FailureLimit(storage, 2024, "r")
    assert not heard.reached(tally)
    said.say()
    wait_for(lambda: heard.reached(tally))
    assert not FailureLimit(storage, 2024, "other").reached(tally)

    def refuse(method: str, key: str) -> None:
        raise StoreError("the provided token is malformed")

    watched = WatchedStorage("memory://refusing", refuse)
    refusing = FailureLimit(watched, 2024, "r", 1.0, QUICK)
    assert not refusing.reached(tally)


class CountingStorage(Storage):
    """A store that counts how often it is listed."""

    listed = 0

    def list(self, prefix: str) -> Iterator[str]:
        self.listed += 1
        return super().list(prefix)


def test_workers_stop_once_too_many_tiles_of_all_failed(tmp_path: Path) -> None:
    """And only a worker that fails itself looks how the others fare."""
    storage = CountingStorage(str(tmp_path))

    def reached(tally: Tally) -> bool:
        return FailureLimit(storage, 2024, "r", 0.5, QUICK).reached(tally)

    good, bad = Tally(storage, 2024, "r"), Tally(storage, 2024, "r")
    good.add(tiles_done=30)
    good.put()
    bad.add(tiles_failed=12)
    assert not reached(bad)
    bad.add(tiles_failed=19)
    listed = storage.listed
    assert not reached(good)
    assert storage.listed == listed
    assert reached(bad)
    wait_for(lambda: reached(good))


def test_a_store_that_fails_does_not_end_the_watch(tmp_path: Path) -> None:
    counted: list[Counter[str]] = []

    def count(counts: Counter[str]) -> None:
        counted.append(counts)
        raise OSError("for a moment")

    with Monitor(Storage(str(tmp_path)), 2024, "r", 1, 1, count, io.StringIO(), QUICK):
        wait_for(lambda: len(counted) > 2)


def test_a_launcher_shows_itself_whatever_its_tallies_take(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage, over = Storage(str(tmp_path)), threading.Event()

    def count(_: Counter[str]) -> None:
        assert over.wait(30)

    with (
        Heartbeat(storage, 2024, "first", QUICK),
        Monitor(storage, 2024, "first", 1, 1, count, io.StringIO(), QUICK),
        Heartbeat(storage, 2024, "second", QUICK),
    ):
        wait_for(lambda: "another launcher is at work" in caplog.text)
        over.set()
    assert "without a word" not in caplog.text


def test_news_come_more_seldom_as_the_work_goes_on(tmp_path: Path) -> None:
    clock, puts = [0.0], []

    class TimingStorage(Storage):
        def write(self, key: str, data: bytes) -> None:
            puts.append(clock[0])

    tally = Tally(TimingStorage(str(tmp_path)), 2024, "r", clock=lambda: clock[0])
    for second in range(3 * 24 * 3600):
        clock[0] = float(second)
        tally.add(blocks=1)
    between = np.diff(puts)
    assert between[0] == TALLY_SECONDS + 1
    assert all(
        step <= then / 60 + TALLY_SECONDS + 1 for then, step in zip(puts[1:], between, strict=True)
    )
    # A fleet of a thousand for three days puts five million, not a hundred million.
    assert len(puts) < 5_000
    assert pause(1e9) == MOST_TALLY_SECONDS


EARLIER = Sight(60.0, Counter(blocks=30, blocks_kept=30, pixels_embedded=60_000, tiles_done=2))


def later(**news: float) -> Sight:
    """What is seen a minute after `EARLIER`."""
    return Sight(120.0, EARLIER.counts + Counter(news))


def test_the_line_says_how_far_and_how_long() -> None:
    now = later(
        blocks=15,
        tiles_done=2,
        tiles_failed=1,
        pixels_embedded=60_000,
        tokens=1_800_000,
        bytes_read=5e9,
        bytes_written=2e6,
    )
    assert progress_parts(now, EARLIER, tiles=12, blocks=120) == [
        "tiles 5/12",
        # 15 blocks took the last minute, and 45 are to be made.
        "left 3:00",
        "failed 1",
        "1k px/s",
        "30k tokens/s",
        "5GB in 2MB out",
    ]


def test_tiles_that_need_no_work_hurry_nothing() -> None:
    now = Sight(60.0, Counter(blocks_kept=900, blocks=10))
    assert "left 9:00" in progress_parts(now, Sight(0.0, Counter()), tiles=100, blocks=1_000)


def test_blocks_with_nothing_to_do_take_no_time() -> None:
    idle = {"blocks_idle": 900, "blocks_wanted": 100}
    # Ten tiles of 100 blocks are begun, a tenth of them inside the region; 30 were made in 1:00.
    now = Sight(60.0, Counter(blocks=930, **idle))
    # 70 are left of them, and another 100 of the ten tiles that are not begun.
    assert "left 5:40" in progress_parts(now, Sight(0.0, Counter()), tiles=20, blocks=2_000)
    none = Sight(60.0, Counter(blocks=900, **idle))
    assert "left ?" in progress_parts(none, Sight(0.0, Counter()), tiles=20, blocks=2_000)


def test_nobody_knows_how_long_it_takes_while_nothing_is_made() -> None:
    assert "left ?" in progress_parts(later(), EARLIER, tiles=12, blocks=120)
    done = Sight(60.0, Counter(blocks=100, tiles_done=12))
    assert not any(part.startswith("left") for part in progress_parts(done, EARLIER, 12, 100))


def test_the_line_says_where_the_time_goes_and_when_the_rate_has_fallen() -> None:
    slow = later(blocks=1, pixels_embedded=2_000, seconds_wait=45, seconds_encode=15)
    parts = progress_parts(slow, EARLIER, tiles=12, blocks=120)
    assert parts[3:6] == ["33.3 px/s (mean 517)", "reading 75%", "encoding 25%"]
    steady = later(blocks=30, pixels_embedded=60_000, seconds_read=60, seconds_encode=60)
    parts = progress_parts(steady, EARLIER, tiles=12, blocks=120)
    assert parts[3:5] == ["1k px/s", "encoding 100%"]


@pytest.mark.parametrize("width", [79, 119])
def test_what_does_not_fit_a_terminal_is_left_out_whole(width: int) -> None:
    now = later(
        **{"blocks": 15, "tiles_done": 52_000, "tiles_failed": 12, "pixels_embedded": 6e6},
        **{"tokens": 3e8, "bytes_read": 5.25e12, "bytes_written": 2.15e12},
        **{"seconds_wait": 75, "seconds_encode": 20, "seconds_write": 5, "seconds_find": 1},
    )
    parts = progress_parts(now, EARLIER, tiles=361_046, blocks=23_106_944)
    line = fitting(parts, width)
    assert len(line) <= width
    shown = line.split(GAP)
    assert shown == parts[: len(shown)]
    # Tiles, time left, failures, rate and what most of the time goes to are always there.
    assert len(shown) >= 5
    assert fitting(parts, 10_000) == GAP.join(parts)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_that_fits_and_is_gone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    with Monitor(Storage(str(tmp_path)), 2024, "r", 1, 1, stream=terminal):
        wait_for(lambda: terminal.getvalue().count("tiles 0/1") > 2)
    *lines, rest = terminal.getvalue().split(ERASE)
    assert all(len(line) < 20 for line in lines)
    assert rest == ""
    assert "\n" not in terminal.getvalue()


def test_a_log_has_a_line_now_and_then(tmp_path: Path) -> None:
    pacing = dataclasses.replace(QUICK, first_seconds=0.01, log_seconds=0.2)
    log, began = io.StringIO(), time.monotonic()
    with Monitor(Storage(str(tmp_path)), 2024, "r", 1, 1, stream=log, pacing=pacing):
        wait_for(lambda: log.getvalue().count("\n") >= 2)
    lines = log.getvalue().splitlines()
    assert all(line.startswith("tiles 0/1") for line in lines)
    assert len(lines) <= 1 + (time.monotonic() - began) / 0.2


def test_a_log_has_its_first_line_soon(tmp_path: Path) -> None:
    pacing = dataclasses.replace(QUICK, first_seconds=0.01, log_seconds=1e6)
    log = io.StringIO()
    with Monitor(Storage(str(tmp_path)), 2024, "r", 1, 1, stream=log, pacing=pacing):
        wait_for(lambda: log.getvalue() != "")
    assert log.getvalue().count("\n") == 1
    assert Pacing().first_seconds == 5.0


@pytest.mark.parametrize(("stream", "before"), [(Terminal(), ERASE), (io.StringIO(), "")])
def test_a_warning_takes_the_place_of_the_line_on_a_terminal(
    stream: io.StringIO, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.RootLogger(logging.WARNING)
    monkeypatch.setattr(logging, "root", root)
    monkeypatch.setattr("sys.stderr", stream)
    set_up_logging()
    root.warning("a word")
    assert stream.getvalue() == f"{before}WARNING root: a word\n"
