"""Progress adds up over workers and is gone after the run."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

from pipeline.progress import Monitor, Tally, progress_line, read_tallies
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


def test_the_line_says_how_far_and_how_long() -> None:
    counts = Counter(tiles=2, blocks=30, pixels=30_000, failed=1)
    line = progress_line(counts, tiles=8, blocks=120, seconds=60)
    assert "tiles 2/8" in line
    assert "500 px/s" in line
    assert "failed 1" in line
    assert "left 3:00" in line
