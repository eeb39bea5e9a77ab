"""The priors, prices and throughputs that plans are made with, from two files of the package.

`data/figures.toml` holds what was read somewhere, each figure with its range, source and date.
`data/throughput.json` holds how fast encoders were seen to run; benchmarks add to it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
    memory_gb, disk_gb
        Memory and disk of a worker of Dataflow, in GB; 0 where it is none.
    dataflow_gpu
        What Dataflow takes for the accelerator, in US dollars an hour.
    preset
        Name of the preset by which `deploy/` launches it on Dataflow; empty where it does not.
    shares_cores
        Whether encoding and reading take the same cores.
    """

    name: str
    device: str
    cores: int
    usd_per_hour: float
    source: str
    date: str
    memory_gb: int = 0
    disk_gb: int = 0
    dataflow_gpu: float = 0.0
    preset: str = ""
    shares_cores: bool = False


@dataclass(frozen=True)
class Device:
    """An accelerator.

    Parameters
    ----------
    name
        Name of the accelerator.
    bandwidth
        Bytes a second to its memory.
    source, date
        Who says so, and the date on which that was read.
    """

    name: str
    bandwidth: float
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
    devices
        Accelerators by their names.
    """

    figures: dict[str, Figure]
    machines: tuple[Machine, ...]
    throughputs: tuple[Throughput, ...]
    devices: dict[str, Device] = field(default_factory=dict)


def read_priors(figures: Path = FIGURES, throughput: Path = THROUGHPUT) -> Priors:
    """Read the two files."""
    table: dict[str, Any] = tomllib.loads(figures.read_text(encoding="utf-8"))
    machines = tuple(Machine(**entry) for entry in table.pop("machine"))
    devices = {entry["name"]: Device(**entry) for entry in table.pop("device", ())}
    rows = tuple(Throughput(**row) for row in json.loads(throughput.read_text(encoding="utf-8")))
    found = {name: Figure(name, **entry) for name, entry in table.items()}
    return Priors(found, machines, rows, devices)


def operations(card: Card) -> float:
    """Multiplications and additions of an encoder for one token, attention's own left out."""
    width, wide = card.sizes.width, card.sizes.feedforward
    recurrent = 12 * width**2 if card.family.startswith("v1") else 0
    return 2 * width**2 + card.sizes.layers * (8 * width**2 + 4 * width * wide) + recurrent


def tokens_per_second(
    machine: Machine, card: Card, precision: Precision, priors: Priors, figure: Figures
) -> tuple[Drawn, str] | None:
    """Tokens a second that a machine encodes, and who measured; None where nobody can tell.

    Where nobody measured its accelerator, one that was measured stands for it, by the ratio of
    their memories' bandwidths.
    """
    rows = [row for row in priors.throughputs if row.device == machine.device]
    if not rows and machine.device in priors.devices:
        rows = [row for row in priors.throughputs if row.device in priors.devices]
    rows = [row for row in rows if row.precision == precision] or [
        row for row in rows if (row.precision, precision) == ("bf16", "fp32")
    ]
    if not rows:
        return None

    def distance(row: Throughput) -> tuple[bool, float, float]:
        near = card_named(row.model)
        far = abs(np.log(operations(near) / operations(card)))
        return near.family != card.family, far, -row.pixels_per_second * row.tokens

    row = min(rows, key=distance)
    rate = row.pixels_per_second * row.tokens * np.ones_like(figure["fp32"])
    source = f"{row.model} in {row.precision} on {row.device}, {row.source} ({row.date})"
    if row.precision != precision:
        rate, source = rate * figure["fp32"], f"{source}, brought to {precision}"
    if row.device != machine.device:
        ratio = priors.devices[machine.device].bandwidth / priors.devices[row.device].bandwidth
        rate = rate * ratio * figure["another_device"]
        source = f"{source}, scaled to {machine.device} by memory bandwidth"
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
