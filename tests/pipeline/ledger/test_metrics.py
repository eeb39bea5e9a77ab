"""A meter measures one tile."""

from __future__ import annotations

from collections import Counter

import pytest

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
    assert +tally == Counter(tiles_failed=1, blocks=4, bytes_read=10, retries_timeout=1)
    assert tally["pixels_embedded"] == 0
