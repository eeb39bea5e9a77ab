"""Labels as people have them: what is used, and what is counted and said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from tessera_mosaic.model.heads.head import Task
from tessera_mosaic.pipeline.downstream.label_check import check_labels, enough_of_each
from tessera_mosaic.pipeline.downstream.labels import colour_of, read_ground
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tests.rasters import write_raster

LINES = """lon,lat,label,year,group
3.0010,50.8450,wheat,2024,a
3.0012,50.8450,wheat,2024,a
3.0014,50.8450,grass,,b
3.0014,50.8450,wheat,,b
3.0016,50.8450,grass,2023,c
3.0018,50.8450,,2024,c
3.0020,50.8450,grass,2024,d
3.0020,50.8450,grass,2024,d
"""


def csv(path: Path, text: str = LINES) -> str:
    path.write_text(text)
    return str(path)


def test_what_is_not_used_is_counted_and_said(tmp_path: Path) -> None:
    ground = read_ground(csv(tmp_path / "labels.csv"), 2024, Task.CLASS, None, 256)
    assert [each.name for each in ground.classes] == ["grass", "wheat"]
    assert len(ground) == 3
    assert dict(ground.left_out) == {
        "label of another year": 1,
        "place without a label": 1,
        "pixel in two classes at once": 2,
        "pixel labelled twice alike, which counts once": 1,
    }
    assert len(np.unique(ground.group)) == 2


def test_values_are_numbers_and_averaged_where_they_meet(tmp_path: Path) -> None:
    text = "lon,lat,tons\n3.0,50.8,10\n3.0,50.8,20\n3.1,50.8,x\n3.2,50.8,7\n"
    ground = read_ground(csv(tmp_path / "v.csv", text), 2024, Task.VALUE, "tons", 256)
    assert sorted(ground.target.tolist()) == [7.0, 15.0]
    assert ground.left_out["value that is no number"] == 1
    assert not ground.classes


def test_polygons_weigh_the_same_whatever_their_size(tmp_path: Path) -> None:
    def box(west: float, size: float, label: int) -> dict[str, object]:
        east, south, north = west + size, 50.84, 50.84 + size
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        return {"type": "Feature", "geometry": geometry, "properties": {"label": label}}

    features = [box(3.0, 0.001, 4), box(3.01, 0.003, 7), box(3.02, 0.00001, 7)]
    path = tmp_path / "fields.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    ground = read_ground(str(path), 2024, Task.CLASS, None, 256)
    # Whole numbers stay the codes of their classes.
    assert [each.code for each in ground.classes] == [4, 7]
    weights = ground.weights()
    assert np.bincount(ground.place, weights)[:2] == pytest.approx([1, 1])
    assert ground.left_out["polygon that holds no pixel's centre"] == 1


def test_a_raster_brings_its_names_and_colours(tmp_path: Path) -> None:
    window = Tile(31, 11580, 1086, 32).window
    codes = np.zeros((32, 32), np.uint8)
    codes[:4, :8], codes[10:14, :8] = 3, 9
    path = tmp_path / "classes.tif"
    write_raster(path, codes, crs=window.crs, transform=Affine(*window.transform))
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {3: (10, 20, 30, 255), 9: (200, 0, 0, 255)})
        file.update_tags(CLASS_3="oats & rye")
    ground = read_ground(str(path), 2024, Task.CLASS, None, 32)
    assert [(each.code, each.name) for each in ground.classes] == [(3, "oats & rye"), (9, "9")]
    assert ground.classes[0].colour == (10, 20, 30)
    assert len(ground) == 64
    assert (ground.weights() == 1).all()


def test_classes_with_too_few_labels_are_named(tmp_path: Path) -> None:
    rows = [f"{3 + n / 5000},50.84,{'ab'[n % 2]},{n}" for n in range(20)] + ["3.1,50.84,rare,99"]
    text = "\n".join(["lon,lat,label,group", *rows]) + "\n"
    ground = enough_of_each(read_ground(csv(tmp_path / "l.csv", text), 2024, Task.CLASS, None, 32))
    assert [each.name for each in ground.classes] == ["a", "b"]
    assert ground.left_out == {"pixel of class rare, which has too few (1 in 1)": 1}
    first, second = check_labels(ground)
    assert (first.pixels, first.groups, first.neighbour_alike) == (10, 10, 0.0)
    assert second.west == pytest.approx(3.0002, abs=1e-4)
    few = csv(tmp_path / "few.csv", "lon,lat,label\n3,50.8,a\n3.1,50.8,b\n")
    with pytest.raises(BadInput, match="no two classes with 5 pixels"):
        enough_of_each(read_ground(few, 2024, Task.CLASS, None, 32))


def test_labels_that_cannot_be_used_are_refused_in_one_line(tmp_path: Path) -> None:
    path = csv(tmp_path / "labels.csv")
    with pytest.raises(BadInput, match="no such column; it has lon, lat, label, year, group"):
        read_ground(path, 2024, Task.CLASS, "crop", 256)
    with pytest.raises(BadInput, match="labels nothing of 2019"):
        read_ground(
            csv(tmp_path / "o.csv", "lon,lat,label,year\n3,50,a,2024\n"), 2019, Task.CLASS, None, 32
        )
    assert len({colour_of(place) for place in range(60)}) == 60


def test_a_raster_of_values_labels_pixel_by_pixel(tmp_path: Path) -> None:
    """Biomass of 30 m in another reference system, with a scale, and without data in a corner."""
    path, window = tmp_path / "biomass.tif", Tile(31, 1447, 135, 256).window
    west, north = window.west + 100, window.north - 200
    values = np.arange(20, dtype=np.int16).reshape(4, 5)
    values[0, 0] = -1
    with rasterio.open(
        path, "w", driver="GTiff", width=5, height=4, count=1, dtype="int16", crs="EPSG:32631",
        transform=Affine(30, 0, west, 0, -30, north), nodata=-1,
    ) as file:  # fmt: skip
        file.write(values, 1)
        file.scales, file.offsets = (0.5,), (10.0,)
    ground = read_ground(str(path), 2024, Task.VALUE, None, 256)
    assert len(ground) == 19 * 9
    assert sorted(set(ground.target.tolist())) == [10 + each / 2 for each in range(1, 20)]
    # The nine pixels of one of its pixels are one place: they weigh as one, and no fold cuts them.
    assert set(np.bincount(ground.place).tolist()) == {9}
    np.testing.assert_array_equal(ground.place, ground.group)
    assert ground.weights().sum() == pytest.approx(19)
    of_ten = ground.target == 10 + 7 / 2
    assert sorted(set((ground.row[of_ten] - window.row).tolist())) == [23, 24, 25]
    assert sorted(set((ground.col[of_ten] - window.col).tolist())) == [16, 17, 18]


def test_a_raster_of_values_that_is_none_is_refused(tmp_path: Path) -> None:
    path, window = tmp_path / "two.tif", Tile(31, 1447, 135, 256).window
    place = {"transform": Affine(10, 0, window.west, 0, -10, window.north), "nodata": np.nan}
    for bands, told in ((2, "it has 2 bands"), (1, "it has no value")):
        with rasterio.open(
            path, "w", driver="GTiff", width=4, height=4, count=bands, dtype="float32",
            crs="EPSG:32631", **place,
        ) as file:  # fmt: skip
            file.write(np.full((bands, 4, 4), np.inf if bands == 1 else 1.0, np.float32))
        with pytest.raises(BadInput, match=told):
            read_ground(str(path), 2024, Task.VALUE, None, 256)
    with pytest.raises(BadInput, match="no columns"):
        read_ground(str(path), 2024, Task.VALUE, "tons", 256)
