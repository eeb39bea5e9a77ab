"""A meter measures one tile."""

from __future__ import annotations

from collections import Counter

import pytest

from tessera_mosaic.pipeline.errors import Stopped
from tessera_mosaic.pipeline.io.stop_sign import StopSign
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import Failure, Record, State


def test_a_meter_takes_back_what_came_to_nothing() -> None:
    tally: Counter[str] = Counter()
    meter = Meter(lambda **measures: tally.update(measures))
    meter.add(blocks=3, pixels_embedded=3_000, bytes_read=10, retries_timeout=1)
    with meter("read"):
        pass
    record = Record("t", 2024, State.FAILED, "f", error=Failure("timeout"), **vars(meter.effort()))
    meter.finish(record, blocks=4)
    spent = tally.pop("seconds_read")
    assert spent == pytest.approx(record.seconds["read"])
    others = Counter(tiles_failed=1, bytes_read=10, retries_timeout=1)
    # The fourth block, which was not made, cost nothing.
    assert +tally == others + Counter(blocks=4, blocks_idle=1, blocks_wanted=3)
    assert tally["pixels_embedded"] == 0


@pytest.mark.parametrize(
    ("state", "made", "idle"), [(State.DONE, 3, 5), (State.FAILED, 1, 7), (State.EMPTY, 0, 8)]
)
def test_blocks_with_nothing_to_do_are_told_apart(state: State, made: int, idle: int) -> None:
    tally: Counter[str] = Counter()
    meter = Meter(lambda **measures: tally.update(measures))
    meter.plan(3, of=8)
    assert tally == Counter(blocks=5, blocks_idle=5, blocks_wanted=3)
    for _ in range(made):
        meter.add(blocks=1)
    meter.finish(Record("t", 2024, state, "f"), blocks=8)
    assert (tally["blocks"], tally["blocks_idle"], tally["blocks_wanted"]) == (8, idle, made)


def test_a_meter_lets_no_block_begin_once_the_job_is_to_stop() -> None:
    sign = StopSign()
    meter = Meter(lambda **_: None, sign)
    meter.check_stop()
    sign.ask()
    with pytest.raises(Stopped):
        meter.check_stop()
