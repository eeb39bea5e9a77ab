"""A probability sample of a map's pixels, for people to label: the beginning of honest areas.

One pass counts the pixels of every stratum, window by window; then pixels are drawn by their number
in the stratum, and the windows that hold them are read again. So a country takes the memory of a
window and of its counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.bounds import Bounds, check_bounds
from tessera_mosaic.pipeline.downstream.map_pixels import MapPixels
from tessera_mosaic.pipeline.downstream.map_scan import (
    WHOLE,
    Population,
    Progress,
    Strata,
    unseen,
)
from tessera_mosaic.pipeline.downstream.named_areas import NamedAreas
from tessera_mosaic.pipeline.downstream.point_file import Design, DrawnFrom, Points, write_points
from tessera_mosaic.pipeline.errors import BadInput, choose
from tessera_mosaic.pipeline.evaluation.sampling_designs import allocate, draw
from tessera_mosaic.pipeline.tiling.lattice import (
    NORTH_EDGE,
    PIXEL,
    WEST_EDGE,
    Window,
    to_lonlat,
)
from tessera_mosaic.pipeline.tiling.region import read_region

COUNTS = Bounds("two points at least are needed for an interval", least=2)
SEEDS = Bounds("a seed is 0 or more", least=0)


@dataclass(frozen=True)
class PointsRequest:
    """A probability sample to draw from a map.

    Parameters
    ----------
    map
        Path or URL of the map.
    out
        Path of the CSV file for the points.
    n
        Number of points.
    design
        `class`: strata are the classes of the map, or the transitions from `before` to it;
        `random`: every pixel has the same chance; `strata`: strata are areas of one's own.
    strata
        Vector file of polygons that are the strata.
    strata_field
        Column of their names; None where the file has only one column.
    seed
        Seed of the drawing: the same gives the same points.
    region
        Region that the sample is confined to, as in `AreaRequest`; None for the whole map.
    year
        Calendar year; None for the only one that the map has.
    before, before_year
        Path or URL of an earlier map of classes, and its year, for areas of change.

    Raises
    ------
    BadInput
        If values do not go together.

    Examples
    --------
    >>> tm.PointsRequest("map.zarr", "to_label.csv", n=400, seed=7).design.value
    'class'
    """

    map: str
    out: str
    n: int = field(metadata=COUNTS.metadata)
    design: Design = Design.CLASS
    strata: str | None = None
    strata_field: str | None = None
    seed: int = field(default=0, metadata=SEEDS.metadata)
    region: str | None = None
    year: int | None = None
    before: str | None = None
    before_year: int | None = None

    def __post_init__(self) -> None:
        choose(self, design=Design)
        check_bounds(self)
        if (self.strata is not None) != (self.design is Design.STRATA):
            raise BadInput("strata of one's own go with the design `strata`", "design", self.design)
        if self.strata_field is not None and self.strata is None:
            raise BadInput("it names the strata of a file", "strata_field", self.strata_field)
        if self.before_year is not None and self.before is None:
            raise BadInput("it is the year of the earlier map", "before_year", self.before_year)


@dataclass(frozen=True)
class DrawnPoints:
    """What `points` drew.

    Parameters
    ----------
    points
        The sample.
    out
        Path of its file.
    pixels
        Number of pixels that were asked about, strata and all.
    outside
        Number of pixels of the map that lie in no stratum, and so in no estimate.
    """

    points: Points
    out: str
    pixels: int
    outside: int

    def to_json(self) -> dict[str, object]:
        """What the command prints as JSON."""
        points = self.points
        return {
            "out": self.out,
            "points": len(points),
            "design": points.origin.design.value,
            "seed": points.origin.seed,
            "pixels": self.pixels,
            "pixels_in_no_stratum": self.outside,
            "strata": [
                {"stratum": name, "pixels": int(size), "points": int(count)}
                for name, size, count in zip(
                    points.strata, points.pixels, points.counts, strict=True
                )
            ],
        }


def points(request: PointsRequest, progress: Progress = unseen) -> DrawnPoints:
    """Draw a probability sample of a map's pixels, and write it for people to label.

    Parameters
    ----------
    request
        What to draw from, and how.
    progress
        Shows how far a pass over the map has come.

    Returns
    -------
    DrawnPoints
        The sample, without pixels that the map's head was trained on.

    Raises
    ------
    BadInput
        If the map, the region or the strata cannot be used, or there are too few points.

    Examples
    --------
    >>> tm.points(tm.PointsRequest("nowhere.zarr", "to_label.csv", n=400))
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.BadInput: map nowhere.zarr: there is no map: make one with `map`
    """
    pixels = MapPixels(request.map, request.year)
    before = None
    if request.before is not None:
        before = MapPixels(request.before, request.before_year, "before")
    region = None if request.region is None else read_region(request.region)
    population = Population(pixels, before, region)
    strata = strata_of(population, request.design, request.strata, request.strata_field)
    counted = _count(population, strata, progress)
    sizes = counted.sizes(len(strata.names))
    if not sizes.sum():
        raise BadInput(
            "none of its pixels is in the region" if region else "the map has no pixels in it",
            "strata" if request.strata else "map",
            request.strata or request.map,
        )
    given = allocate(sizes, request.n)
    found = _drawn(population, strata, counted, given, request.seed)
    drawn = _points(request, population, strata, sizes, found)
    write_points(drawn, request.out)
    return DrawnPoints(drawn, request.out, int(sizes.sum()), counted.outside)


def strata_of(
    population: Population, design: Design, file: str | None, column: str | None
) -> Strata:
    """The strata of a design.

    Raises
    ------
    BadInput
        If a map of values is to be stratified by class, or the file cannot be used.
    """
    if design is Design.STRATA:
        areas = NamedAreas(str(file), column, "strata")
        return Strata(areas.names, areas)
    if design is Design.RANDOM:
        return WHOLE
    if not population.pixels.of_classes:
        raise BadInput("a map of values has no classes: use random or strata", "design", design)
    return Strata(population.names, by_class=True)


@dataclass(frozen=True)
class _Counted:
    """How many pixels of which stratum each window has."""

    windows: list[Window]
    strata: list[NDArray[np.int64]]
    pixels: list[NDArray[np.int64]]
    outside: int

    def sizes(self, count: int) -> NDArray[np.int64]:
        """Pixels of each stratum, int64 (strata,)."""
        sizes = np.zeros(count, np.int64)
        for strata, pixels in zip(self.strata, self.pixels, strict=True):
            sizes[strata] += pixels
        return sizes

    def of(self, stratum: int) -> NDArray[np.int64]:
        """Pixels of a stratum in each window, int64 (windows,)."""
        return np.array(
            [
                int(pixels[strata == stratum].sum())
                for strata, pixels in zip(self.strata, self.pixels, strict=True)
            ],
            np.int64,
        )


def _count(population: Population, strata: Strata, progress: Progress) -> _Counted:
    counted = _Counted([], [], [], 0)
    outside = 0
    for scanned in population.scan(population.windows(), progress):
        numbers = strata.on(scanned)
        inside = numbers[numbers >= 0]
        outside += int((scanned.mapped >= 0).sum()) - len(inside)
        pixels = np.bincount(inside, minlength=1)
        some = np.flatnonzero(pixels)
        if len(some):
            counted.windows.append(scanned.window)
            counted.strata.append(some)
            counted.pixels.append(pixels[some].astype(np.int64))
    return _Counted(counted.windows, counted.strata, counted.pixels, outside)


def _drawn(
    population: Population,
    strata: Strata,
    counted: _Counted,
    given: NDArray[np.int64],
    seed: int,
) -> list[NDArray[np.int64]]:
    """Places of the pixels that are drawn of each stratum that has some.

    Pixels that the map's head was trained on are passed over, and others drawn: of the rest every
    subset still has the same chance.

    Returns
    -------
    list of int64 (points, 3)
        Zone, row and column.
    """
    sizes = counted.sizes(len(given)).tolist()
    found: dict[int, NDArray[np.int64]] = {}
    tried = {stratum: int(given[stratum]) for stratum in np.flatnonzero(sizes).tolist()}
    while tried:
        drawn = {
            stratum: draw(sizes[stratum], count, seed, strata.names[stratum])
            for stratum, count in tried.items()
        }
        places = _places(population, strata, counted, drawn)
        again = {}
        for stratum, count in tried.items():
            there = places[stratum]
            there = there[~population.pixels.trained_on(there[:, 0], there[:, 1], there[:, 2])]
            if len(there) >= given[stratum] or count == sizes[stratum]:
                found[stratum] = there[: given[stratum]]
            else:
                again[stratum] = min(2 * count, sizes[stratum])
        tried = again
    return [found[stratum] for stratum in sorted(found)]


def _places(
    population: Population,
    strata: Strata,
    counted: _Counted,
    drawn: dict[int, NDArray[np.int64]],
) -> dict[int, NDArray[np.int64]]:
    """Where the pixels lie that have these numbers in their strata; see `_drawn`."""
    places = {stratum: np.zeros((len(each), 3), np.int64) for stratum, each in drawn.items()}
    ends = {stratum: np.cumsum(counted.of(stratum)) for stratum in drawn}
    of = {s: np.searchsorted(ends[s], each, side="right") for s, each in drawn.items()}
    hit = np.unique(np.concatenate(list(of.values())))
    for number in hit.tolist():
        window = counted.windows[number]
        layer = strata.on(population.read(window)).ravel()
        for stratum, each in drawn.items():
            members = np.flatnonzero(of[stratum] == number)
            if len(members):
                first = ends[stratum][number - 1] if number else 0
                there = np.flatnonzero(layer == stratum)[each[members] - first]
                rows, cols = np.divmod(there, window.width)
                places[stratum][members] = np.stack(
                    [np.full(len(members), window.zone), window.row + rows, window.col + cols],
                    axis=1,
                )
    return places


def _points(
    request: PointsRequest,
    population: Population,
    strata: Strata,
    sizes: NDArray[np.int64],
    found: list[NDArray[np.int64]],
) -> Points:
    """All strata's points, in an order that tells nothing of them."""
    numbers = np.flatnonzero(sizes)
    if any(len(places) < 1 for places in found):
        name = strata.names[numbers[[len(places) < 1 for places in found].index(True)]]
        raise BadInput(f"the head was trained on every pixel of {name}: there is none to check")
    stratum = np.repeat(np.arange(len(numbers)), [len(places) for places in found])
    places = np.concatenate(found)
    order = np.random.default_rng(request.seed).permutation(len(places))
    stratum, places = stratum[order], places[order]
    zone, row, col = places.T
    lon, lat = np.empty(len(places)), np.empty(len(places))
    for each in np.unique(zone):
        of = zone == each
        east = WEST_EDGE + (col[of] + 0.5) * PIXEL
        north = NORTH_EDGE - (row[of] + 0.5) * PIXEL
        lon[of], lat[of] = to_lonlat(int(each)).transform(east, north)
    before = population.before
    origin = DrawnFrom(
        request.design,
        request.seed,
        population.pixels.digest,
        population.pixels.year,
        request.region or "",
        request.strata or "",
        request.strata_field or "",
        "" if before is None else str(request.before),
        "" if before is None else str(before.year),
    )
    names = tuple(strata.names[number] for number in numbers)
    return Points(origin, names, sizes[numbers], stratum, zone, row, col, lon, lat)
