"""Which tiles of a list are of which share, where several launchers divide the list among them.

A job array has a number for each of its tasks. Task I of N makes share I/N: every tile of the list
is of exactly one share, whatever the list and whatever N.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.job.neighbourhoods import in_order
from tessera_mosaic.pipeline.ledger.share_lists import MOST_SHARES
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tessera_mosaic.pipeline.tiling.ownership import owned_pixels

AUTO = "auto"
"""Stands for the share that the variables of a job array tell."""

Costs = Callable[[Sequence[Tile]], Sequence[int]]
"""What each of some tiles is expected to cost beside the others, in any unit, at least 1."""


@dataclass(frozen=True)
class ArrayVariables:
    """The environment variables by which a system tells a task of an array which one it is.

    Parameters
    ----------
    system
        Name of the system.
    index, count
        Variables of the task's number and of how many there are.
    first, last, step
        Variables of the array's lowest and highest number and of their distance, for systems
        whose numbers need not be those from 0.
    """

    system: str
    index: str
    count: str
    first: str = ""
    last: str = ""
    step: str = ""


ARRAYS = (
    ArrayVariables(
        "Slurm",
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_COUNT",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_MAX",
        "SLURM_ARRAY_TASK_STEP",
    ),
    # Kubernetes tells no task how many there are: the manifest has to say so beside `completions`.
    ArrayVariables("Kubernetes", "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
    ArrayVariables("AWS Batch", "AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    ArrayVariables("Google Batch", "BATCH_TASK_INDEX", "BATCH_TASK_COUNT"),
)


@dataclass(frozen=True)
class Share:
    """One of the shares into which a list of tiles is divided.

    Parameters
    ----------
    index
        Which of them, counted from 0.
    count
        Number of shares.

    Raises
    ------
    BadInput
        If there is no such share.

    Examples
    --------
    >>> Share.parse("3/8")
    Share(index=3, count=8)
    >>> str(Share.parse("auto", {"BATCH_TASK_INDEX": "0", "BATCH_TASK_COUNT": "2"}))
    '0/2'
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_SHARES:
            raise BadInput(f"there may be 1 to {MOST_SHARES:,} shares", "share", self)
        if not 0 <= self.index < self.count:
            last = f"{self.count - 1}/{self.count}"
            raise BadInput(f"shares are counted from 0: the last is {last}", "share", self)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] | None = None) -> Share:
        """The share that a text names.

        Parameters
        ----------
        text
            `I/N`, or `auto` for what the variables of a job array tell.
        environment
            These variables.

        Raises
        ------
        BadInput
            If the text names none, or the variables tell none.
        """
        if text == AUTO:
            return of_array(environment or {})
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None:
            raise BadInput(
                "write I/N, such as 0/8 for the first of eight shares, or auto in a job array",
                "share",
                text,
            )
        return cls(int(found[1]), int(found[2]))


def of_array(environment: Mapping[str, str]) -> Share:
    """The share of a task of a job array, by the variables of the system that started it.

    Raises
    ------
    BadInput
        If there are no such variables, those of several systems, or they do not tell a share.
    """
    systems = [array for array in ARRAYS if environment.get(array.index)]
    if not systems:
        names = ", ".join(f"{array.index} ({array.system})" for array in ARRAYS)
        raise BadInput(f"no job array has set its variables here: {names}", "share", AUTO)
    if len(systems) > 1:
        names = " and ".join(array.system for array in systems)
        raise BadInput(f"{names} have both set variables: write I/N", "share", AUTO)
    (array,) = systems
    if not environment.get(array.count):
        raise BadInput(
            f"{array.system} says which task this is ({array.index}="
            f"{environment[array.index]}), and not of how many: set {array.count} to their "
            "number, or write I/N",
            "share",
            AUTO,
        )
    index, count = _number(environment, array.index), _number(environment, array.count)
    if array.first and environment.get(array.first):
        first, last, step = (
            _number(environment, name) for name in (array.first, array.last, array.step)
        )
        if first > 1 or step < 1 or last - first != step * (count - 1):
            # As where single tasks of an array are submitted again under their own numbers.
            raise BadInput(
                f"the tasks of this array ({first} to {last}, {count} of them) are not all of an "
                "array that begins with 0 or 1: write I/N",
                "share",
                AUTO,
            )
        index = (index - first) // step
    return Share(index, count)


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "1")
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise BadInput(f"{name} is no number: {value!r}", "share", AUTO)
    return int(value)


def pixels_to_make(tiles: Sequence[Tile]) -> list[int]:
    """Pixels of each tile that its zone owns: what it costs where all pixels cost the same."""
    if not tiles:
        return []
    rows, cols = np.array([(tile.row, tile.col) for tile in tiles]).T
    return owned_pixels(rows, cols, tiles[0].side, [0])[0].tolist()


def divided(
    tiles: Iterable[Tile], count: int, costs: Costs = pixels_to_make
) -> dict[int, list[Tile]]:
    """Divide a list of tiles into shares.

    Tiles are put in the order in which they go out to workers, zone by zone and in each
    neighbourhood by neighbourhood, and that row is cut into pieces of equal cost. So neighbours
    stay together but at the cuts, a share has tiles of as few zones as can be, and of each zone
    from all latitudes. No share costs more than its due by the cost of one tile.

    Parameters
    ----------
    tiles
        Tiles of one side, each once.
    count
        Number of shares.
    costs
        What each of some tiles is expected to cost.

    Returns
    -------
    The tiles by number of their share; shares that get none, because there are more of them than
    tiles, are left out.
    """
    ordered = sorted(tiles, key=in_order)
    # Whole numbers add up to the same on every machine.
    weights = [max(1, int(cost)) for cost in costs(ordered)]
    shares: dict[int, list[Tile]] = {}
    total, before = sum(weights), 0
    for tile, weight in zip(ordered, weights, strict=True):
        # A tile is of the share in which its middle lies.
        index = (2 * before + weight) * count // (2 * total)
        shares.setdefault(index, []).append(tile)
        before += weight
    return shares
