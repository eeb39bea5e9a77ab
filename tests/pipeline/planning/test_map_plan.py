"""What a map would take."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.planning.map_plan import plan_map
from tessera_mosaic.pipeline.tiling.area import AreaRequest
from tests import jobs


def test_a_larger_area_takes_more_and_more_cores_take_less_time() -> None:
    small, large = (plan_map(AreaRequest(f"7.0,46.0,{east},47.0")) for east in (7.2, 8.0))
    assert small.pixels < large.pixels
    assert small.total[0] < large.total[0]
    many = plan_map(AreaRequest("7.0,46.0,8.0,47.0"), cores=4)
    assert many.days[0] == pytest.approx(large.days[0] / 4)
    # Reading and scoring a degree square takes some core-minutes, not core-days.
    assert 0.001 < large.core_hours[0] < 2
    assert np.all(many.bytes_read > many.bytes_written)
    with pytest.raises(BadInput, match="at least one core"):
        plan_map(AreaRequest("7.0,46.0,8.0,47.0"), cores=0)


def test_the_command_plans_maps(run: jobs.Run) -> None:
    code, told = run("plan", "--job=map", "--region=7.0,46.0,7.2,46.2", "--year=2024")
    assert code == 0
    assert told["tiles"] > 0
    assert told["scenes"] == 0
    assert {"accelerator_hours", "bytes_read", "bytes_written", "requests", "cost_usd"} <= set(told)
