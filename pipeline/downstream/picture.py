"""A region of a mosaic as a picture for people: embeddings, true colours, observation counts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.export_geotiff import edges_of
from tessera_mosaic.pipeline.downstream.export_request import ExportedFile
from tessera_mosaic.pipeline.downstream.selection import Selection, select
from tessera_mosaic.pipeline.downstream.true_colours import TrueColours
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.mosaic.identity import model_name
from tessera_mosaic.pipeline.mosaic.preview_pyramid import Colours
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.publishing.drawing import (
    PANEL,
    Panel,
    count_panels,
    draw_figure,
    stretched_colour,
)
from tessera_mosaic.pipeline.publishing.preview import colours_of
from tessera_mosaic.pipeline.tiling.lattice import PIXEL, Window, lonlat_bounds

MOST_SIDE = 2048
"""Pixels of the longer side of a panel: of a larger region every second, third, ... is shown."""

MOST_PIXELS = 2**28
"""Pixels of a region: a square of 164 km, of which some 30 GB are read."""

FIT_BLOCKS, FIT_PIXELS = 16, 4096
"""Blocks, and pixels of each, that colours are fitted to where the store has none of its own."""

ACROSS = 2600
"""Pixels of a figure's width, about, beyond which panels go to the next row."""


@dataclass(frozen=True)
class PictureRequest:
    """A part of a mosaic to draw.

    Parameters
    ----------
    store
        Path or URL of the mosaic, of ours or published by somebody else.
    out
        Path of the picture: `.png`.
    region
        Part of the Earth: `west,south,east,north` or a point `lon,lat` in degrees, a vector file, a
        CSV file of points, countries or Sentinel-2 tiles; None for all that was embedded.
    year
        Calendar year; None for the newest of which there is something in the region.
    catalog
        Catalogue whose Sentinel-2 scenes give true colours; None for none.
    allow_hosts
        Hosts of private addresses that the catalogue may point to.
    buffer
        Metres around points; by default as many as hold a pixel.

    Raises
    ------
    BadInput
        If the picture has another ending.

    Examples
    --------
    >>> tm.PictureRequest("valley.zarr", "valley.png").region is None
    True
    """

    store: str
    out: str | Path
    region: str | None = None
    year: int | None = None
    catalog: str | None = None
    allow_hosts: tuple[str, ...] = ()
    buffer: float | None = None

    def __post_init__(self) -> None:
        if Path(self.out).suffix.lower() != ".png":
            raise BadInput("a picture is a .png file", "out", self.out)


@dataclass(frozen=True)
class Pictured:
    """What came of a picture.

    Parameters
    ----------
    year
        Calendar year.
    step
        Of how many rows and columns of the lattice one is shown.
    files
        The pictures, zone by zone.
    """

    year: int
    step: int
    files: tuple[ExportedFile, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields of `picture --json`."""
        return vars(self) | {"files": [vars(file) for file in self.files]}


def picture(
    request: PictureRequest, tell: Callable[[int, int], None] = lambda done, all_: None
) -> Pictured:
    """Draw a part of a mosaic: embeddings as colours, true colours, and observation counts.

    Pixels are those of the zone's lattice, enlarged by a whole number where there are few; of a
    large region every second, third, ... is shown, which the picture says. Embeddings have the
    colours of the store's own preview, which `publish` fitted, so that all pictures of a store look
    alike; without a preview the three principal components of the region. Where a region spans
    zones, each has a picture of its own, `NAME-utmNN.png`.

    Parameters
    ----------
    request
        The mosaic, the part and the picture.
    tell
        Called with the number of blocks that are done, and of all.

    Raises
    ------
    BadInput
        If the mosaic, the region, the year or the catalogue cannot be used, or nothing is there.
    StoreError
        If the mosaic cannot be read.

    Examples
    --------
    >>> drawn = tm.picture(tm.PictureRequest("valley.zarr", "valley.png"))
    >>> drawn.year, drawn.step, drawn.files[0].path
    (2024, 1, 'valley.png')
    """
    chosen = select(request.store, request.region, request.year, request.buffer)
    pixels = sum(window.height * window.width for window in chosen.windows)
    if pixels > MOST_PIXELS:
        raise BadInput(
            f"it has {pixels:,} pixels and a picture up to {MOST_PIXELS:,}: name a smaller one",
            "region",
            request.region,
        )
    _ = chosen.tiles
    step = math.ceil(max(max(window.shape) for window in chosen.windows) / MOST_SIDE)
    colours, fitted = _colours(chosen)
    one_more = chosen.steps(tell)
    seen = TrueColours(request.catalog, request.allow_hosts, chosen) if request.catalog else None
    files = []
    for window in chosen.windows:
        path = chosen.path_of(window, request.out)
        panels, embedded = _panels(chosen, window, step, colours, fitted, one_more)
        if seen is not None:
            panels.insert(1, _true_colour_panel(seen, window, step))
        _draw(path, chosen, window, step, panels)
        edges = edges_of(window)
        files.append(ExportedFile(str(path), window.crs, edges, *window.shape, embedded))
    return Pictured(chosen.year, step, tuple(files))


def _panels(
    chosen: Selection,
    window: Window,
    step: int,
    colours: Colours | None,
    fitted: bool,
    tell: Callable[[], None],
) -> tuple[list[Panel], int]:
    """Panels of the embeddings and the counts, and how many pixels are embedded."""
    layout = chosen.mosaic.layout
    shape = -(-window.height // step), -(-window.width // step)
    image, known = np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool)
    counts = {name: np.zeros(shape, np.uint16) for name in layout.observed}
    embedded = 0
    for block, pixels in chosen.read(window):
        if pixels is not None:
            here, from_block = thinned(block, window, step)
            scales = pixels.scales[from_block]
            finite = np.isfinite(scales)
            embedded += int(np.isfinite(pixels.scales).sum())
            known[here] = finite
            if colours is not None and finite.any():
                values = pixels.codes[from_block][finite].astype(np.float32)
                image[here][finite] = colours.paint(values * scales[finite][:, None])
            for name, count in counts.items():
                count[here] = pixels.counts[name][from_block]
        tell()
    own = "fitted to this region; publish the store, and it has its own"
    caption = (
        f"Three components of {layout.dims} dimensions as red, green and blue: "
        f"{own if fitted else 'those of all pictures of this store'}."
    )
    return [Panel("Embeddings", caption, image, known), *count_panels(counts)], embedded


def thinned(block: Window, window: Window, step: int) -> tuple[Any, Any]:
    """Places of a block's pixels in a picture of every `step`-th row and column of a window.

    Returns
    -------
    Rows and columns of the picture, and of the block.
    """
    at = []
    for start, length in (
        (block.row - window.row, block.height),
        (block.col - window.col, block.width),
    ):
        first = -(-start // step)
        stop = -(-(start + length) // step)
        at.append((slice(first, stop), slice(first * step - start, length, step)))
    (rows, of_rows), (cols, of_cols) = at
    return (rows, cols), (of_rows, of_cols)


def _true_colour_panel(seen: TrueColours, window: Window, step: int) -> Panel:
    shape = -(-window.height // step), -(-window.width // step)
    median, known = np.zeros((*shape, 3), np.uint16), np.zeros(shape, bool)
    for block, colour, clear in seen.read(window):
        here, from_block = thinned(block, window, step)
        median[here], known[here] = colour[from_block], clear[from_block]
    lost = f" {seen.lost} scenes could not be read." if seen.lost else ""
    return Panel(
        "True colour",
        f"Sentinel-2 red, green and blue: median of the clear observations.{lost}",
        *stretched_colour(median, known),
    )


def _colours(chosen: Selection) -> tuple[Colours | None, bool]:
    """Colours of the embeddings, and whether they were fitted to the region."""
    mosaic = chosen.mosaic
    if isinstance(mosaic, Mosaic) and mosaic.colours is not None:
        return mosaic.colours, False
    found: list[NDArray[np.float64]] = []
    rng = np.random.default_rng(0)
    for values in _some_embeddings(chosen):
        found.append(rng.permutation(values)[:FIT_PIXELS])
        if len(found) == FIT_BLOCKS:
            break
    return (colours_of(np.concatenate(found)) if found else None), True


def _some_embeddings(chosen: Selection) -> Iterator[NDArray[np.float64]]:
    """Embeddings, float64 (pixels, dims), of the blocks that have some."""
    for window in chosen.windows:
        for _, pixels in chosen.read(window):
            if pixels is not None and (finite := np.isfinite(pixels.scales)).any():
                codes = pixels.codes[finite].astype(np.float64)
                yield codes * pixels.scales[finite][:, None]


def _draw(path: Path, chosen: Selection, window: Window, step: int, panels: list[Panel]) -> None:
    """Write the figure of a zone whole."""
    west, south, east, north = lonlat_bounds(window)
    size = max(window.shape) // step
    height, width = (side * PIXEL / 1000 for side in window.shape)
    shown = "" if step == 1 else f", of which every {_ordinal(step)} row and column is shown"
    partial = path.with_name(f".{path.name}.partial")
    make_directory(path.parent)
    try:
        draw_figure(
            partial,
            f"{model_name(chosen.mosaic.identity)}, {chosen.year}",
            f"{west:.3f} to {east:.3f} E, {south:.3f} to {north:.3f} N: {width:g} x {height:g} km "
            f"at {PIXEL} m in UTM zone {window.zone}{shown}. North is up; hatched where there is "
            "nothing.",
            panels,
            columns=max(1, min(3, len(panels), ACROSS // max(panels[0].image.shape[1], PANEL))),
            pixel=PIXEL * step,
            size=max(size, PANEL),
        )
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
