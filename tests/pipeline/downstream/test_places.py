"""Which pixels the points and polygons of a file are, whatever its format and its projection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from pyproj import CRS, Transformer

from tessera_mosaic.pipeline.downstream.place_files import read_places
from tessera_mosaic.pipeline.downstream.places import Places, pixels_of
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.lattice import NORTH_EDGE, WEST_EDGE, moved, to_lonlat, zone_of

SQUARE = shapely.box(500_003.0, 5_000_006.0, 500_034.0, 5_000_028.0)
"""In metres of zone 31. Centres lie at 5 beyond tens: three columns and two rows are inside."""

INSIDE = [(col, row) for row in (0, 1) for col in (0, 1, 2)]


def pixels_of_square(places: Places, number: int = 0) -> list[tuple[int, int]]:
    found = pixels_of(places)
    mine = found.place == number
    assert set(found.zone[mine]) == {31}
    cols = found.col[mine] - (500_000 - WEST_EDGE) // 10
    rows = found.row[mine] - (NORTH_EDGE - 5_000_030) // 10
    return list(zip(cols.tolist(), rows.tolist(), strict=True))


def geojson(path: Path, shapes: list[Any], properties: list[dict[str, Any]], crs: str) -> Path:
    features = [
        {"type": "Feature", "properties": said, "geometry": shapely.geometry.mapping(shape)}
        for shape, said in zip(shapes, properties, strict=True)
    ]
    system = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": system, "features": features}))
    return path


def write(path: Path, shapes: list[Any], crs: str, crops: list[str]) -> Path:
    """A file of shapes with a column `crop`, in the format that its name says."""
    if path.suffix == ".geojson":
        return geojson(path, shapes, [{"crop": crop} for crop in crops], crs)
    wkb = np.array([shapely.to_wkb(shape) for shape in shapes], object)
    if path.suffix == ".parquet":
        column = {"encoding": "WKB", "geometry_types": [], "crs": CRS(crs).to_json_dict()}
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        table = pa.table({"geometry": list(wkb), "crop": crops})
        pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
        return path
    kind = {shape.geom_type for shape in shapes}.pop()
    pyogrio.raw.write(path, wkb, [np.array(crops, object)], ["crop"], geometry_type=kind, crs=crs)
    return path


@pytest.mark.parametrize(
    ("name", "crs"),
    [
        ("a.geojson", "EPSG:32631"),
        ("a.geojson", "OGC:CRS84"),
        ("a.parquet", "EPSG:3035"),
        ("a.gpkg", "OGC:CRS84"),
        ("a.shp", "EPSG:3035"),
        ("a.fgb", "EPSG:32631"),
    ],
)
def test_a_polygon_is_the_pixels_whose_centres_are_inside(
    tmp_path: Path, name: str, crs: str
) -> None:
    there = Transformer.from_crs("EPSG:32631", crs, always_xy=True)
    square = moved(shapely.segmentize(SQUARE, 5.0), there)
    hole = moved(
        shapely.difference(SQUARE, shapely.box(500_010, 5_000_010, 500_020, 5e6 + 20)), there
    )
    places = read_places(write(tmp_path / name, [square, hole], crs, ["wheat", "maize"]))
    # A FlatGeobuf file has an order of its own.
    wheat, maize = (places.column("CROP").index(crop) for crop in ("wheat", "maize"))
    assert pixels_of_square(places, wheat) == INSIDE
    assert pixels_of_square(places, maize) == [at for at in INSIDE if at != (1, 1)]


@pytest.mark.parametrize("name", ["a.geojson", "a.gpkg", "a.parquet"])
def test_a_point_is_the_pixel_that_holds_it(tmp_path: Path, name: str) -> None:
    points = [shapely.Point(500_009.9, 5_000_029.9), shapely.Point(500_020.1, 5_000_010.1)]
    places = read_places(write(tmp_path / name, points, "EPSG:32631", ["a", "b"]))
    assert pixels_of_square(places) == [(0, 0)]
    assert pixels_of_square(places, 1) == [(2, 1)]


def test_a_table_of_points_needs_nothing_but_their_places(tmp_path: Path) -> None:
    lon, lat = to_lonlat(31).transform([500_005.0, 500_025.0], [5_000_025.0, 5_000_015.0])
    csv = tmp_path / "points.csv"
    lines = ["\ufeffLon,lat,label", f"{lon[0]},{lat[0]},wheat", f"{lon[1]},{lat[1]},", ""]
    csv.write_text("\r\n".join(lines), newline="")
    table = tmp_path / "points.parquet"
    pq.write_table(pa.table({"lon": lon, "lat": lat, "label": ["wheat", None]}), table)
    for path in (csv, table):
        places = read_places(path)
        assert places.column("label") == ["wheat", None]
        assert pixels_of_square(places) == [(0, 0)]
        assert pixels_of_square(places, 1) == [(2, 1)]
        east, north = pixels_of(places).centres()
        np.testing.assert_allclose([east, north], [lon, lat], atol=1e-9)


def test_a_polygon_over_a_zone_line_has_pixels_of_both_zones_and_each_once(tmp_path: Path) -> None:
    box = shapely.box(5.999, 49.999, 6.001, 50.001)
    found = pixels_of(read_places(geojson(tmp_path / "a.geojson", [box], [{}], "OGC:CRS84")))
    lon, lat = found.centres()
    assert set(found.zone) == {31, 32}
    np.testing.assert_array_equal(zone_of(lon), found.zone)
    assert ((lon > 5.999) & (lon < 6.001) & (lat > 49.999) & (lat < 50.001)).all()
    ground = 0.002 * 0.002 * 111_320 * 111_320 * np.cos(np.radians(50)) / 100
    assert len(found) == pytest.approx(ground, rel=0.02)


def test_a_polygon_of_a_polar_projection_is_cut_at_the_antimeridian(tmp_path: Path) -> None:
    there = Transformer.from_crs("EPSG:4326", "EPSG:3413", always_xy=True)
    corners = np.stack(
        there.transform([179.999, 179.999, -179.999, -179.999], [70, 70.001, 70.001, 70]), 1
    )
    path = geojson(tmp_path / "a.geojson", [shapely.Polygon(corners)], [{}], "EPSG:3413")
    found = pixels_of(read_places(path))
    lon, _ = found.centres()
    assert set(found.zone) == {1, 60}
    assert (np.abs(lon) > 179.998).all()


def test_what_cannot_be_used_is_told_place_by_place(tmp_path: Path) -> None:
    bow = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    shapes = [shapely.Point(3, 50), bow, shapely.LineString([(0, 0), (1, 1)]),
              shapely.Point(3, 85), shapely.Point(200, 0), shapely.Point()]  # fmt: skip
    places = read_places(geojson(tmp_path / "a.geojson", shapes, [{}] * 6, "OGC:CRS84"))
    beginnings = ["", "broken geometry (Self-", "a place is a single point", "it lies beyond 80 S",
                  "it is not within longitudes", "it has no geometry"]  # fmt: skip
    for problem, beginning in zip(places.problems, beginnings, strict=True):
        assert problem.startswith(beginning)
        assert bool(problem) == bool(beginning)
    assert pixels_of(places).place.tolist() == [0]
    with pytest.raises(BadInput, match="no place that can be used; of its first: broken"):
        read_places(geojson(tmp_path / "b.geojson", [bow], [{}], "OGC:CRS84"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "x,y\n1,2\n", "needs the columns lon and lat, in degrees; it has x, y"),
        ("a.csv", "lon;lat\n1;2\n", "save it with commas"),
        ("a.csv", "lon,lat\n1,2,3\n", "row 2 has 3 values, not 2"),
        ("a.csv", "lon,lat\n", "has no places"),
        ("a.csv", "lon,lat\nabc,2\n", "a coordinate is not a number"),
        ("a.geojson", "[1]", "is no GeoJSON file"),
        ("a.geojson", '{"type": "FeatureCollection", "features": [3]}', "is no GeoJSON file"),
        ("a.gpkg", "no database", "is no GPKG file"),
        ("a.parquet", "no table", "is no Parquet file"),
        ("a.txt", "", "use one of .csv"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=f"^labels .*{said}"):
        read_places(tmp_path / name, "labels")


def test_more_pixels_than_fit_into_memory_are_refused(tmp_path: Path) -> None:
    path = geojson(tmp_path / "a.geojson", [shapely.box(3, 50, 3.01, 50.01)], [{}], "OGC:CRS84")
    with pytest.raises(BadInput, match="has more than 100 pixels"):
        pixels_of(read_places(path), most=100)
