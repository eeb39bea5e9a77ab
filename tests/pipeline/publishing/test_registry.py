"""The registry: a row for each tile and year, in a file that other software reads."""

from __future__ import annotations

import json

import duckdb
import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.records import read_record
from tests.samples import TILES, YEARS, pixels

WEST = TILES[0]


def test_registry_is_geoparquet_with_a_row_a_tile_and_year(store: Storage) -> None:
    table = pq.read_table(f"{store.url}/registry.parquet")
    geo = json.loads(table.schema.metadata[b"geo"])
    rows = table.to_pylist()
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["encoding"] == "WKB"
    assert {(row["tile"], row["year"]) for row in rows} == {
        (tile.name, year) for tile in TILES for year in YEARS
    }
    shapes = {row["tile"]: shapely.from_wkb(row["geometry"]) for row in rows}
    assert {shape.geom_type for shape in shapes.values()} == {"Polygon", "MultiPolygon"}
    assert set(geo["columns"]["geometry"]["geometry_types"]) == {"Polygon", "MultiPolygon"}
    for name, shape in shapes.items():
        assert shape.is_valid
        assert -180 <= shape.bounds[0] < shape.bounds[2] <= 180
        assert (shape.geom_type == "MultiPolygon") == name.startswith(("utm01", "utm60"))
    record = read_record(store, 2018, WEST)
    (row,) = (row for row in rows if (row["tile"], row["year"]) == (WEST.name, 2018))
    assert record is not None
    assert row["state"] == "done"
    assert row["bytes"] == sum(entry.size for entry in record.objects)
    assert row["pixels_embedded"] == record.pixels["embedded"]
    assert row["observations_s2_max"] == record.observations["s2"]["max"]
    assert row["fingerprint"] == record.fingerprint
    put = pixels(WEST, 2018)
    codes = put.codes[np.isfinite(put.scales)].astype(np.float64)
    assert row["code_power"] == pytest.approx(np.square(codes).mean())
    assert row["scale_median"] == pytest.approx(np.median(put.scales[np.isfinite(put.scales)]))


def test_a_box_of_the_registry_is_read_by_geopandas_and_duckdb(store: Storage) -> None:
    path = f"{store.url}/registry.parquet"
    geo = json.loads(pq.read_metadata(path).metadata[b"geo"])
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmax"] == ["bbox", "xmax"]
    whole = geopandas.read_parquet(path)
    assert whole.crs == "OGC:CRS84"
    tile = whole[whole.tile == WEST.name].geometry.iloc[0]
    box = tuple(tile.buffer(-0.0001).bounds)
    found = geopandas.read_parquet(path, bbox=box)
    near = found[found.intersects(shapely.box(*box))]
    # Boxes of tiles at the antimeridian reach around the world, so that nobody misses them.
    assert set(found.tile) - set(near.tile) <= {tile.name for tile in TILES if tile.zone in (1, 60)}
    assert set(near.tile) == set(whole[whole.intersects(shapely.box(*box))].tile) >= {WEST.name}
    asked = """
        select distinct tile from read_parquet(?)
        where bbox.xmin <= ? and bbox.xmax >= ? and bbox.ymin <= ? and bbox.ymax >= ?
    """
    west, south, east, north = box
    rows = duckdb.execute(asked, [path, east, west, north, south]).fetchall()
    assert {name for (name,) in rows} == set(found.tile)
    at_the_line = geopandas.read_parquet(path, bbox=(179.99, -0.01, 180, 0.01))
    assert {tile.name for tile in TILES if tile.zone == 60} <= set(at_the_line.tile)
