"""What users ask for is read, and what cannot be meant is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling import countries, lattice, ownership
from tessera_mosaic.pipeline.tiling.lattice import Window
from tessera_mosaic.pipeline.tiling.region import pixels_inside, read_region, sentinel2_tile
from tessera_mosaic.pipeline.tiling.vector_files import FORMATS, read_vector

SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]


def geojson(path: Path, geometry: dict[str, Any] | None, crs: str = "") -> str:
    features = [{"type": "Feature", "properties": {}, "geometry": geometry}]
    collection: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if crs:
        collection["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(collection))
    return str(path)


def polygon(ring: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [ring]}


def vector(path: Path, shape: shapely.Geometry, crs: str | None, layer: str = "one") -> str:
    blobs = np.array([shapely.to_wkb(shape)], dtype=object)
    driver = "LIBKML" if path.suffix == ".kml" else FORMATS[path.suffix]
    kind = shape.geom_type
    pyogrio.raw.write(path, blobs, [], [], geometry_type=kind, crs=crs, layer=layer, driver=driver)
    return str(path)


def test_global_is_all_that_utm_covers() -> None:
    assert read_region("global").bounds == (-180, -80, 180, 84)


def test_a_box_across_the_antimeridian_has_two_parts() -> None:
    parts = shapely.get_parts(read_region("179,-17,-179,-16"))
    assert [part.bounds for part in parts] == [(179, -17, 180, -16), (-180, -17, -179, -16)]


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "shp", "kml", "geojson"])
def test_vector_files_come_to_degrees(suffix: str, tmp_path: Path) -> None:
    metric = suffix in ("gpkg", "fgb", "shp")
    shape = shapely.box(500_000, 5_600_000, 510_000, 5_610_000)
    degrees = shapely.box(3.0, 50.5518, 3.1414, 50.6419)
    path = vector(
        tmp_path / f"area.{suffix}",
        shape if metric else degrees,
        "EPSG:32631" if metric else "EPSG:4326",
    )
    assert np.allclose(read_region(path).bounds, degrees.bounds, atol=1e-4)


def test_edges_of_a_projected_file_stay_where_they_were_drawn(tmp_path: Path) -> None:
    # The north edge of this square is far from straight in degrees.
    shape = shapely.box(2_000_000, 2_000_000, 3_000_000, 3_000_000)
    found = read_region(vector(tmp_path / "area.gpkg", shape, "EPSG:3413"))
    to_degrees = Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
    west, north = to_degrees.transform(2_500_000.0, 2_999_000.0)
    assert found.contains(shapely.Point(west, north))
    west, north = to_degrees.transform(2_500_000.0, 3_001_000.0)
    assert not found.contains(shapely.Point(west, north))


def test_a_projected_file_is_cut_at_the_antimeridian(tmp_path: Path) -> None:
    shape = shapely.box(800_000, 8_000_000, 900_000, 8_100_000)  # Taveuni, Fiji
    found = read_region(vector(tmp_path / "area.gpkg", shape, "EPSG:32760"))
    west, _, east, _ = found.bounds
    assert (west, east) == (-180, 180)
    assert found.area < 2


def test_a_projected_file_may_hold_a_pole(tmp_path: Path) -> None:
    shape = shapely.box(-1_500_000, -1_500_000, 1_500_000, 1_500_000)
    found = read_region(vector(tmp_path / "area.gpkg", shape, "EPSG:3031"))
    assert found.bounds[0::2] == (-180, 180)
    assert found.contains(shapely.MultiPoint([(0, -85), (179.9, -79), (-100, -89.9)]))
    assert not found.intersects(shapely.Point(0, -70))


def test_a_hole_may_hold_a_pole_too(tmp_path: Path) -> None:
    pole = shapely.Point(0, 0)
    ring = pole.buffer(2_500_000).difference(pole.buffer(1_500_000))
    found = read_region(vector(tmp_path / "area.gpkg", ring, "EPSG:3031"))
    assert found.contains(shapely.MultiPoint([(0, -70), (179.9, -72), (-100, -74)]))
    assert not found.intersects(shapely.box(-180, -90, 180, -77))


def test_a_geojson_keeps_the_system_of_its_old_crs_member(tmp_path: Path) -> None:
    ring = [[5e5, 56e5], [51e4, 56e5], [51e4, 561e4], [5e5, 561e4], [5e5, 56e5]]
    path = geojson(tmp_path / "a.geojson", polygon(ring), "urn:ogc:def:crs:EPSG::32631")
    assert np.allclose(read_region(path).bounds, (3.0, 50.5518, 3.1414, 50.6419), atol=1e-4)


@pytest.mark.parametrize(
    ("geometry", "crs", "area"),
    [
        (polygon([[x, y, 100] for x, y in SQUARE]), "", 1),
        (polygon(SQUARE[:-1]), "", 1),
        (polygon(SQUARE[::-1]), "urn:ogc:def:crs:OGC:1.3:CRS84", 1),
        ({"type": "GeometryCollection", "geometries": [polygon(SQUARE), polygon(SQUARE)]}, "", 1),
        (
            {
                "type": "MultiPolygon",
                "coordinates": [[SQUARE], [[[x + 0.5, y + 0.5] for x, y in SQUARE]]],
            },
            "",
            1.75,
        ),
        (polygon([[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]), "", 64_800),
        (polygon([[-100, 0], [0, 0], [100, 0], [100, 1], [0, 1], [-100, 1], [-100, 0]]), "", 200),
    ],
)
def test_areas_are_taken_as_they_are_drawn(
    geometry: dict[str, Any], crs: str, area: float, tmp_path: Path
) -> None:
    found = read_region(geojson(tmp_path / "area.geojson", geometry, crs))
    assert found.area == pytest.approx(area)


def test_a_feature_without_a_place_is_no_area(tmp_path: Path) -> None:
    features = [
        {"type": "Feature", "properties": None, "geometry": geometry}
        for geometry in (None, polygon(SQUARE))
    ]
    path = tmp_path / "area.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, "crs": None}))
    assert read_region(str(path)).bounds == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("<Point><coordinates>0,0</coordinates></Point>", "points or lines"),
        ("<NetworkLink><Link><href>file:///etc/passwd</href></Link></NetworkLink>", "another file"),
        ("", "is empty"),
    ],
)
def test_a_kml_without_areas_is_refused(body: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "area.kml"
    path.write_text(
        f'<kml xmlns="http://www.opengis.net/kml/2.2"><Placemark>{body}</Placemark></kml>'
    )
    with pytest.raises(BadInput, match=says):
        read_region(str(path))


def test_a_kml_keeps_its_holes(tmp_path: Path) -> None:
    def ring(side: str, low: int, high: int) -> str:
        corners = f"{low},{low},5 {high},{low},5 {high},{high},5 {low},{high},5 {low},{low},5"
        text = f"<LinearRing><coordinates>\n{corners}\n</coordinates></LinearRing>"
        return f"<{side}BoundaryIs>{text}</{side}BoundaryIs>"

    path = tmp_path / "area.kml"
    body = f"<Polygon>{ring('outer', 0, 4)}{ring('inner', 1, 2)}</Polygon>"
    path.write_text(f"<kml><Folder><Placemark>{body}</Placemark></Folder></kml>")
    assert read_region(str(path)).area == 15


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (" Global", "global"),
        ("T31UFS", "31UFS"),
        ("t31ufs", "31UFS"),
        ("FIJI", "Fiji"),
        ("170,0,-180,1", "170,0,180,1"),
        ("180,0,-170,1", "-180,0,-170,1"),
        ("Cote d’Ivoire", "Côte d'Ivoire"),
        ("ALAND", "Åland"),
        ("Bosnia and Herzegovina", "Bosnia and Herz."),
        ("south sudan", "S. Sudan"),
        ("Dem Rep Congo", "Dem. Rep. Congo"),
    ],
)
def test_names_are_read_in_any_case_without_accents_and_written_out(text: str, same: str) -> None:
    assert read_region(text).equals(read_region(same))


@pytest.mark.parametrize(
    "rings",
    [
        [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]],
        [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]], [[3, 3], [5, 3], [5, 5], [3, 3]]],
        [[[0, 0], [4, 0], [2, 0], [2, 2], [0, 2], [0, 0]]],
    ],
    ids=["bow", "hole outside", "spike"],
)
def test_an_outline_that_crosses_itself_is_refused(rings: list[Any], tmp_path: Path) -> None:
    path = geojson(tmp_path / "bow.geojson", {"type": "Polygon", "coordinates": rings})
    with pytest.raises(BadInput, match=r"bow.geojson has an outline that .*: mend it first") as it:
        read_region(path)
    assert "\n" not in str(it.value)


@pytest.mark.parametrize(
    ("geometry", "crs", "says"),
    [
        (None, "", "is empty"),
        ({"type": "Point", "coordinates": [0, 0]}, "", "points or lines"),
        ({"type": "LineString", "coordinates": [[0, 0], [1, 1]]}, "", "points or lines"),
        (polygon([[0, 0], [float("nan"), 0], [1, 1], [0, 0]]), "", "not a number"),
        (polygon([[0, 0], [float("inf"), 0], [1, 1], [0, 0]]), "", "not a number"),
        (polygon([[0, 0], [500_000, 0], [1, 1], [0, 0]]), "", "declare its system"),
        (polygon([[0, 0], [1, 0], [2, 0], [0, 0]]), "", "has no area"),
        (polygon([[0, 85], [1, 85], [1, 86], [0, 85]]), "", "latitudes that UTM covers"),
        (polygon(SQUARE), "EPSG:99999", "unknown system"),
        (polygon(SQUARE), "+init=/etc/passwd:x", "unknown system"),
        (polygon(SQUARE), "EPSG:5703", "places nothing on a map"),
        (polygon(SQUARE), "EPSG:4978", "places nothing on a map"),
        (polygon([[179, 1], [-179, 1], [-179, 2], [179, 2], [179, 1]]), "", "cut it at 180"),
        (polygon([[170, 1], [190, 1], [190, 2], [170, 2], [170, 1]]), "", "cut it at 180"),
        (polygon([]), "", "less than three corners"),
        (polygon([SQUARE]), "", "broken geometry"),
        (polygon([["0", "0"], ["1", "0"], ["1", "1"], ["0", "0"]]), "", "broken geometry"),
        (polygon([[10**400, 0], [1, 0], [1, 1], [0, 0]]), "", "broken geometry"),
        ({"type": "MultiPolygon", "coordinates": []}, "", "is empty"),
        (
            {
                "type": "GeometryCollection",
                "geometries": [polygon(SQUARE), {"type": "Point", "coordinates": [0, 0]}],
            },
            "",
            "points or lines",
        ),
        ({"type": "polygon", "coordinates": [SQUARE]}, "", "is no GeoJSON"),
        ({"type": "Polygon", "coordinates": {"a": 1}}, "", "is no GeoJSON"),
        (polygon([[0, 0], [1e9, 0], [1e9, 1e9], [0, 0]]), "EPSG:32631", "its system can describe"),
    ],
)
def test_files_that_cannot_be_meant_are_refused(
    geometry: dict[str, Any] | None, crs: str, says: str, tmp_path: Path
) -> None:
    path = geojson(tmp_path / "area.geojson", geometry, crs)
    with pytest.raises(BadInput, match=says) as caught:
        read_region(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"\x00\xff" * 500, b'{"type": "Feature', b"<OGRWFSDataSource>"]
)
@pytest.mark.parametrize("suffix", [".geojson", ".gpkg", ".shp", ".fgb", ".kml", ".vrt", ".txt"])
def test_what_is_no_vector_file_is_refused(data: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"area{suffix}"
    path.write_bytes(data)
    with pytest.raises(BadInput, match=r"is no .*file"):
        read_region(str(path))


def test_a_file_without_a_reference_system_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="crs"):
        path = vector(tmp_path / "area.shp", shapely.box(0, 0, 1, 1), None)
    with pytest.raises(BadInput, match=r"add it \(a shapefile needs its .prj\)"):
        read_region(path)


def test_a_file_with_two_layers_is_refused_by_their_names(tmp_path: Path) -> None:
    for layer in ("north", "south"):
        path = vector(tmp_path / "area.gpkg", shapely.box(0, 0, 1, 1), "EPSG:4326", layer)
    with pytest.raises(BadInput, match="north, south"):
        read_region(path)


def test_size_is_bounded_before_and_after_reading(tmp_path: Path) -> None:
    path = Path(geojson(tmp_path / "area.geojson", polygon(SQUARE)))
    with pytest.raises(BadInput, match="5 corners, more than 4"):
        read_vector(path, most_corners=4)
    with pytest.raises(BadInput, match="bytes, more than 10"):
        read_vector(path, most_bytes=10)
    assert read_vector(path).area > 0


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "nowhere", "180,0,-180,1", "/vsicurl/http://example.org/a", "99UFS"]
)
def test_text_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        read_region(text)


def test_countries_have_names_and_near_misses_hints() -> None:
    found = read_region("luxembourg")
    assert found.contains(shapely.Point(6.13, 49.61))
    assert not found.contains(shapely.Point(6.64, 49.75))
    assert read_region("Fiji").area < 2  # degrees; it lies on both sides of the antimeridian
    with pytest.raises(BadInput, match="did you mean Luxembourg"):
        read_region("Luxemburg")


def test_every_country_is_found_by_its_own_name_alone() -> None:
    names, _ = countries.countries()
    for name in names:
        assert [names[k] for k in countries.spelt_like(name, names)] == [name]


def test_every_code_and_other_name_is_that_of_one_country() -> None:
    names, _ = countries.countries()
    known = countries.other_names()
    assert set(known.values()) <= set(names)
    assert len([key for key in known if len(key) == 3]) > 235
    taken = {each for each in known if countries.spelt_like(each, names)}
    assert not taken


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("LUX", "Luxembourg"),
        ("be", "Belgium"),
        ("FRA", "France"),
        ("NO", "Norway"),
        ("XK", "Kosovo"),
        ("UK", "United Kingdom"),
        ("usa", "United States of America"),
        ("United States", "United States of America"),
        ("Ivory Coast", "Côte d'Ivoire"),
        ("Türkiye", "Turkey"),
        ("North Macedonia", "Macedonia"),
        ("The Gambia", "Gambia"),
        ("Faroe Islands", "Faeroe Is."),
        ("Democratic Republic of the Congo", "Dem. Rep. Congo"),
    ],
)
def test_countries_have_codes_and_other_common_names(text: str, name: str) -> None:
    assert read_region(text).equals(read_region(name))


def test_a_list_is_the_ground_of_all_that_it_names() -> None:
    three = read_region("LUX, BEL,Netherlands")
    for lon, lat in ((6.13, 49.61), (4.35, 50.85), (5.12, 52.09)):
        assert three.contains(shapely.Point(lon, lat))
    assert three.area == pytest.approx(sum(read_region(n).area for n in ("LU", "BE", "NL")))
    four = read_region("LI,SM,AD,MLT")
    assert four.area == pytest.approx(sum(read_region(n).area for n in ("LI", "SM", "AD", "MT")))
    two = shapely.union(read_region("31UFS"), read_region("31UES"))
    assert read_region("31UFS,T31UES").area == pytest.approx(two.area)


@pytest.mark.parametrize("text", ["LUX,,BEL", "LUX,Atlantis", "LUX,", "LUX,1,2"])
def test_a_list_with_what_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        read_region(text)


@pytest.mark.parametrize("text", ["England", "Bern", "Narnia", "ENG", "Scotland", "Texas"])
def test_names_that_are_not_close_are_not_suggested(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_region(text)
    assert "did you mean" not in str(caught.value)
    assert "FRA" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "swapped", "parts"),
    [
        ("30,10,-20,40", "-20,10,30,40", "30,10,180,40 and -180,10,-20,40"),
        ("7.5,46,7,47", "7,46,7.5,47", "7.5,46,180,47 and -180,46,7,47"),
    ],
)
def test_a_box_whose_west_and_east_may_have_changed_places_is_refused(
    text: str, swapped: str, parts: str
) -> None:
    with pytest.raises(BadInput) as caught:
        read_region(text)
    assert swapped in str(caught.value)
    assert parts in str(caught.value)
    assert not read_region(swapped).is_empty


def test_a_box_across_the_antimeridian_may_span_half_the_globe() -> None:
    assert read_region("90,0,-90,1").area == pytest.approx(180)


def test_a_country_too_small_to_be_drawn_is_refused() -> None:
    with pytest.raises(BadInput, match="'Vatican' is too small to have an outline"):
        read_region("Vatican")


@pytest.mark.parametrize("name", ["31UAS", "32XNR", "34XDG", "31VFJ", "31UIS", "61UFS", "31IFS"])
def test_squares_that_no_zone_has_are_no_sentinel2_tiles(name: str) -> None:
    with pytest.raises(BadInput, match=f"'{name}' is no Sentinel-2 tile"):
        read_region(name)


@pytest.mark.parametrize(
    ("name", "lon", "lat"),
    [("32VKM", 5.32, 60.38), ("33XWG", 15.64, 78.22), ("60KZG", 179.9, -16.8), ("19FEV", -68, -55)],
    ids=["Bergen", "Longyearbyen", "Vanua Levu", "Navarino"],
)
def test_sentinel2_tiles_hold_their_towns(name: str, lon: float, lat: float) -> None:
    assert read_region(name).contains(shapely.Point(lon, lat))


def test_sentinel2_tiles_lie_where_the_archive_has_them(shared: Path) -> None:
    compared: set[str] = set()
    for path in sorted((shared / "data" / "stac_items").glob("*sentinel-2-l2a*.json")):
        for item in json.loads(path.read_text()).get("features", []):
            properties = item["properties"]
            name = properties.get("s2:mgrs_tile", properties.get("grid:code", "")[5:])
            asset = item["assets"].get("B04") or item["assets"].get("red") or {}
            code = str(properties.get("proj:code", properties.get("proj:epsg"))).split(":")[-1]
            if not name or name in compared or "proj:transform" not in asset:
                continue
            step, _, left, _, _, top = asset["proj:transform"][:6]
            height, width = asset["proj:shape"]
            corners = shapely.box(left, top - step * height, left + step * width, top)
            to_degrees = Transformer.from_crs(f"EPSG:{code}", "EPSG:4326", always_xy=True)
            real = lattice.moved(shapely.segmentize(corners, 500), to_degrees)
            # Real tiles are snapped to 60 m. At the equator that is less than 0.0006 degrees.
            metres = 60 / 111_000 / np.cos(np.radians(real.centroid.y))
            assert sentinel2_tile(name).hausdorff_distance(real) < 2 * metres
            compared.add(name)
    assert len(compared) > 10


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(-79, 83), st.floats(0, 6.28), st.floats(0.0005, 0.002))
def test_pixels_inside_are_those_whose_centres_are(
    zone: int, lat: int, turn: float, size: float
) -> None:
    west = -180.0 + 6.0 * (zone - 1)
    angles = turn + np.array([0, 2, 4])
    reach = size / np.cos(np.radians(lat))
    triangle = shapely.Polygon(
        np.stack([west + 3 + reach * np.cos(angles), lat + size * np.sin(angles)], axis=1)
    )
    window = ownership.region_window(zone, triangle)
    row, col = np.indices(window.shape)
    x = window.west + (col + 0.5) * lattice.PIXEL
    y = window.north - (row + 0.5) * lattice.PIXEL
    lon, lats = lattice.to_lonlat(zone).transform(x, y)
    found = pixels_inside(triangle, window)
    sure = ~shapely.contains_xy(triangle.boundary.buffer(1e-7), lon, lats)
    assert (found == shapely.contains_xy(triangle, lon, lats))[sure].all()


def test_pixels_inside_reach_across_the_antimeridian() -> None:
    box = read_region("179.99,-17,-179.99,-16.98")
    row = (
        lattice.NORTH_EDGE - int(lattice.from_lonlat(60).transform(180, -16.99)[1])
    ) // lattice.PIXEL
    _, line = ownership.owned_columns(60, np.array([row]), margin=0)
    found = pixels_inside(box, Window(60, row, int(line[0]) - 32, 32, 64))
    assert found.all()
