"""A square of real TESSERA embeddings, half of it burned in 2021, as a mosaic of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.identity import adopted_identity
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import create_store
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, window_of_bounds

SIDE = 64
SQUARE = window_of_bounds(10, (731_280, 4_285_520, 731_920, 4_286_160))
BURNED = (21, 22)
"""Years of loss that count as burned, of the Hansen data."""


def square(shared: Path) -> dict[str, NDArray[Any]]:
    """The arrays of the square."""
    with np.load(shared / "data/downstream/tessera_v11_caldor_64.npz") as file:
        return dict(file)


def burned(shared: Path) -> NDArray[np.bool_]:
    """Which of its pixels burned, by the loss at their centres: bool (64, 64)."""
    with np.load(shared / "data/downstream/tessera_v11_caldor_64_hansen.npz") as file:
        loss = {name: file[name] for name in file}
    lon, lat = centres()
    row = np.floor((loss["north"] - lat) / loss["res"]).astype(np.int64)
    col = np.floor((lon - loss["west"]) / loss["res"]).astype(np.int64)
    return np.isin(loss["lossyear"][row, col], BURNED)


def centres() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes of its pixels: (64, 64)."""
    x = SQUARE.west + 10 * (np.arange(64) + 0.5)
    y = SQUARE.north - 10 * (np.arange(64) + 0.5)
    return Transformer.from_crs(SQUARE.crs, "EPSG:4326", always_xy=True).transform(
        *np.meshgrid(x, y)
    )


def mosaic(shared: Path, store: Path, years: tuple[int, ...], model: str = "tessera-v1.1") -> None:
    """Write some years of the square as a mosaic."""
    told = square(shared)
    identity = adopted_identity(model, "arrays", nearest=False, margin=0)
    made = create_store(Storage(str(store)), Layout(SIDE), identity, years, [SQUARE.zone])
    for year in years:
        step = told["years"].tolist().index(year)
        for tile in tiles():
            part = overlap(tile.window)
            here = part.within(SQUARE)
            names = ("s2", "s1_asc", "s1_desc")
            counts = [told[f"{name}_obs_count"][step][here].astype(np.uint16) for name in names]
            with made.writer(tile, year) as writer:
                writer.put(
                    part,
                    told["embeddings"][step][here],
                    told["scales"][step][here],
                    dict(zip(("s2", "s1_ascending", "s1_descending"), counts, strict=True)),
                )
                writer.close()


def tiles() -> list[Tile]:
    """Tiles that hold some of the square."""
    return [
        Tile(SQUARE.zone, row, col, SIDE)
        for row in range(SQUARE.row // SIDE, (SQUARE.row + 63) // SIDE + 1)
        for col in range(SQUARE.col // SIDE, (SQUARE.col + 63) // SIDE + 1)
    ]


def overlap(window: Window) -> Window:
    """The part of the square that lies in a window."""
    top, left = max(window.row, SQUARE.row), max(window.col, SQUARE.col)
    bottom = min(window.row + window.height, SQUARE.row + 64)
    right = min(window.col + window.width, SQUARE.col + 64)
    return Window(window.zone, top, left, bottom - top, right - left)


def labels(shared: Path, path: Path, columns: slice = slice(0, 32)) -> None:
    """Write the labels of some columns of the square, by default its west half, as points."""
    lon, lat = (of[:, columns].ravel() for of in centres())
    names = np.where(burned(shared)[:, columns].ravel(), "burned", "unburned")
    lines = [f"{x:.8f},{y:.8f},{name}" for x, y, name in zip(lon, lat, names, strict=True)]
    path.write_text("\n".join(["lon,lat,label", *lines]) + "\n")


def region(path: Path) -> str:
    """Write the square as a region, and return its path."""
    lon, lat = centres()
    west, south, east, north = lon.min(), lat.min(), lon.max(), lat.max()
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    return str(path)
