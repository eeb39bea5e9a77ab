"""Where another label would teach most: the pixels that a map is least sure of, well apart.

These are chosen, not drawn: they say nothing of areas, and `areas` takes none of them.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.bounds import Bounds, check_bounds
from tessera_mosaic.pipeline.downstream.map_pixels import MapPixels
from tessera_mosaic.pipeline.downstream.map_scan import OUTSIDE, Population, Progress, unseen
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.lattice import (
    NORTH_EDGE,
    PIXEL,
    WEST_EDGE,
    to_lonlat,
)
from tessera_mosaic.pipeline.tiling.region import read_region

DEFAULT_SPACING = 160.0
"""Metres between suggested points, at least, unless another distance is asked for."""

POOL = 30
"""Candidates kept for each point that is asked for: neighbours of better ones drop out."""

EARTH = 6_371_000.0
"""Mean radius of the Earth in metres."""

PURPOSE = "suggested for training: chosen, not drawn, and of no use for areas"


COUNTS = Bounds("ask for a point at least", least=1)
SPACINGS = Bounds(f"choose {PIXEL} m, the side of a pixel, or more", least=PIXEL, most=1e6)


@dataclass(frozen=True)
class SuggestRequest:
    """Points to suggest for the next round of labels.

    Parameters
    ----------
    map
        Path or URL of the map.
    out
        Path of the GeoJSON file for the points.
    n
        Number of points.
    spacing
        Distance between points in metres, at least.
    region
        Region to which they are confined, as in `AreaRequest`; None for the whole map.
    year
        Calendar year; None for the only one that the map has.

    Raises
    ------
    BadInput
        If a value is out of range.

    Examples
    --------
    >>> tm.SuggestRequest("map.zarr", "next.geojson", n=100).spacing
    160.0
    """

    map: str
    out: str
    n: int = field(metadata=COUNTS.metadata)
    spacing: float = field(default=DEFAULT_SPACING, metadata=SPACINGS.metadata)
    region: str | None = None
    year: int | None = None

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True)
class Suggestion:
    """A pixel whose label would teach much.

    Parameters
    ----------
    lon, lat
        Its centre in degrees.
    mapped
        Name of the class that the map gives it; empty for a map of values.
    doubt
        What it was chosen by: 1 less the confidence, or less the margin between the two likeliest
        classes where the map has probabilities, or the uncertainty of its value.
    """

    lon: float
    lat: float
    mapped: str
    doubt: float


def suggest(request: SuggestRequest, progress: Progress = unseen) -> list[Suggestion]:
    """Suggest points to label next, those of most doubt first, and write them as GeoJSON.

    Parameters
    ----------
    request
        What to suggest.
    progress
        Shows how far the pass over the map has come.

    Returns
    -------
    list of Suggestion
        As many as were asked for, or fewer where the map is too small for so many so far apart.

    Raises
    ------
    BadInput
        If the map cannot be used, or says nothing of its doubts.

    Examples
    --------
    >>> tm.suggest(tm.SuggestRequest("nowhere.zarr", "next.geojson", n=100))
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.BadInput: map nowhere.zarr: there is no map: make one with `map`
    """
    pixels = MapPixels(request.map, request.year)
    population = Population(
        pixels, region=None if request.region is None else read_region(request.region)
    )
    by = _measure(pixels)
    cell = max(int(request.spacing // PIXEL), 1)
    pool: list[tuple[float, int, int, int, int]] = []
    for scanned in population.scan(population.windows(), progress):
        window = scanned.window
        doubt = _doubt(pixels.read(window, by), by)
        # Pixels of equal doubt are taken from all over, by a number of their place.
        rng = np.random.default_rng([window.zone, window.row, window.col])
        order = doubt.astype(np.float64) + 1e-6 * rng.random(doubt.shape)
        order[(scanned.mapped == OUTSIDE) | ~np.isfinite(order)] = -np.inf
        for row, col in _best_of_cells(order, cell):
            entry = (
                float(order[row, col]),
                window.zone,
                window.row + row,
                window.col + col,
                int(scanned.mapped[row, col]),
            )
            if len(pool) < POOL * request.n:
                heapq.heappush(pool, entry)
            elif entry > pool[0]:
                heapq.heapreplace(pool, entry)
    found = _apart(sorted(pool, reverse=True), pixels, population.names, request)
    _write(found, request.out)
    return found


def _measure(pixels: MapPixels) -> str:
    """Name of the array that tells how sure the map is."""
    for name in ("probability", "confidence") if pixels.of_classes else ("uncertainty",):
        if pixels.has(name):
            return name
    raise BadInput("it says nothing of how sure it is: there is no point to prefer", "map")


def _doubt(values: NDArray[Any], by: str) -> NDArray[np.float32]:
    """Doubt of each pixel, (height, width): the more, the less the map is sure."""
    if by == "uncertainty":
        return values.astype(np.float32)
    top = np.float32(254.0)
    if by == "probability":
        first, second = np.partition(values, -2, axis=0)[-1:-3:-1].astype(np.float32)
        return 1 - (first - second) / top
    return 1 - values.astype(np.float32) / top


def _best_of_cells(order: NDArray[np.float64], cell: int) -> list[tuple[int, int]]:
    """The pixel of highest order in each square of `cell` pixels that has any."""
    height, width = order.shape
    padded = np.full((-(-height // cell) * cell, -(-width // cell) * cell), -np.inf)
    padded[:height, :width] = order
    rows, cols = padded.shape[0] // cell, padded.shape[1] // cell
    squares = padded.reshape(rows, cell, cols, cell).swapaxes(1, 2).reshape(rows, cols, -1)
    best = squares.argmax(axis=2)
    some = np.argwhere(np.isfinite(squares.max(axis=2)))
    places = best[some[:, 0], some[:, 1]]
    return [
        (int(i * cell + place // cell), int(j * cell + place % cell))
        for (i, j), place in zip(some, places, strict=True)
    ]


def _apart(
    pool: list[tuple[float, int, int, int, int]],
    pixels: MapPixels,
    names: tuple[str, ...],
    request: SuggestRequest,
) -> list[Suggestion]:
    """The best candidates that lie far enough from better ones and were not trained on."""
    zone, row, col = (np.array([entry[k] for entry in pool], np.int64) for k in (1, 2, 3))
    trained = pixels.trained_on(zone, row, col)
    found: list[Suggestion] = []
    for number, entry in enumerate(pool):
        if len(found) == request.n:
            break
        east = WEST_EDGE + (entry[3] + 0.5) * PIXEL
        north = NORTH_EDGE - (entry[2] + 0.5) * PIXEL
        lon, lat = to_lonlat(entry[1]).transform(east, north)
        near = any(_metres(lon, lat, each) < request.spacing for each in found)
        if not near and not trained[number]:
            mapped = names[entry[4]] if pixels.of_classes else ""
            found.append(Suggestion(float(lon), float(lat), mapped, round(entry[0], 4)))
    return found


def _metres(lon: float, lat: float, other: Suggestion) -> float:
    """Distance on the ground, for points that are near one another."""
    turn = (lon - other.lon + 180.0) % 360.0 - 180.0
    x = np.radians(turn) * np.cos(np.radians((lat + other.lat) / 2))
    return float(EARTH * np.hypot(x, np.radians(lat - other.lat)))


def _write(found: list[Suggestion], out: str) -> None:
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Point",
                "coordinates": [round(each.lon, 7), round(each.lat, 7)],
            },
            "properties": {
                "label": None,
                "mapped": each.mapped,
                "doubt": each.doubt,
                "purpose": PURPOSE,
            },
        }
        for each in found
    ]
    document = {"type": "FeatureCollection", "features": features}
    try:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps(document) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"it cannot be written: {error.strerror}", "out", out) from None
