"""One pixel of a mosaic: its embedding, how often it was seen, and why where there is nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.bounds import Bounds, check_bounds
from tessera_mosaic.pipeline.errors import Altered, BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import planned_key
from tessera_mosaic.pipeline.ledger.records import Record, State, known_record
from tessera_mosaic.pipeline.ledger.tile_lists import decode_tiles
from tessera_mosaic.pipeline.mosaic.any_mosaic import open_any, part_of
from tessera_mosaic.pipeline.mosaic.identity import adopted_model
from tessera_mosaic.pipeline.mosaic.region_windows import listed_zones, newest_year
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.lattice import (
    NORTH_LIMIT,
    PIXEL,
    SOUTH_LIMIT,
    Tile,
    Window,
    pixels_at,
    zone_crs,
)

LONGITUDES = Bounds("a longitude is -180 to 180 degrees", least=-180, most=180)
LATITUDES = Bounds("a latitude is -90 to 90 degrees: is it after lon?", least=-90, most=90)


@dataclass(frozen=True)
class PointRequest:
    """A place of which a mosaic is asked.

    Parameters
    ----------
    store
        Path or URL of the mosaic, of ours or published by somebody else.
    lon, lat
        Longitude and latitude in degrees.
    year
        Calendar year; None for the newest of which there is something.

    Raises
    ------
    BadInput
        If there is no such place, or it lies beyond the latitudes that UTM covers.

    Examples
    --------
    >>> tm.PointRequest("valley.zarr", 2.996, 50.846).year is None
    True
    """

    store: str
    lon: float = field(metadata=LONGITUDES.metadata)
    lat: float = field(metadata=LATITUDES.metadata)
    year: int | None = None

    def __post_init__(self) -> None:
        check_bounds(self)
        if not SOUTH_LIMIT <= self.lat < NORTH_LIMIT:
            raise BadInput(
                f"UTM covers latitudes {SOUTH_LIMIT:g} to {NORTH_LIMIT:g}", "lat", self.lat
            )


@dataclass(frozen=True)
class PointFound:
    """What a mosaic holds at a place.

    Parameters
    ----------
    lon, lat, year
        The place that was asked for, and the calendar year.
    zone, row, col
        UTM zone of the pixel that holds it, and its row and column of the zone's lattice.
    x, y
        Its centre in metres of the zone's northern projection.
    vector
        Its embedding, float32 (dims,); None where there is none.
    scale
        Its scale; None where there is no embedding.
    observations
        How often it was seen, by `s2`, `s1_ascending` and `s1_descending`, where that is known.
    tile
        Name of its tile; empty in a mosaic of somebody else's.
    scenes_used
        Ids of the scenes that the tile was made from.
    scenes_unused
        Pairs of id and reason for the other scenes that the catalogue listed.
    scenes_lost
        Id, class of error and message of scenes that could not be read.
    why
        Why there is no embedding; empty where there is one.
    """

    lon: float
    lat: float
    year: int
    zone: int
    row: int
    col: int
    x: float
    y: float
    vector: NDArray[np.float32] | None = None
    scale: float | None = None
    observations: dict[str, int] = field(default_factory=dict)
    tile: str = ""
    scenes_used: tuple[str, ...] = ()
    scenes_unused: tuple[tuple[str, str], ...] = ()
    scenes_lost: tuple[tuple[str, str, str], ...] = ()
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields of `point --json`."""
        vector = None if self.vector is None else [float(value) for value in self.vector]
        return vars(self) | {"crs": zone_crs(self.zone), "vector": vector}


def point(request: PointRequest) -> PointFound:
    """Ask a mosaic of a place: the embedding of the pixel that holds it, or why there is none.

    Parameters
    ----------
    request
        The mosaic, the place and the year.

    Raises
    ------
    BadInput
        If there is no mosaic, or the year was not made.
    StoreError
        If the mosaic cannot be read.

    Examples
    --------
    >>> found = tm.point(tm.PointRequest("valley.zarr", 2.996, 50.846))
    >>> found.vector.shape, found.why, len(found.scenes_used) > 0
    ((128,), '', True)
    >>> tm.point(tm.PointRequest("valley.zarr", 20.0, 50.0)).why
    'the mosaic has no zone 34, but zone 31'
    """
    mosaic = open_any(request.store)
    at = pixels_at(np.array([request.lon]), np.array([request.lat]))
    zone, row, col = (int(each[0]) for each in at)
    window = Window(zone, row, col, 1, 1)
    if request.year is not None:
        mosaic.check_made(request.year)
    year = newest_year(mosaic, [window]) if request.year is None else request.year
    x, y = window.west + PIXEL / 2, window.north - PIXEL / 2
    place = (request.lon, request.lat, year, zone, row, col, x, y)
    if zone not in mosaic.zones:
        why = f"the mosaic has no zone {zone}, but {listed_zones(mosaic.zones)}"
        return PointFound(*place, why=why)
    pixels = part_of(mosaic, window, year)
    scale = float(pixels.scales[0, 0])
    counts = {name: int(count[0, 0]) for name, count in pixels.counts.items()}
    found: dict[str, Any] = {"observations": counts}
    record, planned = None, False
    if isinstance(mosaic, Mosaic):
        tile = Tile(zone, row // mosaic.layout.side, col // mosaic.layout.side, mosaic.layout.side)
        record = known_record(mosaic.storage, year, tile)
        planned = record is not None or _is_planned(mosaic.storage, year, tile)
        found["tile"] = tile.name
    if record is not None:
        found |= {name: getattr(record, name) for name in _SCENES}
    if np.isfinite(scale):
        vector = pixels.codes[0, 0].astype(np.float32) * pixels.scales[0, 0]
        return PointFound(*place, vector, scale, **found)
    if isinstance(mosaic, Mosaic):
        return PointFound(*place, **found, why=_why(mosaic, pixels, record, planned))
    why = "water" if np.isnan(scale) else "nothing was embedded there: the mosaic has no scale"
    return PointFound(*place, **found, why=why)


_SCENES = ("scenes_used", "scenes_unused", "scenes_lost")


def _why(mosaic: Mosaic, pixels: Pixels, record: Record | None, planned: bool) -> str:
    """Why a mosaic of ours has no embedding of a pixel."""
    if np.isnan(pixels.scales[0, 0]):
        return "water"
    if record is None:
        if planned:
            return "its tile is planned and was not made yet: run the same command again"
        return "its tile was never planned: no run's region touched it"
    if record.state is State.FAILED and record.error is not None:
        return f"its tile failed ({record.error.kind}): {record.error.message}"
    if record.state is State.EMPTY:
        return "nothing was observed in its tile in that year"
    if adopted_model(mosaic.identity) is not None:
        return "the product that was adopted has no embedding there"
    if any(count[0, 0] for count in pixels.counts.values()):
        return "it was observed, and its embedding was refused"
    if str(mosaic.identity.get("pixels", "all")) != "all":
        return "it lies outside of the region that was embedded, or was not observed"
    return "it was not observed in that year"


def _is_planned(storage: Storage, year: int, tile: Tile) -> bool:
    """Whether a run was asked for a tile."""
    try:
        return tile in set(decode_tiles(storage.read(planned_key(year, tile.zone))))
    except (FileNotFoundError, Altered):
        return False
