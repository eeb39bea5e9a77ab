"""Damaged catalogues, items and rasters: one clear line, or one recorded scene."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tessera_mosaic.pipeline.errors import BadInput, SceneError
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.losses import Losses
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
    from_lonlat,
    lonlat_bounds,
    window_of_bounds,
)

YEAR = 2024

BAD_VALUES: list[Any] = [
    None,
    True,
    7,
    -1e308,
    10**400,
    float("nan"),
    "",
    "nonsense",
    "x" * 10_000,
    [],
    {},
    [[[[[1]]]]],
    {"a": None},
]

FIELDS = (
    ("id",),
    ("collection",),
    ("bbox",),
    ("bbox", 0),
    ("properties",),
    ("properties", "datetime"),
    ("properties", "proj:code"),
    ("properties", "platform"),
    ("properties", "s2:processing_baseline"),
    ("assets",),
    ("assets", "B04"),
    ("assets", "B04", "href"),
    ("links",),
    ("type",),
)

MORE_ITEMS: dict[str, Callable[[dict], None]] = {
    "no bbox and a flat outline": lambda item: item.update(bbox=None, geometry={"coordinates": []}),
    "an outline of texts": lambda item: item.update(bbox=None, geometry={"coordinates": [["a"]]}),
    "a deep outline": lambda item: item.update(bbox=None, geometry={"coordinates": deep(500)}),
    "south of north": lambda item: item.update(bbox=[3, 51, 4, 50]),
    "beyond the pole": lambda item: item.update(bbox=[3, 50, 4, 95]),
    "infinite": lambda item: item.update(bbox=[-float("inf"), 50, 4, 51]),
    "three numbers": lambda item: item.update(bbox=[3, 50, 4]),
    "an item of another zone": lambda item: item["properties"].update(
        {"proj:code": "EPSG:32632", "proj:epsg": 32632}
    ),
    "an unknown projection": lambda item: item["properties"].update(
        {"proj:code": "EPSG:999999", "proj:epsg": 999_999}
    ),
    "no SCL": lambda item: item["assets"].pop("SCL"),
    "no bands": lambda item: item.update(assets={"SCL": item["assets"]["SCL"]}),
    "a folder": lambda item: item["assets"]["B04"].update(href="."),
    "nothing there": lambda item: item["assets"]["B04"].update(href="./none.tif"),
    "another scheme": lambda item: item["assets"]["B04"].update(href="ftp://a.example/B04.tif"),
    "a private address": lambda item: item["assets"]["B04"].update(href="http://10.0.0.1/a.tif"),
    "a zero in the path": lambda item: item["assets"]["B04"].update(href="./a\0b.tif"),
    "a device": lambda item: item["assets"]["B04"].update(href="/dev/null"),
    "the class raster for a band": lambda item: item["assets"]["B04"].update(href="./SCL.tif"),
    "half an address": lambda item: item["assets"]["B04"].update(href="//[x/B04.tif"),
    "a line break": lambda item: item["assets"]["B04"].update(href="http://a.example/b\r\nc.tif"),
    "no such port": lambda item: item["assets"]["B04"].update(href="http://a.example:99999/b"),
    "a year of five digits": lambda item: item["properties"].update(
        datetime="20240-01-01T00:00:00Z"
    ),
}


def deep(levels: int) -> list:
    nested: list = []
    for _ in range(levels):
        nested = [nested]
    return nested


def damage(path: tuple, value: Any) -> Callable[[dict], None]:
    """Put a value in place of a field."""

    def apply(item: dict) -> None:
        at: Any = item
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = copy.deepcopy(value)

    return apply


ITEMS = {
    f"{'.'.join(map(str, path))} = {value!r:.30}": damage(path, value)
    for path in FIELDS
    for value in BAD_VALUES
} | MORE_ITEMS

SCENE = "SIMULATED_S2A_MSIL2A_"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = Simulation((Footprint.around("31UDS", 3.0, 50.8, 16),), s2_days=2, s1_days=1)
    return simulate_archive(tmp_path_factory.mktemp("archive") / "archive", spec)


@pytest.fixture(scope="module")
def window() -> Window:
    x, y = from_lonlat(31).transform(3.0, 50.8)
    return window_of_bounds(31, (x - 40, y - 40, x + 40, y + 40))


def read(catalogue: Path, window: Window) -> tuple[AnnualStack, Losses, set[str]]:
    source, losses = open_catalogue(str(catalogue)), Losses(5)
    reader = SceneReader(source, threads=2)
    try:
        scenes = source.search(lonlat_bounds(window), YEAR)
        annual = read_block(window, scenes, Preprocessing(source.imagery), reader, losses)
    finally:
        reader.close()
    return annual, losses, {scene.id for scene in scenes}


@pytest.fixture
def scene_path(archive: Path) -> Path:
    """The item of the archive's first Sentinel-2 scene."""
    return sorted(archive.parent.glob(f"sentinel-2-l2a/{SCENE}*/*.json"))[0]


def assert_contained(catalogue: Path, window: Window, healthy: AnnualStack, name: str) -> None:
    """A clear line, or the damaged scene in the ledger and all others as they were."""
    try:
        annual, losses, found = read(catalogue, window)
    except (BadInput, SceneError) as error:
        line = str(error)
        assert line
        assert "\n" not in line
        assert len(line) < 1000
        return
    told = set(annual.used) | {scene for scene, _ in annual.unused}
    assert told == found
    assert all(reason for _, reason in annual.unused)
    others = set(healthy.used) - {name}
    assert others <= set(annual.used)
    # An item without a usable id is named by its address, which holds it here.
    assert all(name in scene for scene, _, _ in losses.scenes)


@pytest.mark.parametrize("kind", ITEMS)
def test_damaged_items(archive: Path, window: Window, scene_path: Path, kind: str) -> None:
    healthy, _, _ = read(archive, window)
    sound = scene_path.read_text()
    item = json.loads(sound)
    ITEMS[kind](item)
    scene_path.write_text(json.dumps(item))
    try:
        assert_contained(archive, window, healthy, json.loads(sound)["id"])
    finally:
        scene_path.write_text(sound)


def rewritten(path: Path, **options: Any) -> None:
    """Write a raster anew with another profile; read as classes, all of it is vegetation."""
    with rasterio.open(path) as file:
        profile = {**file.profile, "driver": "GTiff", **options}
    profile.pop("predictor", None)
    pixels = np.full((profile["count"], profile["height"], profile["width"]), 4, profile["dtype"])
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)


def moved(path: Path, metres: float) -> rasterio.Affine:
    with rasterio.open(path) as file:
        return rasterio.Affine.translation(metres, 0) @ file.transform


RASTERS: dict[str, Callable[[Path], None]] = {
    "empty": lambda path: path.write_bytes(b""),
    "a text": lambda path: path.write_text("<html>404</html>"),
    "half a header": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "no blocks": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "zeros in its blocks": lambda path: path.write_bytes(path.read_bytes()[:-200] + bytes(200)),
    "eight bits": lambda path: rewritten(path, dtype="uint8"),
    "floats": lambda path: rewritten(path, dtype="float32"),
    "100 km away": lambda path: rewritten(path, transform=moved(path, 100_000)),
    "beside the others": lambda path: rewritten(path, transform=moved(path, 180)),
    "nowhere on Earth": lambda path: rewritten(path, transform=moved(path, 1e300)),
    "two bands": lambda path: rewritten(path, count=2),
    "another zone": lambda path: rewritten(path, crs="EPSG:32632"),
    "no projection": lambda path: rewritten(path, crs=None),
    "in degrees": lambda path: rewritten(path, crs="EPSG:4326"),
    "JPEG 2000": lambda path: path.write_bytes(b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(500)),
    "a folder in its place": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("kind", RASTERS)
@pytest.mark.parametrize("asset", ["SCL", "B11"])
def test_damaged_rasters(
    archive: Path, window: Window, tmp_path: Path, kind: str, asset: str
) -> None:
    folder = shutil.copytree(archive.parent, tmp_path / "archive")
    path = sorted(folder.glob(f"sentinel-2-l2a/{SCENE}*/{asset}.tif"))[0]
    healthy, _, _ = read(archive, window)
    RASTERS[kind](path)
    annual, losses, _ = read(folder / "catalog.json", window)
    if asset != "SCL" or kind not in ("eight bits", "beside the others"):
        assert [scene for scene, _, _ in losses.scenes] == [path.parent.name]
        assert dict(annual.unused)[path.parent.name].startswith("lost: ")
    assert set(healthy.used) - {path.parent.name} <= set(annual.used)


@pytest.mark.parametrize("metres", [200, 100_000])
def test_polarisations_of_different_ground(
    archive: Path, window: Window, tmp_path: Path, metres: float
) -> None:
    folder = shutil.copytree(archive.parent, tmp_path / "archive")
    path = sorted(folder.glob("sentinel-1-rtc/*/vh.tif"))[0]
    rewritten(path, transform=moved(path, metres))
    _, losses, _ = read(folder / "catalog.json", window)
    [(scene, kind, line)] = losses.scenes
    assert (scene, kind) == (path.parent.name, "corrupt")
    assert "vh: it does not " in line


def linked(*links: Any) -> str:
    return json.dumps({"type": "Catalog", "links": links})


CATALOGUES: dict[str, str] = {
    "no JSON": "not at all",
    "a number": "7",
    "a list": "[]",
    "no type": "{}",
    "another type": '{"type": "Map"}',
    "no links": '{"type": "Catalog"}',
    "links of another kind": '{"type": "Catalog", "links": {"rel": "child"}}',
    "strange links": linked(7, None, {"rel": "item"}, {"rel": "child", "href": 7}),
    "a link to itself": linked({"rel": "child", "href": "./catalog.json"}),
    "a link to nothing": linked({"rel": "item", "href": "./none.json"}),
    "a link to a folder": linked({"rel": "item", "href": "."}),
    "a link to another scheme": linked({"rel": "item", "href": "ftp://a/b"}),
    "features of another kind": '{"type": "FeatureCollection", "features": 7}',
    "no features": '{"type": "FeatureCollection", "features": []}',
    "features that are none": '{"type": "FeatureCollection", "features": [1, null, "x", []]}',
    "half a text": '{"type": "Catalog", "links": [{"rel"',
    "too deep": "[" * 100_000,
    "bytes": "\ufffd\x00\x01",
}


@pytest.mark.parametrize("kind", CATALOGUES)
def test_damaged_catalogues(tmp_path: Path, window: Window, kind: str) -> None:
    path = tmp_path / "catalog.json"
    path.write_text(CATALOGUES[kind])
    if kind == "features that are none":
        annual, _, found = read(path, window)
        assert len(annual.unused) == len(found) == 4
        return
    with pytest.raises(BadInput) as caught:
        read(path, window)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_links_in_a_circle_end(archive: Path, window: Window, tmp_path: Path) -> None:
    folder = shutil.copytree(archive.parent, tmp_path / "archive")
    path = folder / "sentinel-2-l2a/collection.json"
    collection = json.loads(path.read_text())
    for href in ("../catalog.json", "./collection.json", "./../sentinel-2-l2a/collection.json"):
        collection["links"].append({"rel": "child", "href": href})
    path.write_text(json.dumps(collection))
    ours, _, _ = read(folder / "catalog.json", window)
    assert ours.used == read(archive, window)[0].used


SOUND = {
    "crs": "EPSG:32631",
    "transform": [10, 0, 500_000, 0, -10, 5_000_000],
    "shape": [4, 5],
    "year": 2024,
    "rules": {"imagery": "aws"},
}

DESCRIPTIONS: dict[str, str] = {
    f"{name} = {value!r:.30}": json.dumps(SOUND | {name: value})
    for name, value in [
        ("crs", "EPSG:32661"),
        ("crs", None),
        ("transform", [10, 0, 500_005, 0, -10, 5_000_000]),
        ("transform", [10, 0, 1e300, 0, -10, 5_000_000]),
        ("transform", [10, 0, 10**400, 0, -10, 5_000_000]),
        ("transform", [20, 0, 500_000, 0, -20, 5_000_000]),
        ("transform", [10, 0, float("nan"), 0, -10, 5_000_000]),
        ("shape", [-5, 10]),
        ("shape", [0, 10]),
        ("shape", [10**12, 10**12]),
        ("shape", [float("inf"), 5]),
        ("year", float("inf")),
        ("year", 20_240),
        ("rules", {"imagery": "other"}),
    ]
}
DESCRIPTIONS |= {"deep": "[" * 100_000, "no JSON": "{", "no object": "[]", "empty": ""}


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_damaged_descriptions_of_stacks(tmp_path: Path, kind: str) -> None:
    (tmp_path / "stack.json").write_text(json.dumps(SOUND))
    assert open_catalogue(str(tmp_path)).imagery == "aws"
    (tmp_path / "stack.json").write_text(DESCRIPTIONS[kind])
    with pytest.raises(BadInput, match=r"stack\.json") as caught:
        open_catalogue(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
