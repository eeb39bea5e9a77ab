"""Curves as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tessera_mosaic.pipeline.publishing.drawing import INK, PAPER, QUIET

WIDTH, HEIGHT = 460, 300
"""Of a chart's plot in pixels."""

LEFT, RIGHT, TOP, BOTTOM = 70, 40, 90, 80
"""Space around a plot for its labels."""

COLOURS = ((59, 82, 139), (201, 98, 33), (33, 145, 140))


@dataclass(frozen=True)
class Chart:
    """Curves over one axis.

    Parameters
    ----------
    title
        What goes up.
    across
        Where the points lie, on a logarithmic axis.
    curves
        Heights of the points by the curve's name.
    """

    title: str
    across: Sequence[float]
    curves: Mapping[str, Sequence[float]]


def draw_chart(path: Path, title: str, subtitle: str, charts: Sequence[Chart], axis: str) -> None:
    """Write charts side by side as a PNG, each from 0 up; `axis` says what goes across."""
    step = LEFT + WIDTH + RIGHT
    image = Image.new("RGB", (step * len(charts), TOP + HEIGHT + BOTTOM), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((20, 14), title, INK, ImageFont.load_default(20))
    draw.text((20, 42), subtitle, QUIET, ImageFont.load_default(13))
    for number, chart in enumerate(charts):
        _draw_one(draw, chart, (number * step + LEFT, TOP), axis)
    image.save(path, optimize=True)


def _draw_one(draw: ImageDraw.ImageDraw, chart: Chart, corner: tuple[int, int], axis: str) -> None:
    left, top = corner
    bottom, small = top + HEIGHT, ImageFont.load_default(12)
    unit = _round_step(max(max(heights) for heights in chart.curves.values()))
    highest = unit * math.ceil(max(max(heights) for heights in chart.curves.values()) / unit + 0.2)
    first, last = (math.log10(end) for end in (min(chart.across), max(chart.across)))

    def place(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(x) - first) / ((last - first) or 1)
        return left + share * WIDTH, bottom - y / highest * HEIGHT

    draw.text((left, top - 24), chart.title, INK, ImageFont.load_default(14))
    for mark in range(round(highest / unit) + 1):
        y = place(chart.across[0], mark * unit)[1]
        draw.line((left, y, left + WIDTH, y), (225, 228, 232))
        draw.text((left - 8, y), f"{mark * unit:g}", QUIET, small, anchor="rm")
    for x in chart.across:
        draw.text((place(x, 0)[0], bottom + 8), f"{x:,.0f}", QUIET, small, anchor="mt")
    draw.text((left + WIDTH / 2, bottom + 26), axis, QUIET, small, anchor="mt")
    for number, (name, heights) in enumerate(chart.curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [place(x, y) for x, y in zip(chart.across, heights, strict=True)]
        draw.line(points, colour, 2)
        for x, y in points:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), colour)
        draw.text((left + 200 * number, bottom + 48), name, colour, small)


def _round_step(highest: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides an axis into about five."""
    power = 10 ** math.floor(math.log10(highest / 5))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= highest / 5)
