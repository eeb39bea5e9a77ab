import dataclasses
import json
import math
import pickle
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import shapely

from tessera_mosaic.pipeline.errors import Incomplete
from tessera_mosaic.pipeline.scenes.imagery_kind import ImageryKind
from tessera_mosaic.pipeline.scenes.links import own_address, resolve
from tessera_mosaic.pipeline.scenes.opera import scene_of_granule
from tessera_mosaic.pipeline.scenes.opera_names import orbit_state, orbit_turn
from tessera_mosaic.pipeline.scenes.scene import (
    S2_ASSETS,
    OrbitState,
    RadiometricOffset,
    Scene,
    Sensor,
)
from tessera_mosaic.pipeline.scenes.stac_items import scene_of_item
from tessera_mosaic.pipeline.scenes.times import utc
from tessera_mosaic.pipeline.scenes.twins import settle
from tessera_mosaic.pipeline.tiling.boxes import Box, padded, spans, touches

REAL = {
    "cdse_sentinel-2-l2a_stac110.json": {"s2": 1, "faulty": 1, "lacking": 1},
    "earthsearch_sentinel-1-grd_pystac-client-cassettes.json": {"none": 3},
    "earthsearch_sentinel-2-c1-l2a_pystac-client-cassettes.json": {"s2": 6},
    "earthsearch_sentinel-2-l1c_pystac-client-cassettes.json": {"none": 5},
    "earthsearch_sentinel-2-l2a_pystac-client-cassettes.json": {"s2": 7},
    "earthsearch_sentinel-s2-l2a-cogs_pystac-client-cassettes.json": {"s2": 1},
    "earthsearch_v1_earthdaily_trimmed_31TCJ_2022-08.json": {"s2": 8, "faulty": 8, "lacking": 8},
    "earthsearch_v1_earthdaily_trimmed_scl_2023-07-01.json": {"s2": 3, "faulty": 3, "lacking": 3},
    "mpc_sentinel-1-grd.json": {"none": 1},
    "mpc_sentinel-1-rtc_earthdaily_trimmed_2022.json": {"s1": 3},
    "mpc_sentinel-1-rtc_full.json": {"s1": 5},
    "mpc_sentinel-2-l2a_35MNM_2020-06_07.json": {"s2": 13},
    "mpc_sentinel-2-l2a_pb0510_2024.json": {"s2": 4},
    "mpc_sentinel-2-l2a_pystac-client-cassettes.json": {"s2": 33},
    "mpc_sentinel-2-l2a_rustac100.json": {"s2": 100},
    "mpc_sentinel-2-l2a_strip_2020-06-06.json": {"s2": 9},
}
"""What the real items are: products that are used, of no use, lacking assets, or not scenes."""


def real_items(shared: Path, name: str) -> list[dict]:
    return json.loads((shared / "data/stac_items" / name).read_text())["features"]


@pytest.mark.parametrize("name", REAL)
def test_whose_imagery_real_items_are(shared: Path, name: str) -> None:
    items = real_items(shared, name)
    for some in (items, items[::-1], items[-1:]):
        kind = ImageryKind(name)
        for item in some:
            kind.add_item(item)
        foreign = "sentinel-1" in name or name.startswith(("mpc", "cdse"))
        assert not kind.known or kind.decide() == ("mpc" if foreign else "aws")
        assert kind.known or "sentinel-1" in name


def test_all_real_items_are_known_to_these_tests(shared: Path) -> None:
    listed = {
        path.name
        for path in (shared / "data/stac_items").glob("*.json")
        if "features" in json.loads(path.read_text())
    }
    assert listed == set(REAL)


@pytest.mark.parametrize("name", REAL)
def test_real_items(shared: Path, name: str) -> None:
    counts = dict.fromkeys(("s2", "s1", "none", "unusable", "faulty", "lacking"), 0)
    for item in real_items(shared, name):
        scene = scene_of_item(item)
        if scene is None:
            counts["none"] += 1
            continue
        counts[scene.sensor] += 1
        counts["unusable"] += bool(scene.unusable)
        counts["faulty"] += bool(scene.faulty)
        counts["lacking"] += bool(scene.missing)
        assert scene.id == item["id"]
        assert scene.datetime == utc(item["properties"]["datetime"])
        assert scene.date == item["properties"]["datetime"][:10]
        code = item["properties"].get("proj:code", "EPSG:0").removeprefix("EPSG:")
        assert scene.epsg == item["properties"].get("proj:epsg", int(code))
        assert scene.bbox == tuple(item["bbox"])
        assert pickle.loads(pickle.dumps(scene)) == scene  # noqa: S301
        if scene.sensor == "s2":
            properties = item["properties"]
            assert scene.baseline == properties.get(
                "s2:processing_baseline",
                properties.get(
                    "sentinel:processing_baseline", properties.get("processing:version")
                ),
            )
    assert {kind: count for kind, count in counts.items() if count} == REAL[name]


def test_a_real_item_of_each_kind_in_full(shared: Path) -> None:
    item = real_items(shared, "mpc_sentinel-2-l2a_rustac100.json")[0]
    scene = scene_of_item(item)
    assert scene is not None
    assert scene.twin == ("sentinel-2a", "13TDE", "20240326T174951")
    assert scene.strip == "20240326T175902"
    assert scene.made == "2024-03-29T22:44:29.912217Z"
    assert (scene.baseline, scene.offset) == ("05.10", "")
    assert scene.assets["B8A"].endswith("/R20m/T13TDE_20240326T174951_B8A_20m.tif")
    [aws] = [
        scene_of_item(item)
        for item in real_items(shared, "earthsearch_sentinel-2-l2a_pystac-client-cassettes.json")
        if item["id"] == "S2A_13TDE_20231008_0_L2A"
    ]
    assert aws is not None
    assert (aws.offset, aws.epsg) == ("applied", 32613)
    assert aws.assets["B12"].endswith("/S2A_13TDE_20231008_0_L2A/B12.tif")
    kept = scene_of_item(
        real_items(shared, "earthsearch_sentinel-2-c1-l2a_pystac-client-cassettes.json")[0]
    )
    assert kept is not None
    assert kept.offset == "kept"
    s1 = scene_of_item(real_items(shared, "mpc_sentinel-1-rtc_full.json")[0])
    assert s1 is not None
    assert (s1.orbit_state, sorted(s1.assets)) == ("descending", ["vh", "vv"])


@pytest.mark.parametrize(
    ("name", "usable"),
    [
        ("opera_rtc_s1_meta_chile_19HBD.parquet", True),
        ("opera_rtc_s1_meta_mgrs22WFD.parquet", False),
    ],
)
def test_real_opera_listings(shared: Path, name: str, usable: bool) -> None:
    rows = pq.read_table(shared / "data/stac_items" / name).to_pylist()
    assert rows
    for row in rows:
        place = shapely.from_wkb(row["geometry"])
        scene = scene_of_granule(
            row["opera_id"], place.bounds, [row["url_copol"], row["url_crosspol"]]
        )
        assert scene is not None
        assert scene.datetime == utc(row["acq_dt"].isoformat())
        assert scene.orbit_state in ("ascending", "descending")
        if usable:
            assert not scene.unusable
            assert scene.assets == {"vv": row["url_copol"], "vh": row["url_crosspol"]}
        else:
            assert row["polarizations"] == "HH+HV"
            assert scene.unusable == "its polarisations are HH+HV, not VV and VH"


def test_a_burst_number_tells_where_on_its_orbit_it_is(shared: Path) -> None:
    # Sentinel-1 flies over latitude asin(sin 98.18 * sin u) at u of its way from the node.
    for name in ("opera_rtc_s1_meta_chile_19HBD.parquet", "opera_rtc_s1_meta_mgrs22WFD.parquet"):
        for row in pq.read_table(shared / "data/stac_items" / name).to_pylist():
            track, burst = row["jpl_burst_id"][1:4], row["jpl_burst_id"][5:11]
            turn = orbit_turn(int(track), int(burst))
            sine = math.sin(math.radians(98.18)) * math.sin(2 * math.pi * turn)
            latitude = shapely.from_wkb(row["geometry"]).centroid.y
            # The rest is geodetic against geocentric latitude, and that the radar looks aside.
            assert abs(math.degrees(math.asin(sine)) - latitude) < 2.5
    assert orbit_state(137, 292319) == "ascending"


def make(name: str, **fields: object) -> Scene:
    scene = Scene(name, "s2", "2024-05-01T10:00:00.000000Z", (3.0, 50.0, 4.0, 51.0))
    return dataclasses.replace(scene, **fields)


WHOLE = dict.fromkeys(S2_ASSETS, "x")


def test_scenes_compete_by_time_then_id() -> None:
    late, early = make("a", datetime="2024-05-01T11"), make("z", datetime="2024-05-01T10")
    tie = make("b", datetime="2024-05-01T11")
    assert [scene.id for scene in settle([tie, late, early, late], 2024)] == ["z", "a", "b"]


def test_scenes_that_share_an_id_are_all_there() -> None:
    times = [f"2024-05-0{day}T10" for day in range(1, 7)]
    scenes = [make("same", datetime=time) for time in times]
    found = settle([*scenes, *reversed(scenes), make("other", datetime="2024-06-01T10")], 2024)
    assert [scene.datetime for scene in found[:6]] == times
    assert len({scene.id for scene in found}) == 7
    assert all(scene.id.startswith("same#") for scene in found[:6])
    assert not any(scene.unusable for scene in found)
    # Whose name is whose does not depend on the others.
    assert settle(scenes[4:], 2024) == found[4:6]
    assert [scene.id for scene in settle(scenes[:1] * 2, 2024)] == ["same"]


def test_ids_that_are_told_apart_stay_as_stored_records_have_them() -> None:
    place: Box = (1.0, 2.0, 3.0, 4.0)
    noon = "2024-05-01T10:30:31.024000Z"
    optical = Scene(
        "a",
        Sensor.S2,
        noon,
        place,
        {"B04": "x'y"},
        epsg=32631,
        baseline="05.11",
        offset=RadiometricOffset.KEPT,
        made="z",
    )
    radar = Scene("a", Sensor.S1, noon, place, {"vv": "x"}, OrbitState.ASCENDING)
    later = Scene("a", Sensor.S1, "2024-05-02T10:30:31.024000Z", place, {"vv": "x"})
    found = settle([optical, radar, later], 2024)
    assert [scene.id for scene in found] == ["a#8cc5f261", "a#8f5bfab7", "a#a9acb693"]


STRIP = "S2A_OPER_MSI_L2A_DS_2APS_20240702T160000_S20240702T101758_N05.10"
OF_MPC = {"s2:mgrs_tile": "31UDS", "s2:processing_baseline": "05.10", "s2:datastrip_id": STRIP}


@pytest.mark.parametrize(
    ("properties", "digests"),
    [
        (OF_MPC | {"s2:generation_time": "2024-07-02T16:00:00Z"}, ["806a4a72", "b81071a6"]),
        (
            {
                "grid:code": "MGRS-31UDS",
                "s2:datatake_id": "GS2A_20240702T101755_047150_N05.10",
                "earthsearch:boa_offset_applied": True,
            },
            ["0949ce39", "29b728bc"],
        ),
        ({"s2:mgrs_tile": "31UDS"}, ["3b39b1ac", "da31575e"]),
        ({}, ["b3f16853", "ecd03a78"]),
    ],
)
def test_ids_of_items_are_told_apart_as_before_datastrips_were_known(
    properties: dict[str, object], digests: list[str]
) -> None:
    told = {
        "datetime": "2024-07-02T10:17:55.024Z",
        "platform": "Sentinel-2A",
        "created": "2024-07-02T20:00:00Z",
        "proj:epsg": 32631,
    }
    item = {
        "id": "same",
        "collection": "sentinel-2-l2a",
        "assets": {band: {"href": f"https://a.example/{band}.tif"} for band in S2_ASSETS},
        "properties": told | properties,
    }
    boxes = [3.0, 50.0, 4.0, 51.0], [3.1, 50.0, 4.0, 51.0]
    scenes = [scene_of_item({**item, "bbox": box}) for box in boxes]
    found = settle([scene for scene in scenes if scene is not None], 2024)
    assert [scene.id for scene in found] == [f"same#{digest}" for digest in digests]


def test_names_of_opera_are_told_apart_as_before_datastrips_were_known() -> None:
    name = "OPERA_L2_RTC-S1_T037-076843-IW1_20240704T174150Z_20250101T000000Z_S1A_30_v1.0"
    hrefs = [f"https://a.example/{name}_{band}.tif" for band in ("VV", "VH")]
    boxes: list[Box] = [(3.0, 50.0, 4.0, 51.0), (3.1, 50.0, 4.0, 51.0)]
    found = settle([scene_of_granule(name, box, hrefs) for box in boxes], 2024)
    assert [scene.id for scene in found] == [f"{name}#33fceddb", f"{name}#3c28a5cf"]


def test_scenes_of_other_years_are_dropped_and_those_of_none_stay() -> None:
    scenes = [make("a", datetime="2023-12-31T23"), make("b"), make("c", datetime="")]
    assert [scene.id for scene in settle(scenes, 2024)] == ["c", "b"]


def test_of_twins_the_newest_sound_one_is_taken() -> None:
    old = make("old", twin=("t",), made="2022", assets=WHOLE)
    new = make("new", twin=("t",), made="2023", assets=WHOLE)
    broken = make("broken", twin=("t",), made="2024", assets={"SCL": "x"})
    jpeg = make("jpeg", twin=("t",), made="2025", assets=WHOLE, faulty="JPEG 2000")
    other = make("other", twin=("u",), made="2021", assets=WHOLE)
    found = [dataclasses.replace(scene, strip="s") for scene in (new, broken, other, old, jpeg)]
    assert {scene.id: scene.superseded for scene in settle(found, 2024)} == {
        "old": "new",
        "new": "",
        "broken": "new",
        "jpeg": "new",
        "other": "",
    }
    assert [scene.superseded for scene in settle([broken], 2024)] == [""]


def test_real_twins_are_settled(shared: Path) -> None:
    items = real_items(shared, "mpc_sentinel-2-l2a_rustac100.json")
    scenes = [scene for item in items if (scene := scene_of_item(item)) is not None]
    settled = settle(scenes, 2024)
    superseded = [scene for scene in settled if scene.superseded]
    assert len({scene.date for scene in settled}) == 99
    assert len({(scene.twin, scene.strip) for scene in settled}) == len(settled) - len(superseded)
    # On one day the tile came in two datastrips of one datatake.
    assert len({scene.twin for scene in settled}) == 99
    for scene in superseded:
        winner = next(s for s in settled if scene.superseded == s.id)
        assert (winner.twin, winner.strip, winner.superseded) == (scene.twin, scene.strip, "")
        assert winner.made > scene.made


def test_a_lacking_asset_is_named() -> None:
    with pytest.raises(Incomplete, match="bare SCL: the item has no such asset"):
        make("bare").asset("SCL")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 0, 1, 1), (0.5, 0.5, 2, 2), True),
        ((0, 0, 1, 1), (1.1, 0, 2, 1), False),
        ((0, 0, 1, 1), (0, 1.1, 1, 2), False),
        ((179, 0, -179, 1), (-180, 0, -179.5, 1), True),
        ((179, 0, -179, 1), (179.5, 0, 180.5, 1), True),
        ((179, 0, -179, 1), (0, 0, 1, 1), False),
        ((179, 0, 181, 1), (-179.5, 0, -179.2, 1), True),
        ((-181, 0, -179.8, 1), (179.5, 0, 179.9, 1), True),
        ((-180, 0, 180, 1), (77, 0.5, 78, 0.6), True),
    ],
)
def test_boxes_that_touch(one: tuple, other: tuple, expected: bool) -> None:
    assert touches(one, other) is expected
    assert touches(other, one) is expected


def test_spans_lie_within_the_world() -> None:
    assert list(spans((179.0, 0, 181.0, 1))) == [(179.0, 180.0), (-180.0, -179.0)]
    assert list(spans((-181.0, 0, -179.0, 1))) == [(179.0, 180.0), (-180.0, -179.0)]
    assert list(spans((3.0, 0, 4.0, 1))) == [(3.0, 4.0)]
    west, south, east, north = padded((3.0, 78.0, 4.0, 78.5))
    assert (south, north) == (77.9, 78.6)
    assert west < 2.6
    assert east > 4.4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01T10:30:31Z", "2024-05-01T10:30:31.000000Z"),
        ("2024-05-01T10:30:31.024Z", "2024-05-01T10:30:31.024000Z"),
        ("2024-05-01T10:30:31.123456789Z", "2024-05-01T10:30:31.123456Z"),
        ("2024-05-01 10:30:31.5+00:00", "2024-05-01T10:30:31.500000Z"),
        ("2024-01-01T00:30:00+02:00", "2023-12-31T22:30:00.000000Z"),
        ("2024-01-01T00:30:00-0130", "2024-01-01T02:00:00.000000Z"),
        ("2024-05-01t10:30:31z", "2024-05-01T10:30:31.000000Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"),
        ("2024-05-01T10:30:61Z", None),
        ("9999-12-31T23:59:60Z", None),
        ("2024-13-01T00:00:00Z", None),
        ("0000-00-00T00:00:00Z", None),
        ("yesterday", None),
        (20240501, None),
        (None, None),
    ],
)
def test_times(text: object, expected: str | None) -> None:
    assert utc(text) == expected


@pytest.mark.parametrize(
    ("base", "href", "expected"),
    [
        ("/data/c/catalog.json", "./x/y.tif", "/data/c/x/y.tif"),
        ("/data/c/catalog.json", "/other/y.tif", "/other/y.tif"),
        ("c/catalog.json", "y.tif", "c/y.tif"),
        ("https://h/c/catalog.json?k=1", "../y.tif", "https://h/y.tif"),
        ("s3://bucket/c/catalog.json", "../y.tif", "s3://bucket/y.tif"),
        ("gs://bucket/c/catalog.json", "https://h/y.tif", "https://h/y.tif"),
        ("https://h/c/catalog.json", "/etc/passwd", "https://h/etc/passwd"),
        ("https://h/c/catalog.json", "/vsicurl/https://g/y.tif", "https://g/y.tif"),
        ("/data/c/catalog.json", "/vsis3/bucket/y.tif", "s3://bucket/y.tif"),
        ("https://h/c/catalog.json", "/vsizip/y.zip/y.tif", "/vsizip/y.zip/y.tif"),
    ],
)
def test_addresses_in_documents(base: str, href: str, expected: str) -> None:
    assert resolve(base, href) == expected


@pytest.mark.parametrize(
    ("base", "href", "whole"),
    [
        ("../up/catalog.json", "./a/item.json", "../up/a/item.json"),
        ("catalog.json", "a/item.json", "a/item.json"),
        ("/data/a/b.json", "../c.tif", "/data/c.tif"),
        ("/data/a/b.json", "/other/c.tif", "/other/c.tif"),
        ("https://host/a/b.json", "../c.tif", "https://host/c.tif"),
        ("s3://bucket/a/b.json", "./c.tif", "s3://bucket/a/c.tif"),
        ("../up/catalog.json", "https://host/c.tif", "https://host/c.tif"),
    ],
)
def test_links_resolve_from_where_they_stand(base: str, href: str, whole: str) -> None:
    assert resolve(base, href) == whole


OWN = "https://own.example/x/catalog.json"


@pytest.mark.parametrize(
    ("base", "href", "whole"),
    [
        ("https://host/a/b.json", "./c.tif", "https://own.example/x/c.tif"),
        ("https://host/a/b.json", "https://host/c.tif", "https://host/c.tif"),
        ("s3://bucket/a/b.json", "./c.tif", "s3://bucket/a/c.tif"),
    ],
)
def test_links_are_relative_to_what_a_document_calls_itself(
    base: str, href: str, whole: str
) -> None:
    assert resolve(base, href, OWN) == whole


def test_a_copy_on_this_machine_is_read_as_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a b.tif").touch()
    (tmp_path / "c.tif").touch()
    base = str(tmp_path / "catalog.json")
    assert resolve(base, "./c.tif", OWN) == f"{tmp_path}/c.tif"
    assert resolve(base, "./a%20b.tif") == f"{tmp_path}/a b.tif"
    assert resolve(base, "./none%20.tif") == f"{tmp_path}/none%20.tif"
    assert resolve(base, "./d.tif", OWN) == "https://own.example/x/d.tif"


@pytest.mark.parametrize(
    ("href", "own"),
    [
        (OWN, OWN),
        ("/vsicurl/" + OWN, OWN),
        ("./catalog.json", ""),
        ("file:///x.json", ""),
        (None, ""),
        (3, ""),
    ],
)
def test_what_a_document_calls_itself(href: object, own: str) -> None:
    assert own_address({"links": [None, {"rel": "root"}, {"rel": "self", "href": href}]}) == own
    assert own_address({"links": "none"}) == ""
