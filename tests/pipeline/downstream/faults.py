"""Faults to plant into a chain of artefacts, each as somebody could have made it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import tessera_mosaic as tm
from tessera_mosaic.pipeline.contracts.state import STATE
from tessera_mosaic.pipeline.downstream.head_file import read_head, write_head
from tessera_mosaic.pipeline.downstream.map_store import ATTRIBUTE, open_map
from tessera_mosaic.pipeline.downstream.point_file import read_points, write_points
from tessera_mosaic.pipeline.ledger import records
from tessera_mosaic.pipeline.mosaic.store import mosaic_at
from tests import samples
from tests.pipeline.downstream.chains import TILES, embeddings, write_mosaic
from tests.pipeline.downstream.maps import rows_of, write_rows

BOX = "2.9640,50.8745,2.9815,50.8795"
"""A region on the small mosaic."""


@dataclass(frozen=True)
class Fault:
    """A fault that is planted.

    Parameters
    ----------
    plant
        What plants it into a folder with all artefacts.
    chain
        Names of the artefacts that are checked, in their order.
    blocked
        Which of them is the first that does not hold.
    said
        Words of what is said.
    """

    plant: Callable[[Path], None]
    chain: str
    blocked: str
    said: str


def root_of(store: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((store / "zarr.json").read_text())
    return document


def change_root(store: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a map's metadata as its own program would: with its state anew."""
    root = root_of(store)
    change(root)
    (store / "zarr.json").write_text(json.dumps(root))
    root["attributes"][STATE] = open_map(str(store)).state.to_json()
    (store / "zarr.json").write_text(json.dumps(root))


def told(store: Path, **changed: Any) -> None:
    change_root(store, lambda root: root["attributes"][ATTRIBUTE].update(changed))


def change_document(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def change_rows(path: Path, change: Callable[[dict[str, str]], None], to: Path) -> None:
    rows = rows_of(path)
    for row in rows:
        change(row)
    write_rows(to, rows)


def change_head(folder: Path, name: str, **changed: Any) -> None:
    path = str(folder / name)
    write_head(path, replace(read_head(path).head, **changed))


def map_again(folder: Path, head: str, out: str) -> None:
    shutil.rmtree(folder / out)
    store, told = str(folder / "mosaic.zarr"), str(folder / head)
    tm.map(tm.MapRequest(store, told, BOX, 2018, str(folder / out)))


def mapped_without_matching(folder: Path) -> None:
    names = (str(folder / name) for name in ("mosaic.zarr", "crops.head"))
    tm.map(tm.MapRequest(*names, BOX, 2019, str(folder / "crops.zarr"), match_years=True))
    told(folder / "crops.zarr", matched_years={})


def swap(row: dict[str, str]) -> None:
    row["lon"], row["lat"] = row["lat"], row["lon"]


def shift(row: dict[str, str]) -> None:
    row["lon"] = str(float(row["lon"]) + 3)


def sample_of_next_zone(folder: Path) -> None:
    points = read_points(folder / "crops.csv")
    write_points(replace(points, zone=points.zone + 1), folder / "moved.csv")


def without_radar(folder: Path) -> None:
    mosaic = mosaic_at(str(folder / "mosaic.zarr"))
    for tile in TILES:
        samples.write_tile(mosaic, tile, 2019, embeddings(tile, 2019, radar=False))
    samples.refresh(mosaic, 2019)


def another_years_bytes(folder: Path) -> None:
    mosaic = mosaic_at(str(folder / "mosaic.zarr"))
    for tile in TILES:
        samples.write_tile(mosaic, tile, 2019, embeddings(tile, 2018))
    samples.refresh(mosaic, 2019)


def served_from_another_year(folder: Path) -> None:
    mosaic = mosaic_at(str(folder / "mosaic.zarr"))
    for tile in TILES:
        for old, new in zip(mosaic.keys(tile, 2018), mosaic.keys(tile, 2019), strict=True):
            shutil.copy(folder / "mosaic.zarr" / old, folder / "mosaic.zarr" / new)


def two_fingerprints(folder: Path) -> None:
    mosaic = mosaic_at(str(folder / "mosaic.zarr"))
    for tile in TILES:
        record = records.read_record(mosaic.storage, 2019, tile)
        assert record is not None
        records.write_record(mosaic.storage, tile, replace(record, fingerprint="f" * 64))
    samples.refresh(mosaic, 2019)


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def damage_tile(folder: Path) -> None:
    mosaic = mosaic_at(str(folder / "mosaic.zarr"))
    flip_a_byte(folder / "mosaic.zarr" / mosaic.keys(TILES[0], 2018)[0])


def nodata_is_zero(root: dict[str, Any]) -> None:
    root["consolidated_metadata"]["metadata"]["utm31/class"]["fill_value"] = 0


def twice_the_pixel(root: dict[str, Any]) -> None:
    place = root["consolidated_metadata"]["metadata"]["utm31"]["attributes"]
    place["spatial:transform"][0] *= 2
    place["spatial:transform"][4] *= 2


def swap_classes(root: dict[str, Any]) -> None:
    one, other = root["attributes"]["classes"]
    one["name"], other["name"] = other["name"], one["name"]


def no_intervals(areas: dict[str, Any]) -> None:
    for each in areas["classes"]:
        each["area_ha"] = {"value": each["counted_area_ha"]}


def edit(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    return lambda folder: change_document(folder / name, change)


def set_input(kind: str, digest: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for each in document[STATE]["inputs"]:
            if each["kind"] == kind:
                each["digest"] = digest

    return change


def trained_on_sample(folder: Path) -> None:
    """The sample of a map teaches the next head, and is its reference too."""
    (folder / "labels.csv").write_bytes((folder / "crops.csv").read_bytes())
    tm.train(
        tm.TrainRequest(
            str(folder / "mosaic.zarr"),
            str(folder / "crops.csv"),
            2018,
            str(folder / "crops.head"),
            field="label",
        )
    )
    map_again(folder, "crops.head", "crops.zarr")
    digest = tm.check(tm.CheckRequest((str(folder / "crops.zarr"),))).steps[0].state
    assert digest is not None
    change_document(folder / "crops/areas.json", set_input("map", digest.digests[0]))


def other_store(folder: Path, **identity: Any) -> None:
    write_mosaic(folder / "other.zarr", **identity)


def vectors_of_codes(folder: Path) -> None:
    table = pq.read_table(folder / "vectors.parquet")
    for number, name in enumerate(table.column_names):
        if name.startswith("e") and name[1:].isdigit():
            codes = (table[name].to_numpy() / 0.0173).round()
            table = table.set_column(number, name, pa.array(codes))
    pq.write_table(table, folder / "vectors.parquet")


CROPS = "mosaic.zarr labels.csv crops.head crops.zarr crops.csv crops/areas.json"
TONS = "mosaic.zarr labels.csv tons.head tons.zarr tons.csv tons/areas.json"

FAULTS: dict[str, Fault] = {
    "a head of another year": Fault(
        mapped_without_matching,
        "mosaic.zarr crops.head crops.zarr",
        "crops.zarr",
        "the map is of 2019, and the head is of 2018",
    ),
    "a year that the mosaic does not have": Fault(
        lambda f: change_head(f, "crops.head", years=(2021,)),
        "mosaic.zarr crops.head",
        "crops.head",
        "the head is of 2021, and the mosaic is of 2018 to 2019",
    ),
    "a head of another model": Fault(
        lambda f: other_store(f, imagery="aws"),
        "other.zarr crops.head crops.zarr",
        "crops.head",
        "the head rests on embeddings of sample with fingerprint",
    ),
    "a head on fewer values": Fault(
        lambda f: write_mosaic(f / "other.zarr", dims=4),
        "other.zarr crops.head",
        "crops.head",
        "takes embeddings of 8 values, and those of the mosaic have 4",
    ),
    "longitude and latitude swapped": Fault(
        lambda f: change_rows(f / "labels.csv", swap, f / "labels.csv"),
        "mosaic.zarr labels.csv",
        "labels.csv",
        "longitude and latitude of the file of places are swapped",
    ),
    "latitudes that are none": Fault(
        lambda f: change_rows(
            f / "labels.csv", lambda row: row.update(lon="38", lat="-121"), f / "labels.csv"
        ),
        "mosaic.zarr labels.csv",
        "labels.csv",
        "",
    ),
    "places of another region": Fault(
        lambda f: change_rows(f / "labels.csv", shift, f / "labels.csv"),
        "mosaic.zarr labels.csv",
        "labels.csv",
        "outside the mosaic",
    ),
    "a map of one zone laid on another": Fault(
        sample_of_next_zone,
        "crops.zarr moved.csv",
        "moved.csv",
        "the sample lies in EPSG:32632, and the map in EPSG:32631",
    ),
    "codes taken for values": Fault(
        vectors_of_codes,
        "mosaic.zarr labels.csv vectors.parquet",
        "vectors.parquet",
        "are codes, which nobody multiplied by the scales",
    ),
    "training points as reference sample": Fault(
        trained_on_sample,
        "mosaic.zarr crops.head crops.zarr crops.csv crops/areas.json",
        "crops/areas.json",
        "the head was trained on the points of the sample",
    ),
    "points that were chosen": Fault(
        edit("crops/areas.json", lambda areas: areas.update(design="")),
        CROPS,
        "crops/areas.json",
        "drawn by chance",
    ),
    "no data counted as class 0": Fault(
        lambda f: change_root(f / "crops.zarr", nodata_is_zero),
        "mosaic.zarr crops.head crops.zarr",
        "crops.zarr",
        "pixels without data count as class 0",
    ),
    "a year with radar beside one without": Fault(
        without_radar,
        "mosaic.zarr changed.zarr",
        "changed.zarr",
        "radar was observed in 2018, and not in 2019",
    ),
    "another year's bytes": Fault(
        another_years_bytes,
        "mosaic.zarr crops.head",
        "mosaic.zarr",
        "of 2019 has the bytes of 2018",
    ),
    "a server that gives another year": Fault(
        served_from_another_year, "mosaic.zarr", "mosaic.zarr", "of 2019 is not as it was written"
    ),
    "another year's bytes in a store without records": Fault(
        lambda f: (served_from_another_year(f), shutil.rmtree(f / "mosaic.zarr/records")),
        "mosaic.zarr crops.head",
        "mosaic.zarr",
        "of 2019 has the bytes of 2018",
    ),
    "a year of another fingerprint": Fault(
        two_fingerprints,
        "mosaic.zarr changed.zarr",
        "mosaic.zarr",
        "tiles of 2019 were made with fingerprint ffffffffffff",
    ),
    "a damaged tile": Fault(damage_tile, CROPS, "mosaic.zarr", "is not as it was written"),
    "a damaged head": Fault(lambda f: flip_a_byte(f / "crops.head"), CROPS, "crops.head", ""),
    "a head that was changed after the map": Fault(
        lambda f: change_head(f, "crops.head", penalty=2.0),
        "mosaic.zarr crops.head crops.zarr",
        "crops.zarr",
        "was made from another head",
    ),
    "labels that were changed after training": Fault(
        lambda f: change_rows(f / "labels.csv", lambda row: row.update(tons="1"), f / "labels.csv"),
        "mosaic.zarr labels.csv crops.head",
        "crops.head",
        "was made from another file of places",
    ),
    "a state that was changed": Fault(
        lambda f: change_document(
            f / "crops.zarr/zarr.json",
            lambda root: root["attributes"][STATE].update(years=[2019]),
        ),
        "mosaic.zarr crops.head crops.zarr",
        "crops.zarr",
        "says otherwise",
    ),
    "another unit": Fault(
        lambda f: told(f / "tons.zarr", unit="kg/m2"),
        TONS,
        "tons.zarr",
        "the map is in kg/m2, and the head in t/ha",
    ),
    "a total in another unit": Fault(
        edit("tons/areas.json", lambda areas: areas.update(unit="kg/m2")),
        TONS,
        "tons/areas.json",
        "the estimate of areas is in kg/m2, and the map in t/ha",
    ),
    "pixels of another size": Fault(
        lambda f: change_root(f / "crops.zarr", twice_the_pixel),
        "mosaic.zarr crops.head crops.zarr",
        "crops.zarr",
        "the map has pixels of 20 m, and the mosaic of 10 m",
    ),
    "areas of another map": Fault(
        edit("crops/areas.json", set_input("map", "m0123456789abcde")),
        CROPS,
        "crops/areas.json",
        "was made from another map",
    ),
    "a sample of another map": Fault(
        lambda f: None, "mosaic.zarr tons.head tons.zarr crops.csv", "crops.csv", "another map"
    ),
    "hits of another store": Fault(
        lambda f: other_store(f, margin=7), "other.zarr hits.parquet", "hits.parquet", "fingerprint"
    ),
    "two mosaics of two fingerprints": Fault(
        lambda f: other_store(f, margin=7), "mosaic.zarr other.zarr", "other.zarr", "fingerprint"
    ),
    "a clipped range that is not marked": Fault(
        lambda f: told(f / "tons.zarr", valid_range=None),
        TONS,
        "tons.zarr",
        "the head clips values to",
    ),
    "areas without intervals": Fault(
        edit("crops/areas.json", no_intervals), CROPS, "crops/areas.json", "have no intervals"
    ),
    "areas of another year": Fault(
        edit("crops/areas.json", lambda areas: areas.update(year=2019)),
        CROPS,
        "crops/areas.json",
        "is of 2019, and the map is of 2018",
    ),
    "classes under other codes": Fault(
        lambda f: change_root(f / "crops.zarr", swap_classes),
        "mosaic.zarr crops.head crops.zarr",
        "crops.zarr",
        "the classes of the map are not those of the head",
    ),
    "a table of another version": Fault(
        lambda f: change_document(f / "hits.geojson", lambda hits: hits[STATE].update(version=99)),
        "mosaic.zarr hits.geojson",
        "hits.geojson",
        "update tessera-mosaic",
    ),
}
