"""What a run would take, before any of it is spent.

Every figure is an array: its value, and then draws from the range in which it may lie instead.
Whatever is reckoned from them is such an array too, so that every result knows its uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera_mosaic.model.cards import Card
from tessera_mosaic.model.precision import Precision
from tessera_mosaic.pipeline.console import rounded
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.ledger.forecast import Forecast, Range
from tessera_mosaic.pipeline.mosaic.layout import Layout, depths_to_store
from tessera_mosaic.pipeline.planning.priors import (
    Drawn,
    Machine,
    Priors,
    read_priors,
    tokens_per_second,
)
from tessera_mosaic.pipeline.planning.quantities import (
    bytes_fetched,
    bytes_stored,
    dataflow_fee,
    days_of,
    fees,
    machine_hours,
    nat_fee,
    progress_puts,
    reading_hours,
    requests_of,
    tokens_of,
)
from tessera_mosaic.pipeline.planning.revisits import (
    GRANULE,
    GRANULE_STEP,
    Ground,
    Passes,
    passes_by_prior,
    passes_in,
)
from tessera_mosaic.pipeline.scenes.source import Source

LIKELY = 5.0, 95.0
"""Percentiles of the draws between which a result is said to lie."""


@dataclass(frozen=True)
class Bill:
    """What a run takes on one kind of machine.

    Parameters
    ----------
    machine
        The kind of machine.
    accelerator_hours
        Hours of encoding alone, on one accelerator.
    machine_hours
        Hours of machines, by the slowest of encoding, reading and the network.
    days
        Days from start to end with the machines that are asked for.
    requests
        Number of requests by kind, with those by which such machines say how far they are.
    cost_usd
        Money by what it is paid for, in US dollars.
    source
        Who measured the throughput of the accelerator, and with what.
    """

    machine: Machine
    accelerator_hours: Drawn
    machine_hours: Drawn
    days: Drawn
    requests: dict[str, Drawn]
    cost_usd: dict[str, Drawn]
    source: str

    @property
    def total(self) -> Drawn:
        """All money together, in US dollars."""
        return np.sum(list(self.cost_usd.values()), axis=0)


@dataclass(frozen=True)
class Plan:
    """What a run would take.

    Parameters
    ----------
    model, precision
        Name of the encoder's card, and the precision it computes in.
    workers
        Number of machines at work at once.
    tiles
        Number of tiles to make.
    pixels, owned
        Number of pixels to embed in them, and of these without the margin over zone lines.
    passes
        Numbers of the satellites' passes over the ground, and of the scenes to open.
    tokens
        Number of tokens a pixel.
    bytes_read, bytes_written
        Bytes of imagery that are fetched, and bytes of the store, in all.
    requests
        Number of requests by kind for what tiles are made of, whatever makes them.
    storage_usd_per_year
        Money to keep what is written, in US dollars a year.
    bills
        What it takes on each kind of machine, the cheapest first.
    priors
        Figures, prices and throughputs that all this is reckoned with.
    inside
        Whether only the pixels inside the region are made, not the whole of its tiles.
    """

    model: str
    precision: Precision
    workers: int
    tiles: int
    pixels: int
    owned: int
    passes: Passes
    tokens: Drawn
    bytes_read: Drawn
    bytes_written: Drawn
    requests: dict[str, Drawn]
    storage_usd_per_year: Drawn
    bills: tuple[Bill, ...]
    priors: Priors
    inside: bool = False

    @property
    def scenes(self) -> Drawn:
        """Number of scenes to open, of both sensors: one counts for each tile that it touches."""
        return self.passes.s2_scenes + self.passes.s1_scenes

    def bill_on(self, machine: str | None) -> Bill:
        """What it takes on a kind of machine; for None on the cheapest that `deploy/` launches.

        Raises
        ------
        BadInput
            If nobody has measured an encoder on such a machine.
        """
        bills = {bill.machine.name: bill for bill in self.bills}
        if machine is None:
            launched = [bill for bill in self.bills if bill.machine.preset]
            return (launched or self.bills)[0]
        if machine not in bills:
            raise BadInput("no encoder was ever measured on such a machine", "machine", machine)
        return bills[machine]


def make_plan(
    ground: Ground,
    year: int,
    card: Card,
    precision: Precision = Precision.FP32,
    source: Source | None = None,
    workers: int = 1,
    depths: bool = False,
    priors: Priors | None = None,
) -> Plan:
    """Reckon what a run would take.

    Parameters
    ----------
    ground
        The tiles and pixels to be made.
    year
        Calendar year of the scenes.
    card, precision
        The encoder, and the precision it computes in.
    source
        Catalogue in which scenes are looked up; None to go by the satellites' orbits.
    workers
        Number of machines at work at once.
    depths
        Whether the shorter embeddings are stored too.
    priors
        Figures, prices and throughputs; the package's own by default.

    Raises
    ------
    BadInput
        If there are no shorter embeddings.
    NoScenes
        If the catalogue lists none where it is asked.
    """
    priors = priors or read_priors()
    layout = Layout(ground.side, card.dims, depths_to_store(depths, card.depths, card.name))
    random = np.random.default_rng(0)
    figure = {name: entry.draw(random) for name, entry in priors.figures.items()}
    if source is None:
        passes = passes_by_prior(ground, year, figure)
    else:
        passes = passes_in(source, ground, year, random)
    tiles, pixels = len(ground.tiles), int(ground.pixels.sum())
    tokens = tokens_of(card, passes, figure)
    reads = pixels * passes.s2 * (GRANULE / GRANULE_STEP) ** 2, pixels * passes.s1
    seen = pixels * passes.seen
    stored = bytes_stored(seen, layout, figure)
    written = np.sum(stored, axis=0)
    fetched = bytes_fetched(reads, ground.side, figure)
    requests = requests_of(tiles, ground.side, passes, stored, figure)
    storage = written / 1e9 * figure["storage"] * 12
    bills = []
    for machine in priors.machines:
        speed = tokens_per_second(machine, card, precision, priors, figure)
        if speed is not None:
            encoding = seen * tokens / speed[0] / 3600
            reading = reading_hours(reads, figure)
            hours = machine_hours(machine, encoding, reading, fetched, figure)
            asked = {**requests, "progress": progress_puts(tiles, hours)}
            cost = {
                "machines": hours * machine.usd_per_hour,
                "storage_first_year": storage,
                "requests": fees(asked, figure),
            }
            days = days_of(tiles, hours, workers, figure)
            if machine.preset:
                cost["dataflow"] = dataflow_fee(machine, hours, figure)
                cost["cloud_nat"] = nat_fee(fetched, days, min(workers, tiles), figure)
            bills.append(Bill(machine, encoding, hours, days, asked, cost, speed[1]))
    return Plan(
        model=card.name,
        precision=precision,
        workers=workers,
        tiles=tiles,
        pixels=pixels,
        owned=int(ground.owned.sum()),
        passes=passes,
        tokens=tokens,
        bytes_read=fetched,
        bytes_written=written,
        requests=requests,
        storage_usd_per_year=storage,
        bills=tuple(sorted(bills, key=lambda bill: bill.total[0])),
        priors=priors,
        inside=ground.region is not None,
    )


def likely(drawn: Drawn) -> tuple[float, float]:
    """Where a result lies in nine cases of ten, as far as the figures' ranges hold."""
    low, high = np.percentile(drawn[1:], LIKELY)
    # A figure at the end of its own range may put the value just outside.
    return float(min(low, drawn[0])), float(max(high, drawn[0]))


def forecast(plan: Plan, machine: str) -> Forecast:
    """The part of a plan that a run's records can be set beside.

    Parameters
    ----------
    plan
        Plan of the run.
    machine
        Name of the kind of machine that it runs on; accelerator hours are told only of one that
        the plan knows.

    Returns
    -------
    Values by the names that `status` has for them, each with the ends of its range.
    """
    estimates = {
        "scenes": plan.scenes,
        "tokens_per_pixel": plan.tokens,
        "bytes_read": plan.bytes_read,
        "requests_read": plan.requests["read"],
        "bytes_written": plan.bytes_written,
    }
    for bill in plan.bills:
        if bill.machine.name == machine:
            estimates["accelerator_hours"] = bill.accelerator_hours
    ranges = {
        name: Range(*(rounded(value) for value in (drawn[0], *likely(drawn))))
        for name, drawn in estimates.items()
    }
    tiles, pixels = (Range(count, count, count) for count in (plan.tiles, plan.pixels))
    return {"tiles": tiles, "pixels": pixels, **ranges}
