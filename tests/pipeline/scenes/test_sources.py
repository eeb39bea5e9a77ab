"""The same small archive, behind each kind of catalogue."""

import dataclasses
import datetime as dt
import functools
import json
import random
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import requests
from planetary_computer import sas
from rasterio.warp import Resampling, reproject

from benchmarks.server import serving
from tessera_mosaic.model.observations import Stack
from tessera_mosaic.pipeline.errors import (
    BadInput,
    Corrupt,
    Expired,
    Gone,
    SceneError,
    Throttled,
    TimedOut,
)
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.http import Patience
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.scenes import (
    S2_ASSETS,
    Scene,
    Source,
    open_catalogue,
    opera,
)
from tessera_mosaic.pipeline.scenes.credentials import (
    LOGIN,
    EarthdataToken,
    PlanetaryTokens,
    Signer,
)
from tessera_mosaic.pipeline.scenes.earth_search import EarthSearch
from tessera_mosaic.pipeline.scenes.geoparquet import ParquetIndex
from tessera_mosaic.pipeline.scenes.open_catalog import NAMED
from tessera_mosaic.pipeline.scenes.opera import OperaGranules
from tessera_mosaic.pipeline.scenes.planetary_computer import PlanetaryComputer
from tessera_mosaic.pipeline.scenes.stac_api import StacApi
from tessera_mosaic.pipeline.scenes.stac_items import COMMON_NAMES
from tessera_mosaic.pipeline.scenes.static_catalog import (
    READS,
    Limits,
    StaticCatalogue,
    fetched_in_order,
)
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.stacks.dpixel_files import write_stack_directory
from tessera_mosaic.pipeline.stacks.read_stack import AnnualStack, Losses, Preprocessing, read_stack
from tessera_mosaic.pipeline.stacks.sentinel1 import code_backscatter
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
    from_lonlat,
    lonlat_bounds,
    window_of_bounds,
)
from tests.fakes.catalogues import items_of, write_index
from tests.fakes.environment import object_store_here
from tests.fakes.web import FakeStac, Reply, Request, fake_web

YEAR = 2024
FLANDERS = (3.0, 50.8, 3.01, 50.81)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = Simulation((Footprint.around("31UDS", 3.0, 50.8, 32),), s2_days=3, s1_days=2)
    return simulate_archive(tmp_path_factory.mktemp("archive") / "archive", spec)


@pytest.fixture(scope="module")
def window() -> Window:
    x, y = from_lonlat(31).transform(3.0, 50.8)
    return window_of_bounds(31, (x - 60, y - 60, x + 60, y + 60))


def stack_of(source: Source, window: Window, signer: Signer | None = None) -> AnnualStack:
    reader = SceneReader(source, threads=4, signer=signer)
    scenes = source.search(lonlat_bounds(window), YEAR)
    try:
        return read_stack(window, scenes, Preprocessing(), reader)
    finally:
        reader.close()


def assert_equal(ours: AnnualStack, theirs: AnnualStack) -> None:
    for field in dataclasses.fields(Stack):
        one, other = getattr(ours.stack, field.name), getattr(theirs.stack, field.name)
        assert one.tobytes() == other.tobytes(), field.name
    assert (ours.used, ours.unused, ours.dates) == (theirs.used, theirs.unused, theirs.dates)


@pytest.fixture(scope="module")
def expected(archive: Path, window: Window) -> AnnualStack:
    """What the archive is from the disk."""
    annual = stack_of(open_catalogue(str(archive)), window)
    assert len(annual.used) >= 4
    return annual


def test_static_catalogue_over_http(archive: Path, window: Window, expected: AnnualStack) -> None:
    with serving(archive.parent) as server:
        source = open_catalogue(f"{server.url}/catalog.json?sig=secret")
        assert source.imagery == "mpc"
        assert source.name == f"{server.url}/catalog.json"
        assert_equal(stack_of(source, window), expected)


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_static_catalogue_in_a_bucket(
    archive: Path, window: Window, expected: AnnualStack, scheme: str
) -> None:
    with object_store_here(scheme) as bucket:
        store = Storage(f"{bucket}/a")
        for path in archive.parent.rglob("*"):
            if path.is_file():
                store.put_file(str(path.relative_to(archive.parent)), path)
        source = open_catalogue(f"{bucket}/a/catalog.json")
        assert_equal(stack_of(source, window), expected)
        with pytest.raises(Gone):
            source.remote.read(Access(f"{bucket}/a/none.tif"), 0, 10)


def test_feature_collection_in_one_file(
    archive: Path, window: Window, expected: AnnualStack, tmp_path: Path
) -> None:
    path = tmp_path / "items.json"
    items = items_of(archive, str(archive.parent))
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    assert_equal(stack_of(open_catalogue(str(path)), window), expected)


@pytest.mark.parametrize("options", [{}, {"posts": False}, {"merges": True}, {"page": 100}])
def test_stac_api(archive: Path, window: Window, expected: AnnualStack, options: dict) -> None:
    with serving(archive.parent) as server:
        items = items_of(archive, server.url)
        elsewhere = json.loads(json.dumps(items[0]))
        elsewhere |= {"id": "elsewhere", "bbox": [60, 0, 61, 1]}
        another_year = json.loads(json.dumps(items[0])) | {"id": "2023"}
        another_year["properties"]["datetime"] = "2023-12-31T23:59:59.9Z"
        fake = FakeStac([*items, elsewhere, another_year], **options)
        with fake_web(fake) as url:
            source = open_catalogue(url + "/")
            assert isinstance(source, StacApi)
            assert source.imagery == "mpc"
            assert_equal(stack_of(source, window), expected)
            assert all("landsat" not in search["collections"] for search in fake.searches)


def test_an_api_is_searched_on_both_sides_of_the_antimeridian(archive: Path) -> None:
    items = items_of(archive, "https://nowhere.example")[:2]
    items[0]["bbox"], items[1]["bbox"] = [179.5, -17, 180, -16], [-180, -17, -179.5, -16]
    with fake_web(FakeStac(items)) as url:
        source = open_catalogue(url + "/")
        assert len(source.search((179.9, -17, 180.1, -16), YEAR)) == 2
        assert len(source.search((-180.1, -17, -179.9, -16), YEAR)) == 2


def test_pages_that_never_end_are_corrupt(archive: Path) -> None:
    items = items_of(archive, "https://nowhere.example")

    def endless(request: Request) -> Reply:
        status, headers, answer = fake(request)
        if request.path == "/search":
            answer["links"] = [{"rel": "next", "href": "/search", "method": "POST", "merge": True}]
        return status, headers, answer

    fake = FakeStac(items)
    with fake_web(endless) as url:
        source = StacApi(
            url + "/", Remote(url, patience=Patience(pause=0.0)), ["sentinel-2-l2a"], "mpc"
        )
        with pytest.raises(Corrupt, match="do not end"):
            source.search(FLANDERS, YEAR)


def test_a_moved_asset_is_found_again_through_its_item(
    archive: Path, window: Window, expected: AnnualStack
) -> None:
    with serving(archive.parent) as server:
        fake = FakeStac(items_of(archive, f"{server.url}/moved"))
        with fake_web(fake) as url:
            source = open_catalogue(url + "/")
            scenes = source.search(lonlat_bounds(window), YEAR)
            fake.items = items_of(archive, server.url)
            fake.searches.clear()
            reader = SceneReader(source, threads=1)
            annual = read_stack(window, scenes, Preprocessing(), reader)
            reader.close()
            assert_equal(annual, expected)
            # One question a scene, not one an asset.
            assert len(fake.searches) == len(scenes)


@pytest.mark.parametrize("kind", ["api", "static"])
def test_an_asset_that_moved_into_another_file_is_read_as_that_file(
    archive: Path, window: Window, expected: AnnualStack, tmp_path: Path, kind: str
) -> None:
    folder = shutil.copytree(archive.parent, tmp_path / "archive")
    moved = {}
    for path in sorted(folder.glob("sentinel-*/*/*.tif")):
        moved[path] = path.with_name(f"new_{path.name}")
        with rasterio.open(path) as file:
            profile = {**file.profile, "driver": "GTiff", "compress": "NONE", "tiled": False}
            for unfit in ("blockxsize", "blockysize", "predictor"):
                profile.pop(unfit, None)
            with rasterio.open(moved[path], "w", **profile) as other:
                other.write(file.read())

    def renamed(item: dict) -> dict:
        for asset in item["assets"].values():
            head, _, name = asset["href"].rpartition("/")
            asset["href"] = f"{head}/new_{name}"
        return item

    with serving(folder) as server:
        fake = FakeStac(items_of(folder / "catalog.json", server.url))
        with fake_web(fake) as url:
            root = url + "/" if kind == "api" else f"{server.url}/catalog.json"
            source = open_catalogue(root, ["127.0.0.1"])
            scenes = source.search(lonlat_bounds(window), YEAR)
            reader = SceneReader(source, threads=4)
            # The headers are known, and then the files are not there any more.
            for scene in scenes:
                for band in scene.assets:
                    reader.header(scene, band)
            for path in moved:
                path.unlink()
            server.forget()
            fake.items = [renamed(item) for item in fake.items]
            for path in folder.glob("sentinel-*/*/*.json"):
                path.write_text(json.dumps(renamed(json.loads(path.read_text()))))
            assert_equal(read_stack(window, scenes, Preprocessing(), reader), expected)
            reader.close()


@pytest.mark.parametrize(
    "href",
    ["file:///etc/passwd", "http://169.254.169.254/latest", "http://10.0.0.1/a.tif", "ftp://a/b"],
)
def test_a_remote_item_that_points_where_it_may_not_is_a_lost_scene(
    archive: Path, window: Window, href: str
) -> None:
    with serving(archive.parent) as server:
        items = items_of(archive, server.url)
        items[0]["assets"][sorted(items[0]["assets"])[0]]["href"] = href
        with fake_web(FakeStac(items)) as url:
            source, losses = open_catalogue(url + "/"), Losses(1)
            scenes = source.search(lonlat_bounds(window), YEAR)
            reader = SceneReader(source)
            read_stack(window, scenes, Preprocessing(), reader, losses)
            reader.close()
    [(scene, kind, _)] = losses.scenes
    assert (scene, kind) == (items[0]["id"], "refused")


@pytest.mark.parametrize("place", ["disk", "http"])
def test_geoparquet_index(
    archive: Path, window: Window, expected: AnnualStack, tmp_path: Path, place: str
) -> None:
    with serving(archive.parent) as server:
        base = server.url if place == "http" else str(archive.parent)
        items = items_of(archive, base)
        # Schemas of both sensors in one file; a row group for each pair of items.
        write_index(tmp_path / "items.parquet", items, group=2)
        with serving(tmp_path) as listing:
            url = f"{listing.url}/items.parquet"
            text = url if place == "http" else str(tmp_path / "items.parquet")
            source = open_catalogue(text)
            assert isinstance(source, ParquetIndex)
            assert_equal(stack_of(source, window), expected)


def test_an_index_is_read_by_row_groups(archive: Path, tmp_path: Path) -> None:
    one = items_of(archive, "https://nowhere.example")[0]
    items = [
        {**one, "id": f"item-{n:04d}", "bbox": [n / 10 - 179, 10.0, n / 10 - 178.95, 10.05]}
        for n in range(3000)
    ]
    write_index(tmp_path / "items.parquet", items, group=100)
    with serving(tmp_path) as server:
        source = open_catalogue(f"{server.url}/items.parquet")
        size = (tmp_path / "items.parquet").stat().st_size
        server.counts.clear()
        found = source.search((0.0, 10.0, 0.2, 10.1), YEAR)
        assert [scene.id for scene in found] == [*(f"item-{n}" for n in range(1789, 1794))]
        assert server.counts["bytes"] < size / 10
        assert source.search((0.0, 20.0, 0.2, 20.1), YEAR) == []
        assert source.search((0.0, 10.0, 0.2, 10.1), YEAR + 1) == []


def test_a_parquet_file_that_is_no_index(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    for name, why in (("a", "needs the columns id, bbox"), ("b", "is no STAC GeoParquet index")):
        with pytest.raises(BadInput, match=why):
            open_catalogue(str(tmp_path / f"{name}.parquet"))


def test_a_damaged_index_is_one_clear_line(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_index(path, items_of(archive, "https://nowhere.example") * 50, group=100)
    sound, said, chance = path.read_bytes(), [], random.Random(0)
    # The first four bytes are a mark, and what follows the pages is read when it is opened.
    last = len(sound) - 12 - int.from_bytes(sound[-8:-4], "little")
    for _ in range(60):
        data = bytearray(sound)
        for at in (chance.randrange(4, last) for _ in range(chance.choice((1, 3, 200)))):
            data[at] = chance.randrange(256)
        path.write_bytes(data)
        source = open_catalogue(str(path))
        try:
            source.search((2.9, 50.7, 3.1, 50.9), YEAR)
        except Corrupt as error:
            said.append(str(error))
    assert 10 < len(said) < 60
    for line in said:
        assert re.fullmatch(r".*items\.parquet: row group \d cannot be read: .+", line)


def test_an_index_of_two_kinds_of_imagery_is_refused(archive: Path, tmp_path: Path) -> None:
    items = items_of(archive, "https://nowhere.example")
    write_index(tmp_path / "items.parquet", [*items, *c1_items(archive)], group=100)
    with pytest.raises(BadInput, match="give them as two catalogues"):
        open_catalogue(str(tmp_path / "items.parquet"))
    for item in items:
        item["properties"]["sentinel:boa_offset_applied"] = True
    write_index(tmp_path / "items.parquet", items, group=100)
    assert open_catalogue(str(tmp_path / "items.parquet")).imagery == "aws"


def c1_items(archive: Path) -> list[dict]:
    """Items as Earth Search writes those of ESA's Collection 1."""
    items = []
    for item in items_of(archive, "https://nowhere.example"):
        if item["collection"] == "sentinel-2-l2a":
            item["collection"] = "sentinel-2-c1-l2a"
            item["assets"] = {COMMON_NAMES[band]: asset for band, asset in item["assets"].items()}
        items.append(item)
    return items


@pytest.mark.parametrize("kind", ["index", "static", "api", "earth-search-c1"])
def test_imagery_with_its_offset_is_refused_before_anything_is_read(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    items = c1_items(archive)
    optical = [item for item in items if item["collection"] == "sentinel-2-c1-l2a"]
    radar = [item for item in items if item not in optical]
    collection = {"type": "FeatureCollection", "features": items}
    (tmp_path / "items.json").write_text(json.dumps(collection))
    write_index(tmp_path / "items.parquet", optical + radar, group=len(optical))
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    with fake_web(FakeStac(items)) as url:
        text = {"index": "items.parquet", "static": "items.json"}.get(kind)
        place = str(tmp_path / text) if text else kind if kind == "earth-search-c1" else url + "/"
        named = {kind: functools.partial(NAMED["earth-search-c1"], root=url + "/")}
        source = open_catalogue(place, ["127.0.0.1"], named=named)
    assert source.imagery == "aws"
    with pytest.raises(BadInput, match=r"^offset reference: .* choose item$") as caught:
        Preprocessing("aws").check(source)
    assert source.name in str(caught.value)
    Preprocessing("aws", offset="item").check(source)


def test_imagery_without_its_offset_is_taken(archive: Path) -> None:
    Preprocessing().check(open_catalogue(str(archive)))


@pytest.mark.parametrize(
    ("kept", "lacking"), [("sentinel-2-l2a", "Sentinel-1"), ("sentinel-1-rtc", "Sentinel-2")]
)
def test_an_api_without_one_sensor_is_told(
    archive: Path, caplog: pytest.LogCaptureFixture, kept: str, lacking: str
) -> None:
    items = [i for i in items_of(archive, "https://a.example") if i["collection"] == kept]
    with fake_web(FakeStac(items)) as url:
        open_catalogue(url + "/")
    assert f"has no {lacking}" in caplog.text


def test_the_address_of_a_known_catalogue_is_its_name() -> None:
    assert {NAMED["planetary-computer"], NAMED["earth-search"]} == {PlanetaryComputer, EarthSearch}
    opened = []
    named = {name: lambda remote, name=name: opened.append(name) for name in NAMED}
    open_catalogue("https://planetarycomputer.microsoft.com/api/stac/v1/", named=named)
    open_catalogue("https://earth-search.aws.element84.com/v1", named=named)
    assert opened == ["planetary-computer", "earth-search"]


def test_items_without_an_id_are_counted_on_both_sides_of_the_antimeridian(archive: Path) -> None:
    items = items_of(archive, "https://nowhere.example")[:2]
    items[0]["bbox"], items[1]["bbox"] = [179.5, -17, 180, -16], [-180, -17, -179.5, -16]
    with fake_web(FakeStac(items)) as url:
        source = open_catalogue(url + "/")
        for item in items:
            item["id"] = None
        found = source.search((179.9, -17, 180.1, -16), YEAR)
    assert [scene.unusable for scene in found] == ["the item has no id"] * 2
    assert len({scene.id for scene in found}) == 2


@pytest.mark.parametrize(
    ("limits", "too_many"),
    [(Limits(total_bytes=5_000), "5,000 bytes"), (Limits(documents=3), "3 documents")],
)
def test_a_static_catalogue_is_bounded(archive: Path, limits: Limits, too_many: str) -> None:
    with pytest.raises(BadInput, match=f"more than {too_many}: make a STAC GeoParquet index"):
        StaticCatalogue(str(archive), Remote(str(archive)), limits)
    StaticCatalogue(str(archive), Remote(str(archive)))


def test_documents_are_not_fetched_far_ahead() -> None:
    fetched: list[str] = []

    def fetch(address: str) -> bytes:
        fetched.append(address)
        return b""

    with ThreadPoolExecutor(4) as pool:
        documents = fetched_in_order(map(str, range(1000)), fetch, pool)
        for number in range(100):
            assert next(documents) == (str(number), b"")
            assert len(fetched) <= number + READS + 1
        documents.close()


def test_dpixel_directories_stand_in_for_scenes(
    window: Window, expected: AnnualStack, tmp_path: Path
) -> None:
    def describe(part: Window) -> dict:
        return {
            "crs": part.crs,
            "transform": list(part.transform),
            "shape": list(part.shape),
            "year": YEAR,
            "rules": {"imagery": "aws"},
        }

    left = dataclasses.replace(window, width=8)
    right = dataclasses.replace(window, col=window.col + 5, width=window.width - 5)
    for name, part in (("left", left), ("right", right)):
        rows, cols = part.within(window)
        arrays = {
            field.name: getattr(expected.stack, field.name) for field in dataclasses.fields(Stack)
        }
        arrays = {n: a[:, rows, cols] if a.ndim > 1 else a for n, a in arrays.items()}
        write_stack_directory(tmp_path / name, Stack(**arrays), describe(part))
    source = open_catalogue(str(tmp_path))
    assert source.imagery == "aws"
    annual = stack_of(source, window)
    assert annual.used == ("left", "right")
    assert annual.dates == expected.dates
    clear = expected.stack.masks != 0
    assert (annual.stack.masks == expected.stack.masks).all()
    assert (annual.stack.bands[clear] == expected.stack.bands[clear]).all()
    for name in ("sar_ascending", "sar_descending", "sar_ascending_doy", "sar_descending_doy"):
        assert (getattr(annual.stack, name) == getattr(expected.stack, name)).all()
    assert source.search(lonlat_bounds(window), YEAR + 1) == []


def test_planetary_computer_signs_and_renews(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = iter(["first", "second"])
    asked = []

    def get_token(account: str, container: str) -> sas.SASToken:
        asked.append((account, container))
        key = f"{account}/{container}"
        if key not in sas.TOKEN_CACHE:
            expiry = {"msft:expiry": "2999-01-01T00:00:00Z"}
            sas.TOKEN_CACHE[key] = sas.SASToken(token=next(tokens), **expiry)
        return sas.TOKEN_CACHE[key]

    monkeypatch.setattr(sas, "get_token", get_token)
    monkeypatch.setattr(sas, "TOKEN_CACHE", {})
    signer = Signer(Remote())
    href = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/31/U/DS/B04.tif"
    assert signer.access(href) == Access(f"{href}?first")
    assert signer.access(href).url.endswith("?first")
    signer.renew()
    assert signer.access(href).url.endswith("?second")
    assert asked[0] == ("sentinel2l2a01", "sentinel2-l2")
    # No token goes to other hosts, or to other people's accounts.
    for other in (
        "https://elsewhere.example/sentinel2l2a01.blob.core.windows.net/a.tif",
        "https://mine.blob.core.windows.net/sentinel2-l2/a.tif",
        "https://sentinel2.example/.blob.core.windows.net/a.tif",
        "http://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/a.tif",
        "https://[x/a.tif",
    ):
        assert signer.access(other) == Access(other)
    assert len(asked) == 3


def test_planetary_computer_has_the_scenes_of_its_collections(archive: Path) -> None:
    with fake_web(FakeStac(items_of(archive, "https://nowhere.example"))) as url:
        source = PlanetaryComputer(Remote(url), url + "/")
        assert source.imagery == "mpc"
        assert len(source.search((2.9, 50.7, 3.1, 50.9), YEAR)) == 5


def response(status: int) -> requests.Response:
    answer = requests.Response()
    answer.status_code = status
    return answer


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (requests.ConnectionError("down"), TimedOut),
        (requests.HTTPError(response=response(429)), Throttled),
        (requests.HTTPError(response=response(401)), Expired),
        (requests.HTTPError(response=response(500)), TimedOut),
    ],
)
def test_no_token_is_a_failure_of_its_class(error: Exception, kind: type[SceneError]) -> None:
    def refuse(url: str) -> str:
        raise error

    with pytest.raises(kind):
        Signer(Remote(), PlanetaryTokens(refuse)).access(
            "https://sentinel2l2a01.blob.core.windows.net/b/c.tif"
        )


@pytest.mark.parametrize("kind", ["index", "static", "api"])
def test_every_source_signs_what_lies_with_a_provider(
    archive: Path,
    window: Window,
    expected: AnnualStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    blobs, radar = "https://sentinel2l2a01.blob.core.windows.net/s2", "https://x.asf.alaska.edu"
    items = items_of(archive, blobs)
    for item in items:
        if item["collection"] == "sentinel-1-rtc":
            for asset in item["assets"].values():
                asset["href"] = asset["href"].replace(blobs, radar)
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")

    class Guarded(Remote):
        """The provider's hosts, which have the archive for those with their credential."""

        def read(self, access: Access, start: int, length: int) -> bytes:
            path = access.url
            for base in (blobs, radar):
                if path.startswith(base):
                    signed = path.endswith("?signed") if base == blobs else bool(access.headers)
                    if not signed:
                        raise Expired("HTTP 403")
                    path = path.replace(base, str(archive.parent)).removesuffix("?signed")
                    return Remote().read(Access(path), start, length)
            return super().read(access, start, length)

    (tmp_path / "items.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": items})
    )
    write_index(tmp_path / "items.parquet", items, group=2)
    with fake_web(FakeStac(items)) as url:
        if kind == "api":
            source: Source = StacApi(url + "/", Guarded(url))
        else:
            path = str(tmp_path / {"index": "items.parquet", "static": "items.json"}[kind])
            opener = ParquetIndex if kind == "index" else StaticCatalogue
            source = opener(path, Guarded(path))
        signer = Signer(source.remote, PlanetaryTokens(lambda href: f"{href}?signed"))
        assert_equal(stack_of(source, window, signer), expected)


NAME = "OPERA_L2_RTC-S1_T137-292319-IW2_{:%Y%m%d}T015858Z_20250830T120333Z_S1A_30_v1.0"


def granules(count: int) -> list[dict]:
    """Entries as CMR lists them."""
    entries = []
    for number in range(count):
        name = NAME.format(dt.date(2021, 1, 1) + dt.timedelta(number))
        base = f"https://cumulus.asf.earthdatacloud.nasa.gov/OPERA/{name}/{name}"
        links = [{"href": f"s3://asf-cumulus/{name}_VV.tif", "rel": "s3#"}]
        links += [{"href": f"https://datapool.asf.alaska.edu/{name}_VV.tif", "rel": "data#"}]
        links += [{"href": f"{base}_{kind}", "rel": "data#"} for kind in ("VV.tif", "VH.tif", "h5")]
        corners = "34.2 -119.9 34.2 -119.5 34.6 -119.5 34.6 -119.9 34.2 -119.9"
        entries.append({"producer_granule_id": name, "links": links, "polygons": [[corners]]})
    return entries


class FakeCmr:
    """CMR with these entries, a few a page, and NASA's login beside it."""

    def __init__(self, entries: list[dict], page: int, promised: int | None = None) -> None:
        self.entries, self.page = entries, page
        self.promised = len(entries) if promised is None else promised
        self.logins: list[str | None] = []

    def __call__(self, request: Request) -> Reply:
        if request.path == "/token":
            self.logins.append(request.headers.get("authorization"))
            return 200, {}, {"access_token": f"token-{len(self.logins)}"}
        start = int(request.headers.get("cmr-search-after", 0))
        stop = start + self.page
        headers = {"CMR-Hits": str(self.promised)}
        if stop < len(self.entries):
            headers["CMR-Search-After"] = str(stop)
        return 200, headers, {"feed": {"entry": self.entries[start:stop]}}


def test_opera_granules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    entries = granules(7)
    older = json.loads(json.dumps(entries[0]).replace("20250830T120333Z", "20240101T000000Z"))
    with fake_web(FakeCmr([*entries, older], page=3)) as url:
        source = OperaGranules(Remote(url), f"{url}/granules.json")
        scenes = source.search((-119.8, 34.3, -119.7, 34.4), 2021)
        assert len(scenes) == 8
        assert [scene.id for scene in scenes if scene.unusable] == [older["producer_granule_id"]]
        scene = next(scene for scene in scenes if not scene.unusable)
        assert (scene.orbit_state, scene.datetime) == ("ascending", "2021-01-01T01:58:58.000000Z")
        assert scene.assets["vv"].startswith("https://cumulus.asf.earthdatacloud.nasa.gov/")
        assert scene.bbox == (-119.9, 34.2, -119.5, 34.6)
        signer = Signer(Remote())
        access = signer.access(scene.assets["vv"])
        assert access.headers == {"Authorization": "Bearer secret"}
        for other in ("https://elsewhere.example/a.tif", "https://fakenasa.gov.example/a.tif"):
            assert signer.access(other).headers == {}
        assert signer.access(scene.assets["vv"].replace("https", "http")).headers == {}


def test_earth_search_has_the_scenes_of_both(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    items = []
    for item in items_of(archive, "https://cogs.example"):
        if item["collection"] == "sentinel-2-l2a":
            item["assets"] = {COMMON_NAMES[band]: asset for band, asset in item["assets"].items()}
            item["properties"]["datetime"] = "2021" + item["properties"]["datetime"][4:]
            items.append(item)
    with fake_web(FakeStac(items)) as stac, fake_web(FakeCmr(granules(3), page=2)) as cmr:
        remote = Remote("https://", allow_hosts=["127.0.0.1"])
        source = EarthSearch(remote, root=stac, search=f"{cmr}/granules.json")
        scenes = source.search((-180.0, -90.0, 180.0, 90.0), 2021)
    assert source.imagery == "aws"
    assert [scene.order for scene in scenes] == sorted(scene.order for scene in scenes)
    optical = [scene for scene in scenes if scene.sensor == "s2"]
    radar = [scene for scene in scenes if scene.sensor == "s1"]
    assert (len(optical), len(radar)) == (len(items), 3)
    assert not any(scene.unusable or scene.missing for scene in scenes)
    assert set(optical[0].assets) == set(S2_ASSETS)


def test_granules_that_a_listing_keeps_back_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    with fake_web(FakeCmr(granules(4), page=3, promised=9)) as url:
        source = OperaGranules(Remote(url), f"{url}/granules.json")
        with pytest.raises(Corrupt, match="counts 9 granules and lists 4"):
            source.search((-119.8, 34.3, -119.7, 34.4), 2021)


def test_an_earthdata_login_becomes_a_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(BadInput, match="EARTHDATA_TOKEN"):
        OperaGranules(Remote("https://"))
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine {LOGIN} login me password word\n")
    netrc.chmod(0o600)
    fake = FakeCmr([], page=3)
    with fake_web(fake) as url:
        signer = Signer(Remote(url), earthdata=EarthdataToken(Remote(url), f"{url}/token"))
        href = "https://cumulus.asf.earthdatacloud.nasa.gov/a.tif"
        assert signer.access(href).headers == {"Authorization": "Bearer token-1"}
        assert signer.access(href).headers == {"Authorization": "Bearer token-1"}
        signer.renew()
        assert signer.access(href).headers == {"Authorization": "Bearer token-2"}
        assert fake.logins == ["Basic bWU6d29yZA=="] * 2


def test_what_is_no_granule_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARTHDATA_TOKEN", "secret")
    impossible = granules(1)[0]["producer_granule_id"].replace("20210101T", "20211332T")
    odd: list = [None, [], {}, {"title": 3}, {"title": "S1A_IW_GRDH"}, {"title": impossible}]
    odd += [{"title": "far", "polygons": [["1e999 -200 0 200"]]}]
    with fake_web(FakeCmr([*odd, *granules(1)], page=3)) as url:
        source = OperaGranules(Remote(url), f"{url}/granules.json")
        scenes = source.search((-119.8, 34.3, -119.7, 34.4), 2021)
    assert len(scenes) == len(odd) + 1
    reasons = {scene.id: scene.unusable for scene in scenes}
    assert reasons["S1A_IW_GRDH"] == "its name is not that of an OPERA RTC-S1 granule"
    assert [scene.id for scene in scenes if not scene.unusable] == [
        granules(1)[0]["producer_granule_id"]
    ]
    assert all("\n" not in scene.id for scene in scenes)


class Files:
    """A source of nothing but the files that scenes name."""

    name, imagery, remote = "files", "aws", Remote()

    def search(self, bounds: tuple, year: int) -> list[Scene]:
        return []

    def refresh(self, scene: Scene) -> Scene:
        return scene


def test_real_opera_rasters_become_observations(shared: Path) -> None:
    folder = shared / "data/opera_rtc_s1/T137-292319-IW2"
    names = sorted(path.name.removesuffix("_VV.tif") for path in folder.glob("*_VV.tif"))
    items = []
    for name in names:
        hrefs = [f"{folder}/{name}_{polarisation}.tif" for polarisation in ("VV", "VH")]
        scene = opera.scene_of_granule(name, (-120.0, 34.3, -119.6, 34.6), hrefs)
        assert scene is not None
        items.append(scene)
    window = window_of_bounds(11, (245_500, 3_815_000, 245_800, 3_815_300))
    reader = SceneReader(Files())
    annual = read_stack(window, items, Preprocessing(imagery="aws"), reader)
    reader.close()
    with rasterio.open(folder / f"{names[0]}_VV.tif") as file:
        power = np.full(window.shape, np.nan, np.float32)
        reproject(
            rasterio.band(file, 1),
            power,
            dst_transform=rasterio.Affine(*window.transform),
            dst_crs=window.crs,
            dst_nodata=np.nan,
            resampling=Resampling.bilinear,
        )
    assert len(annual.ascending_dates) == 21
    difference = annual.stack.sar_ascending[0, ..., 0].astype(int) - code_backscatter(power)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.01
