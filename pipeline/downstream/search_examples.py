"""Examples of a search: places by their coordinates, and the embeddings that they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from tessera_mosaic.pipeline.downstream.place_files import read_places
from tessera_mosaic.pipeline.downstream.places import PlacePixels, Places, pixels_of, places_of
from tessera_mosaic.pipeline.downstream.search_queries import Examples
from tessera_mosaic.pipeline.downstream.search_request import SearchRequest
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, read_pixels
from tessera_mosaic.pipeline.tiling.vector_files import WGS84

MOST_QUERIES, MOST_EXAMPLES = 256, 20_000
"""Queries of a search, and pixels of all examples together."""

LIKE, UNLIKE = "like", "unlike"


@dataclass(frozen=True)
class ExamplePlaces:
    """Where the examples of all queries lie.

    Parameters
    ----------
    places
        All of them.
    queries
        Names of the queries in their order.
    query : int64 (places,)
        Number of the query that a place is of.
    like : bool (places,)
        Whether hits are to be like it.
    parameters
        Name of the parameter that gave a place, for messages.
    """

    places: Places
    queries: tuple[str, ...]
    query: NDArray[np.int64]
    like: NDArray[np.bool_]
    parameters: tuple[str, ...]

    def told(self, query: int, like: bool) -> list[list[float]]:
        """Longitudes and latitudes of a query's examples of one kind; areas as points."""
        which = np.flatnonzero((self.query == query) & (self.like == like))
        points = shapely.point_on_surface(self.places.shapes[which])
        return [[float(x), float(y)] for x, y in shapely.get_coordinates(points).round(7)]


def example_places(request: SearchRequest) -> ExamplePlaces:
    """The places that a request names, one by one or in a file.

    Raises
    ------
    BadInput
        If one of them is no place that can be used, or the file lacks a column.
    """
    if request.queries is not None:
        return _of_file(request.queries)
    at = np.array([*request.like, *request.unlike], np.float64)
    kinds = [LIKE] * len(request.like) + [UNLIKE] * len(request.unlike)
    beyond = ~((np.abs(at[:, 0]) <= 180) & (np.abs(at[:, 1]) <= 90))
    if beyond.any():
        first = int(np.flatnonzero(beyond)[0])
        raise BadInput(
            f"{at[first, 0]:g},{at[first, 1]:g} is no longitude and latitude in degrees",
            kinds[first],
        )
    places = places_of(np.asarray(shapely.points(at), object), CRS(WGS84), "the examples")
    _check_sound(places, kinds)
    like = np.array(kinds) == LIKE
    return ExamplePlaces(places, ("",), np.zeros(len(at), np.int64), like, tuple(kinds))


def _of_file(path: str) -> ExamplePlaces:
    """The places of a file of queries."""
    try:
        places = read_places(path, "queries")
    except FileNotFoundError:
        raise BadInput("there is no such file", "queries", path) from None
    _check_sound(places, ["queries"] * len(places))
    names = ["" if each is None else str(each) for each in places.column("query", "queries")]
    kinds = [str(each).strip().casefold() for each in places.column("kind", "queries")]
    odd = next((row for row, kind in enumerate(kinds, 1) if kind not in (LIKE, UNLIKE)), None)
    if odd is not None:
        raise BadInput(
            f"its place {odd} is neither {LIKE} nor {UNLIKE} but {kinds[odd - 1]}", "queries", path
        )
    queries = tuple(dict.fromkeys(names))
    if len(queries) > MOST_QUERIES:
        raise BadInput(f"it has {len(queries)} queries, more than {MOST_QUERIES}", "queries", path)
    query = np.array([queries.index(name) for name in names], np.int64)
    like = np.array(kinds) == LIKE
    for number, name in enumerate(queries):
        if not like[query == number].any():
            raise BadInput(f"query {name} has no place to be {LIKE}", "queries", path)
    return ExamplePlaces(places, queries, query, like, ("queries",) * len(names))


def _check_sound(places: Places, parameters: Sequence[str]) -> None:
    """Refuse places of which one cannot be used."""
    bad = next((k for k, problem in enumerate(places.problems) if problem), None)
    if bad is not None:
        raise BadInput(f"place {bad + 1}: {places.problems[bad]}", parameters[bad])


def read_examples(
    mosaic: AnyMosaic, year: int, asked: ExamplePlaces, shift: Sequence[float] | None = None
) -> list[Examples]:
    """The embeddings of the examples of every query, in the order of the queries.

    Parameters
    ----------
    mosaic, year
        Where they are read, and of which calendar year.
    asked
        The places.
    shift
        What is taken off every embedding, one value a dimension; None for nothing.

    Raises
    ------
    BadInput
        If a place has no embedding.
    """
    pixels = pixels_of(asked.places, MOST_EXAMPLES)
    found = read_pixels(mosaic, year, pixels.zone, pixels.row, pixels.col)
    sound = np.isfinite(found.scales) & (found.codes != 0).any(axis=1)
    _check_found(asked, pixels, sound, found.scales, mosaic.storage.url, year)
    scales = np.where(sound, found.scales, np.float32(0)).astype(np.float64)
    vectors = found.codes.astype(np.float64) * scales[:, None]
    if shift is not None:
        vectors -= np.asarray(shift, np.float64)
    query, like = asked.query[pixels.place], asked.like[pixels.place]
    return [
        Examples(
            name,
            vectors[sound & (query == number) & like],
            vectors[sound & (query == number) & ~like],
        )
        for number, name in enumerate(asked.queries)
    ]


def _check_found(
    asked: ExamplePlaces,
    pixels: PlacePixels,
    sound: NDArray[np.bool_],
    scales: NDArray[np.float32],
    url: str,
    year: int,
) -> None:
    """Refuse a place of which no pixel has an embedding."""
    for place in range(len(asked.places)):
        of = pixels.place == place
        if not sound[of].any():
            at = shapely.get_coordinates(shapely.point_on_surface(asked.places.shapes[place]))[0]
            why = "it is water" if np.isnan(scales[of]).any() else "nothing is there"
            raise BadInput(
                f"{url} has no embedding of {year} at {at[0]:g},{at[1]:g}: {why}",
                asked.parameters[place],
            )
