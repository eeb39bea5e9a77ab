"""What the registry's rows come to: what maps and the report tell, small however many there are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray

from tessera_mosaic.pipeline.ledger.records import NOT_THERE, TAKEN_OUT
from tessera_mosaic.pipeline.mosaic.layout import COUNTS
from tessera_mosaic.pipeline.publishing.registry import Row, TileState

STATES = tuple(TileState)
"""How tiles stand, in the order in which people are told."""

VALUES = (*(f"observations_{name}_mean" for name in COUNTS), "code_power", "scale_median")
"""Columns of the registry of which the value of every done tile is kept."""


@dataclass
class Group:
    """What some tiles come to.

    Parameters
    ----------
    states
        Number of tiles by how they stand.
    pixels
        Number of pixels with an embedding.
    bytes
        Size in bytes of their objects.
    """

    states: Counter[TileState] = field(default_factory=Counter)
    pixels: int = 0
    bytes: int = 0

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.states.total()

    def add(self, other: Group) -> None:
        """Add other tiles."""
        self.states.update(other.states)
        self.pixels += other.pixels
        self.bytes += other.bytes


@dataclass(frozen=True)
class Ground:
    """Where tiles lie.

    Parameters
    ----------
    boxes : float32 (parts, 4)
        West, south, east and north in degrees; a tile across the antimeridian has two.
    states : uint8 (parts,)
        Places in `STATES` of how the tiles stand.
    """

    boxes: NDArray[np.float32]
    states: NDArray[np.uint8]


@dataclass
class FailureCount:
    """Tiles that failed in one way.

    Parameters
    ----------
    count
        Number of tiles.
    example
        One of them, its year and its message.
    """

    count: int
    example: str


@dataclass
class Totals:
    """What rows come to, as they are added: the same for the same rows in the same order.

    Parameters
    ----------
    groups
        What tiles come to, by zone and year.
    failures
        Tiles that failed, by class of error.
    seconds
        Time in seconds that done tiles took, by kind of work.
    sizes
        Size in bytes of done tiles, by array.
    offsets
        Scenes whose radiometric offset was not as the reference takes it to be, one for each tile
        that it is of, by what became of it.
    latest
        Time at which the latest record was written, as ISO 8601; empty where there is none.
    grounds
        Where tiles lie, by year.
    without
        Done tiles that are from one sensor, by the sensor that they are without.
    """

    groups: dict[tuple[int, int], Group] = field(default_factory=dict)
    failures: dict[str, FailureCount] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    offsets: Counter[str] = field(default_factory=Counter)
    latest: str = ""
    grounds: dict[int, list[Ground]] = field(default_factory=dict)
    without: Counter[str] = field(default_factory=Counter)
    _values: dict[str, list[NDArray[np.float32]]] = field(
        default_factory=lambda: {name: [] for name in VALUES}
    )

    def add(self, zone: int, year: int, rows: Collection[Row]) -> None:
        """Take the rows of a zone and year."""
        if not rows:
            return
        group = self.groups.setdefault((zone, year), Group())
        done = [row for row in rows if row.done]
        group.add(
            Group(
                Counter(row.state for row in rows),
                sum(row.pixels_embedded or 0 for row in done),
                sum(row.bytes or 0 for row in done),
            )
        )
        self.grounds.setdefault(year, []).append(_ground(rows))
        self.latest = max(self.latest, *(row.written or "" for row in rows))
        for row in done:
            self.seconds.update(json.loads(row.seconds_by_step or "{}"))
            self.sizes.update(json.loads(row.bytes_by_array or "{}"))
            self.offsets[TAKEN_OUT] += row.offsets_taken_out or 0
            self.offsets[NOT_THERE] += row.offsets_not_there or 0
            if row.absent_sensors and "," not in row.absent_sensors:
                self.without[row.absent_sensors] += 1
        for name, values in self._values.items():
            values.append(np.array([getattr(row, name) for row in done], np.float32))
        for row in rows:
            if row.state is TileState.FAILED:
                example = f"{row.tile}, {year}: {row.error or ''}"
                kind = row.error_class or "unknown"
                self.failures.setdefault(kind, FailureCount(0, example)).count += 1

    @property
    def years(self) -> list[int]:
        """Calendar years that have tiles."""
        return sorted(self.grounds)

    @property
    def made(self) -> list[int]:
        """Calendar years that have a tile that is done."""
        return sorted(
            {year for (_, year), group in self.groups.items() if group.states[TileState.DONE]}
        )

    def total(self, year: int | None = None) -> Group:
        """What all tiles come to, or those of a year."""
        total = Group()
        for (_, of), group in self.groups.items():
            if year in (None, of):
                total.add(group)
        return total

    def values(self, name: str) -> NDArray[np.float32]:
        """A column's values of the done tiles that have one: float32 (tiles,)."""
        values = np.concatenate([np.zeros(0, np.float32), *self._values[name]])
        return values[np.isfinite(values)]


def _ground(rows: Collection[Row]) -> Ground:
    parts, of = shapely.get_parts(
        shapely.from_wkb([row.geometry for row in rows]), return_index=True
    )
    states = np.array([STATES.index(row.state) for row in rows], np.uint8)
    return Ground(shapely.bounds(parts).astype(np.float32), states[of])
