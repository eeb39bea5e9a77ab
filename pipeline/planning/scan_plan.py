"""What a map or a search would take: reading embeddings, decoding them, and scoring them."""

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

SHARED = ("map_network", "map_core_hour", "map_get", "put", "storage", "plateau")
"""Figures that a plan of any pass over a mosaic is reckoned with."""

SMALL_OBJECTS = 6
"""Records and notes of a tile that are read and written."""


@dataclass(frozen=True)
class Scan:
    """A job that reads each tile of a mosaic once, and what it does with it.

    Parameters
    ----------
    speed, bytes_read, bytes_written
        Names of the figures: pixels a second of a core, and bytes a pixel.
    objects
        Objects that a tile is read from and written to.
    kept
        Whether what is written is kept, and not taken away at the end.
    """

    speed: str
    bytes_read: str
    bytes_written: str
    objects: int
    kept: bool

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of all figures that it is reckoned with."""
        return (self.speed, self.bytes_read, self.bytes_written, *SHARED)


SCANS = {
    "map": Scan("map_speed", "map_bytes_read", "map_bytes_written", 8, kept=True),
    "search": Scan("search_speed", "search_bytes_read", "search_bytes_written", 3, kept=False),
}
"""The jobs that can be planned: a linear head of ten classes, and one query of examples."""


@dataclass(frozen=True)
class ScanPlan:
    """What a pass over a mosaic would take.

    Parameters
    ----------
    tiles, pixels
        Numbers of tiles, and of their pixels.
    bytes_read, bytes_written
        Bytes of embeddings that are read, and of what is made of them.
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
        """The fields of `plan --json` of such a job."""
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


def plan_scan(job: str, area: AreaRequest, cores: int = 1) -> ScanPlan:
    """Reckon what a map of an area would take, or a search of it.

    Parameters
    ----------
    job
        `map`, with a linear head of ten classes, or `search`, with one query.
    area
        Tiles and pixels that are read.
    cores
        Number of virtual cores at work at once.

    Raises
    ------
    BadInput
        If the area cannot be used, or no core is at work.

    Examples
    --------
    >>> area = AreaRequest("7.0,46.0,7.1,46.1")
    >>> mapped, searched = plan_scan("map", area), plan_scan("search", area)
    >>> mapped.tiles, bool(0 < searched.total[0] < mapped.total[0] < 1)
    (2, True)
    """
    if cores < 1:
        raise BadInput("at least one core has to work", "workers", cores)
    scan = SCANS[job]
    ground = ground_of(read_area(area))
    figures = read_priors().figures
    random = np.random.default_rng(0)
    figure = {name: figures[name].draw(random) for name in scan.figures}
    tiles, pixels = len(ground.tiles), int(ground.pixels.sum())
    read, written = (pixels * figure[name] for name in (scan.bytes_read, scan.bytes_written))
    computing = pixels / figure[scan.speed] / 3600
    network = read / figure["map_network"] / 3600
    # Reading a row of chunks and scoring the row before go on one after the other.
    hours = computing + network
    reads = tiles * (scan.objects + SMALL_OBJECTS + ground.side // CHUNK) * np.ones_like(hours)
    writes = tiles * (scan.objects + SMALL_OBJECTS) * np.ones_like(hours)
    busy = min(cores, tiles)
    return ScanPlan(
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
            "storage_first_year": written / 1e9 * figure["storage"] * 12 * scan.kept,
        },
        cores=cores,
        figures=tuple(figures[name] for name in scan.figures),
    )
