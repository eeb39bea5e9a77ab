"""A contact sheet: the embeddings around the examples of a search and around its first hits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, part_of
from tessera_mosaic.pipeline.publishing.drawing import (
    HATCH,
    INK,
    PAPER,
    QUIET,
    Bytes,
    principal_components,
    typeface,
)
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, PIXEL, WIDTH, Window

SIDE, FACTOR = 49, 4
"""Pixels along a side of a patch, odd so that one is in the middle, and size of each as drawn."""

ACROSS, EXAMPLES, FIRST, MOST_QUERIES = 6, 6, 18, 4
"""Patches side by side; examples and hits that are shown of a query; queries that are shown."""

EDGE, GAP, CAPTION, HEADING = 28, 14, 24, 40
"""Space around the sheet and between patches, and heights of what is written, in pixels."""


@dataclass(frozen=True)
class Patch:
    """Ground around a pixel.

    Parameters
    ----------
    zone, row, col
        The pixel.
    year
        Calendar year of its embeddings.
    caption
        What is written below it.
    """

    zone: int
    row: int
    col: int
    year: int
    caption: str

    @property
    def window(self) -> Window:
        """Its pixels, moved where the lattice ends."""
        row = min(max(self.row - SIDE // 2, 0), HEIGHT - SIDE)
        col = min(max(self.col - SIDE // 2, 0), WIDTH - SIDE)
        return Window(self.zone, row, col, SIDE, SIDE)


@dataclass(frozen=True)
class Strip:
    """What is shown of a query.

    Parameters
    ----------
    title
        What is written above it.
    examples, hits
        Patches of the places that were given, and of the first that were found.
    """

    title: str
    examples: tuple[Patch, ...]
    hits: tuple[Patch, ...]

    @property
    def groups(self) -> list[tuple[str, tuple[Patch, ...]]]:
        """Patches that stand together, with what is written above them."""
        told = (("like these", self.examples), ("first hits", self.hits))
        return [(name, patches) for name, patches in told if patches]


def draw_sheet(mosaic: AnyMosaic, strips: Sequence[Strip]) -> bytes:
    """Draw a contact sheet.

    The three strongest components of all patches together are red, green and blue, so that a
    colour means the same in each of them.

    Parameters
    ----------
    mosaic
        Where the embeddings are read.
    strips
        What is shown, query by query.

    Returns
    -------
    bytes
        A PNG.
    """
    patches = [patch for strip in strips for _, group in strip.groups for patch in group]
    pictures = _pictures(mosaic, patches)
    size = SIDE * FACTOR
    width = 2 * EDGE + ACROSS * size + (ACROSS - 1) * GAP
    height = 2 * EDGE + 30
    for strip in strips:
        height += HEADING
        for _, group in strip.groups:
            height += 26 + -(-len(group) // ACROSS) * (size + CAPTION + GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    shown, y = iter(zip(patches, pictures, strict=True)), EDGE
    for strip in strips:
        pen.text((EDGE, y), strip.title, INK, typeface(24))
        y += HEADING
        for name, group in strip.groups:
            pen.text((EDGE, y), name, QUIET, typeface(17))
            y += 26
            for number in range(len(group)):
                patch, picture = next(shown)
                x = EDGE + number % ACROSS * (size + GAP)
                sheet.paste(picture, (x, y))
                _mark(pen, x, y, patch)
                pen.text((x, y + size + 3), patch.caption, INK, typeface(16))
                if number % ACROSS == ACROSS - 1 or number == len(group) - 1:
                    y += size + CAPTION + GAP
    metres = SIDE * PIXEL
    pen.text(
        (EDGE, height - EDGE - 14),
        f"each square is {metres} m of ground; its middle is the pixel; colours are the three "
        "strongest components of all squares",
        QUIET,
        typeface(16),
    )
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _pictures(mosaic: AnyMosaic, patches: Sequence[Patch]) -> list[Image.Image]:
    """The patches in common colours, hatched where nothing is known."""
    if not patches:
        return []
    values = np.concatenate([_embeddings(mosaic, patch) for patch in patches])
    image, known = principal_components(values)
    return [
        _enlarged(image[start : start + SIDE], known[start : start + SIDE])
        for start in range(0, len(image), SIDE)
    ]


def _embeddings(mosaic: AnyMosaic, patch: Patch) -> NDArray[np.float32]:
    """Directions of the embeddings of a patch, float32 (SIDE, SIDE, D); NaN where there is none."""
    try:
        found = part_of(mosaic, patch.window, patch.year)
    except StoreError:
        # Its tile failed, which is told: the sheet shows what can be read.
        return np.full((*patch.window.shape, mosaic.layout.dims), np.nan, np.float32)
    codes = found.codes.astype(np.float32)
    lengths = np.sqrt(np.square(codes).sum(axis=-1, keepdims=True))
    known = np.isfinite(found.scales)[..., None] & (lengths > 0)
    return np.where(known, codes / np.maximum(lengths, 1), np.float32(np.nan))


def _enlarged(image: Bytes, known: NDArray[np.bool_]) -> Image.Image:
    rows, cols = np.indices(known.shape)
    dark = np.isin((rows + cols) % 4, (0, 1))
    stripes = np.where(dark[..., None], HATCH, PAPER)
    shown = np.where(known[..., None], image, stripes).astype(np.uint8)
    size = SIDE * FACTOR
    return Image.fromarray(shown).resize((size, size), Image.Resampling.NEAREST)


def _mark(pen: ImageDraw.ImageDraw, x: int, y: int, patch: Patch) -> None:
    """A frame around a patch, and one around its pixel."""
    size, window = SIDE * FACTOR, patch.window
    pen.rectangle((x, y, x + size - 1, y + size - 1), outline=QUIET)
    left = x + (patch.col - window.col) * FACTOR
    top = y + (patch.row - window.row) * FACTOR
    pen.rectangle((left - 4, top - 4, left + FACTOR + 3, top + FACTOR + 3), outline=PAPER, width=2)
    pen.rectangle((left - 6, top - 6, left + FACTOR + 5, top + FACTOR + 5), outline=INK)
