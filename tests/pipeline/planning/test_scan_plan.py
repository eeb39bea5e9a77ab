"""What a map or a search would take."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.planning.scan_plan import plan_scan
from tessera_mosaic.pipeline.tiling.area import AreaRequest
from tests import jobs


@pytest.mark.parametrize("job", ["map", "search"])
def test_a_larger_area_takes_more_and_more_cores_take_less_time(job: str) -> None:
    small, large = (plan_scan(job, AreaRequest(f"7.0,46.0,{east},47.0")) for east in (7.2, 8.0))
    assert small.pixels < large.pixels
    assert small.total[0] < large.total[0]
    many = plan_scan(job, AreaRequest("7.0,46.0,8.0,47.0"), cores=4)
    assert many.days[0] == pytest.approx(large.days[0] / 4)
    # Reading and scoring a degree square takes some core-minutes, not core-days.
    assert 0.001 < large.core_hours[0] < 2
    assert np.all(many.bytes_read > many.bytes_written)
    with pytest.raises(BadInput, match="at least one core"):
        plan_scan(job, AreaRequest("7.0,46.0,8.0,47.0"), cores=0)


def test_a_search_is_what_its_figures_say() -> None:
    area = AreaRequest("7.0,46.0,9.0,47.0")
    found, mapped = plan_scan("search", area), plan_scan("map", area)
    figures = {figure.name: figure.value for figure in found.figures}
    seconds = 1 / figures["search_speed"] + figures["search_bytes_read"] / figures["map_network"]
    assert found.core_hours[0] == pytest.approx(found.pixels * seconds / 3600)
    assert found.cost_usd["storage_first_year"][0] == 0
    assert found.total[0] < mapped.total[0]
    # The planet takes some hundreds of core hours and some tens of dollars: no index is needed.
    planet = 1.5e12 / found.pixels
    assert 100 < found.core_hours[0] * planet < 1000
    assert 5 < found.total[0] * planet < 100


@pytest.mark.parametrize("job", ["map", "search"])
def test_the_command_plans_them(run: jobs.Run, job: str) -> None:
    code, told = run("plan", f"--job={job}", "--region=7.0,46.0,7.2,46.2", "--year=2024")
    assert code == 0
    assert told["tiles"] > 0
    assert told["scenes"] == 0
    assert {"accelerator_hours", "bytes_read", "bytes_written", "requests", "cost_usd"} <= set(told)
