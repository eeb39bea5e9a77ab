"""Derive the land layer and the countries that the package ships.

    npm pack world-atlas@2.0.2
    pip download --no-deps global-land-mask==1.0.0
    python tools/derive_land.py world-atlas-2.0.2.tgz global_land_mask-1.0.0-py3-none-any.whl

Three sources; the first is in the public domain by its makers' word, the second a derivative of a
work of the United States government, the third is ours:

- Natural Earth 4.1.0, 1:10 million, land and countries, as TopoJSON in the npm package world-atlas
  (whose quantization moves a coast by at most 200 m);
- islands that it lacks, from NOAA's GLOBE elevation model at 30 arc seconds, as the mask of ground
  above the sea in the PyPI package global-land-mask;
- `islets.csv`, islands and atolls that are in neither, placed to a few kilometres from general
  knowledge: a list that is not complete and has not been checked against a gazetteer.

A cell of the lattice (256 px) is land if any of its ground lies within 12 km of any of them.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from affine import Affine
from rasterio.features import shapes

from tessera_mosaic.pipeline.tiling import lattice, ownership
from tessera_mosaic.pipeline.tiling.boxes import TURNS
from tessera_mosaic.pipeline.tiling.countries import COUNTRIES
from tessera_mosaic.pipeline.tiling.land import COAST, LAYER, write_layer
from tessera_mosaic.pipeline.tiling.land_cells import CELL, cells_touched
from tessera_mosaic.pipeline.tiling.polygons import cut_at_antimeridian

SOURCES = {
    "world-atlas-2.0.2.tgz": "032e7765f2ce00edaeafec23ff22bc3b77e42987c257da944cc585b452c05b97",
    "global_land_mask-1.0.0-py3-none-any.whl": (
        "07751fbb4e3834ee508a84ea64d9bd5340fbd0a8c951e24b43c323fcc670bb62"
    ),
}

NULL_ISLAND = shapely.Point(0.0, 0.0)
"""A joke of Natural Earth's."""

ISLETS = Path(__file__).with_name("islets.csv")

ISLET_RADIUS = 10_000
"""Metres around the position of an islet that count as its land: most are atolls."""


def main(arguments: list[str]) -> None:
    """Read the sources and write the package data."""
    atlas, globe = (read_source(Path(argument)) for argument in arguments)
    with tarfile.open(fileobj=io.BytesIO(atlas)) as packed:
        land, countries = (
            packed.extractfile(f"package/{name}-10m.json").read() for name in ("land", "countries")
        )
    COUNTRIES.write_bytes(gzip.compress(countries, compresslevel=9, mtime=0))
    mainland = polygons_of(land)
    with zipfile.ZipFile(io.BytesIO(globe)) as packed:
        mask = packed.read("global_land_mask/globe_combined_mask_compressed.npz")
    islands = islands_beyond(mainland, np.load(io.BytesIO(mask))["mask"])
    with ISLETS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    islets = shapely.points([(float(row["longitude"]), float(row["latitude"])) for row in rows])
    print(
        f"{len(mainland):,} polygons of Natural Earth, {len(islands):,} more of GLOBE, "
        f"{len(islets)} islets"
    )
    zones = {z: cells_of(z, np.concatenate([mainland, islands]), islets) for z in range(1, 61)}
    write_layer(LAYER, zones)
    print(f"{sum(int(cells.sum()) for cells in zones.values()):,} cells of {CELL} px are land")


def read_source(path: Path) -> bytes:
    """Bytes of a source, if they are those the layer was first derived from."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != SOURCES.get(path.name):
        sys.exit(f"{path} is not the file that SOURCES names")
    return data


def polygons_of(topojson: bytes) -> np.ndarray:
    """Valid polygons in degrees of a TopoJSON file's one object."""
    _, _, blobs, _ = pyogrio.raw.read(topojson, columns=[])
    found = []
    for part in shapely.get_parts(shapely.from_wkb(blobs)):
        if part.intersects(NULL_ISLAND):
            continue
        # An island smaller than the quantization collapses: keep the place where it was.
        valid = cut_at_antimeridian(part)
        found.append(valid if len(valid) else [shapely.box(*part.bounds).buffer(1e-4)])
    return np.concatenate(found)


def islands_beyond(land: np.ndarray, sea: np.ndarray) -> np.ndarray:
    """Islands of GLOBE that touch no polygon of the land layer."""
    rows, cols = sea.shape
    origin = Affine(360 / cols, 0, -180, 0, -180 / rows, 90)
    dry = ~sea
    outlines = [
        shapely.geometry.shape(outline)
        for outline, _ in shapes(dry.view(np.uint8), mask=dry, connectivity=8, transform=origin)
    ]
    islands = shapely.make_valid(outlines)
    touching, _ = shapely.STRtree(land).query(islands, predicate="intersects")
    return np.delete(islands, np.unique(touching))


def cells_of(zone: int, land: np.ndarray, islets: np.ndarray) -> np.ndarray:
    """Cells of a zone that hold ground of it within 12 km of land."""
    west = -180.0 + 6.0 * (zone - 1)
    reach = 2.0  # degrees: 12 km are 1.03 at 84 N
    near = [
        shapely.transform(
            shapely.clip_by_rect(shape, west - reach + turn, -81, west + 6 + reach + turn, 84.5),
            lambda at, turn=turn: at - [turn, 0.0],
        )
        for turn in TURNS
        for shape in (land, islets)
    ]
    parts = np.concatenate(near)
    parts = shapely.segmentize(parts[~shapely.is_empty(parts)], 0.1)
    ground = lattice.moved(parts, lattice.from_lonlat(zone))
    # UTM stretches ground by at most 0.1 %.
    buffers = shapely.buffer(ground, 1.001 * COAST)
    points = shapely.get_type_id(ground) == shapely.GeometryType.POINT
    buffers[points] = shapely.buffer(ground[points], 1.001 * (COAST + ISLET_RADIUS))
    cells = cells_touched(buffers)
    rows, columns = np.arange(cells.shape[0]), np.arange(cells.shape[1])
    first, stop = ownership.owned_tile_columns(zone, rows, CELL, margin=0)
    return cells & (columns >= first[:, None]) & (columns < stop[:, None])


if __name__ == "__main__":
    main(sys.argv[1:])
