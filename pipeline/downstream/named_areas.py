"""Districts, parcels and other named areas of a file, as numbers on the pixels of a window."""

from __future__ import annotations

import functools

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.downstream.place_files import read_places
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.boxes import TURNS
from tessera_mosaic.pipeline.tiling.lattice import Window, from_lonlat, lonlat_bounds, moved

OVERLAP = 1e-6
"""Share of the smaller of two areas that may lie in the other: edges are drawn twice."""


class NamedAreas:
    """Areas that do not overlap, each with a name; several polygons may share one.

    Parameters
    ----------
    path
        Vector file of polygons.
    column
        Column with the names; None where the file has only one.
    parameter
        Name of the parameter that gave the file, for messages.

    Raises
    ------
    BadInput
        If the file cannot be read, has points or areas without a name, or areas overlap.
    """

    def __init__(self, path: str, column: str | None = None, parameter: str = "strata") -> None:
        places = read_places(path, parameter)
        column_parameter = f"{parameter}_field"
        if column is None:
            if len(places.columns) != 1:
                have = ", ".join(places.columns) or "none"
                raise BadInput(f"name the column of names; {path} has {have}", column_parameter)
            column = next(iter(places.columns))
        named = places.column(column, column_parameter)
        for number, (problem, name) in enumerate(zip(places.problems, named, strict=True), 1):
            said = problem or ("it has no name" if name in (None, "") else "")
            if said:
                raise BadInput(f"area {number} cannot be used: {said}", parameter, path)
        if places.points.any():
            raise BadInput("it has points, and areas are polygons", parameter, path)
        texts = [str(name) for name in named]
        self.names = tuple(dict.fromkeys(texts))
        numbers = {name: number for number, name in enumerate(self.names)}
        parts, of = shapely.get_parts(places.shapes, return_index=True)
        self._shapes = parts
        self._numbers = np.array([numbers[texts[each]] for each in of], np.int32)
        self._tree = shapely.STRtree(parts)
        self._check_overlaps(parameter, path)

    def on(self, window: Window) -> NDArray[np.int32]:
        """Number of the area that holds each pixel's centre, -1 outside of all: (height, width)."""
        west, south, east, north = lonlat_bounds(window)
        boxes = [shapely.box(west + turn, south, east + turn, north) for turn in TURNS]
        found = np.unique(self._tree.query(boxes)[1])
        out = np.full(window.shape, -1, np.int32)
        if len(found):
            shapes = [
                (self._projected(int(each), window.zone), int(self._numbers[each]))
                for each in found
            ]
            rasterize(
                [each for each in shapes if not each[0].is_empty],
                out=out,
                transform=window.transform,
            )
        return out

    @functools.lru_cache(maxsize=4096)  # noqa: B019
    def _projected(self, number: int, zone: int) -> BaseGeometry:
        """A polygon in metres of a zone and its surroundings."""
        west = 6.0 * zone - 186.0
        near = [
            shapely.intersection(
                self._shapes[number], shapely.box(west - 6 - turn, -90, west + 12 - turn, 90)
            )
            for turn in TURNS
        ]
        ground = shapely.union_all([each for each in near if each.area > 0])
        projected: BaseGeometry = moved(shapely.segmentize(ground, 0.01), from_lonlat(zone))
        return projected

    def _check_overlaps(self, parameter: str, path: str) -> None:
        one, other = self._tree.query(self._shapes, predicate="intersects")
        apart = (one < other) & (self._numbers[one] != self._numbers[other])
        one, other = one[apart], other[apart]
        shared = shapely.area(shapely.intersection(self._shapes[one], self._shapes[other]))
        smaller = np.minimum(shapely.area(self._shapes[one]), shapely.area(self._shapes[other]))
        wrong = np.flatnonzero(shared > OVERLAP * smaller)
        if len(wrong):
            pair = (self.names[self._numbers[each[wrong[0]]]] for each in (one, other))
            raise BadInput(f"{' and '.join(pair)} overlap: cut them apart", parameter, path)
