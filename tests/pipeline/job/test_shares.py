"""Shares of a list: every tile is of exactly one, whoever divides it and into however many."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_mosaic.pipeline.commands.run import retry_command
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.exclusion import settled
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.heartbeat import Heartbeat
from tessera_mosaic.pipeline.job.job_request import JobOptions
from tessera_mosaic.pipeline.job.launch import settle
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.job.pacing import Pacing
from tessera_mosaic.pipeline.job.share_claim import ShareClaim
from tessera_mosaic.pipeline.job.shares import Share, divided, of_array, pixels_to_make
from tessera_mosaic.pipeline.ledger.journal import Journal, compact
from tessera_mosaic.pipeline.ledger.keys import launcher_key, shares_key, stop_key
from tessera_mosaic.pipeline.ledger.share_lists import ShareNote, Shares, ShareState
from tessera_mosaic.pipeline.ledger.summary import read_summary
from tessera_mosaic.pipeline.ledger.tile_lists import TileList, planned_tiles
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.planning.revisits import expected_observations
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tests import jobs
from tests.fakes.environment import gcs_here
from tests.pipeline.ledger.test_records import a_record

YEAR = 2024

LISTS = st.lists(
    st.builds(Tile, st.integers(30, 32), st.integers(0, 40), st.integers(0, 20), st.just(2048)),
    unique=True,
    max_size=80,
)
COUNTS = st.one_of(st.integers(1, 12), st.integers(1, 100_000))


def by_chance(seed: int) -> Sequence[int]:
    return [1 + (seed * 7919 + n * n * 104_729) % 1000 for n in range(997)]


@given(LISTS, COUNTS, st.integers(0, 1000))
def test_nothing_is_made_twice_and_nothing_forgotten(
    tiles: list[Tile], count: int, seed: int
) -> None:
    weights = by_chance(seed)

    def costs(ordered: Sequence[Tile]) -> list[int]:
        return [weights[hash((tile.zone, tile.row, tile.col)) % 997] for tile in ordered]

    shares = divided(tiles, count, costs)
    assert Counter(tile for of in shares.values() for tile in of) == Counter(tiles)
    assert all(0 <= index < count and of for index, of in shares.items())
    assert divided(reversed(tiles), count, costs) == shares
    # No share costs more than its due by more than one tile, nor less.
    cost = dict(zip(tiles, costs(tiles), strict=True))
    total = sum(cost.values())
    for index in range(min(count, 200)):
        own = sum(cost[tile] for tile in shares.get(index, ()))
        assert abs(own - total / count) <= max(cost.values(), default=0)


@given(st.integers(1, 64))
def test_neighbours_stay_together(count: int) -> None:
    """All but the cuts lie between neighbours, as they do for one worker alone."""
    region = [Tile(31, row, col, 2048) for row in range(96, 128) for col in range(8, 16)]
    shares = divided(region, count)
    owner = {tile: index for index, of in shares.items() for tile in of}
    beside = [
        (tile, near)
        for tile in region
        for near in (replace(tile, row=tile.row + 1), replace(tile, col=tile.col + 1))
        if near in owner
    ]
    apart = sum(owner[one] != owner[other] for one, other in beside)
    # Four neighbourhoods of eight by eight tiles, and at each cut the tiles of a row and one more.
    assert apart <= 8 * 3 + 9 * (count - 1)


def test_a_share_has_tiles_of_few_zones() -> None:
    tiles = [Tile(zone, row, 16, 2048) for zone in range(1, 61) for row in range(300, 400)]
    shares = divided(tiles, 100)
    assert max(len({tile.zone for tile in of}) for of in shares.values()) <= 2


def test_a_share_of_the_north_has_fewer_pixels_than_one_of_the_tropics() -> None:
    tropics = [Tile(31, row, col, 2048) for row in range(440, 472) for col in range(12, 22)]
    north = [Tile(32, row, col, 2048) for row in range(130, 162) for col in range(12, 22)]
    shares = divided([*tropics, *north], 2, expected_observations)
    pixels = [sum(pixels_to_make(shares[index])) for index in (0, 1)]
    assert pixels[0] > pixels[1]
    seen = [sum(expected_observations(shares[index])) for index in (0, 1)]
    assert seen[0] == pytest.approx(seen[1], rel=0.02)
    cut, whole = pixels_to_make([Tile(31, 456, 0, 2048), Tile(31, 456, 17, 2048)])
    assert 0 < cut < whole == 2048**2


@pytest.mark.parametrize(
    "text", ["", "3", "8/8", "-1/8", "0/0", "1/2/3", "a/b", "1 /2", "٣/٨", "0/100001", "Auto"]
)
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="share"):
        JobOptions(share=text)


SLURM = {
    "SLURM_ARRAY_TASK_ID": "7",
    "SLURM_ARRAY_TASK_COUNT": "4",
    "SLURM_ARRAY_TASK_MIN": "1",
    "SLURM_ARRAY_TASK_MAX": "7",
    "SLURM_ARRAY_TASK_STEP": "2",
}


@pytest.mark.parametrize(
    ("variables", "share"),
    [
        (SLURM, "3/4"),
        (SLURM | dict.fromkeys(("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN"), "1"), "0/4"),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "4"}, "3/4"),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "12"}, "0/12"),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "9", "AWS_BATCH_JOB_ARRAY_SIZE": "10"}, "9/10"),
        ({"BATCH_TASK_INDEX": "2", "BATCH_TASK_COUNT": "3"}, "2/3"),
    ],
)
def test_a_job_array_tells_the_share(
    variables: dict[str, str], share: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(of_array(variables)) == share
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    options = JobOptions(share="auto")
    assert (options.share, options.part) == (share, Share(*map(int, share.split("/"))))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "SLURM_ARRAY_TASK_ID"),
        ({"JOB_COMPLETION_INDEX": "3"}, "set JOB_COMPLETIONS"),
        ({"BATCH_TASK_INDEX": "three", "BATCH_TASK_COUNT": "4"}, "BATCH_TASK_INDEX is no number"),
        ({"BATCH_TASK_INDEX": "4", "BATCH_TASK_COUNT": "4"}, "the last is 3/4"),
        # Single tasks of an array, submitted again: nobody knows of how many they once were.
        (SLURM | {"SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "9"}, "write I/N"),
        (SLURM | {"SLURM_ARRAY_TASK_COUNT": "3"}, "write I/N"),
        (SLURM | {"JOB_COMPLETION_INDEX": "3"}, "Slurm and Kubernetes"),
    ],
)
def test_variables_that_tell_no_share_are_refused(variables: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        of_array(variables)


def test_nobody_is_a_single_launcher_of_one_share() -> None:
    with pytest.raises(BadInput, match="single_launcher"):
        JobOptions(share="0/2", single_launcher=True)
    assert JobOptions(share="0/1", single_launcher=True).part == Share(0, 1)


def test_launchers_that_reckon_otherwise_still_share_one_list(tmp_path: Path) -> None:
    """Who comes first to a zone divides it, and its cut is whole whatever the others reckon."""
    storage = Storage(str(tmp_path))
    tiles = TileList.of(Tile(zone, row, 16, 64) for zone in (30, 31, 32) for row in range(20))
    shares = Shares(storage, YEAR, tiles.id, 4)
    made = [
        tile
        for index in (2, 0, 3, 1)
        for tile in settle(shares, index, tiles, lambda of: [1 + t.row * index for t in of])  # noqa: B023
    ]
    assert Counter(made) == Counter(tiles)
    assert list(planned_tiles(storage, YEAR)) == list(tiles)
    key = shares_key(YEAR, tiles.id, 4, 31)
    storage.write(key, storage.read(key)[:-9])
    assert Counter(t for n in range(4) for t in settle(shares, n, tiles, pixels_to_make)) >= (
        Counter(t for t in tiles if t.zone == 31)
    )


QUICK = Pacing(beat_seconds=0.02, silent_seconds=0.5)


def claim(storage: Storage, launch: str, index: int = 0) -> ShareClaim:
    return ShareClaim(Shares(storage, YEAR, "list", 2), Share(index, 2), launch, QUICK)


def test_a_living_launcher_keeps_its_share(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with claim(storage, "first") as first:
        with pytest.raises(BadInput, match="is at work on this share"), claim(storage, "second"):
            pass
        with claim(storage, "other", index=1) as other:
            other.ended()
        first.ended()
    assert Shares(storage, YEAR, "list", 2).all_ended()
    with claim(storage, "second"):
        assert not Shares(storage, YEAR, "list", 2).all_ended()
    states = {index: note.state for index, note in Shares(storage, YEAR, "list", 2).notes().items()}
    assert states == {0: ShareState.STOPPED, 1: ShareState.ENDED}


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """An empty store on this machine, and one in a bucket."""
    if request.param == "folder":
        yield Storage(str(tmp_path))
        return
    with gcs_here():
        yield settled(Storage("gs://bucket/store"))


def test_a_dead_launcher_is_waited_for_and_followed(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    shares = Shares(storage, YEAR, "list", 2)
    shares.put_note(0, ShareNote("dead", "n1 process 7", ShareState.AT_WORK, 3))
    storage.write(launcher_key(YEAR, "dead"), b"n1 process 7")
    began = time.monotonic()
    with claim(storage, "next"):
        assert time.monotonic() - began >= QUICK.silent_seconds
        assert shares.notes()[0].launch == "next"
        with pytest.raises(BadInput, match="is at work on this share"), claim(storage, "third"):
            pass
    assert "n1 process 7 is gone" in caplog.text
    assert not storage.exists(launcher_key(YEAR, "dead"))


def test_summaries_lose_no_rows_when_many_write_them(storage: Storage) -> None:
    """Each launcher brings what its workers have ended into the same summary as the others."""
    tiles = [Tile(31, row, col, 64) for row in range(4) for col in range(6)]
    start = threading.Barrier(4)

    def launcher(row: int) -> None:
        start.wait()
        for tile in tiles[6 * row : 6 * row + 6]:
            journal = Journal(storage, YEAR)
            journal.add(31, TileSummary.of(a_record(tile)))
            journal.put()
            compact(storage, YEAR, 31)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(launcher, range(4)))
    assert set(read_summary(storage, YEAR, 31)) == {tile.name for tile in tiles}


def test_of_two_that_follow_the_dead_one_does(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    Shares(storage, YEAR, "list", 2).put_note(0, ShareNote("dead", "n1", ShareState.AT_WORK))
    came, over = [], threading.Event()

    def follow(launch: str) -> None:
        try:
            with claim(storage, launch):
                came.append("took it")
                assert over.wait(20)
        except BadInput:
            came.append("refused")
            over.set()

    threads = [threading.Thread(target=follow, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(came) == ["refused", "took it"]


def test_who_was_taken_for_dead_begins_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage(str(tmp_path))
    shares = Shares(storage, YEAR, "list", 2)
    follower = ShareNote("follower", "n2 process 9", ShareState.AT_WORK)
    with claim(storage, "sleeper") as sleeper:
        shares.put_note(0, follower)
        deadline = time.monotonic() + 20
        while not storage.exists(stop_key(YEAR, "sleeper")) and time.monotonic() < deadline:
            time.sleep(0.01)
        sleeper.ended()
    assert storage.exists(stop_key(YEAR, "sleeper"))
    assert caplog.text.count("was taken over by n2 process 9") == 1
    assert shares.note(0) == follower


def test_siblings_are_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    storage = Storage(str(tmp_path))
    quick = replace(QUICK, silent_seconds=0.1)
    with (
        Heartbeat(storage, YEAR, "abc-one", quick, "abc-"),
        Heartbeat(storage, YEAR, "abc-two", quick, "abc-"),
    ):
        time.sleep(0.3)
        assert caplog.text == ""
        with Heartbeat(storage, YEAR, "xyz-one", quick, "xyz-"):
            deadline = time.monotonic() + 20
            while caplog.text.count("this one joins it") < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
    assert caplog.text.count("this one joins it") == 2


def result_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = jobs.run_here([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_shares_of_any_number_make_the_store_of_one_process(
    archive: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    words, status = jobs.options(archive, store), ["status", f"--store={store}"]
    code, first = result_of([*words, "--share=1/3"], capsys)
    assert (code, first["share"], first["done"], first["tiles"]) == (0, "1/3", 4, 4)
    assert first["whole"] is None
    code, told = result_of(status, capsys)
    assert (code, told["planned"], told["done"], told["missing"]) == (3, 12, 4, 8)
    assert [(each["share"], each["tiles"], each["done"], each["state"]) for each in
            told["shares"]["2024"]] == [
        ("0/3", 4, 0, "not begun"), ("1/3", 4, 4, "ended"), ("2/3", 4, 0, "not begun"),
    ]  # fmt: skip
    assert jobs.run_here(status) == 3
    out = capsys.readouterr().out
    assert "1 of 3 shares are done" in out
    assert "0/3: 0 of 4 tiles done; not begun" in out
    # Another number of shares, of which some have nothing to do.
    made = [result_of([*words, f"--share={index}/2"], capsys)[1] for index in (0, 1)]
    assert [each["done"] for each in made] == [6, 6]
    assert [each["tiles_kept"] for each in made] == [2, 2]
    assert made[0]["whole"] is None
    assert made[1]["whole"] == {"tiles": 12, "done": 12, "failed": 0, "missing": 0, "failures": {}}
    assert jobs.shards(store) == jobs.shards(finished)
    own = {key: value for key, value in jobs.contents(store).items() if "/shares/" not in key}
    assert own == jobs.contents(finished)
    assert jobs.run_here(status) == 0
    # More shares than tiles.
    code, empty = result_of([*words, "--share=0/40"], capsys)
    assert (code, empty["tiles"], empty["missing"]) == (0, 0, 0)


@pytest.mark.parametrize("words", [["--share", "auto"], ["--share=auto"], ["--share=3/4"]])
def test_a_share_says_how_to_try_again_outside_of_the_array(words: list[str]) -> None:
    outcome = Outcome(4, 3, 1, 0, 1.0, {"gone": 1}, {"pixels_embedded": 0.0}, share="3/4")
    told = retry_command(["run", "--store=a", *words, "--year=2024"], outcome)
    assert told is not None
    assert told.replace("--share ", "--share=") == (
        "tessera-mosaic run --store=a --share=3/4 --year=2024"
    )
