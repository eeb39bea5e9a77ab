"""What is read in place of a scene that cannot be, and what counts as lost."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.stacks.read_stack import RegionStack, StackRequest, read_stack

REGION = "2.9999,50.7999,3.0001,50.8001"
YEAR = 2024


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an archive of one day and three passes, all clear."""
    spec = Simulation(
        (Footprint.around("31UDS", 3.0, 50.8, 16),), s2_days=1, s1_days=3, cloudiness=0.0
    )
    return simulate_archive(tmp_path_factory.mktemp("archive") / "archive", spec).parent


@pytest.fixture
def folder(archive: Path, tmp_path: Path) -> Path:
    return shutil.copytree(archive, tmp_path / "archive")


def stack(folder: Path, **options: Any) -> RegionStack:
    return read_stack(StackRequest(f"{folder}/catalog.json", REGION, YEAR, **options))


def items(folder: Path, collection: str) -> list[tuple[Path, dict[str, Any]]]:
    paths = sorted(folder.glob(f"{collection}/*/*.json"))
    return [(path, json.loads(path.read_text())) for path in paths]


def change(folder: Path, collection: str, work: Callable[[dict[str, Any]], Any]) -> int:
    found = items(folder, collection)
    for path, item in found:
        work(item)
        path.write_text(json.dumps(item))
    return len(found)


def add_version(folder: Path, name: str, brighter: int, **properties: Any) -> Path:
    """Another version of the day, with other numbers, and its folder."""
    [(path, item)] = [(p, i) for p, i in items(folder, "sentinel-2-l2a") if p.stem != name][:1]
    there = path.parent.parent / name
    shutil.copytree(path.parent, there)
    for raster in there.glob("B*.tif"):
        rewrite(raster, lambda pixels: pixels + np.uint16(brighter))
    (there / path.name).unlink()
    version = copy.deepcopy(item)
    version["id"] = name
    version["properties"] |= properties
    (there / f"{name}.json").write_text(json.dumps(version))
    listing = path.parent.parent / "collection.json"
    listed = json.loads(listing.read_text())
    listed["links"].append({"rel": "item", "href": f"./{name}/{name}.json"})
    listing.write_text(json.dumps(listed))
    return there


def rewrite(raster: Path, work: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Write a raster anew with other pixels, (1, rows, cols)."""
    with rasterio.open(raster) as file:
        pixels, told = file.read(), file.profile
    kept = {name: told[name] for name in ("height", "width", "count", "dtype", "crs", "transform")}
    with rasterio.open(
        raster, "w", driver="GTiff", tiled=True, blockxsize=256, blockysize=256, nodata=0, **kept
    ) as file:
        file.write(work(pixels))


NEWER = {"s2:generation_time": "2025-11-05T20:00:00Z"}
TOLD = {"s2:datastrip_id": "S2A_OPER_MSI_L2A_DS_2APS_20240702T160000_S20240702T101758_N05.10"}


@pytest.mark.parametrize("told", [{}, TOLD])
@pytest.mark.parametrize("band", ["SCL", "B11"])
def test_the_older_version_is_read_where_the_newest_is_gone(
    folder: Path, told: dict[str, str], band: str
) -> None:
    change(folder, "sentinel-2-l2a", lambda item: item["properties"].update(told))
    [old] = [item["id"] for _, item in items(folder, "sentinel-2-l2a")]
    before = stack(folder).annual
    new = add_version(folder, "new", 50, **NEWER)
    newest = stack(folder).annual
    assert np.array_equal(newest.stack.bands, before.stack.bands + 50)
    assert (old, "superseded by new") in newest.unused
    (new / f"{band}.tif").unlink()
    annual = stack(folder).annual
    assert np.array_equal(annual.stack.bands, before.stack.bands)
    [why] = [why for name, why in annual.unused if name == "new"]
    assert why.startswith("gone: ")
    assert why.endswith(f"{old} is read in its place")
    # And if that one is gone too, it is lost.
    for path, item in items(folder, "sentinel-2-l2a"):
        if item["id"] == old:
            (path.parent / "SCL.tif").unlink()
    with pytest.raises(BadInput, match=f"{old} SCL: .*allow one more lost scene"):
        stack(folder)


def half_of(pixels: NDArray[Any], north: bool) -> NDArray[Any]:
    """The pixels of one half of the ground, and no data in the other."""
    in_north = np.arange(pixels.shape[1]) < pixels.shape[1] // 2
    return np.where((in_north == north)[:, None], pixels, 0).astype(pixels.dtype)


def split(folder: Path, there: Path) -> None:
    """Leave the north of the ground to one scene, and the south to the other."""
    [first] = [p.parent for p, i in items(folder, "sentinel-2-l2a") if p.parent != there]
    for place, north in ((first, True), (there, False)):
        for raster in place.glob("*.tif"):
            rewrite(raster, lambda pixels, north=north: half_of(pixels, north))


@pytest.mark.parametrize("key", ["s2:datastrip_id", "eopf:datastrip_id", ""])
def test_halves_complete_each_other_and_are_both_missed(folder: Path, key: str) -> None:
    strips = (TOLD["s2:datastrip_id"], TOLD["s2:datastrip_id"].replace("101758", "101823"))
    if key:
        change(folder, "sentinel-2-l2a", lambda item: item["properties"].update({key: strips[0]}))
    there = add_version(folder, "south", 0, **NEWER, **({key: strips[1]} if key else {}))
    split(folder, there)
    annual = stack(folder).annual
    assert annual.stack.masks.all()
    assert len([name for name in annual.used if "S2A" in name or name == "south"]) == 2
    if key:
        (there / "SCL.tif").unlink()
        with pytest.raises(BadInput, match="south SCL"):
            stack(folder)


def test_a_faulty_item_counts_as_lost_and_is_named(folder: Path) -> None:
    path, item = items(folder, "sentinel-1-rtc")[0]
    del item["properties"]["sat:orbit_state"]
    path.write_text(json.dumps(item))
    with pytest.raises(BadInput, match=f"{item['id']}: its orbit state is unknown .*allow one"):
        stack(folder)
    made = stack(folder, allow_lost_scenes=1)
    [why] = [why for name, why in made.annual.unused if name == item["id"]]
    assert why == f"lost: incomplete: {item['id']}: its orbit state is unknown"
    assert made.absent_sensors == {}


def test_a_sensor_whose_scenes_are_all_faulty_is_lost_if_that_is_allowed(folder: Path) -> None:
    count = change(folder, "sentinel-1-rtc", lambda item: item["properties"].pop("sat:orbit_state"))
    for options in ({}, {"allow_lost_scenes": count}):
        with pytest.raises(BadInput, match=f"Sentinel-1: all {count} scenes .*allow a lost sensor"):
            stack(folder, **options)
    made = stack(folder, allow_lost_sensor=True)
    assert list(made.description()["absent_sensors"]) == ["s1"]
    assert len(made.annual.dates) == 1
    # That excuses no scene of the other sensor.
    change(folder, "sentinel-2-l2a", lambda item: item["assets"].pop("B02"))
    with pytest.raises(BadInput, match="Sentinel-2"):
        stack(folder, allow_lost_sensor=True)


def test_a_sensor_whose_files_all_may_be_lost_is_told(folder: Path) -> None:
    for raster in folder.glob("sentinel-1-rtc/*/vv.tif"):
        raster.unlink()
    assert "all 3 scenes" in stack(folder, allow_lost_scenes=3).absent_sensors["s1"]


def test_a_sensor_of_no_use_by_its_nature_is_told_and_no_more(folder: Path) -> None:
    def polar(item: dict[str, Any]) -> None:
        item["assets"] = {"hh": item["assets"]["vv"], "hv": item["assets"]["vh"]}
        item["properties"]["sar:polarizations"] = ["HH", "HV"]

    change(folder, "sentinel-1-rtc", polar)
    assert "HH+HV" in stack(folder).absent_sensors["s1"]
    shutil.rmtree(folder / "sentinel-1-rtc")
    listing = folder / "catalog.json"
    told = json.loads(listing.read_text())
    told["links"] = [link for link in told["links"] if "sentinel-1" not in link["href"]]
    listing.write_text(json.dumps(told))
    assert stack(folder).absent_sensors == {"s1": "the catalogue lists no scene of it"}
