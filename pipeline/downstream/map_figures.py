"""What a map's tiles add up to, and how it looks from afar."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tessera_mosaic.pipeline.downstream.map_layout import NO_DATA, UNKNOWN, MapLayout
from tessera_mosaic.pipeline.downstream.map_rasters import class_colours, class_names
from tessera_mosaic.pipeline.downstream.map_store import MapStore
from tessera_mosaic.pipeline.ledger.summary import find_summaries
from tessera_mosaic.pipeline.ledger.tile_lists import planned_tiles
from tessera_mosaic.pipeline.publishing.drawing import RAMP
from tessera_mosaic.pipeline.tiling.lattice import Tile

WIDTH = 900
"""Pixels of a picture's longer side, at most."""

MOST_DRAWN = 1000
"""Tiles that are read for pictures at most: of larger maps the virtual rasters are drawn."""

DOUBT = 127
"""Confidence (of 254) below which a pixel counts as doubtful."""


@dataclass
class Totals:
    """What a year of a map holds.

    Parameters
    ----------
    tiles
        Tiles that are done.
    pixels, square_metres
        Pixels by class code, and their true size; of a map of values nothing.
    mapped
        Number of pixels that have a class or a value.
    """

    tiles: list[Tile] = field(default_factory=list)
    pixels: Counter[int] = field(default_factory=Counter)
    square_metres: Counter[int] = field(default_factory=Counter)
    mapped: int = 0


@dataclass
class Doubt:
    """How sure a map is of the pixels of each class.

    Parameters
    ----------
    pixels, doubtful
        Pixels by class code, and those with a confidence below one half.
    confidence
        Sum of the confidence, 0 to 254.
    """

    pixels: Counter[int] = field(default_factory=Counter)
    doubtful: Counter[int] = field(default_factory=Counter)
    confidence: Counter[int] = field(default_factory=Counter)

    def add(self, classes: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
        """Count the pixels of a tile."""
        flat, sure = classes.ravel(), confidence.ravel()
        for counter, weights in (
            (self.pixels, None),
            (self.doubtful, (sure < DOUBT).astype(np.float64)),
            (self.confidence, sure.astype(np.float64)),
        ):
            found = np.bincount(flat, weights, 256)
            counter.update(
                {code: int(found[code]) for code in np.flatnonzero(found[:NO_DATA]).tolist()}
            )

    def to_json(self, layout: MapLayout) -> list[dict[str, Any]]:
        """A row a class, as JSON values."""
        names = class_names(layout)
        return [
            {
                "class": names.get(code, str(code)),
                "confidence": round(self.confidence[code] / pixels / 254, 4),
                "doubtful": round(self.doubtful[code] / pixels, 4),
            }
            for code, pixels in sorted(self.pixels.items())
            if code != UNKNOWN
        ]


def totals_of(made: MapStore, year: int) -> Totals:
    """What the records of a map's year add up to."""
    found = Totals()
    planned = planned_tiles(made.storage, year, made.zones)
    for each in find_summaries(made.storage, year, planned):
        row = each.summary
        if row is None or not each.finished or not row.bytes_written:
            continue
        found.tiles.append(each.tile)
        found.mapped += row.pixels.get("embedded", 0)
        for name, count in row.pixels.items():
            kind, _, code = name.rpartition("_")
            if kind == "class":
                found.pixels[int(code)] += count
            elif kind == "square_metres":
                found.square_metres[int(code)] += count
    return found


def draw_map(made: MapStore, year: int, tiles: Sequence[Tile]) -> tuple[list[bytes], Doubt | None]:
    """Pictures of a map as PNG: classes and confidence, or values; and how sure it is.

    Of a map in several zones the one with most tiles is drawn.

    Parameters
    ----------
    made
        The map.
    year
        Calendar year.
    tiles
        Tiles that are done.
    """
    if not tiles or len(tiles) > MOST_DRAWN:
        return [], None
    zones = Counter(tile.zone for tile in tiles)
    drawn = [tile for tile in tiles if tile.zone == zones.most_common(1)[0][0]]
    side, layout = made.layout.side, made.layout
    top, left = min(tile.row for tile in drawn), min(tile.col for tile in drawn)
    rows = max(tile.row for tile in drawn) + 1 - top
    cols = max(tile.col for tile in drawn) + 1 - left
    every = max(1, -(-max(rows, cols) * side // WIDTH))
    part = -(-side // every)
    names = layout.pictured
    seen = {
        name: np.full((rows * part, cols * part), layout.array(name).fill, layout.array(name).dtype)
        for name in names
    }
    doubt = Doubt() if layout.of_classes else None
    for tile in tiles:
        values = {name: made.read(tile, year, name) for name in names}
        if doubt is not None:
            doubt.add(values["class"], values["confidence"])
        if tile in drawn:
            row, col = (tile.row - top) * part, (tile.col - left) * part
            for name in names:
                seen[name][row : row + part, col : col + part] = values[name][::every, ::every]
    bounds = np.argwhere(np.isfinite(seen[names[0]]) & (seen[names[0]] != NO_DATA))
    if not len(bounds):
        return [], doubt
    low, high = bounds.min(axis=0), bounds.max(axis=0) + 1
    cut = {name: of[low[0] : high[0], low[1] : high[1]] for name, of in seen.items()}
    if layout.of_classes:
        table = np.full((256, 4), 0, np.uint8)
        for code, colour in class_colours(layout).items():
            table[code] = (*colour, 255)
        sure = cut["confidence"].astype(np.float64) / 254
        known = cut["class"] != NO_DATA
        return [_png(table[cut["class"]]), _png(_ramp(sure, known))], doubt
    pictures = []
    for name in names:
        known = np.isfinite(cut[name])
        limits = np.percentile(cut[name][known], (2, 98))
        share = (cut[name] - limits[0]) / max(float(limits[1] - limits[0]), 1e-12)
        pictures.append(_png(_ramp(np.clip(np.nan_to_num(share), 0, 1), known)))
    return pictures, None


def as_url(png: bytes) -> str:
    """A picture as the address of an image that stands in the page itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _ramp(share: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Shares from 0 to 1 as colours, see-through where nothing is known."""
    stops = np.linspace(0, 1, len(RAMP))
    channels = [np.interp(share, stops, RAMP[:, channel]) for channel in range(3)]
    return np.rint(np.stack([*channels, known * 255.0], axis=-1)).astype(np.uint8)


def _png(image: NDArray[np.uint8]) -> bytes:
    """An image (H, W, 4) as PNG, not smaller than people can see."""
    times = max(1, 480 // max(image.shape[:2]))
    picture = Image.fromarray(np.repeat(np.repeat(image, times, axis=0), times, axis=1))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
