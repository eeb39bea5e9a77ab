"""Pictures of a mosaic: embeddings, true colour and counts as panels of one figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tessera_mosaic.model.observations import S2_BANDS, Stack
from tessera_mosaic.pipeline.mosaic.preview_pyramid import strongest_components

Bytes = NDArray[np.uint8]
Known = NDArray[np.bool_]
Colour = tuple[int, int, int]

RAMP = np.array(
    [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64
)
"""Colours of counts from few to many: five stops of viridis, which every eye can order."""

STRETCH = (2.0, 98.0)
"""Percentiles that become black and full light."""

GAMMA = 1 / 1.4
"""Exponent by which the shades of true colour are lifted."""

PANEL = 600
"""Width of a panel in pixels of the figure, at most."""

GAP, BAR = 36, 14
"""Space around panels, and height of a colour bar, in pixels."""

INK, QUIET, PAPER, HATCH = (28, 32, 38), (98, 105, 115), (255, 255, 255), (205, 209, 214)
"""Colours of text, of lesser text, of the ground and of the hatch over missing pixels."""


COUNTED = {
    "s2": ("Sentinel-2", "Days of the year on which the pixel was seen clear of cloud."),
    "s1_ascending": ("Sentinel-1, ascending", "Evening passes of the year."),
    "s1_descending": ("Sentinel-1, descending", "Morning passes of the year."),
}
"""Titles and captions of the panels of observation counts."""

NARROWEST = 430
"""Width of a panel in pixels of the figure, at least: its title has to fit."""


@dataclass(frozen=True)
class Panel:
    """One picture of a figure.

    Parameters
    ----------
    title, caption
        What it shows, which stands above it, and how to read it, which stands below.
    image : uint8 (H, W, 3)
        Red, green and blue.
    known : bool (H, W)
        Pixels that have something; the rest is hatched.
    bar
        Least and greatest count that `RAMP` colours, for a labelled bar; None for no bar.
    classes
        Names and colours of a legend; empty for none.
    """

    title: str
    caption: str
    image: Bytes
    known: Known
    bar: tuple[int, int] | None = None
    classes: tuple[tuple[str, Colour], ...] = ()


def principal_components(values: NDArray[np.float32]) -> tuple[Bytes, Known]:
    """The three strongest components of embeddings as red, green and blue.

    Each is stretched over its own `STRETCH` percentiles.

    Parameters
    ----------
    values : float32 (H, W, D)
        Embeddings; NaN where there is nothing.

    Returns
    -------
    image : uint8 (H, W, 3)
        Red, green and blue.
    known : bool (H, W)
        Where there is something.
    """
    known = np.isfinite(values[..., 0])
    image = np.zeros((*known.shape, 3), np.uint8)
    if known.any():
        pixels = values[known].astype(np.float64)
        pixels -= pixels.mean(axis=0)
        scores = pixels @ strongest_components(pixels).T
        image[known] = _stretched(scores, np.percentile(scores, STRETCH, axis=0))
    return image, known


def true_colour(stack: Stack) -> tuple[Bytes, Known]:
    """Median of the clear observations in red, green and blue, stretched alike.

    Parameters
    ----------
    stack
        The annual stack of the ground.

    Returns
    -------
    image : uint8 (H, W, 3)
        Red, green and blue.
    known : bool (H, W)
        Pixels of which anything was seen clear.
    """
    return stretched_colour(*median_colour(stack))


def median_colour(stack: Stack) -> tuple[NDArray[np.uint16], Known]:
    """Median of the clear observations in red, green and blue, as it was observed.

    Parameters
    ----------
    stack
        The annual stack of the ground.

    Returns
    -------
    median : uint16 (H, W, 3)
        Reflectance times 10,000; 0 where nothing was seen clear.
    known : bool (H, W)
        Pixels of which anything was seen clear.
    """
    clear = stack.masks != 0
    seen = clear.sum(axis=0)
    known: Known = seen > 0
    if not known.any():
        return np.zeros((*known.shape, 3), np.uint16), known
    bands = stack.bands[..., [S2_BANDS.index(band) for band in ("B04", "B03", "B02")]]
    # What was not clear sorts to the end; the median is the middle of what is before it.
    ordered = np.sort(np.where(clear[..., None], bands, np.uint16(65_535)), axis=0)
    middle = (np.maximum(seen, 1) - 1) // 2
    median = np.take_along_axis(ordered, middle[None, :, :, None], axis=0)[0]
    return np.where(known[..., None], median, np.uint16(0)), known


def stretched_colour(median: NDArray[np.uint16], known: Known) -> tuple[Bytes, Known]:
    """Red, green and blue as a picture, stretched alike, of what `median_colour` gives."""
    image = np.zeros((*known.shape, 3), np.uint8)
    if known.any():
        pixels = median[known]
        image[known] = _stretched(pixels, np.percentile(pixels, STRETCH), GAMMA)
    return image, known


def count_panels(counts: Mapping[str, NDArray[np.uint16]]) -> list[Panel]:
    """A panel for each observation count that is known, by its name."""
    panels = []
    for name, count in counts.items():
        title, caption = COUNTED[name]
        some = count[count > 0]
        bar = (int(some.min()), int(some.max())) if some.size else (0, 0)
        colours = count_colours(count, *bar)
        panels.append(Panel(f"Observations: {title}", caption, *colours, bar=bar))
    return panels


def count_colours(counts: NDArray[np.uint16], least: int, greatest: int) -> tuple[Bytes, Known]:
    """Counts in the colours of `RAMP`.

    Parameters
    ----------
    counts : uint16 (H, W)
        Number of observations; 0 where there is none.
    least, greatest
        Counts that have the first and the last colour.

    Returns
    -------
    image : uint8 (H, W, 3)
        Red, green and blue.
    known : bool (H, W)
        Where there is any observation.
    """
    share = (counts.astype(np.float64) - least) / max(greatest - least, 1)
    return _ramp(share), counts > 0


def class_colours(codes: Bytes, colours: Sequence[Colour]) -> tuple[Bytes, Known]:
    """Class codes in their colours, and where there is one.

    Parameters
    ----------
    codes : uint8 (H, W)
        Number of the class, from 1; 0 where it is not known.
    colours
        Colours of the classes, in the order of their numbers.
    """
    return np.array([PAPER, *colours], np.uint8)[codes], codes > 0


def draw_figure(
    path: Path,
    title: str,
    subtitle: str,
    panels: Sequence[Panel],
    columns: int,
    pixel: float,
    size: int = PANEL,
) -> None:
    """Write panels side by side as a PNG.

    Parameters
    ----------
    path
        The file to write.
    title, subtitle
        What stands above all panels.
    panels
        Panels of the same shape, which fill row after row.
    columns
        Number of panels that stand beside each other.
    pixel
        Side in metres of a pixel of the panels, for the scale bar.
    size
        Pixels of the figure that the longer side of a panel has at most.
    """
    drawn = [_draw_panel(panel, pixel, size) for panel in panels]
    width = columns * drawn[0].width + (columns + 1) * GAP
    head = _wrapped(subtitle, typeface(19), width - 2 * GAP)
    top = GAP + 44 + 26 * len(head) + 20
    rows = [drawn[start : start + columns] for start in range(0, len(drawn), columns)]
    heights = [max(image.height for image in row) for row in rows]
    figure = Image.new("RGB", (width, top + sum(heights) + GAP * len(rows)), PAPER)
    draw = ImageDraw.Draw(figure)
    draw.text((GAP, GAP - 6), title, INK, typeface(32))
    for line, text in enumerate(head):
        draw.text((GAP, GAP + 44 + 26 * line), text, QUIET, typeface(19))
    y = top
    for row, height in zip(rows, heights, strict=True):
        for column, image in enumerate(row):
            figure.paste(image, (GAP + column * (image.width + GAP), y))
        y += height + GAP
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.save(path, "PNG", optimize=True)


def _draw_panel(panel: Panel, pixel: float, size: int) -> Image.Image:
    """A panel with its title above it, and its scale, legend and caption below it."""
    picture = _hatched(panel.image, panel.known, size)
    across, height = picture.size
    width = max(across, NARROWEST)
    caption = _wrapped(panel.caption, typeface(17), width)
    legend = _legend_height(panel, width)
    drawn = Image.new("RGB", (width, 38 + height + 12 + legend + 24 * len(caption)), PAPER)
    draw = ImageDraw.Draw(drawn)
    draw.text((0, 0), panel.title, INK, typeface(23))
    drawn.paste(picture, (0, 38))
    draw.rectangle((0, 38, across - 1, 37 + height), outline=QUIET)
    _draw_scale(draw, 38 + height, across, pixel * panel.image.shape[1] / across)
    y = 38 + height + 12
    if panel.bar:
        _draw_bar(drawn, panel.bar, y, width)
    for place, (name, colour) in zip(_places(panel, width), panel.classes, strict=True):
        x, line = place
        draw.rectangle((x, y + 26 * line + 3, x + 16, y + 26 * line + 19), colour, QUIET)
        draw.text((x + 24, y + 26 * line), name, INK, typeface(17))
    for line, text in enumerate(caption):
        draw.text((0, y + legend + 24 * line), text, QUIET, typeface(17))
    return drawn


def _hatched(image: Bytes, known: Known, most: int) -> Image.Image:
    """The raster at the size of a panel, with diagonal stripes where nothing is known."""
    height, width = known.shape
    factor = most / width if width > most else max(most // max(width, height), 1)
    size = round(width * factor), round(height * factor)
    method = Image.Resampling.BOX if factor < 1 else Image.Resampling.NEAREST
    colours = Image.fromarray(image).resize(size, method)
    mask = Image.fromarray(known.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
    return Image.composite(colours, hatch(size), mask)


def hatch(size: tuple[int, int]) -> Image.Image:
    """Diagonal stripes, so many pixels wide and high, for ground of which nothing is known."""
    across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    stripes = ((across + down) % 12 < 4)[..., None]
    return Image.fromarray(np.where(stripes, HATCH, PAPER).astype(np.uint8))


def _draw_scale(draw: ImageDraw.ImageDraw, bottom: int, width: int, metres: float) -> None:
    """A scale bar of a round length in the lower left corner, `metres` to a pixel."""
    about = width * metres / 4
    power = 10 ** math.floor(math.log10(about))
    length = next(step * power for step in (5, 2, 1) if step * power <= about)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    end = 14 + round(length / metres)
    across = 14 + typeface(17).getlength(text)
    draw.rectangle((6, bottom - 44, max(end, across) + 8, bottom - 7), PAPER)
    draw.text((14, bottom - 42), text, INK, typeface(17))
    draw.rectangle((14, bottom - 17, end, bottom - 13), INK)


def _draw_bar(drawn: Image.Image, bar: tuple[int, int], y: int, width: int) -> None:
    """A colour bar with its least, middle and greatest count."""
    least, greatest = bar
    colours = _ramp(np.linspace(0, 1, width)[None].repeat(BAR, axis=0))
    drawn.paste(Image.fromarray(colours), (0, y))
    middle = (least + greatest) // 2
    draw = ImageDraw.Draw(drawn)
    for count in sorted({least, middle, greatest}):
        x = (count - least) / max(greatest - least, 1) * (width - 1)
        anchor = "la" if count == least else "ra" if count == greatest else "ma"
        draw.text((x, y + BAR + 3), str(count), INK, typeface(17), anchor=anchor)


def _legend_height(panel: Panel, width: int) -> int:
    lines = 1 + max((line for _, line in _places(panel, width)), default=-1)
    return (BAR + 28 if panel.bar else 0) + 26 * lines


def _places(panel: Panel, width: int) -> list[tuple[float, int]]:
    """Where each entry of a legend begins: pixels from the left, and its line."""
    places: list[tuple[float, int]] = []
    x, line = 0.0, 0
    for name, _ in panel.classes:
        wide = 24 + typeface(17).getlength(name) + 18
        if x > 0 and x + wide - 18 > width:
            x, line = 0.0, line + 1
        places.append((x, line))
        x += wide
    return places


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Lines of a text that are no wider than `width`."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def typeface(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own typeface, `size` px high."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType: install it from its wheel")
    return font


def _stretched(values: NDArray[Any], limits: NDArray[np.float64], gamma: float = 1.0) -> Bytes:
    """Values from the lower to the upper of two limits as 0 to 255."""
    low, high = limits
    share = np.clip((values - low) / np.maximum(high - low, 1e-12), 0, 1)
    return np.rint(255 * share**gamma).astype(np.uint8)


def _ramp(share: NDArray[np.float64]) -> Bytes:
    """Colours of `RAMP` at shares from 0 to 1."""
    stops = np.linspace(0, 1, len(RAMP))
    channels = [np.interp(share, stops, RAMP[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
