"""What the report shows of the embeddings: cuttings of the picture of the world.

They are made of the level of the picture that is as fine as can be shown, and brought to the shape
that the ground has at its latitude.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tessera_mosaic.pipeline.mosaic.preview_pyramid import LEVELS, SIDE, STEP, level_shape
from tessera_mosaic.pipeline.publishing.drawing import hatch
from tessera_mosaic.pipeline.publishing.painted_chunks import PaintedChunks, Place
from tessera_mosaic.pipeline.publishing.registry import TileState
from tessera_mosaic.pipeline.publishing.totals import STATES, Ground
from tessera_mosaic.pipeline.tiling.boxes import Box
from tessera_mosaic.pipeline.tiling.lattice import zone_of

WIDTH, HEIGHT = 1032, 760
"""Pixels of a cutting at most: the width of the report's column."""

SPARSE = 0.02
"""Share of a box that tiles fill at least, for one cutting of them all."""

MOST = 6
"""Cuttings at most."""

QUALITY = 90
"""Of the JPEG."""


def cuttings(chunks: PaintedChunks, grounds: Sequence[Ground]) -> Iterator[tuple[Box, bytes]]:
    """Pictures of where a mosaic has embeddings, as JPEG, with their degrees boxes.

    Tiles that lie close together are one picture; else each zone is one, of the zones that have the
    most ground.

    Parameters
    ----------
    chunks
        Chunks of the picture of the world.
    grounds
        Where tiles lie.

    Raises
    ------
    Altered
        If a chunk is not as it was painted.
    """
    done = STATES.index(TileState.DONE)
    parts = [ground.boxes[ground.states == done] for ground in grounds]
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *parts]).astype(np.float64)
    if not len(boxes):
        return
    groups = _groups(boxes)
    for box in groups:
        yield box, _cutting(chunks, box, 1 if len(groups) == 1 else 2)


def _groups(boxes: NDArray[np.float64]) -> list[Box]:
    """Boxes around tiles that are shown together, at most `MOST`."""
    whole, filled = _around(boxes), np.unique(boxes, axis=0)
    if _area(filled).sum() >= SPARSE * _area(np.array([whole])).sum():
        return [whole]
    zones = zone_of(boxes[:, [0, 2]].mean(axis=1))
    by_zone = [boxes[zones == zone] for zone in np.unique(zones)]
    by_zone.sort(key=lambda of: -float(_area(of).sum()))
    return [_around(of) for of in by_zone[:MOST]]


def _around(boxes: NDArray[np.float64]) -> Box:
    west, south, _, _ = boxes.min(axis=0).tolist()
    _, _, east, north = boxes.max(axis=0).tolist()
    return west, south, east, north


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _cutting(chunks: PaintedChunks, box: Box, beside: int) -> bytes:
    """A box of the picture, hatched where there is nothing, of which so many stand in a row."""
    west, south, east, north = box
    most_wide, most_high = WIDTH // beside, HEIGHT // beside
    squeeze = math.cos(math.radians((south + north) / 2))
    level = 0
    while level < LEVELS - 1 and max(
        (east - west) / STEP / 2**level / most_wide,
        (north - south) / STEP / 2**level / most_high,
    ) > 1 / max(squeeze, 0.1):
        level += 1
    pixels = _read(chunks, level, box)
    height, width, _ = pixels.shape
    factor = min(most_wide / (width * squeeze), most_high / height)
    size = max(round(width * squeeze * factor), 1), max(round(height * factor), 1)
    method = Image.Resampling.NEAREST if factor > 2 else Image.Resampling.BOX
    colours = Image.fromarray(pixels[..., :3]).resize(size, method)
    known = Image.fromarray(pixels[..., 3]).resize(size, Image.Resampling.NEAREST)
    sink = io.BytesIO()
    Image.composite(colours, hatch(size), known).save(sink, "JPEG", quality=QUALITY)
    return sink.getvalue()


def _read(chunks: PaintedChunks, level: int, box: Box) -> NDArray[np.uint8]:
    """Pixels of a level, uint8 (height, width, 4), that cover a box."""
    west, south, east, north = box
    step, (high, wide) = STEP * 2**level, level_shape(level)
    top, bottom = _span((90 - north) / step, (90 - south) / step, high)
    left, right = _span((west + 180) / step, (east + 180) / step, wide)
    pixels = np.zeros((bottom - top, right - left, 4), np.uint8)
    for row in range(top // SIDE, -(-bottom // SIDE)):
        for col in range(left // SIDE, -(-right // SIDE)):
            chunk = chunks.read(Place(level, row, col))
            down, across = row * SIDE - top, col * SIDE - left
            here = pixels[max(down, 0) : down + SIDE, max(across, 0) : across + SIDE]
            from_row, from_col = max(-down, 0), max(-across, 0)
            here[:] = chunk[
                from_row : from_row + here.shape[0], from_col : from_col + here.shape[1]
            ]
    return pixels


def _span(low: float, high: float, most: int) -> tuple[int, int]:
    first = min(max(math.floor(low), 0), most - 1)
    return first, min(max(math.ceil(high), first + 1), most)
