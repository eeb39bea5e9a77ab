"""Which scenes are one acquisition, wherever catalogues say so."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from tessera_mosaic.pipeline.scenes.acquisitions import tells_of_acquisition
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.scenes.stac_items import scene_of_item
from tessera_mosaic.pipeline.scenes.twins import settle, stand_in, versions_of
from tests.pipeline.scenes.test_faulty_items import OPTICAL

TWIN = ("sentinel-2a", "31UDS", "20240702T101755")
STRIP = "S2A_OPER_MSI_L2A_DS_2APS_20240702T160000_S20240702T101758_N05.10"
PRODUCT = "S2A_MSIL2A_20240702T101755_N0510_R108_T31UDS_20240702T160000"
GRANULE = "S2A_OPER_MSI_L2A_TL_2APS_20240702T160000_A047150_T31UDS_N05.10"
FOLDER = f"s3://eodata/{PRODUCT}.SAFE/GRANULE/L2A_T31UDS_A047150_20240702T101758/IMG_DATA"

PLACES: dict[str, dict[str, Any]] = {
    "Planetary Computer": {
        "id": "S2A_MSIL2A_20240702T101755_R108_T31UDS_20240702T160000",
        "platform": "Sentinel-2A",
        "s2:mgrs_tile": "31UDS",
        "s2:datastrip_id": STRIP,
        "s2:granule_id": GRANULE,
    },
    "Earth Search": {
        "id": "S2A_31UDS_20240702_0_L2A",
        "platform": "sentinel-2a",
        "grid:code": "MGRS-31UDS",
        "s2:product_uri": f"{PRODUCT}.SAFE",
        "s2:datastrip_id": STRIP,
    },
    "Collection 1": {
        "id": "S2A_T31UDS_20240702T101758_L2A",
        "mgrs:utm_zone": 31,
        "mgrs:latitude_band": "U",
        "mgrs:grid_square": "DS",
        "s2:tile_id": GRANULE,
        "s2:datatake_id": "GS2A_20240702T101755_047150_N05.10",
        "s2:datastrip_id": STRIP,
    },
    "sentinel-s2-l2a-cogs": {
        "id": "S2A_31UDS_20240702_0_L2A",
        "platform": "sentinel-2a",
        "sentinel:utm_zone": 31,
        "sentinel:latitude_band": "U",
        "sentinel:grid_square": "DS",
        "sentinel:product_id": PRODUCT,
    },
    "Copernicus Data Space": {
        "id": PRODUCT,
        "platform": "sentinel-2a",
        "grid:code": "MGRS-31UDS",
        "eopf:datastrip_id": STRIP,
        "eopf:datatake_id": "GS2A_20240702T101755_047150_N05.10",
    },
    "Digital Earth Africa": {
        "id": "a0b1c2d3",
        "platform": "sentinel-2a",
        "odc:region_code": "31UDS",
        "title": PRODUCT,
        "sentinel:datastrip_id": STRIP,
    },
    "ESA's own layout": {"id": "x", "folder": FOLDER},
}


def item_of(place: dict[str, Any]) -> dict[str, Any]:
    item = copy.deepcopy(OPTICAL)
    item["id"] = place["id"]
    # A time of each granule, as Earth Search has it, is that of no datatake.
    item["properties"] = {"datetime": "2024-07-02T10:30:12Z"}
    item["properties"] |= {k: v for k, v in place.items() if k not in ("id", "folder")}
    if "folder" in place:
        for band, asset in item["assets"].items():
            asset["href"] = f"{place['folder']}/{band}.tif"
    return item


@pytest.mark.parametrize("name", PLACES)
def test_an_acquisition_is_read_from_wherever_catalogues_put_it(name: str) -> None:
    scene = scene_of_item(item_of(PLACES[name]))
    assert scene is not None
    assert scene.twin == TWIN
    assert scene.strip == ("" if "cogs" in name else "20240702T101758")


def test_a_time_of_day_stands_in_for_the_datatake() -> None:
    item = copy.deepcopy(OPTICAL)
    item["id"] = "x"
    item["properties"] |= {"s2:mgrs_tile": "1ccv"}
    scene = scene_of_item(item)
    assert scene is not None
    assert scene.twin == ("sentinel-2a", "01CCV", "20240702T101755")
    # A date alone tells no datatake: two might be of one day.
    item["properties"]["datetime"] = "2024-07-02"
    dated = scene_of_item(item)
    assert dated is not None
    assert dated.twin == ()


def test_what_tells_of_an_acquisition_is_known_by_name() -> None:
    told = {name for place in PLACES.values() for name in place if ":" in name or name == "title"}
    assert all(tells_of_acquisition(name) for name in told)
    assert not tells_of_acquisition("s2:water_percentage")


def scene(name: str, made: str, **values: Any) -> Scene:
    one = scene_of_item(OPTICAL)
    assert one is not None
    return dataclasses.replace(one, id=name, made=made, **{"strip": "s", "twin": TWIN, **values})


def test_two_datastrips_of_a_datatake_are_halves_and_versions_of_one_are_twins() -> None:
    north, south = scene("north", "1"), scene("south", "2", strip="t")
    newer = scene("newer", "3")
    found = settle([north, south, newer], 2024)
    assert {one.id: one.superseded for one in found} == {"north": "newer", "south": "", "newer": ""}
    assert stand_in(newer, [north, south]) == north
    assert stand_in(south, [north, newer]) is None


def test_where_no_datastrip_is_told_the_newest_counts_and_others_may_be_halves() -> None:
    old, new = scene("old", "1", strip=""), scene("new", "2", strip="")
    [versions] = versions_of([old, new])
    assert ([one.id for one in versions.scenes], versions.told) == (["new", "old"], False)
    assert [one.superseded for one in settle([old, new], 2024)] == ["", ""]
    assert stand_in(new, [old]) == old
    half = dataclasses.replace(old, bbox=(2.9, 50.7, 3.1, 50.8))
    assert stand_in(new, [half]) is None


def test_a_sound_version_supersedes_a_newer_faulty_one() -> None:
    old, new = scene("old", "1", strip=""), scene("new", "2", strip="", faulty="JPEG 2000")
    assert {one.id: one.superseded for one in settle([old, new], 2024)} == {"old": "", "new": "old"}
    assert stand_in(new, [old]) == old
    assert stand_in(old, [new]) is None
