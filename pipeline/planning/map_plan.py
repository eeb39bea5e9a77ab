"""What a map would take: reading embeddings, decoding them, and scoring them with a linear head."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tessera_mosaic.pipeline.console import rounded
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.planning.estimate import likely
from tessera_mosaic.pipeline.planning.priors import Drawn, Figure, read_priors
from tessera_mosaic.pipeline.planning.revisits import ground_of
from tessera_mosaic.pipeline.tiling.area import AreaRequest, read_area
from tessera_mosaic.pipeline.tiling.lattice import CHUNK

FIGURES = (
    "map_speed",
    "map_bytes_read",
    "map_bytes_written",
    "map_network",
    "map_core_hour",
    "map_get",
    "put",
    "storage",
    "plateau",
)
"""Figures that a plan of a map is reckoned with."""

OBJECTS, SMALL_OBJECTS = 8, 6
"""Objects that a tile is read from and written to, and records and notes of a tile."""


@dataclass(frozen=True)
class MapPlan:
    """What a map would take.

    Parameters
    ----------
    tiles, pixels
        Numbers of tiles, and of their pixels.
    bytes_read, bytes_written
        Bytes of embeddings that are read, and of the map.
    core_hours
        Hours of virtual cores, by the slower of reading and computing.
    days
        Days from start to end with the cores that are asked for.
    requests
        Number of reads and writes.
    cost_usd
        Money by what it is paid for, in US dollars.
    cores
        Number of virtual cores at work at once.
    figures
        What it is reckoned with.
    """

    tiles: int
    pixels: int
    bytes_read: Drawn
    bytes_written: Drawn
    core_hours: Drawn
    days: Drawn
    requests: Drawn
    cost_usd: dict[str, Drawn]
    cores: int
    figures: tuple[Figure, ...]

    @property
    def total(self) -> Drawn:
        """All money together, in US dollars."""
        return np.sum(list(self.cost_usd.values()), axis=0)

    def uncertain(self) -> dict[str, Drawn]:
        """What is not certain, by the names that `plan --json` has for it."""
        return {
            "accelerator_hours": np.zeros_like(self.core_hours),
            "core_hours": self.core_hours,
            "days": self.days,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "requests": self.requests,
            "cost_usd": self.total,
        }

    def to_json(self) -> dict[str, Any]:
        """The fields of `plan --job map --json`."""
        told = self.uncertain()
        return {
            "tiles": self.tiles,
            "pixels": self.pixels,
            "scenes": 0,
            "tokens_per_pixel": 0,
            **{name: rounded(drawn[0]) for name, drawn in told.items()},
            "cost_usd_by_part": {name: rounded(of[0]) for name, of in self.cost_usd.items()},
            "uncertainty": {
                name: [rounded(end) for end in likely(drawn)] for name, drawn in told.items()
            },
            "workers": self.cores,
            "figures": [asdict(figure) for figure in self.figures],
        }


def plan_map(area: AreaRequest, cores: int = 1) -> MapPlan:
    """Reckon what a map of an area would take with a linear head of ten classes.

    Parameters
    ----------
    area
        Tiles and pixels that are to be mapped.
    cores
        Number of virtual cores at work at once.

    Raises
    ------
    BadInput
        If the area cannot be used, or no core is at work.

    Examples
    --------
    >>> found = plan_map(AreaRequest("7.0,46.0,7.1,46.1"))
    >>> found.tiles, bool(0 < found.total[0] < 1)
    (2, True)
    """
    if cores < 1:
        raise BadInput("at least one core has to work", "workers", cores)
    ground = ground_of(read_area(area))
    figures = read_priors().figures
    random = np.random.default_rng(0)
    figure = {name: figures[name].draw(random) for name in FIGURES}
    tiles, pixels = len(ground.tiles), int(ground.pixels.sum())
    read, written = pixels * figure["map_bytes_read"], pixels * figure["map_bytes_written"]
    computing = pixels / figure["map_speed"] / 3600
    network = read / figure["map_network"] / 3600
    # Reading a row of chunks and scoring the row before go on one after the other.
    hours = computing + network
    reads = tiles * (OBJECTS + SMALL_OBJECTS + ground.side // CHUNK) * np.ones_like(hours)
    writes = tiles * (OBJECTS + SMALL_OBJECTS) * np.ones_like(hours)
    busy = min(cores, tiles)
    return MapPlan(
        tiles=tiles,
        pixels=pixels,
        bytes_read=read,
        bytes_written=written,
        core_hours=hours,
        days=hours / busy / figure["plateau"] / 24,
        requests=reads + writes,
        cost_usd={
            "machines": hours / figure["plateau"] * figure["map_core_hour"],
            "requests": reads / 1000 * figure["map_get"] + writes / 1000 * figure["put"],
            "storage_first_year": written / 1e9 * figure["storage"] * 12,
        },
        cores=cores,
        figures=tuple(figures[name] for name in FIGURES),
    )
