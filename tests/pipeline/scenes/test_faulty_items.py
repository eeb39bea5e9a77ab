"""What is faulty is told apart from what is of no use, whoever wrote the item."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tessera_mosaic.pipeline.errors import SensorLost
from tessera_mosaic.pipeline.scenes.forms import unread_form
from tessera_mosaic.pipeline.scenes.scene import S2_ASSETS, Scene
from tessera_mosaic.pipeline.scenes.sensors import (
    absent_sensors,
    excused_scenes,
    sensors_without,
    told_absent,
)
from tessera_mosaic.pipeline.scenes.stac_items import COMMON_NAMES, scene_of_item
from tessera_mosaic.pipeline.scenes.times import utc

OPTICAL: dict[str, Any] = {
    "id": "S2A_MSIL2A_20240702T101755_R108_T31UDS_20240702T160000",
    "collection": "sentinel-2-l2a",
    "bbox": [2.9, 50.7, 3.1, 50.9],
    "properties": {"datetime": "2024-07-02T10:17:55Z", "platform": "Sentinel-2A"},
    "assets": {band: {"href": f"https://a.example/{band}.tif"} for band in S2_ASSETS},
}

RADAR: dict[str, Any] = {
    "id": "S1A_IW_GRDH_1SDV_20240401T054755_rtc",
    "collection": "sentinel-1-rtc",
    "bbox": [2.9, 50.7, 3.1, 50.9],
    "properties": {
        "datetime": "2024-04-01T05:47:55Z",
        "platform": "SENTINEL-1A",
        "sat:orbit_state": "descending",
        "sar:polarizations": ["VV", "VH"],
    },
    "assets": {band: {"href": f"https://a.example/{band}.tif"} for band in ("vv", "vh")},
}


Change = Callable[[dict[str, Any]], Any]


def made(item: dict[str, Any], change: Change = lambda item: None) -> Scene:
    item = copy.deepcopy(item)
    change(item)
    scene = scene_of_item(item)
    assert scene is not None
    return scene


def without(name: str) -> Change:
    return lambda item: item["assets"].pop(name)


def properties(**values: Any) -> Change:
    return lambda item: item["properties"].update(
        {name.replace("__", ":"): value for name, value in values.items()}
    )


def as_jpeg(item: dict[str, Any]) -> None:
    for asset in item["assets"].values():
        asset["href"] = asset["href"].replace(".tif", ".jp2")


def beside_jpeg(item: dict[str, Any]) -> None:
    """As Earth Search lists both forms, and here the GeoTIFF of one band is not there."""
    item["assets"] = {COMMON_NAMES[band]: asset for band, asset in item["assets"].items()}
    for name in list(item["assets"]):
        item["assets"][f"{name}-jp2"] = {"href": f"s3://b/{name}.jp2", "type": "image/jp2"}
    del item["assets"]["nir"]


def as_zarr(item: dict[str, Any]) -> None:
    for band, asset in item["assets"].items():
        asset.update(href=f"https://a.example/p.zarr/r10m/{band}", type="application/vnd+zarr")


@pytest.mark.parametrize(
    ("item", "change", "asset", "why"),
    [
        (OPTICAL, lambda i: None, "", ""),
        (OPTICAL, without("B8A"), "B8A", "the item has no such asset"),
        (OPTICAL, lambda i: i["assets"]["B02"].pop("href"), "B02", "the item has no such asset"),
        (OPTICAL, as_jpeg, "B04", "its raster is JPEG 2000, and only GeoTIFF is read"),
        (OPTICAL, beside_jpeg, "B08", "its raster is JPEG 2000, and only GeoTIFF is read"),
        (OPTICAL, as_zarr, "B04", "its raster is Zarr, and only GeoTIFF is read"),
        (OPTICAL, lambda i: i.update(bbox=None), "", "the item's place makes no sense"),
        (OPTICAL, properties(datetime="last week"), "", "'last week' is no datetime"),
        (OPTICAL, properties(datetime=None), "", "the item has no datetime"),
        (RADAR, without("vh"), "vh", "the item has no such asset"),
        (RADAR, properties(sat__orbit_state=None), "", "its orbit state is unknown"),
        (RADAR, properties(sat__orbit_state="ASCENDING", platform=None), "", ""),
    ],
)
def test_a_faulty_item_says_what_is_wrong(
    item: dict[str, Any], change: Change, asset: str, why: str
) -> None:
    scene = made(item, change)
    assert (scene.faulty, scene.faulty_asset, scene.unusable) == (why, asset, "")
    assert scene.counts == (not why)


def polarised(*names: str) -> Change:
    def change(item: dict[str, Any]) -> None:
        item["assets"] = {name: {"href": f"https://a.example/{name}.tif"} for name in names}
        item["properties"]["sar:polarizations"] = [name.upper() for name in names]

    return change


@pytest.mark.parametrize(
    ("item", "change", "why"),
    [
        (RADAR, polarised("hh", "hv"), "its polarisations are HH+HV, not VV and VH"),
        (RADAR, polarised("vv"), "its polarisations are VV, not VV and VH"),
        (
            OPTICAL,
            properties(start_datetime="2024-01-01T00:00:00Z", end_datetime="2024-12-31T23:59:59Z"),
            "it is made of several acquisitions",
        ),
    ],
)
def test_what_is_of_no_use_by_its_nature_is_not_faulty(
    item: dict[str, Any], change: Change, why: str
) -> None:
    scene = made(item, change)
    assert (scene.unusable, scene.faulty, scene.counts) == (why, "", False)


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i.update(collection="sentinel-2-l1c"),
        lambda i: i.update(id=i["id"].replace("L2A", "L1C")),
        properties(s2__product_type="S2MSI1C"),
    ],
)
def test_products_of_other_levels_are_no_scenes(change: Change) -> None:
    item = copy.deepcopy(OPTICAL)
    change(item)
    assert scene_of_item(item) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-07-01 10:17:55.024+00", "2024-07-01T10:17:55.024000Z"),
        ("2024-07-01 10:17:55Z", "2024-07-01T10:17:55.000000Z"),
        ("2024-07-01 10:17:55 UTC", "2024-07-01T10:17:55.000000Z"),
        ("2024-07-01T10:17Z", "2024-07-01T10:17:00.000000Z"),
        ("2024-07-01T10:17", "2024-07-01T10:17:00.000000Z"),
        ("2024-07-01", "2024-07-01T00:00:00.000000Z"),
        ("2024-07-01Z", "2024-07-01T00:00:00.000000Z"),
        ("20240701T101755Z", "2024-07-01T10:17:55.000000Z"),
        ("20240701", "2024-07-01T00:00:00.000000Z"),
        ("2024-07-01T10:17:55,024Z", "2024-07-01T10:17:55.024000Z"),
        ("2024-07-01T10:17:55.024000123456Z", "2024-07-01T10:17:55.024000Z"),
        ("2024-07-01 00:30:00+05:30", "2024-06-30T19:00:00.000000Z"),
        ("2024-01-01T01:00:00+0200", "2023-12-31T23:00:00.000000Z"),
        ("2024-02-30", None),
        ("2024-07", None),
        ("202407011", None),
        ("2024-07-01T10", None),
        ("2024-07-01T10:17:55+99:00x", None),
        ("infinity", None),
    ],
)
def test_every_form_of_a_time_is_read_in_utc(text: str, expected: str | None) -> None:
    assert utc(text) == expected


@pytest.mark.parametrize(
    "times",
    [
        {"datetime": None, "start_datetime": "2024-07-02T10:17:51.024Z"},
        {"datetime": None, "end_datetime": "2024-07-02T10:17:51.024Z"},
        {"datetime": "null", "start_datetime": "2024-07-02T10:17:51.024+00:00"},
    ],
)
def test_an_item_without_one_time_has_that_of_its_interval(times: dict[str, Any]) -> None:
    assert made(OPTICAL, properties(**times)).datetime == "2024-07-02T10:17:51.024000Z"


BURST = "OPERA_L2_RTC-S1_T037-076843-IW1_20240704T174150Z_20250101T000000Z_S1A_30_v1.0"


def of_opera(item: dict[str, Any]) -> None:
    """As NASA's STAC lists it: no orbit state, no polarisations, assets called anyhow."""
    item.update(id=BURST, collection="OPERA_L2_RTC-S1_V1")
    item["properties"] = {"datetime": "2024-07-04T17:41:50.000Z"}
    item["assets"] = {
        f"{place}{kind}": {"href": f"{scheme}://a.example/{BURST}_{kind}.tif"}
        for place, scheme in (("s3_", "s3"), ("", "https"))
        for kind in ("VV", "VH", "mask")
    }


def test_the_burst_of_an_opera_product_tells_its_orbit_state() -> None:
    scene = made(RADAR, of_opera)
    assert (scene.orbit_state, scene.faulty) == ("ascending", "")
    assert scene.assets == {
        "vv": f"https://a.example/{BURST}_VV.tif",
        "vh": f"https://a.example/{BURST}_VH.tif",
    }
    assert (scene.twin[0], scene.strip) == ("037", "2024-07-04T17:41:50.000000Z")
    assert scene.made == "2025-01-01T00:00:00.000000Z"

    def static(item: dict[str, Any]) -> None:
        of_opera(item)
        item["collection"] = "OPERA_L2_RTC-S1-STATIC_V1"

    item = copy.deepcopy(RADAR)
    static(item)
    assert scene_of_item(item) is None


@pytest.mark.parametrize(
    ("href", "kind", "form"),
    [
        ("s3://eodata/a.SAFE/GRANULE/L2A/IMG_DATA/B04_10m.jp2", None, "JPEG 2000"),
        ("https://a.example/B04.JP2?key=a.tif", None, "JPEG 2000"),
        ("https://a.example/asset/17", "image/jp2; profile=x", "JPEG 2000"),
        ("https://a.example/B04.tif", "image/jp2", ""),
        ("https://a.example/a.SAFE", None, "an archive"),
        ("s3://bucket/a.zarr/r10m/b04", None, "Zarr"),
        ("https://a.example/a.h5", None, "HDF5"),
        ("https://a.example/a.nc", None, "NetCDF"),
        ("https://a.example/asset/17", "image/tiff; application=geotiff", ""),
        ("https://a.example/asset/17", 3, ""),
    ],
)
def test_forms_that_are_not_read_are_known(href: str, kind: Any, form: str) -> None:
    assert unread_form(href, kind) == form


S2, S1 = made(OPTICAL), made(RADAR)
NO_ORBIT = dataclasses.replace(
    made(RADAR, properties(sat__orbit_state=None)), id="without an orbit state"
)
POLAR = made(RADAR, polarised("hh", "hv"))


def test_a_place_of_one_sensor_says_why() -> None:
    assert absent_sensors([S2, S1, POLAR, NO_ORBIT]) == {}
    for scenes, why in (
        ([S2], "of Sentinel-1, the catalogue lists no scene of it"),
        ([S2, POLAR], "HH+HV, not VV and VH"),
        ([S2, NO_ORBIT, POLAR], "all 1 scenes of it are faulty or lost"),
    ):
        told = told_absent(absent_sensors(scenes))
        assert told.startswith("from Sentinel-2 alone: of Sentinel-1, ")
        assert why in told


def test_a_sensor_of_which_all_scenes_are_faulty_is_lost_only_where_that_is_allowed() -> None:
    assert excused_scenes([S2, POLAR], allow_lost_sensor=False) == frozenset()
    assert excused_scenes([S2], allow_lost_sensor=False) == frozenset()
    with pytest.raises(SensorLost, match="Sentinel-1: all 1 scenes of it are faulty"):
        excused_scenes([S2, NO_ORBIT, POLAR], allow_lost_sensor=False)
    assert excused_scenes([S2, NO_ORBIT, POLAR], allow_lost_sensor=True) == {NO_ORBIT.id}
    # There has to be another one.
    with pytest.raises(SensorLost):
        excused_scenes([NO_ORBIT], allow_lost_sensor=True)


def test_a_sensor_whose_files_all_are_lost_is_absent_too() -> None:
    scenes = [S2, S1, POLAR]
    assert sensors_without(scenes, [], []) == {}
    assert sensors_without([*scenes, NO_ORBIT], [NO_ORBIT.id], []) == {}
    assert "such as" in sensors_without(scenes, [S1.id], [])["s1"]
    other = dataclasses.replace(S1, id="other")
    assert sensors_without([*scenes, other], [S1.id], []) == {}
    assert list(sensors_without([*scenes, other], [S1.id], ["other"])) == ["s1"]
