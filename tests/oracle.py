"""The annual stack of a window, pixel by pixel: slow, obvious, and without the pipeline's code.

It follows the rules in the words of the public preprocessing. A pixel of the window is taken to a
scene's raster by itself, and the raster is read whole.
"""

from __future__ import annotations

import functools
import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import rasterio
from pyproj import Transformer

BANDS = ["B04", "B02", "B03", "B08", "B8A", "B05", "B06", "B07", "B11", "B12"]
CLOUDY = {0, 1, 2, 3, 8, 9}


class Raster:
    """A file, and its value at a place."""

    def __init__(self, path: Path) -> None:
        with rasterio.open(path) as file:
            self.values = file.read(1)
            self.crs, self.transform, nodata = str(file.crs), file.transform, file.nodata
        if self.values.dtype.kind == "f":
            self.full = ~np.isnan(self.values) & (self.values != nodata)
        else:
            self.full = self.values != 0

    def at(self, zone: int, x: float, y: float, kernel: str) -> float | None:
        """Value at a place of a zone, None where there is no data."""
        row, col = self.place(zone, x, y)
        height, width = self.values.shape
        near = math.floor(row), math.floor(col)
        if not (0 <= near[0] < height and 0 <= near[1] < width) or not self.full[near]:
            return None
        if kernel == "nearest":
            return self.values[near]
        top, left = math.floor(row - 0.5), math.floor(col - 0.5)
        down, right = row - 0.5 - top, col - 0.5 - left
        total = weight = 0.0
        for i, v in ((0, 1 - down), (1, down)):
            for j, u in ((0, 1 - right), (1, right)):
                r, c = top + i, left + j
                if 0 <= r < height and 0 <= c < width and self.full[r, c]:
                    total += v * u * float(self.values[r, c])
                    weight += v * u
        value = total / weight
        return value if self.values.dtype.kind == "f" else math.floor(value + 0.5)

    def place(self, zone: int, x: float, y: float) -> tuple[float, float]:
        """Row and column of a place, 0.5 in the middle of the first pixel."""
        code = int(self.crs.removeprefix("EPSG:"))
        if code == 32700 + zone:
            y += 10_000_000
        elif code != 32600 + zone:
            x, y = transformer(zone, code).transform(x, y)
        return (self.transform.f - y) / -self.transform.e, (x - self.transform.c) / self.transform.a


@functools.cache
def transformer(zone: int, code: int) -> Transformer:
    return Transformer.from_crs(f"EPSG:{32600 + zone}", f"EPSG:{code}", always_xy=True)


def code_power(power: float | None) -> int:
    if power is None or not math.isfinite(power) or power <= 0:
        return 0
    return int(min(max((20 * np.log10(np.float64(power)) + 50) * 200, 0), 32767))


def without_offset(value: int, date: str) -> int:
    return value - 1000 if date > "2022-01-25" and value >= 1000 else value


def expected_pixel(items: list[dict], zone: int, x: float, y: float, kernel: str) -> dict:
    """Observations of one pixel: clear days with bands, and passes with codes."""
    days, passes = defaultdict(list), defaultdict(list)
    for item in sorted(items, key=lambda item: (item["properties"]["datetime"], item["id"])):
        date = item["properties"]["datetime"][:10]
        if "SCL" in item["rasters"]:
            days[date].append(item["rasters"])
        else:
            passes[item["properties"]["sat:orbit_state"], date].append(item["rasters"])
    seen = {"s2": {}, "ascending": {}, "descending": {}}
    for date, scenes in days.items():
        for rasters in scenes:
            if rasters["SCL"].at(zone, x, y, "nearest") not in (None, *CLOUDY):
                values = [rasters[band].at(zone, x, y, kernel) or 0 for band in BANDS]
                seen["s2"][date] = [without_offset(int(value), date) for value in values]
                break
    for (state, date), scenes in passes.items():
        codes = [0, 0]
        for rasters in scenes:
            for channel, band in enumerate(("vv", "vh")):
                codes[channel] = codes[channel] or code_power(
                    rasters[band].at(zone, x, y, "nearest")
                )
        if any(codes):
            seen[state][date] = codes
    return seen


def read_archive(catalogue: Path) -> list[dict]:
    """Items of an archive, each with its rasters."""
    items = []
    for path in sorted(catalogue.parent.glob("sentinel-*/*/*.json")):
        item = json.loads(path.read_text())
        item["rasters"] = {
            name: Raster(path.parent / asset["href"]) for name, asset in item["assets"].items()
        }
        items.append(item)
    return items
