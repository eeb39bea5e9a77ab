"""What is published: registry, catalogue, picture, report; incremental and the same each time."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pystac
import pystac.validation
import pytest
import shapely
import zarr
import zarr_cm.multiscales
import zarr_cm.proj
import zarr_cm.spatial
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from tessera_mosaic.model.cards import SHIPPED
from tessera_mosaic.pipeline.commands.publish import publish_command
from tessera_mosaic.pipeline.commands.verify import verify_command
from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.records import Failure, State, read_record, write_record
from tessera_mosaic.pipeline.mosaic.layout import compressor
from tessera_mosaic.pipeline.mosaic.preview_pyramid import LEVELS
from tessera_mosaic.pipeline.mosaic.store import Mosaic, create_store, read_mosaic
from tessera_mosaic.pipeline.publishing import publish as publishing
from tessera_mosaic.pipeline.publishing.attribution import attribution, licence_of
from tessera_mosaic.pipeline.publishing.manifest import read_list
from tessera_mosaic.pipeline.publishing.preview import draw_tile, fit_colours, halve
from tessera_mosaic.pipeline.publishing.publish import publish
from tessera_mosaic.pipeline.publishing.stac import PROJECTION
from tessera_mosaic.pipeline.publishing.totals import Overview
from tessera_mosaic.pipeline.tiling.lattice import to_lonlat
from tests.samples import TILES, YEARS, add_tiles, identity, pixels, write_sample, write_tile

SCHEMAS = Path(__file__).parents[2] / "schemas"
WEST, EAST = TILES[0], TILES[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """A published mosaic of two years, on disk."""
    storage = Storage(str(tmp_path_factory.mktemp("store")))
    write_sample(storage)
    publish(storage)
    return storage


@pytest.fixture
def two(tmp_path: Path) -> Storage:
    """A mosaic of two tiles of one year, unpublished."""
    storage = Storage(f"memory://{tmp_path.name}")
    write_sample(storage, TILES[:2], [2018])
    return storage


def contents(storage: Storage, start: str = "") -> dict[str, bytes]:
    return {key: storage.read(key) for key in storage.list("") if key.startswith(start)}


def problems(storage: Storage) -> list[dict]:
    return verify_command(argparse.Namespace(store=storage.url, year=None, json=True))["problems"]


# Registry and catalogue


def test_registry_is_geoparquet_with_a_row_a_tile_and_year(store: Storage) -> None:
    table = pq.read_table(f"{store.url}/registry.parquet")
    geo = json.loads(table.schema.metadata[b"geo"])
    rows = table.to_pylist()
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["encoding"] == "WKB"
    assert {(row["tile"], row["year"]) for row in rows} == {
        (tile.name, year) for tile in TILES for year in YEARS
    }
    shapes = {row["tile"]: shapely.from_wkb(row["geometry"]) for row in rows}
    assert {shape.geom_type for shape in shapes.values()} == {"Polygon", "MultiPolygon"}
    assert set(geo["columns"]["geometry"]["geometry_types"]) == {"Polygon", "MultiPolygon"}
    for name, shape in shapes.items():
        assert shape.is_valid
        assert -180 <= shape.bounds[0] < shape.bounds[2] <= 180
        assert (shape.geom_type == "MultiPolygon") == name.startswith(("utm01", "utm60"))
    record = read_record(store, 2018, WEST)
    (row,) = (row for row in rows if (row["tile"], row["year"]) == (WEST.name, 2018))
    assert record is not None
    assert row["state"] == "done"
    assert row["bytes"] == sum(entry.size for entry in record.objects)
    assert row["pixels_embedded"] == record.pixels["embedded"]
    assert row["observations_s2_max"] == record.observations["s2"]["max"]
    assert row["fingerprint"] == record.fingerprint
    put = pixels(WEST, 2018)
    codes = put.codes[np.isfinite(put.scales)].astype(np.float64)
    assert row["code_power"] == pytest.approx(np.square(codes).mean())
    assert row["scale_median"] == pytest.approx(np.median(put.scales[np.isfinite(put.scales)]))


@pytest.fixture
def validator() -> Iterator[None]:
    """The core schemas as pystac ships them, and our own of the extension: no network."""
    schema = json.loads((SCHEMAS / "projection.json").read_text())
    before = pystac.validation.RegisteredValidator.get_validator()
    ours = JsonSchemaSTACValidator()
    ours.schema_cache[PROJECTION] = schema
    pystac.validation.set_validator(ours)
    yield
    pystac.validation.set_validator(before)


@pytest.mark.usefixtures("validator")
def test_catalogue_is_valid_and_its_links_lead_somewhere(store: Storage) -> None:
    collection = pystac.Collection.from_file(f"{store.url}/stac/collection.json")
    collection.validate()
    items = list(collection.get_items())
    assert sorted(item.id for item in items) == sorted(
        f"utm{zone:02d}-{year}" for zone in (1, 31, 32, 60) for year in YEARS
    )
    root = Path(store.url)
    for item in items:
        item.validate()
        assert item.properties["proj:code"] == f"EPSG:326{item.id[3:5]}"
        for asset in item.assets.values():
            assert (root / "stac" / asset.href / "zarr.json").exists()
        assert item.bbox is not None
        across = item.id.startswith(("utm01", "utm60"))
        assert (item.bbox[0] > item.bbox[2]) == across
        assert item.get_collection() is collection
        told = {link.rel: str(link.href) for link in item.links}
        assert told["emb:model"].startswith("urn:tessera-mosaic:weights:sha256:5eed")
        assert (root / "stac" / told["related"]).samefile(root / "registry.parquet")
        assert (root / "stac" / told["license"]).exists()
    written = json.loads((root / "stac/collection.json").read_text())
    assert "self" not in {link["rel"] for link in written["links"]}
    for link in collection.links:
        if str(link.href).startswith(".."):
            assert (root / "stac" / str(link.href)).exists()
    assert {link.rel for link in collection.links} >= {"emb:model", "emb:source-data", "license"}
    broken = items[0].to_dict()
    broken["properties"]["proj:shape"] = "large"
    with pytest.raises(pystac.errors.STACValidationError):
        pystac.Item.from_dict(broken).validate()


def test_attribution_names_what_has_to_be_named(store: Storage) -> None:
    text = store.read("ATTRIBUTION.md").decode()
    assert "Contains modified Copernicus Sentinel data 2018, 2019." in text
    assert "not those of a" in text
    assert "5eed" * 16 in text


def test_the_weights_that_are_shipped_are_named_with_their_licence() -> None:
    encoder = {"weights_sha256": SHIPPED.sha256, "card": SHIPPED.identity()}
    text = attribution(identity(encoder=encoder), [2024])
    assert f"{SHIPPED.name} (" in text
    assert "licence Apache-2.0" in text
    assert licence_of(identity(encoder=encoder)) == "Apache-2.0"


# Picture


def test_picture_follows_the_conventions(store: Storage) -> None:
    node = json.loads(store.read("global_rgb/zarr.json"))
    zarr_cm.multiscales.validate_group_metadata(node)
    zarr_cm.spatial.validate_group_metadata(node)
    zarr_cm.proj.validate_group_metadata(node)
    group = zarr.open_group(store.url, mode="r")
    shapes = [group[f"global_rgb/{level}/rgb"].shape for level in range(LEVELS)]
    assert shapes[0] == (1_800_000, 3_600_000, 4)
    assert shapes[-1] == (3515, 7031, 4)
    assert list(group["global_rgb/3/band"][:]) == [0, 1, 2, 3]
    root = json.loads(store.read("zarr.json"))
    for path, consolidated in root["consolidated_metadata"]["metadata"].items():
        assert json.loads(store.read(f"{path}/zarr.json")) == consolidated


@pytest.mark.parametrize("tile", [WEST, EAST, TILES[4], TILES[7]], ids=lambda tile: tile.name)
def test_each_place_has_the_colour_of_its_pixel_in_the_newest_year(
    store: Storage, tile: object
) -> None:
    mosaic = read_mosaic(store)
    put = pixels(tile, YEARS[-1])
    level = zarr.open_group(store.url, mode="r")["global_rgb/0/rgb"]
    rng = np.random.default_rng(0)
    rows, cols = np.nonzero(np.isfinite(put.scales))
    checked = 0
    for n in rng.permutation(len(rows))[:200]:
        x = tile.window.west + cols[n] * 10 + 5
        lon, lat = to_lonlat(tile.zone).transform(x, tile.window.north - rows[n] * 10 - 5)
        at = int((90 - lat) / 1e-4), int((lon + 180) / 1e-4)
        # The pixel of the picture whose centre is nearest may be a neighbour's; only clear hits.
        centre = -180 + (at[1] + 0.5) * 1e-4, 90 - (at[0] + 0.5) * 1e-4
        if abs(centre[0] - lon) > 2e-5 or abs(centre[1] - lat) > 2e-5 or not in_zone(tile, lon):
            continue
        value = put.codes[rows[n], cols[n]] * np.float32(put.scales[rows[n], cols[n]])
        expected = mosaic.colours.paint(value[None])[0]
        assert tuple(level[at]) == (*expected, 255)
        checked += 1
    assert checked > 10


def in_zone(tile: object, lon: float) -> bool:
    return int((lon + 180) // 6) + 1 == tile.zone


def test_coarser_levels_are_means_of_finer_ones(store: Storage) -> None:
    group = zarr.open_group(store.url, mode="r")
    lon, lat = to_lonlat(31).transform(WEST.window.west, WEST.window.north)
    for level in range(1, LEVELS):
        step = 1e-4 * 2**level
        row, col = int((90 - lat) / step) - 8, int((lon + 180) / step) - 8
        coarse = group[f"global_rgb/{level}/rgb"][row : row + 24, col : col + 24]
        fine = group[f"global_rgb/{level - 1}/rgb"][2 * row : 2 * row + 48, 2 * col : 2 * col + 48]
        assert coarse[..., 3].any()
        assert np.array_equal(coarse, halve(fine))


def test_halving_leaves_out_what_is_not_there() -> None:
    image = np.zeros((2, 4, 4), np.uint8)
    image[0, 0] = (100, 50, 10, 255)
    image[:, 2:] = (10, 20, 30, 255)
    image[1, 3] = (20, 20, 30, 255)
    assert halve(image).tolist() == [[[100, 50, 10, 255], [12, 20, 30, 255]]]


# Again and again


def test_publishing_again_changes_nothing(store: Storage) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(store.url).rglob("*")}
    assert publish(store)["new"] == 0
    after = {path: path.stat().st_mtime_ns for path in Path(store.url).rglob("*") if path.is_file()}
    assert {path for path, time in after.items() if before.get(path) != time} == set()


def test_more_tiles_cost_the_work_of_those_tiles(
    two: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(two)
    more = [dataclasses.replace(TILES[0], row=TILES[0].row - n) for n in (1, 2, 3)]
    add_tiles(read_mosaic(two), more, 2018)
    read: set[str] = set()
    plain = Storage.read_range

    def watched(self: Storage, key: str, start: int, length: int) -> bytes:
        read.add(key)
        return plain(self, key, start, length)

    monkeypatch.setattr(Storage, "read_range", watched)
    assert publish(two) == {"tiles": 5, "new": 3, "painted": 3}
    rows = {tuple(map(int, key.split("/")[-2:])) for key in read if key.startswith("utm")}
    assert rows == {(tile.row, tile.col) for tile in more}


def test_the_picture_does_not_depend_on_when_tiles_came(two: Storage, tmp_path: Path) -> None:
    publish(two)
    write_sample(two, TILES[2:4], [2018])
    publish(two)
    other = Storage(f"memory://{tmp_path.name}-other")
    write_sample(other, TILES[:4], [2018])
    publishing.write_metadata(other, read_mosaic(two).colours)
    publish(other)
    assert contents(other, "global_rgb") == contents(two, "global_rgb")


def test_a_new_year_is_painted_over_the_old_in_the_same_colours(two: Storage) -> None:
    mosaic = read_mosaic(two)
    publish(mosaic.storage)
    colours, before = read_mosaic(two).colours, contents(two, "global_rgb/0/rgb/c")
    write_sample(two, TILES[:1], [2019])
    publish(two)
    assert read_mosaic(two).colours == colours
    after = contents(two, "global_rgb/0/rgb/c")
    assert after.keys() == before.keys()
    assert after != before
    assert not problems(two)
    # The new year is taken back: the old one shows again.
    record = read_record(two, 2019, TILES[0])
    failed = dataclasses.replace(
        record, state=State.FAILED, objects=(), error=Failure("gone", "404")
    )
    write_record(two, TILES[0], dataclasses.replace(failed, launch="another"))
    refresh(two, 2019)
    publish(two)
    assert contents(two, "global_rgb/0/rgb/c") == before


def refresh(storage: Storage, year: int) -> None:
    """Bring the summary up to date with a record that was changed."""
    add_tiles(read_mosaic(storage), [], year)


def test_years_and_zones_that_a_launcher_adds_meanwhile_stay(
    two: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(step: Callable[..., object], year: int, zone: int) -> Callable[..., object]:
        def late(mosaic: Mosaic, *rest: object) -> object:
            create_store(two, mosaic.layout, mosaic.identity, [year], [zone])
            return step(mosaic, *rest)

        return late

    monkeypatch.setattr(publishing, "fit_colours", meanwhile(fit_colours, 2024, 30))
    monkeypatch.setattr(publishing, "draw_tile", meanwhile(draw_tile, 2025, 32))
    publish(two)
    mosaic = read_mosaic(two)
    assert (mosaic.years[-1], mosaic.zones) == (2025, (30, 31, 32))
    assert mosaic.colours is not None
    assert not problems(two)


class Killed(BaseException):
    """The process is gone."""


def publish_until(storage: Storage, moment: str, count: int) -> None:
    """Publish, and be killed when so many objects of a kind were put and one more is to be."""
    with pytest.MonkeyPatch.context() as patch:
        plain, seen = Storage.write, []

        def write(self: Storage, key: str, data: bytes) -> None:
            if key.startswith(moment):
                seen.append(key)
                if len(seen) > count:
                    raise Killed
            plain(self, key, data)

        patch.setattr(Storage, "write", write)
        with pytest.raises(Killed):
            publish(storage)


def changed(storage: Storage) -> None:
    """One tile is made again, and another one failed."""
    write_tile(read_mosaic(storage), TILES[0], 2018, pixels(TILES[0], 2019))
    fail(read_mosaic(storage))


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_killed_at_any_moment_it_ends_the_same(two: Storage, again: bool, tmp_path: Path) -> None:
    if again:
        publish(two)
        changed(two)
    before = contents(two)
    publish(two)
    after = contents(two)
    moments = [
        ("global_rgb/0/rgb/c/", 1),
        ("published/picture/", 1),
        ("published/registry/", 0),
        ("published/list.json", 0),
        ("report.html", 0),
    ]
    for moment, count in moments[0 if again else 3 :]:
        other = Storage(f"memory://{tmp_path.name}-{moment.replace('/', '-')}")
        for key, data in before.items():
            other.write(key, data)
        publish_until(other, moment, count)
        assert contents(other) != after
        publish(other)
        found = contents(other)
        assert found.keys() == after.keys(), moment
        # The report tells the store's own name.
        assert [key for key in after if found[key] != after[key]] in ([], TOLD_BY_NAME), moment


TOLD_BY_NAME = ["published/list.json", "report.html"]


def test_what_was_damaged_is_mended(two: Storage) -> None:
    publish(two)
    whole = contents(two)
    for key in ("utm31/x/c/0", "utm31/scales/zarr.json", "report.html", "stac/collection.json"):
        two.write(key, b"damaged")
        assert problems(two)
        publish(two)
        assert not problems(two)
    for key in ("published/list.json", "published/registry/utm31.parquet"):
        two.write(key, b"damaged")
        assert problems(two)
        publish(two)
        assert not problems(two)
    for key in ("published/picture/coarse.json", "global_rgb/9/rgb/c/3/7/0"):
        two.write(key, b"damaged")
        assert problems(two)
        two.delete("published/list.json")
        publish(two)
        assert not problems(two)
    assert contents(two) == whole


def test_the_picture_is_painted_afresh_over_damage_at_every_level(two: Storage) -> None:
    publish(two)
    whole = contents(two)
    keys = [
        next(key for key in whole if key.startswith(f"global_rgb/{level}/rgb/c/"))
        for level in range(LEVELS)
    ]
    for key in keys:
        two.write(key, whole[key][: len(whole[key]) // 2])
    assert {problem["tile"] for problem in problems(two)} == set(keys)
    two.delete("published/list.json")
    publish(two)
    assert contents(two) == whole


def other_chunk(data: bytes) -> bytes:
    """A chunk that can be decoded, to other pixels."""
    return bytes(compressor().encode(np.full(512 * 512 * 4, 7, np.uint8)))


@pytest.mark.parametrize("damage", [lambda data: data[:-9], other_chunk, lambda data: b""])
def test_a_damaged_piece_of_the_picture_is_not_painted_over(
    two: Storage, damage: Callable[[bytes], bytes]
) -> None:
    publish(two)
    key = next(key for key in contents(two) if key.startswith("global_rgb/0/rgb/c/"))
    two.write(key, damage(two.read(key)))
    write_tile(read_mosaic(two), TILES[0], 2018, pixels(TILES[0], 2019))
    refresh(two, 2018)
    with pytest.raises(BadInput, match=f"{key}.*remove published/list.json"):
        publish_command(argparse.Namespace(store=two.url, json=True))


def test_a_store_that_does_not_answer_costs_nothing_that_was_published(
    two: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(two)
    before = contents(two)
    read = Storage.read

    def refused(storage: Storage, key: str) -> bytes:
        if key.startswith("published/"):
            raise StoreError("no answer")
        return read(storage, key)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "read", refused)
        with pytest.raises(StoreError, match="no answer"):
            publish_command(argparse.Namespace(store=two.url, json=True))
    assert contents(two) == before


def test_a_damaged_tile_is_named(two: Storage) -> None:
    key = read_mosaic(two).keys(TILES[1], 2018)[-1]
    two.delete(key)
    with pytest.raises(BadInput, match=TILES[1].name):
        publish_command(argparse.Namespace(store=two.url, json=True))


def test_a_mosaic_of_one_pixel(tmp_path: Path) -> None:
    storage = Storage(f"memory://{tmp_path.name}-pixel")
    mosaic = write_sample(storage, TILES[:1], [2018]).mosaic
    put = pixels(TILES[0], 2018)
    alone = np.zeros(put.scales.shape, bool)
    alone[-1, 60] = True
    put.scales[~alone], put.codes[~alone] = np.inf, 0
    write_tile(mosaic, TILES[0], 2018, put)
    refresh(storage, 2018)
    assert publish(mosaic.storage)["painted"] == 1
    assert not problems(storage)


def test_nothing_to_publish_yet(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no mosaic"):
        publish_command(argparse.Namespace(store=str(tmp_path), json=True))


# Report


def test_report_stands_alone_and_tells(two: Storage) -> None:
    mosaic = read_mosaic(two)
    fail(mosaic)
    publish(mosaic.storage)
    page = two.read("report.html").decode()
    assert not re.search(r"(src|href)=.(?!data:)", page)
    for told in ("tiles planned", "truncated &lt;block&gt;", "corrupt", "utm31", "sample"):
        assert told in page


def fail(mosaic: Mosaic) -> None:
    """Let the second tile have failed, with a message that has to be escaped."""
    record = read_record(mosaic.storage, 2018, TILES[1])
    error = Failure("corrupt", "truncated <block>", "S2", "B04")
    failed = dataclasses.replace(record, state=State.FAILED, objects=(), error=error)
    write_record(mosaic.storage, TILES[1], dataclasses.replace(failed, launch="again"))
    refresh(mosaic.storage, 2018)


def test_report_is_drawn_by_a_browser(store: Storage, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium to draw the report with")
    picture = tmp_path / "report.png"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               f"--user-data-dir={tmp_path}", "--window-size=1200,2400",
               f"--screenshot={picture}", f"file://{store.url}/report.html"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    from PIL import Image

    drawn = np.asarray(Image.open(picture).convert("RGB"))
    assert drawn.shape == (2400, 1200, 3)
    green = (drawn == (26, 122, 108)).all(-1)
    assert green[:1000].sum() > 5
    assert green[1000:].sum() > 500
    assert (drawn[-100:] == 255).mean() > 0.5


def test_small_maps_and_empty_registries(tmp_path: Path) -> None:
    from tessera_mosaic.pipeline.publishing.report import report_page

    storage = Storage(f"memory://{tmp_path.name}-empty")
    mosaic = write_sample(storage, TILES[:1], [2018]).mosaic
    assert "No tile was planned yet" in report_page(mosaic, Overview(), {})
    assert read_list(storage) == {}


def test_schemas_of_our_own_refuse_what_is_wrong() -> None:
    schema = json.loads((SCHEMAS / "projection.json").read_text())
    item = {"stac_extensions": [PROJECTION], "properties": {"proj:epsg": 32631}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(item, schema)
