"""Tiles of one process side by side, and alone where they have to be."""

from __future__ import annotations

import threading

import pytest

from tessera_mosaic.pipeline.job.tile_slots import AT_ONCE, SideBySide, TileSlots

SOON, LATER = 0.1, 30.0
"""Seconds in which nothing may happen, and in which something has to."""


class Spell:
    """A turn in a thread of its own, until it is told to end."""

    def __init__(self, turns: TileSlots, alone: bool = False) -> None:
        self.began, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._have, args=(turns, alone))
        self._thread.start()

    def _have(self, turns: TileSlots, alone: bool) -> None:
        with turns.take(alone):
            self.began.set()
            assert self._end.wait(LATER)

    def end(self) -> None:
        self._end.set()
        self._thread.join(LATER)


def test_no_more_than_a_few_have_a_turn_at_once() -> None:
    turns = TileSlots()
    few = [Spell(turns) for _ in range(AT_ONCE)]
    assert all(one.began.wait(LATER) for one in few)
    other = Spell(turns)
    assert not other.began.wait(SOON)
    few[0].end()
    assert other.began.wait(LATER)
    for one in (*few[1:], other):
        one.end()


def test_who_is_alone_waits_for_the_others_and_keeps_new_ones_out() -> None:
    turns = TileSlots()
    first = Spell(turns)
    assert first.began.wait(LATER)
    alone = Spell(turns, alone=True)
    assert not alone.began.wait(SOON)
    late = Spell(turns)
    assert not late.began.wait(SOON)
    first.end()
    assert alone.began.wait(LATER)
    assert not late.began.wait(SOON)
    alone.end()
    assert late.began.wait(LATER)
    late.end()


def test_two_that_want_to_be_alone_take_turns() -> None:
    turns = TileSlots()
    one = Spell(turns, alone=True)
    assert one.began.wait(LATER)
    other = Spell(turns, alone=True)
    assert not other.began.wait(SOON)
    one.end()
    assert other.began.wait(LATER)
    other.end()


def test_a_turn_ends_with_an_error_too() -> None:
    turns = TileSlots()
    for alone in (False, True):
        with pytest.raises(ValueError, match="broken"), turns.take(alone):
            raise ValueError("broken")
    after = Spell(turns, alone=True)
    assert after.began.wait(LATER)
    after.end()


def test_side_by_side_hands_out_everything_once() -> None:
    meeting = threading.Barrier(AT_ONCE)

    def work(number: int) -> int:
        # Comes back only if another piece of work runs at the same time.
        meeting.wait(LATER)
        return number

    side_by_side = SideBySide[int]()
    ended = [got for number in range(10) for got in side_by_side.start(work, number)]
    ended += side_by_side.finish()
    side_by_side.close()
    assert sorted(ended) == list(range(10))


def test_side_by_side_raises_what_its_work_raises() -> None:
    def fail() -> None:
        raise ValueError("broken")

    side_by_side = SideBySide[None]()
    assert list(side_by_side.start(fail)) == []
    with pytest.raises(ValueError, match="broken"):
        list(side_by_side.finish())
    side_by_side.close()
