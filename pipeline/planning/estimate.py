"""The command `plan`: what a run would take, before any of it is spent.

Every figure is an array: its value, and then draws from the range in which it may lie instead.
Whatever is reckoned from them is such an array too, so that every result knows its uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera_mosaic.model.cards import Card
from tessera_mosaic.pipeline.console import rounded
from tessera_mosaic.pipeline.ledger.forecast import Ranges
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.planning.priors import (
    Book,
    Drawn,
    Machine,
    read_book,
    tokens_per_second,
)
from tessera_mosaic.pipeline.planning.quantities import (
    bytes_fetched,
    bytes_stored,
    days_of,
    fees,
    machine_hours,
    progress_puts,
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
from tessera_mosaic.pipeline.scenes import Source

LIKELY = 5.0, 95.0
"""Percentiles of the draws between which a result is said to lie."""


@dataclass(frozen=True)
class Bill:
    """What a run takes on one kind of machine.

    Parameters
    ----------
    machine
        The kind.
    accelerator_hours, machine_hours
        Of encoding alone; and of machines, by the slower of reading and encoding.
    days
        From start to end with the workers asked for.
    requests
        By kind, with those by which such machines say how far they are.
    cost_usd
        By what it is paid for.
    source
        Of the throughput.
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
        """Of the money."""
        return np.sum(list(self.cost_usd.values()), axis=0)


@dataclass(frozen=True)
class Plan:
    """What a run would take.

    Parameters
    ----------
    tiles, pixels, owned
        To make; to embed in them; and of these without the margin over zone lines.
    passes
        Of the satellites, and the scenes to open.
    tokens
        A pixel.
    bytes_read, bytes_written
        In all.
    requests
        By kind, for what tiles are made of, whatever makes them.
    storage_usd_per_year
        Of what is written.
    bills
        One for each kind of machine, the cheapest first.
    """

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


def make_plan(
    ground: Ground,
    year: int,
    card: Card,
    precision: str = "fp32",
    source: Source | None = None,
    workers: int = 1,
    depths: bool = False,
    book: Book | None = None,
) -> Plan:
    """Reckon what a run would take.

    Parameters
    ----------
    ground
        What is to be made.
    year
        Of the scenes.
    card, precision
        Of the encoder.
    source
        Where scenes are looked up; None to go by the priors.
    workers
        Machines at work at once.
    depths
        Whether the shorter embeddings are stored too.
    book
        The figures; the package's own by default.

    Raises
    ------
    NoScenes
        If the catalogue lists none where it is asked.
    """
    book = book or read_book()
    random = np.random.default_rng(0)
    figure = {name: entry.draw(random) for name, entry in book.figures.items()}
    if source is None:
        passes = passes_by_prior(ground, year, figure)
    else:
        passes = passes_in(source, ground, year, random)
    tiles, pixels = len(ground.tiles), int(ground.pixels.sum())
    tokens = tokens_of(card, passes, figure)
    reads = pixels * passes.s2 * (GRANULE / GRANULE_STEP) ** 2, pixels * passes.s1
    layout = Layout(ground.side, card.dims, card.depths if depths else ())
    stored = bytes_stored(pixels, layout, figure)
    written = np.sum(stored, axis=0)
    requests = requests_of(tiles, ground.side, passes, stored, figure)
    storage = written / 1e9 * figure["storage"] * 12
    bills = []
    for machine in book.machines:
        speed = tokens_per_second(machine, card, precision, book, figure)
        if speed is not None:
            encoding = pixels * tokens / speed[0] / 3600
            reading = (reads[0] + reads[1]) / figure["reading"] / 3600
            hours = machine_hours(machine, encoding, reading, figure)
            asked = {**requests, "progress": progress_puts(tiles, hours)}
            cost = {
                "machines": hours * machine.usd_per_hour,
                "storage_first_year": storage,
                "requests": fees(asked, figure),
            }
            days = days_of(tiles, hours, workers, figure)
            bills.append(Bill(machine, encoding, hours, days, asked, cost, speed[1]))
    return Plan(
        tiles=tiles,
        pixels=pixels,
        owned=int(ground.owned.sum()),
        passes=passes,
        tokens=tokens,
        bytes_read=bytes_fetched(reads, ground.side, figure),
        bytes_written=written,
        requests=requests,
        storage_usd_per_year=storage,
        bills=tuple(sorted(bills, key=lambda bill: bill.total[0])),
    )


def likely(drawn: Drawn) -> tuple[float, float]:
    """Where a result lies in nine cases of ten, as far as the figures' ranges hold."""
    low, high = np.percentile(drawn[1:], LIKELY)
    # A figure at the end of its own range may put the value just outside.
    return float(min(low, drawn[0])), float(max(high, drawn[0]))


def forecast(plan: Plan, machine: str) -> Ranges:
    """Of a plan, what a run's records can be set beside.

    Parameters
    ----------
    plan
        Of the run.
    machine
        On which it runs; accelerator hours are told only of one that the plan knows.
    """
    estimates = {
        "scenes": plan.passes.s2_scenes + plan.passes.s1_scenes,
        "tokens_per_pixel": plan.tokens,
        "bytes_read": plan.bytes_read,
        "requests_read": plan.requests["read"],
        "bytes_written": plan.bytes_written,
    }
    for bill in plan.bills:
        if bill.machine.name == machine:
            estimates["accelerator_hours"] = bill.accelerator_hours
    ranges = {
        name: [rounded(value) for value in (drawn[0], *likely(drawn))]
        for name, drawn in estimates.items()
    }
    return {"tiles": [plan.tiles] * 3, "pixels": [plan.pixels] * 3, **ranges}
