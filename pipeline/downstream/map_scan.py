"""One pass over a map: which of its pixels are asked about, of which class, stratum and domain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.downstream.map_layout import NO_DATA, UNKNOWN
from tessera_mosaic.pipeline.downstream.map_pixels import MapPixels, column_areas
from tessera_mosaic.pipeline.downstream.named_areas import NamedAreas
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.lattice import Window
from tessera_mosaic.pipeline.tiling.ownership import owned, region_window
from tessera_mosaic.pipeline.tiling.region import pixels_inside

CHANGE = " > "
"""Between the names of a class before and after, in the name of a transition."""

OUTSIDE = -1
"""Number of pixels that are of no class, stratum or domain."""

MOST_BINS = 1 << 22
"""Combinations of numbers that are counted in one array; more are sorted."""

Progress = Callable[[Iterable[Window], int], Iterable[Window]]
"""Shows how far a pass over so many windows has come."""


def unseen(windows: Iterable[Window], count: int) -> Iterable[Window]:
    """A pass that nobody watches."""
    return windows


@dataclass(frozen=True)
class Scanned:
    """Pixels of a window.

    Parameters
    ----------
    window
        The window.
    mapped : int32 (height, width)
        Place of the pixel's class, or of its transition, in the population's names; 0 in a map of
        values; `OUTSIDE` where the pixel is not asked about.
    areas : float64 (width,)
        True size of the pixels in each column, in square metres.
    values : float32 (height, width)
        Of a map of values; empty otherwise.
    """

    window: Window
    mapped: NDArray[np.int32]
    areas: NDArray[np.float64]
    values: NDArray[np.float32]


class Population:
    """The pixels that a sample is drawn from: those with data that their zone owns, in a region.

    Parameters
    ----------
    pixels
        The map.
    before
        An earlier map of classes, for transitions; only pixels of both maps count.
    region
        Region in degrees; None for the whole map.

    Raises
    ------
    BadInput
        If transitions are asked of a map of values.
    """

    def __init__(
        self,
        pixels: MapPixels,
        before: MapPixels | None = None,
        region: BaseGeometry | None = None,
    ) -> None:
        self.pixels, self.before, self.region = pixels, before, region
        if before is not None and not (pixels.of_classes and before.of_classes):
            raise BadInput("change is told between two maps of classes", "before")
        if before is not None:
            pairs = [(one, other) for one in before.classes for other in pixels.classes]
            self.names = tuple(f"{one.name}{CHANGE}{other.name}" for one, other in pairs)
            self.colours = tuple(other.colour for _, other in pairs)
        else:
            self.names = tuple(each.name for each in pixels.classes) or ("mapped",)
            self.colours = tuple(each.colour for each in pixels.classes) or ((26, 122, 108),)

    @property
    def unknown(self) -> frozenset[str]:
        """Names of what is no class: pixels that a map calls unknown, in one year or both."""
        if self.before is None:
            return frozenset(each.name for each in self.pixels.classes if each.code == UNKNOWN)
        return frozenset(
            f"{one.name}{CHANGE}{other.name}"
            for one in self.before.classes
            for other in self.pixels.classes
            if UNKNOWN in (one.code, other.code)
        )

    def windows(self) -> list[Window]:
        """Windows that hold all of its pixels, each once."""
        found = []
        limits: dict[int, Window] = {}
        for window in self.pixels.windows():
            if self.region is None:
                found.append(window)
                continue
            if window.zone not in limits:
                limits[window.zone] = region_window(window.zone, self.region)
            part = _overlap(window, limits[window.zone])
            if part is not None:
                found.append(part)
        return found

    def read(self, window: Window) -> Scanned:
        """The pixels of a window."""
        read = self.pixels.read(window)
        values = np.empty((0, 0), np.float32)
        if self.pixels.of_classes:
            mapped = _numbered(read, self.pixels)
            if self.before is not None:
                earlier = _numbered(self.before.read(window), self.before)
                both = (mapped >= 0) & (earlier >= 0)
                mapped = np.where(both, earlier * len(self.pixels.classes) + mapped, OUTSIDE)
        else:
            values = read.astype(np.float32, copy=False)
            mapped = np.where(np.isfinite(values), 0, OUTSIDE)
        wanted = owned(window, margin=0)
        if self.region is not None:
            wanted &= pixels_inside(self.region, window)
        mapped = np.where(wanted, mapped, OUTSIDE).astype(np.int32)
        return Scanned(window, mapped, column_areas(window), values)

    def scan(self, windows: list[Window], progress: Progress = unseen) -> Iterator[Scanned]:
        """The pixels of some windows, one after another."""
        for window in progress(windows, len(windows)):
            yield self.read(window)


def _numbered(codes: NDArray[np.uint8], pixels: MapPixels) -> NDArray[np.int32]:
    """Place of each pixel's class among those of the map.

    Raises
    ------
    BadInput
        If a pixel has a code that the map does not list.
    """
    table = np.full(256, OUTSIDE - 1, np.int32)
    table[NO_DATA] = OUTSIDE
    for number, each in enumerate(pixels.classes):
        table[each.code] = number
    numbers = table[codes]
    if (numbers < OUTSIDE).any():
        code = int(codes[numbers < OUTSIDE][0])
        raise BadInput(f"{pixels.url} has pixels of class {code}, which its `classes` do not list")
    return numbers


def _overlap(one: Window, other: Window) -> Window | None:
    top, left = max(one.row, other.row), max(one.col, other.col)
    bottom = min(one.row + one.height, other.row + other.height)
    right = min(one.col + one.width, other.col + other.width)
    if top >= bottom or left >= right:
        return None
    return Window(one.zone, top, left, bottom - top, right - left)


@dataclass(frozen=True)
class Strata:
    """How a population is cut into strata or domains.

    Parameters
    ----------
    names
        Names of the strata.
    areas
        Named areas that the strata are; None where they are others.
    by_class
        Whether the strata are the classes of the map, or its transitions.
    """

    names: tuple[str, ...]
    areas: NamedAreas | None = None
    by_class: bool = False

    def on(self, scanned: Scanned) -> NDArray[np.int32]:
        """Number of each pixel's stratum, `OUTSIDE` where it has none: (height, width)."""
        if self.by_class:
            return scanned.mapped
        if self.areas is None:
            return np.where(scanned.mapped >= 0, 0, OUTSIDE).astype(np.int32)
        numbers = self.areas.on(scanned.window)
        return np.where(scanned.mapped >= 0, numbers, OUTSIDE).astype(np.int32)


WHOLE = Strata(("all",))
"""One stratum."""


@dataclass(frozen=True)
class Tally:
    """What a pass counted, for every combination of numbers that there is.

    Parameters
    ----------
    groups : int64 (groups, layers)
        The combinations.
    pixels : int64 (groups,)
        Number of pixels of each.
    areas : float64 (groups,)
        True area of each in square metres.
    sums : float64 (groups,)
        Sum of value times area, for a map of values.
    lowest, highest
        Smallest and largest value of a map of values.
    """

    groups: NDArray[np.int64]
    pixels: NDArray[np.int64]
    areas: NDArray[np.float64]
    sums: NDArray[np.float64]
    lowest: float
    highest: float

    def by(self, layer: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Pixels and areas of each number of a layer: int64 and float64 (size,)."""
        pixels, areas = np.zeros(size, np.int64), np.zeros(size)
        np.add.at(pixels, self.groups[:, layer], self.pixels)
        np.add.at(areas, self.groups[:, layer], self.areas)
        return pixels, areas


class Tallying:
    """Counts pixels of windows by their numbers in several layers.

    Parameters
    ----------
    sizes
        How many numbers each layer has.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self._sizes = sizes
        self._known: dict[int, list[float]] = {}
        self._lowest, self._highest = np.inf, -np.inf

    def add(self, scanned: Scanned, layers: tuple[NDArray[np.int32], ...]) -> None:
        """Count the pixels that all layers number."""
        inside = np.logical_and.reduce([layer >= 0 for layer in layers])
        if not inside.any():
            return
        places = np.ravel_multi_index([layer[inside] for layer in layers], self._sizes)
        areas = np.broadcast_to(scanned.areas, inside.shape)[inside]
        if np.prod(self._sizes, dtype=float) > MOST_BINS:
            keys, places = np.unique(places, return_inverse=True)
        else:
            keys = np.arange(int(places.max()) + 1)
        counts = np.bincount(places, minlength=len(keys))
        columns: list[NDArray[Any]] = [counts, np.bincount(places, areas, len(keys))]
        if scanned.values.size:
            values = scanned.values[inside]
            columns.append(np.bincount(places, areas * values, len(keys)))
            self._lowest = min(self._lowest, float(values.min()))
            self._highest = max(self._highest, float(values.max()))
        else:
            columns.append(np.zeros(len(keys)))
        for place in np.flatnonzero(counts):
            known = self._known.setdefault(int(keys[place]), [0, 0.0, 0.0])
            for column, values_of in enumerate(columns):
                known[column] += values_of[place].item()

    def tally(self) -> Tally:
        """All that was counted."""
        keys = np.array(sorted(self._known), np.int64)
        rows = [self._known[int(key)] for key in keys]
        groups = np.stack(np.unravel_index(keys, self._sizes), axis=1).astype(np.int64)
        pixels, areas, sums = (np.array([row[k] for row in rows]) for k in range(3))
        return Tally(groups, pixels.astype(np.int64), areas, sums, self._lowest, self._highest)
