"""The rows of a table of vectors: what a mosaic holds at some pixels, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.places import PlacePixels, Places
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, read_pixels, tiles_with_shards
from tessera_mosaic.pipeline.mosaic.layout import COUNTS, count_array
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.tiling.lattice import Tile

OURS = ("place", "year", "zone", "row", "col", "lon", "lat", "pixels", "embedded", "why")
"""Names of our own columns, beside the counts and the vector."""

GEOMETRY = "geometry"

WATER, NOTHING, NO_TILE = "water", "no embedding", "no tile"
NO_CENTRE = "no pixel's centre lies inside"
"""Why a row has no vector."""


class Statistic(StrEnum):
    """What of a place's pixels makes a row."""

    PIXEL = "pixel"
    """Each pixel is a row."""

    MEAN = "mean"
    """A place is a row: the mean of its embedded pixels."""

    MEDIAN = "median"
    """A place is a row: the median of its embedded pixels, dimension by dimension."""


@dataclass(frozen=True)
class VectorTable:
    """How rows are made of places and pixels.

    Parameters
    ----------
    mosaic, places, statistic
        The mosaic, the places, and what makes a row.
    columns
        The file's own columns, by their names in the table.
    geometry
        Whether rows have a geometry.
    """

    mosaic: AnyMosaic
    places: Places
    statistic: Statistic
    columns: dict[str, pa.Array]
    geometry: bool

    @classmethod
    def of(
        cls, mosaic: AnyMosaic, places: Places, statistic: Statistic, geometry: bool
    ) -> VectorTable:
        """The table of some places."""
        columns = {}
        for name, values in places.columns.items():
            if name.casefold() in ("lon", "lat"):
                continue
            ours = name in (*OURS, GEOMETRY) or name.startswith("observations_")
            columns[f"file_{name}" if ours else name] = _typed(values)
        return cls(mosaic, places, statistic, columns, geometry)

    def rows(self, pixels: PlacePixels, batch: NDArray[np.int64], year: int) -> pa.Table:
        """The rows of some pixels in a year."""
        mine = PlacePixels(*(getattr(pixels, n)[batch] for n in ("place", "zone", "row", "col")))
        found = self._read(mine, year)
        finite = np.isfinite(found.scales)
        scales = np.where(finite, found.scales, np.float32(np.nan))
        values: NDArray[np.float32] = found.codes.astype(np.float32) * scales[:, None]
        why = self._why(mine, found.scales, year)
        lon, lat = mine.centres()
        if self.statistic is Statistic.PIXEL:
            points = self.places.points[mine.place]
            at = shapely.get_coordinates(self.places.shapes[mine.place[points]])
            lon[points], lat[points] = at[:, 0], at[:, 1]
            one = np.ones(len(mine), np.int32)
            where: dict[str, NDArray[Any]] = {"zone": mine.zone, "row": mine.row, "col": mine.col}
            where |= {"lon": lon, "lat": lat}
            counts: dict[str, NDArray[Any]] = dict(found.counts)
            return self._table(
                mine.place, year, where, one, finite.astype(np.int32), counts, why, values
            )
        # The pixels of a place lie together, and places in the order of where they lie.
        first = np.append(0, np.flatnonzero(np.diff(mine.place)) + 1)
        places = mine.place[first]
        spans = [slice(a, b) for a, b in zip(first, [*first[1:], len(mine)], strict=True)]
        where = {"zone": mine.zone[first], "lon": _each(np.mean, lon, spans)}
        where["lat"] = _each(np.mean, lat, spans)
        sizes = np.array([span.stop - span.start for span in spans], np.int32)
        embedded = np.array([finite[span].sum() for span in spans], np.int32)
        middle = np.mean if self.statistic is Statistic.MEAN else np.median
        vectors = np.full((len(spans), values.shape[1]), np.nan, np.float32)
        means = {name: np.full(len(spans), np.nan) for name in found.counts}
        told = np.full(len(spans), "", object)
        for k, span in enumerate(spans):
            if embedded[k]:
                vectors[k] = middle(values[span][finite[span]].astype(np.float64), axis=0)
            else:
                told[k] = _commonest(why[span])
            for name, count in found.counts.items():
                means[name][k] = count[span].mean()
        return self._table(places, year, where, sizes, embedded, means, told, vectors)

    def without(self, year: int, places: NDArray[np.int64]) -> pa.Table:
        """The rows of places that have no pixel."""
        why = np.array([self.places.problems[place] or NO_CENTRE for place in places], object)
        none = np.zeros(len(places), np.int32)
        dims = self.mosaic.layout.dims
        values = np.full((len(places), dims), np.nan, np.float32)
        return self._table(places, year, {}, none, none, {}, why, values)

    def _read(self, pixels: PlacePixels, year: int) -> Pixels:
        """What the mosaic holds of pixels, each once, in their order."""
        at = np.stack([pixels.zone, pixels.row, pixels.col], axis=1)
        each, which = np.unique(at, axis=0, return_inverse=True)
        read = read_pixels(self.mosaic, year, *each.T)
        which = which.ravel()
        counts = {name: count[which] for name, count in read.counts.items()}
        return Pixels(read.codes[which], read.scales[which], counts)

    def _why(
        self, pixels: PlacePixels, scales: NDArray[np.float32], year: int
    ) -> NDArray[np.object_]:
        """Why each pixel has no embedding; empty where it has one."""
        why = np.full(len(pixels), "", object)
        why[np.isnan(scales)] = WATER
        empty = np.flatnonzero(np.isposinf(scales))
        side = self.mosaic.layout.side
        tiles = [
            Tile(int(pixels.zone[k]), int(pixels.row[k]) // side, int(pixels.col[k]) // side, side)
            for k in empty
        ]
        there = set(tiles_with_shards(self.mosaic, year, sorted(set(tiles))))
        why[empty] = [NOTHING if tile in there else NO_TILE for tile in tiles]
        return why

    def _table(
        self,
        places: NDArray[Any],
        year: int,
        where: dict[str, NDArray[Any]],
        sizes: NDArray[np.int32],
        embedded: NDArray[np.int32],
        counts: dict[str, NDArray[Any]],
        why: NDArray[np.object_],
        values: NDArray[np.float32],
    ) -> pa.Table:
        length, pixel = len(places), self.statistic is Statistic.PIXEL
        number = pa.array(places, pa.int64())
        made: dict[str, pa.Array] = {"place": number}
        made |= {name: column.take(number) for name, column in self.columns.items()}
        made["year"] = pa.array(np.full(length, year), pa.int32())
        for name in ("zone", *(("row", "col") if pixel else ())):
            made[name] = _column(where.get(name), length, pa.int32())
        for name in ("lon", "lat"):
            made[name] = _column(where.get(name), length, pa.float64())
        made["pixels"], made["embedded"] = pa.array(sizes), pa.array(embedded)
        for name in COUNTS:
            kind = pa.int32() if pixel else pa.float64()
            made[count_array(name)] = _column(counts.get(name), length, kind)
        made["why"] = pa.array([each or None for each in why], pa.string())
        empty = ~np.isfinite(values).all(axis=1)
        for k in range(values.shape[1]):
            made[f"e{k}"] = pa.array(values[:, k], pa.float32(), mask=empty)
        if self.geometry:
            shapes = self.places.shapes[places]
            if pixel and "lon" in where:
                shapes = shapely.points(where["lon"], where["lat"])
            wkb = [None if shape is None else shape for shape in shapely.to_wkb(shapes)]
            made[GEOMETRY] = pa.array(wkb, pa.binary())
        return pa.table(made)


def _each(
    of: Callable[[NDArray[Any]], Any], values: NDArray[Any], spans: Sequence[slice]
) -> NDArray[np.float64]:
    return np.array([of(values[span]) for span in spans], np.float64)


def _commonest(why: NDArray[np.object_]) -> str:
    """The reason that most pixels have; the first by the alphabet where several have as many."""
    words, counts = np.unique(why.astype(str), return_counts=True)
    return str(words[counts.argmax()])


def _column(values: NDArray[Any] | None, length: int, kind: pa.DataType) -> pa.Array:
    """A column; nulls where there are no values, or they are no numbers."""
    if values is None:
        return pa.nulls(length, kind)
    return pa.array(values, kind, from_pandas=True)


def _typed(values: list[Any]) -> pa.Array:
    """A file's column: whole numbers, numbers or words, whichever all of its values are."""
    known = [value for value in values if value is not None]
    for kind, of in ((int, pa.int64()), (float, pa.float64())):
        try:
            if all(isinstance(each, str | kind) and not isinstance(each, bool) for each in known):
                return pa.array([None if v is None else kind(v) for v in values], of)
        except (ValueError, pa.ArrowInvalid, OverflowError):
            continue
    if all(isinstance(value, bool) for value in known):
        return pa.array(values, pa.bool_())
    if all(isinstance(value, int | float) for value in known):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())
