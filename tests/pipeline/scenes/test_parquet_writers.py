"""STAC GeoParquet as each of its writers writes it: the same scenes, and never a traceback."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.scenes.geoparquet import ParquetIndex
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.parquet_files import partition_of
from tessera_mosaic.pipeline.scenes.scene import S2_ASSETS, Scene
from tessera_mosaic.pipeline.scenes.stac_items import COMMON_NAMES

HERE = (2.9, 50.7, 3.1, 50.9)
FAR = (12.9, 20.7, 13.1, 20.9)
NOON = dt.datetime(2024, 7, 2, 10, 17, 55, tzinfo=dt.UTC)


def item(name: str, box: tuple[float, ...] = HERE, when: dt.datetime = NOON) -> dict[str, Any]:
    radar = name.startswith("S1")
    bands = ("vv", "vh") if radar else S2_ASSETS
    return {
        "id": name,
        "collection": "sentinel-1-rtc" if radar else "sentinel-2-l2a",
        "bbox": list(box),
        "geometry": shapely.box(*box),
        "assets": {band: {"href": f"https://a.example/{name}/{band}.tif"} for band in bands},
        "datetime": when,
        "properties": (
            {"sat:orbit_state": "ascending", "sar:polarizations": ["VV", "VH"]}
            if radar
            else {"s2:mgrs_tile": "31UDS", "proj:epsg": 32631, "platform": "Sentinel-2A"}
        ),
    }


# New year in Auckland is still the old year in UTC.
LAST = dt.datetime(2024, 12, 31, 20, 0, tzinfo=dt.UTC)
ITEMS = [
    item("S1-a"),
    item("S2-a"),
    item("S2-far", FAR),
    item("S2-last", when=LAST),
    item("S2-next", when=LAST + dt.timedelta(hours=8)),
]
WANTED = ["S1-a", "S2-a", "S2-last"]
ASSET = pa.struct([("href", pa.string())])


def each(key: str) -> list[Any]:
    return [one[key] for one in ITEMS]


def table(**columns: Any) -> pa.Table:
    """Columns as stac-geoparquet 0.5 and later write them, but for some."""
    names = sorted({name for one in ITEMS for name in one["assets"]})
    usual: dict[str, Any] = {
        "id": pa.array(each("id")),
        "collection": pa.array(each("collection")),
        "bbox": boxes(pa.float64()),
        "geometry": pa.array([shapely.to_wkb(shape) for shape in each("geometry")]),
        "datetime": pa.array(each("datetime"), pa.timestamp("us", "UTC")),
        "assets": pa.array(each("assets"), pa.struct([(name, ASSET) for name in names])),
    }
    for name in sorted({name for one in ITEMS for name in one["properties"]}):
        usual[name] = pa.array([one["properties"].get(name) for one in ITEMS])
    return pa.table({k: v for k, v in {**usual, **columns}.items() if v is not None})


def boxes(kind: pa.DataType, names: str = "xmin ymin xmax ymax", unknown: int = 0) -> pa.Array:
    """The column of boxes, with zeros for heights, the first ones null."""
    values = [dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)) for box in each("bbox")]
    fields = [(name, kind) for name in names.split()]
    full = [{name: value.get(name, 0.0) for name, _ in fields} for value in values]
    return pa.array([None] * unknown + full[unknown:], pa.struct(fields))


def times(kind: pa.DataType) -> pa.Array:
    moments = each("datetime")
    return pa.array(moments if kind.tz else [when.replace(tzinfo=None) for when in moments], kind)


def texts(form: str) -> pa.Array:
    return pa.array([when.strftime(form) for when in each("datetime")])


def as_content() -> pa.Table:
    """A dump of pgstac's table of items."""
    said = [
        {
            "assets": one["assets"],
            "bbox": one["bbox"],
            "properties": {**one["properties"], "datetime": one["datetime"].isoformat()},
        }
        for one in ITEMS
    ]
    return pa.table(
        {
            "id": each("id"),
            "collection": each("collection"),
            "geometry": [shapely.to_wkb(shape, hex=True) for shape in each("geometry")],
            "datetime": texts("%Y-%m-%d %H:%M:%S+00"),
            "content": [json.dumps(one) for one in said],
        }
    )


def as_nested(text: bool) -> pa.Table:
    """What DuckDB makes of items in JSON that it reads as they are."""
    properties = [{**one["properties"], "datetime": one["datetime"].isoformat()} for one in ITEMS]
    told = pa.array([json.dumps(one) for one in properties] if text else properties)
    return pa.table(
        {
            "id": each("id"),
            "collection": each("collection"),
            "bbox": pa.array(each("bbox"), pa.list_(pa.float64())),
            "assets": [json.dumps(one) for one in each("assets")],
            "properties": told,
        }
    )


UNSORTED = pa.map_(pa.string(), ASSET)

FORMS: dict[str, Callable[[], pa.Table]] = {
    "struct": table,
    "float32": lambda: table(bbox=boxes(pa.float32())),
    "heights": lambda: table(bbox=boxes(pa.float64(), "xmin ymin zmin xmax ymax zmax")),
    "list": lambda: table(bbox=pa.array(each("bbox"), pa.list_(pa.float64()))),
    "fixed list": lambda: table(bbox=pa.array(each("bbox"), pa.list_(pa.float64(), 4))),
    "box as text": lambda: table(bbox=pa.array([json.dumps(box) for box in each("bbox")])),
    "some boxes null": lambda: table(bbox=boxes(pa.float64(), unknown=2)),
    "no box": lambda: table(bbox=None),
    "geometry as text": lambda: table(
        bbox=None, geometry=pa.array([shapely.to_geojson(s) for s in each("geometry")])
    ),
    "no geometry": lambda: table(geometry=None),
    "null geometry": lambda: table(geometry=pa.nulls(len(ITEMS), pa.binary())),
    "nanoseconds": lambda: table(datetime=times(pa.timestamp("ns", "UTC"))),
    "no zone": lambda: table(datetime=times(pa.timestamp("ms"))),
    "another zone": lambda: table(datetime=times(pa.timestamp("us", "Pacific/Auckland"))),
    "text": lambda: table(datetime=texts("%Y-%m-%dT%H:%M:%S.%fZ")),
    "PostgreSQL": lambda: table(datetime=texts("%Y-%m-%d %H:%M:%S+00")),
    "dictionary": lambda: table(datetime=texts("%Y-%m-%dT%H:%M:%SZ").dictionary_encode()),
    "start and end": lambda: table(
        datetime=pa.nulls(len(ITEMS), pa.timestamp("us", "UTC")),
        start_datetime=times(pa.timestamp("us", "UTC")),
        end_datetime=times(pa.timestamp("us", "UTC")),
    ),
    "start alone": lambda: table(
        datetime=None, start_datetime=times(pa.timestamp("us", "Pacific/Auckland"))
    ),
    "assets as JSON": lambda: table(assets=pa.array([json.dumps(a) for a in each("assets")])),
    "assets as map": lambda: table(
        assets=pa.array([list(a.items()) for a in each("assets")], UNSORTED)
    ),
    "assets as list": lambda: table(
        assets=pa.array([[{"key": k, "value": v} for k, v in a.items()] for a in each("assets")])
    ),
    "hrefs alone": lambda: table(
        assets=pa.array([{k: v["href"] for k, v in a.items()} for a in each("assets")])
    ),
    "upper case": lambda: table(
        assets=pa.array([{k.upper(): v for k, v in a.items()} for a in each("assets")])
    ),
    "code as float": lambda: table(**{"proj:epsg": pa.array([32631.0] * len(ITEMS))}),
    "polarisations as JSON": lambda: table(
        **{"sar:polarizations": pa.array(['["VV", "VH"]'] * len(ITEMS))}
    ),
    "large text": lambda: table(id=pa.array(each("id"), pa.large_string())),
    "pgstac": as_content,
    "nested": lambda: as_nested(text=False),
    "nested JSON": lambda: as_nested(text=True),
}


def found(source: Any) -> list[Scene]:
    return list(source.search((2.95, 50.75, 3.0, 50.8), 2024))


@pytest.mark.parametrize("group", [2, 100])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_same_scenes(tmp_path: Path, form: str, group: int) -> None:
    pq.write_table(FORMS[form](), tmp_path / "items.parquet", row_group_size=group)
    source = open_catalogue(str(tmp_path / "items.parquet"))
    scenes = found(source)
    assert sorted(scene.id for scene in scenes) == WANTED
    assert all(scene.counts for scene in scenes), [scene.faulty for scene in scenes]
    assert source.imagery == "mpc"
    assert {scene.datetime for scene in scenes} == {
        "2024-07-02T10:17:55.000000Z",
        "2024-12-31T20:00:00.000000Z",
    }


def test_a_row_without_time_or_place_is_named_wherever_one_looks(tmp_path: Path) -> None:
    columns = {
        "datetime": pa.array([None, *each("datetime")[1:]], pa.timestamp("us", "UTC")),
        "bbox": boxes(pa.float64(), unknown=2),
        "geometry": pa.array([None] * len(ITEMS), pa.binary()),
    }
    pq.write_table(table(**columns), tmp_path / "items.parquet", row_group_size=2)
    for place in ((2.95, 50.75, 3.0, 50.8), (100.0, 0.0, 100.1, 0.1)):
        scenes = open_catalogue(str(tmp_path / "items.parquet")).search(place, 2024)
        faulty = {scene.id: scene.faulty for scene in scenes if scene.faulty}
        assert faulty == {
            "S1-a": "the item has no datetime",
            "S2-a": "the item's place makes no sense",
        }


def test_a_folder_of_partitions_is_one_index(tmp_path: Path) -> None:
    whole = table(collection=None)
    folder = tmp_path / "items.parquet"
    for number, one in enumerate(ITEMS):
        there = folder / f"collection={one['collection']}" / f"month={one['datetime']:%m}"
        there.mkdir(parents=True, exist_ok=True)
        pq.write_table(whole.slice(number, 1), there / f"part-{number}.parquet")
    (folder / "_metadata.parquet").write_bytes(b"no part")
    source = open_catalogue(str(folder))
    assert isinstance(source, ParquetIndex)
    assert sorted(scene.id for scene in found(source)) == WANTED
    assert {scene.sensor for scene in found(source)} == {"s1", "s2"}


def test_partitions_are_read_from_the_names_of_folders() -> None:
    path = "collection=a%20b/year=2024/month=__HIVE_DEFAULT_PARTITION__/part-0.parquet"
    assert partition_of(path) == {"collection": "a b", "year": "2024"}


def test_addresses_in_rows_are_relative_to_what_the_item_calls_itself(tmp_path: Path) -> None:
    relative = [{k: {"href": f"./{k}.tif"} for k in a} for a in each("assets")]
    links = [
        [{"rel": "self", "href": f"https://self.example/{name}/item.json"}] for name in each("id")
    ]
    pq.write_table(table(assets=pa.array(relative), links=pa.array(links)), tmp_path / "a.parquet")
    scenes = {scene.id: scene for scene in found(open_catalogue(str(tmp_path / "a.parquet")))}
    assert scenes["S1-a"].assets["vv"] == "https://self.example/S1-a/vv.tif"


@pytest.mark.parametrize("lacking", ["id", "assets", "datetime", "place"])
def test_what_is_no_index_says_what_it_needs(tmp_path: Path, lacking: str) -> None:
    names = ("bbox", "geometry") if lacking == "place" else (lacking,)
    pq.write_table(table(**dict.fromkeys(names)), tmp_path / "a.parquet")
    with pytest.raises(BadInput, match="needs the columns id, bbox, assets and datetime"):
        open_catalogue(str(tmp_path / "a.parquet"))


def test_a_folder_without_such_files_is_one_of_d_pixels_or_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no stack"):
        open_catalogue(str(tmp_path))


@pytest.mark.parametrize("column", ["assets", "bbox", "datetime", "sar:polarizations", "links"])
@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.bool_(), pa.string(), pa.list_(pa.string()), pa.struct([("a", ASSET)])]
)
def test_columns_that_make_no_sense_never_end_in_a_traceback(
    tmp_path: Path, column: str, kind: pa.DataType
) -> None:
    made: Any = {
        pa.int64(): 3,
        pa.bool_(): True,
        pa.string(): "{",
        pa.list_(pa.string()): ["a", None],
    }.get(kind, {"a": {"href": None}})
    odd = pa.array([made] * len(ITEMS), kind)
    pq.write_table(table(**{column: odd}), tmp_path / "a.parquet")
    try:
        scenes = found(open_catalogue(str(tmp_path / "a.parquet")))
    except BadInput:
        return
    assert all(scene.faulty or scene.counts or scene.unusable for scene in scenes)


def test_rows_of_other_imagery_in_a_later_group_are_refused_where_they_are_wanted(
    tmp_path: Path,
) -> None:
    names = {band: COMMON_NAMES[band] for band in S2_ASSETS}

    def as_text(other: str) -> pa.Array:
        assets = {one["id"]: one["assets"] for one in ITEMS}
        assets[other] = {names[band]: asset for band, asset in assets[other].items()}
        return pa.array([json.dumps(assets[one["id"]]) for one in ITEMS])

    path = tmp_path / "items.parquet"
    pq.write_table(table(assets=as_text("S2-last")), path, row_group_size=2)
    source = open_catalogue(str(path))
    assert source.imagery == "mpc"
    with pytest.raises(BadInput, match=r"taken for imagery of ESA.* such as S2-last: give them"):
        source.search(HERE, 2024)
    # What says otherwise in the group that was asked is known at once.
    pq.write_table(table(assets=as_text("S2-last")), path, row_group_size=9)
    with pytest.raises(BadInput, match="has assets named B04"):
        open_catalogue(str(path))
