"""What is expected of a run before it begins, and whether that is more than the user allows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from tessera_mosaic.model.cards import Card
from tessera_mosaic.pipeline.errors import BadInput, NoScenes
from tessera_mosaic.pipeline.ledger.forecast import Forecast
from tessera_mosaic.pipeline.planning.estimate import Plan, forecast, likely, make_plan
from tessera_mosaic.pipeline.planning.priors import Drawn
from tessera_mosaic.pipeline.planning.revisits import ground_of
from tessera_mosaic.pipeline.scenes.sensors import absent_sensors, tell_absent
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.tiling.area import Area
from tessera_mosaic.requests import RunRequest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Expected:
    """What the plan says of a run.

    Parameters
    ----------
    forecast
        What `status` sets beside the outcome; empty where there is no plan.
    cost_usd
        Money in US dollars on `machine`; None where there is no plan.
    machine
        Name of the kind of machine that the money is for.
    """

    forecast: Forecast
    cost_usd: Drawn | None = None
    machine: str = ""


def expect(request: RunRequest, area: Area, card: Card, source: Source, machine: str) -> Forecast:
    """What the plan says of a run, for `status` to set beside its outcome; empty for no plan.

    Raises
    ------
    BadInput
        If the catalogue has nothing of the year in the region.
    """
    return expected(request, area, card, source, machine).forecast


def expected(request: RunRequest, area: Area, card: Card, source: Source, machine: str) -> Expected:
    """What the plan says of a run.

    Parameters
    ----------
    request, area, card, source
        The run, its ground, the encoder's card, and the catalogue.
    machine
        Name of the kind of machine that it runs on; empty where nobody said.

    Raises
    ------
    BadInput
        If the catalogue has nothing of the year in the region.
    """
    plan = _plan(request, area, card, source)
    if plan is None:
        return Expected({})
    known = {bill.machine.name: bill for bill in plan.bills}
    bill = known.get(machine) or plan.bill_on(None)
    return Expected(forecast(plan, machine), bill.total, bill.machine.name)


def _plan(request: RunRequest, area: Area, card: Card, source: Source) -> Plan | None:
    """The plan of a run; None where the catalogue covers too little of the region for one."""
    try:
        plan = make_plan(
            ground_of(area), request.year, card, request.precision, source, depths=request.depths
        )
    except NoScenes:
        boxes = [part.bounds for part in shapely.get_parts(area.region)]
        found = [scene for box in boxes for scene in source.search(box, request.year)]
        if found:
            log.warning("the catalogue covers little of the region: there is no plan of this run")
            tell_absent(absent_sensors(found))
            return None
        raise BadInput(
            f"{source.name} has no scenes of {request.year} in region {request.region}: "
            "check the year, the order west,south,east,north, and the catalogue's extent"
        ) from None
    tell_absent(plan.passes.missing)
    return plan


def check_tiles(most: int | None, tiles: int) -> None:
    """Refuse a run of more tiles than the user allows.

    Raises
    ------
    BadInput
        Naming both numbers.
    """
    if most is not None and tiles > most:
        raise BadInput(f"the run would have {tiles:,} tiles", "max_tiles", most)


def check_cost(most: float | None, runs: Sequence[Expected]) -> None:
    """Refuse runs whose plans together come to more money than the user allows.

    Raises
    ------
    BadInput
        Naming both amounts, or if one of the runs has no plan.
    """
    if most is None:
        return
    costs = [run.cost_usd for run in runs if run.cost_usd is not None]
    if len(costs) < len(runs):
        said = "there is no plan of this run, so that nobody knows what it would cost"
        raise BadInput(said, "max_cost", most)
    total = np.sum(costs, axis=0)
    if total[0] > most:
        low, high = likely(total)
        raise BadInput(
            f"the plan comes to {total[0]:,.2f} USD ({low:,.2f} to {high:,.2f}) on "
            f"{runs[0].machine}; `plan` tells of what",
            "max_cost",
            f"{most:g}",
        )
