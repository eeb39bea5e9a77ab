"""What can be asked of a plan, and how it is told as JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tessera_mosaic.model.cards import SHIPPED, Card, CardError, card_named
from tessera_mosaic.model.precision import Precision
from tessera_mosaic.pipeline.bounds import Bounds, check_bounds
from tessera_mosaic.pipeline.console import rounded
from tessera_mosaic.pipeline.errors import BadInput, as_bad_input, choose
from tessera_mosaic.pipeline.planning.estimate import Bill, Plan, likely, make_plan
from tessera_mosaic.pipeline.planning.priors import Priors, read_priors
from tessera_mosaic.pipeline.planning.revisits import ground_of
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.scene import YEARS, check_year
from tessera_mosaic.pipeline.tiling.area import AreaRequest, read_area

HERE = "here"
"""Name of the machine that a plan is made on."""

MACHINES = Bounds("at least one machine has to work", least=1)


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is made for.

    Parameters
    ----------
    area
        Tiles and pixels that are to be made.
    year
        Calendar year of the scenes.
    catalog
        STAC API, static catalogue or STAC GeoParquet index in which scenes are looked up, as a path
        or URL, or the name of a public one; None to reckon with the satellites' orbits.
    allow_hosts
        Hosts at private addresses that the catalogue may point to.
    model
        Name of the encoder's card; None for the encoder that comes with the package.
    precision
        Precision that the encoder computes in, `fp32` or `bf16`.
    depths
        Whether the shorter embeddings are stored too.
    machine
        Name of the kind of machine that hours and money are told of: `here` for this one, which is
        then measured; None for the cheapest that `deploy/` launches.
    workers
        Number of machines at work at once.

    Raises
    ------
    BadInput
        If there are no scenes of the year, no such machine, or no machine at work.

    Examples
    --------
    >>> tm.PlanRequest(tm.AreaRequest("7.0,46.0,7.1,46.1"), 2024, workers=0)
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.BadInput: workers 0: at least one machine has to work
    """

    area: AreaRequest
    year: int = field(metadata=YEARS.metadata)
    catalog: str | None = None
    allow_hosts: tuple[str, ...] = ()
    model: str | None = None
    precision: Precision = Precision.FP32
    depths: bool = False
    machine: str | None = None
    workers: int = field(default=1, metadata=MACHINES.metadata)

    def __post_init__(self) -> None:
        check_bounds(self)
        check_year(self.year)
        choose(self, precision=Precision)
        names = [machine.name for machine in read_priors().machines]
        if self.machine not in (None, HERE, *names):
            told = f"prices are known of {', '.join(names)}, and `{HERE}` is this machine"
            raise BadInput(told, "machine", self.machine)


@as_bad_input(CardError)
def plan(request: PlanRequest, card: Card | None = None, priors: Priors | None = None) -> Plan:
    """Reckon what a run would take.

    Parameters
    ----------
    request
        What it is made for.
    card
        Card of weights that are no published model's, in place of the request's model.
    priors
        Figures, prices and throughputs; the package's own by default.

    Raises
    ------
    BadInput
        If the area, the catalogue or the model cannot be used, there are no scenes, or nobody has
        measured an encoder on such a machine.
    Unavailable
        If the catalogue's provider does not serve at the moment.

    Examples
    --------
    >>> area = tm.AreaRequest("7.0,46.0,7.1,46.1")
    >>> found = tm.plan(tm.PlanRequest(area, 2024, model="v2-large", precision="bf16"))
    >>> found.tiles, found.pixels
    (2, 8388608)
    >>> found.bill_on("g6e.xlarge").machine.device
    'L40S'
    """
    card = card or card_named(request.model or SHIPPED.name)
    source = open_catalogue(request.catalog, request.allow_hosts) if request.catalog else None
    if source is not None:
        card.accepts(source.imagery)
    found = make_plan(
        ground_of(read_area(request.area)),
        request.year,
        card,
        request.precision,
        source,
        request.workers,
        request.depths,
        priors,
    )
    found.bill_on(request.machine)
    return found


def plan_fields(plan: Plan, bill: Bill) -> dict[str, Any]:
    """The fields of `plan --json`: money and hours on one kind of machine, and all ranges."""
    uncertain = {
        "scenes": plan.scenes,
        "tokens_per_pixel": plan.tokens,
        "accelerator_hours": bill.accelerator_hours,
        "machine_hours": bill.machine_hours,
        "days": bill.days,
        "bytes_read": plan.bytes_read,
        "bytes_written": plan.bytes_written,
        "requests": np.sum(list(bill.requests.values()), axis=0),
        "storage_usd_per_year": plan.storage_usd_per_year,
        "cost_usd": bill.total,
    }
    return {
        "tiles": plan.tiles,
        "pixels": plan.pixels,
        "pixels_owned": plan.owned,
        "pixels_wanted": "inside" if plan.inside else "all",
        **{name: rounded(drawn[0]) for name, drawn in uncertain.items()},
        "scenes_from": plan.passes.origin,
        "absent_sensors": {
            sensor: dataclasses.asdict(of) for sensor, of in plan.passes.absent.items()
        },
        "machine": bill.machine.name,
        "requests_by_kind": {name: rounded(drawn[0]) for name, drawn in bill.requests.items()},
        "cost_usd_by_part": {name: rounded(drawn[0]) for name, drawn in bill.cost_usd.items()},
        "uncertainty": {
            name: [rounded(end) for end in likely(drawn)] for name, drawn in uncertain.items()
        },
        "by_machine": {
            other.machine.name: {
                "device": other.machine.device,
                "accelerator_hours": rounded(other.accelerator_hours[0]),
                "machine_hours": rounded(other.machine_hours[0]),
                "days": rounded(other.days[0]),
                "cost_usd": rounded(other.total[0]),
                "throughput": other.source,
            }
            for other in plan.bills
        },
        "figures": [dataclasses.asdict(entry) for entry in plan.priors.figures.values()],
        "machines": [dataclasses.asdict(machine) for machine in plan.priors.machines],
        "model": plan.model,
        "precision": plan.precision,
        "workers": plan.workers,
    }
