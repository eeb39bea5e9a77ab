"""A small chain of artefacts of each kind, made by the commands' own code, to plant faults in."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

import tessera_mosaic as tm
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.layout import COUNTS, Layout
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.mosaic.store import create_store
from tessera_mosaic.pipeline.tiling.lattice import Tile, to_lonlat
from tests import samples
from tests.pipeline.downstream.maps import rows_of, write_rows

SIDE, DIMS = 64, 8
TILES = tuple(Tile(31, 5785, 540 + col, SIDE) for col in range(2))
"""Two tiles in the north of France."""

YEARS = (2018, 2019)
REGION = "land.geojson"


def is_wood(tile: Tile) -> np.ndarray:
    """Which pixels are wooded: bool (64, 64)."""
    rows, cols = np.indices((SIDE, SIDE))
    return np.asarray(np.sin((rows + tile.row) / 9) + np.cos((cols + SIDE * tile.col) / 11) > 0)


def embeddings(tile: Tile, year: int, radar: bool = True) -> Pixels:
    """Embeddings that tell wood from field, a little different each year."""
    rng = np.random.default_rng([tile.row, tile.col, year])
    codes = rng.normal(0, 12, (SIDE, SIDE, DIMS))
    codes[..., 0] += np.where(is_wood(tile), 60, -60)
    counts = {name: np.full((SIDE, SIDE), 30, np.uint16) for name in COUNTS}
    if not radar:
        counts |= {name: np.zeros((SIDE, SIDE), np.uint16) for name in COUNTS[1:]}
    scales = np.full((SIDE, SIDE), 0.0173, np.float32)
    return Pixels(np.clip(np.rint(codes), -127, 127).astype(np.int8), scales, counts)


def write_mosaic(folder: Path, dims: int = DIMS, **identity: object) -> None:
    """A mosaic of both years, with the records of a run."""
    told = samples.identity(**identity)
    made = create_store(Storage(str(folder)), Layout(SIDE, dims), told, YEARS, {31})

    def fewer(tile: Tile, year: int) -> Pixels:
        found = embeddings(tile, year)
        return Pixels(found.codes[..., :dims], found.scales, found.counts)

    for year in YEARS:
        samples.add_tiles(made, TILES, year, fewer)


def write_labels(path: Path) -> None:
    """Labels of some pixels: what grows there, and how many tons a hectare."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["lon", "lat", "label", "tons"])
        for tile in TILES:
            wood, window = is_wood(tile), tile.window
            for row, col in rng.choice(SIDE, (120, 2)):
                x, y = window.west + 10 * (col + 0.5), window.north - 10 * (row + 0.5)
                lon, lat = to_lonlat(31).transform(x, y)
                tons = 250 * wood[row, col] + rng.uniform(5, 20)
                name = "wood" if wood[row, col] else "field"
                table.writerow([f"{lon:.7f}", f"{lat:.7f}", name, f"{tons:.1f}"])


def label_sample(path: Path, of_class: bool) -> None:
    """Label a sample by what is true at each pixel."""
    rows = rows_of(path)
    for row in rows:
        y, x = (int(part[1:]) for part in row["id"].split("-")[1:])
        wood = is_wood(Tile(31, y // SIDE, x // SIDE, SIDE))[y % SIDE, x % SIDE]
        row["label"] = ("wood" if wood else "field") if of_class else str(260.0 * wood + 12)
    write_rows(path, rows)


def make_chain(folder: Path) -> None:
    """All artefacts, side by side in a folder."""
    store, labels = str(folder / "mosaic.zarr"), str(folder / "labels.csv")
    write_mosaic(folder / "mosaic.zarr")
    write_labels(folder / "labels.csv")
    west, north = TILES[0].window.west + 10, TILES[0].window.north - 10
    lon, lat = to_lonlat(31).transform(
        [west, west + 1260, west + 1260, west], [north - 620, north - 620, north, north]
    )
    region = f"{min(lon)},{min(lat)},{max(lon)},{max(lat)}"
    tm.train(tm.TrainRequest(store, labels, 2018, str(folder / "crops.head")))
    values = tm.TrainRequest(
        store, labels, 2018, str(folder / "tons.head"), field="tons", task="value", unit="t/ha"
    )
    tm.train(values)
    mapped = {"region": region, "year": 2018}
    for name in ("crops", "tons"):
        head, out = str(folder / f"{name}.head"), str(folder / f"{name}.zarr")
        tm.map(tm.MapRequest(store, head, out=out, **mapped))
    tm.changed(tm.ChangedRequest(store, 2018, 2019, region, str(folder / "changed.zarr")))
    like = ((float(np.mean(lon)), float(np.mean(lat))),)
    for name in ("hits.parquet", "hits.geojson"):
        tm.search(tm.SearchRequest(store, 2018, str(folder / name), like, top=5))
    for name in ("crops", "tons"):
        sample = folder / f"{name}.csv"
        tm.points(tm.PointsRequest(str(folder / f"{name}.zarr"), str(sample), 60, design="random"))
        label_sample(sample, of_class=name == "crops")
        tm.areas(tm.AreasRequest(str(folder / f"{name}.zarr"), str(sample), str(folder / name)))
    for name in ("vectors.parquet", "vectors.csv"):
        tm.extract(tm.ExtractRequest(store, labels, folder / name, (2018,)))
    tm.blocks(tm.BlocksRequest(store))
