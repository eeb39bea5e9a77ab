"""Small maps for tests, and who labels samples of them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from tessera_mosaic.pipeline.tiling.lattice import NORTH_EDGE, PIXEL, WEST_EDGE

CLASSES = (
    {"code": 0, "name": "forest", "colour": "#1b6e3a"},
    {"code": 3, "name": "wheat", "colour": "#e6b43c"},
    {"code": 9, "name": "water", "colour": "#3a6ea8"},
)

ROW, COL = 370_000, 34_000
"""Where the maps lie in their zone: in the north of France, for zone 31."""


def write_map(
    path: Path,
    zones: dict[int, NDArray[np.generic]],
    classes: Sequence[dict[str, object]] = CLASSES,
    year: int = 2024,
    name: str = "class",
    **others: NDArray[np.generic],
) -> Path:
    """A map that somebody wrote with zarr: a part of the lattice, which its coordinates place.

    Parameters
    ----------
    path
        Where to write it.
    zones
        Pixels by zone, (height, width).
    classes
        What the root's attribute lists.
    year
        Its year.
    name
        Name of the array of pixels.
    others
        Further arrays of every zone, (..., height, width).
    """
    root = zarr.open_group(path, mode="w", zarr_format=3)
    if classes:
        root.attrs["classes"] = list(classes)
    for zone, pixels in zones.items():
        group = root.create_group(f"utm{zone:02d}")
        height, width = pixels.shape
        at = {
            "time": np.array([year], np.int32),
            "x": WEST_EDGE + PIXEL * (COL + np.arange(width) + 0.5),
            "y": NORTH_EDGE - PIXEL * (ROW + np.arange(height) + 0.5),
        }
        for axis, values in at.items():
            group.create_array(axis, data=values, dimension_names=(axis,))
        for each, values in {name: pixels, **others}.items():
            fill = 255 if values.dtype == np.uint8 else np.nan
            dims = ("time", *("band",) * (values.ndim - 2), "y", "x")
            array = group.create_array(
                each,
                shape=(1, *values.shape),
                chunks=(1, *values.shape[:-2], min(height, 100), min(width, 100)),
                dtype=values.dtype,
                fill_value=fill,
                dimension_names=dims,
            )
            array[0] = values
    return path


def place(name: str) -> tuple[int, int, int]:
    """Zone, row and column of a point's pixel in its zone's array."""
    zone, row, col = name.split("-")
    return int(zone[3:]), int(row[1:]) - ROW, int(col[1:]) - COL


def label(path: Path, truth: Callable[[int, int, int], object], to: Path | None = None) -> Path:
    """Fill the labels of a sample by what is true at each pixel."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label"] = str(truth(*place(row["id"])))
    return write_rows(to or path, rows)


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of a sample's file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Sequence[dict[str, str]], separator: str = ",") -> Path:
    """Write rows of a sample as people's programs do."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=separator)
        table.writeheader()
        table.writerows(rows)
    return path
