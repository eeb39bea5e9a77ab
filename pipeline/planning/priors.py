"""The priors, prices and throughputs that plans are made with, from two files of the package.

`data/figures.toml` holds what was read somewhere, each figure with its range, source and date.
`data/throughput.json` holds how fast encoders were seen to run; benchmarks add to it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.cards import Card, card_named
from tessera_mosaic.model.precision import Precision

DATA = Path(__file__).parent / "data"
FIGURES = DATA / "figures.toml"
THROUGHPUT = DATA / "throughput.json"

DRAWS = 2000
"""Draws by which a plan's uncertainty is found."""

Drawn = NDArray[np.float64]
"""A value and then its draws: (1 + DRAWS,)."""

Figures = Mapping[str, Drawn]


@dataclass(frozen=True)
class Figure:
    """A number that was read somewhere.

    Parameters
    ----------
    name
        Its name in the file.
    value, low, high
        The number, and the range in which it may well lie instead.
    unit, source, date
        What it counts, who says so, and the date on which that was read.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    source: str
    date: str

    def draw(self, random: np.random.Generator) -> NDArray[np.float64]:
        """The value, followed by draws from a triangle over the range: (1 + DRAWS,)."""
        if self.low == self.high:
            return np.full(1 + DRAWS, self.value)
        draws = random.triangular(self.low, self.value, self.high, DRAWS)
        return np.concatenate([[self.value], draws])


@dataclass(frozen=True)
class Machine:
    """A machine that can be rented by the hour, with one accelerator.

    Parameters
    ----------
    name, device
        Names of the machine and of its accelerator.
    cores
        Number of virtual cores.
    usd_per_hour
        Price on demand in US dollars.
    source, date
        Source of the price, and the date on which it was read.
    """

    name: str
    device: str
    cores: int
    usd_per_hour: float
    source: str
    date: str


@dataclass(frozen=True)
class Throughput:
    """How fast an encoder ran on a device.

    Parameters
    ----------
    device, model, precision
        Names of the accelerator and of the encoder's card, and `fp32` or `bf16`.
    tokens
        Number of observations of both sensors that a pixel had.
    pixels_per_second
        Number of pixels that one device encoded in a second.
    source, date
        Who measured with what, and the date of that.
    """

    device: str
    model: str
    precision: str
    tokens: float
    pixels_per_second: float
    source: str
    date: str


@dataclass(frozen=True)
class Priors:
    """All that plans are made with.

    Parameters
    ----------
    figures
        Numbers by their names.
    machines
        Machines that can be rented.
    throughputs
        Speeds of encoders on their accelerators.
    """

    figures: dict[str, Figure]
    machines: tuple[Machine, ...]
    throughputs: tuple[Throughput, ...]


def read_priors(figures: Path = FIGURES, throughput: Path = THROUGHPUT) -> Priors:
    """Read the two files."""
    table: dict[str, Any] = tomllib.loads(figures.read_text(encoding="utf-8"))
    machines = tuple(Machine(**entry) for entry in table.pop("machine"))
    rows = tuple(Throughput(**row) for row in json.loads(throughput.read_text(encoding="utf-8")))
    return Priors({name: Figure(name, **entry) for name, entry in table.items()}, machines, rows)


def operations(card: Card) -> float:
    """Multiplications and additions of an encoder for one token, attention's own left out."""
    width, wide = card.sizes.width, card.sizes.feedforward
    recurrent = 12 * width**2 if card.family.startswith("v1") else 0
    return 2 * width**2 + card.sizes.layers * (8 * width**2 + 4 * width * wide) + recurrent


def tokens_per_second(
    machine: Machine, card: Card, precision: Precision, priors: Priors, figure: Figures
) -> tuple[Drawn, str] | None:
    """Tokens a second that a machine encodes, and who measured; None where nobody ever did."""
    rows = [row for row in priors.throughputs if row.device == machine.device]
    rows = [row for row in rows if row.precision == precision] or [
        row for row in rows if (row.precision, precision) == ("bf16", "fp32")
    ]
    if not rows:
        return None

    def distance(row: Throughput) -> tuple[bool, float]:
        near = card_named(row.model)
        return near.family != card.family, abs(np.log(operations(near) / operations(card)))

    row = min(rows, key=distance)
    rate = row.pixels_per_second * row.tokens * np.ones_like(figure["fp32"])
    source = f"{row.model} in {row.precision} on {row.device}, {row.source} ({row.date})"
    if row.precision != precision:
        rate, source = rate * figure["fp32"], f"{source}, brought to {precision}"
    near = card_named(row.model)
    if near.family != card.family or near.sizes != card.sizes:
        rate = rate * operations(near) / operations(card) * figure["another_model"]
        source = f"{source}, scaled by arithmetic operations"
    return rate, source


def record_throughput(row: Throughput, path: Path = THROUGHPUT) -> None:
    """Put a measured throughput into the file, in place of one of the same device and encoder."""
    rows = [Throughput(**known) for known in json.loads(path.read_text(encoding="utf-8"))]
    subject = row.device, row.model, row.precision
    kept = [known for known in rows if (known.device, known.model, known.precision) != subject]
    kept = sorted([*kept, row], key=lambda known: (known.device, known.model, known.precision))
    text = json.dumps([asdict(known) for known in kept], indent=2)
    path.write_text(text + "\n", encoding="utf-8")
