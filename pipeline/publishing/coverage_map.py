"""A map of a mosaic's tiles by what came of them."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tessera_mosaic.pipeline.publishing.drawing import typeface
from tessera_mosaic.pipeline.publishing.registry import TileState
from tessera_mosaic.pipeline.publishing.totals import STATES, Ground
from tessera_mosaic.pipeline.tiling.countries import countries
from tessera_mosaic.pipeline.tiling.polygons import cut_at_antimeridian

Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]
Place = Callable[[Any, Any], tuple[Any, Any]]

COLOURS: tuple[Colour, ...] = ((26, 122, 108), (150, 173, 190), (200, 50, 47), (232, 168, 56))
"""Colours of tiles on the map, in the order of `STATES`."""

SEA, LAND, SHORE, GRID, INK, QUIET, PAPER = (
    (238, 243, 247),
    (221, 222, 216),
    (178, 180, 174),
    (205, 210, 214),
    (30, 34, 40),
    (110, 117, 126),
    (255, 255, 255),
)
"""Colours of the map's other parts."""

WIDTH, HEIGHT = 1400, 700
"""Width of the map in pixels of the picture, and its height at most."""

MARGIN = 0.12
"""Share of the tiles' extent that is left free around them."""

SMALLEST = 4.0
"""Degrees of latitude that a map spans at least, so that one can see where it is."""

GRID_STEPS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Degrees between the lines of the grid."""

GRID_LINES = 9
"""Lines across a map, at most."""

LEAST_TILE = 3
"""Pixels that a tile is drawn with at least, so that one tile of a continent can be seen."""


def coverage_map(tiles: Sequence[Ground], counts: Mapping[TileState, int], title: str) -> bytes:
    """Draw tiles on a map of their surroundings, as PNG.

    Parameters
    ----------
    tiles
        Places and states of the tiles of one year.
    counts
        Number of tiles by state.
    title
        What stands above the map.
    """
    boxes = np.concatenate([ground.boxes for ground in tiles])
    states = np.concatenate([ground.states for ground in tiles])
    west, south, east, north = _extent(boxes)
    squeeze = math.cos(math.radians((south + north) / 2))
    height = min(round(WIDTH * (north - south) / ((east - west) * squeeze)), HEIGHT)

    def place(lon: Any, lat: Any) -> tuple[Any, Any]:
        return (lon - west) / (east - west) * WIDTH, (north - lat) / (north - south) * height

    picture = Image.new("RGB", (WIDTH, height + 92), PAPER)
    chart = Image.new("RGB", (WIDTH, height), SEA)
    draw = ImageDraw.Draw(chart)
    for shore in _land((west, south, east, north), (east - west) / WIDTH):
        draw.polygon([place(*at) for at in shore], LAND, SHORE)
    _draw_grid(draw, place, (west, south, east, north))
    for state in reversed(range(len(STATES))):
        _draw_boxes(draw, place, boxes[states == state], COLOURS[state])
    picture.paste(chart, (0, 44))
    _draw_words(picture, title, counts, height)
    sink = io.BytesIO()
    picture.save(sink, "PNG", optimize=True)
    return sink.getvalue()


def _extent(boxes: NDArray[np.float32]) -> Box:
    """The tiles' bounds with some ground around them, in the shape of the map."""
    west, south, _, _ = (float(edge) for edge in boxes.min(axis=0))
    _, _, east, north = (float(edge) for edge in boxes.max(axis=0))
    lon, lat = (west + east) / 2, (south + north) / 2
    squeeze = math.cos(math.radians(lat))
    down = max((north - south) / 2 * (1 + MARGIN), SMALLEST / 2)
    across = max((east - west) / 2 * (1 + MARGIN), down * WIDTH / HEIGHT / squeeze)
    across = min(across, 180.0)
    down = max(down, across * squeeze * HEIGHT / WIDTH)
    lon = min(max(lon, across - 180.0), 180.0 - across)
    return lon - across, max(lat - down, -90.0), lon + across, min(lat + down, 90.0)


@functools.cache
def _countries() -> list[shapely.Polygon]:
    """The countries' polygons, none across the antimeridian."""
    _, grounds = countries()
    parts = shapely.get_parts(grounds)
    west, _, east, _ = shapely.bounds(parts).T
    across = east - west > 180
    cut = [piece for part in parts[across] for piece in cut_at_antimeridian(part)]
    return [*parts[~across], *cut]


def _land(box: Box, detail: float) -> list[Sequence[tuple[float, float]]]:
    """Outlines of land that reaches into a box, as fine as one can see them."""
    around = shapely.box(*box)
    near = [part for part in _countries() if around.intersects(shapely.box(*part.bounds))]
    plain = shapely.get_parts(shapely.simplify(near, detail / 2, preserve_topology=False))
    return [part.exterior.coords for part in plain if not part.is_empty]


def _draw_grid(draw: ImageDraw.ImageDraw, place: Place, box: Box) -> None:
    """Meridians and parallels with their degrees."""
    west, south, east, north = box
    fits = (step for step in GRID_STEPS if (east - west) / step <= GRID_LINES)
    step = next(fits, GRID_STEPS[-1])
    for n in range(math.ceil(west / step), math.floor(east / step) + 1):
        x, bottom = place(n * step, south)
        draw.line((x, 0, x, bottom), GRID)
        draw.text((x + 4, bottom - 20), _degrees(n * step, "EW"), QUIET, typeface(14))
    for n in range(math.ceil(south / step), math.floor(north / step) + 1):
        right, y = place(east, n * step)
        draw.line((0, y, right, y), GRID)
        draw.text((4, y + 2), _degrees(n * step, "NS"), QUIET, typeface(14))


def _draw_boxes(
    draw: ImageDraw.ImageDraw, place: Place, boxes: NDArray[np.float32], colour: Colour
) -> None:
    """Rectangles in one colour; those that fall on the same pixels once."""
    corners = boxes.astype(np.float64).T
    left, bottom = place(corners[0], corners[1])
    right, top = place(corners[2], corners[3])
    right, bottom = np.maximum(right, left + LEAST_TILE), np.maximum(bottom, top + LEAST_TILE)
    pixels = np.stack([left, top, right, bottom], axis=1).round().astype(np.int64)
    for x0, y0, x1, y1 in np.unique(pixels, axis=0).tolist():
        draw.rectangle((x0, y0, x1, y1), colour, PAPER if x1 - x0 > 12 else None)


def _draw_words(
    picture: Image.Image, title: str, counts: Mapping[TileState, int], height: int
) -> None:
    """The title above the map, and the legend below it."""
    draw = ImageDraw.Draw(picture)
    draw.text((0, 6), title, INK, typeface(26))
    left = 0.0
    for state, colour in zip(STATES, COLOURS, strict=True):
        draw.rectangle((left, height + 58, left + 18, height + 76), colour)
        words = f"{state} {counts.get(state, 0):,}"
        draw.text((left + 26, height + 56), words, INK, typeface(19))
        left += 26 + typeface(19).getlength(words) + 30


def _degrees(value: float, letters: str) -> str:
    return f"{abs(value):.4g}° {letters[value < 0]}"
