"""Assets that moved are found again, and those that point elsewhere are not followed."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import rasterio

from benchmarks.server import serving
from tessera_mosaic.pipeline.errors import Expired
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.losses import Losses
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
    lonlat_bounds,
)
from tests.fakes.catalogues import items_of
from tests.fakes.web import FakeStac, Reply, Request, fake_web
from tests.pipeline.scenes.sources import YEAR, assert_equal


@dataclass
class Signing:
    """A store that serves an archive to whoever has a valid signature."""

    archive: Path
    valid: set[str]

    def __call__(self, request: Request) -> Reply:
        if request.query.get("X-Amz-Signature") not in self.valid:
            return 403, {}, {"code": "AccessDenied"}
        data = (self.archive.parent / request.path.lstrip("/")).read_bytes()
        first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1]
        span = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        return 206, {"Content-Range": span}, part


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
            annual = read_block(window, scenes, Preprocessing(), reader)
            reader.close()
            assert_equal(annual, expected)
            # One question a scene, not one an asset.
            assert len(fake.searches) == len(scenes)


def test_an_address_that_comes_signed_is_asked_for_again(
    archive: Path, window: Window, expected: AnnualStack
) -> None:
    """Signatures of whichever store: only the catalogue can give new ones."""
    valid = {"old"}
    with serving(archive.parent) as server:
        with fake_web(Signing(archive, valid)) as store:

            def signed(word: str) -> list[dict]:
                items = items_of(archive, store)
                for item in items:
                    for asset in item["assets"].values():
                        asset["href"] += f"?X-Amz-Expires=3600&X-Amz-Signature={word}"
                return items

            fake = FakeStac(signed("old"))
            with fake_web(fake) as url:
                source = open_catalogue(url + "/")
                scenes = source.search(lonlat_bounds(window), YEAR)
                reader = SceneReader(source, threads=4)
                # Headers are known, and then the signatures expire, twice.
                for scene in scenes:
                    reader.header(scene, scene.anchor)
                for word in ("new", "newer"):
                    valid.clear()
                    valid.add(word)
                    fake.items = signed(word)
                    fake.searches.clear()
                    for scene in scenes:
                        for band in scene.assets:
                            reader.found(scene, band)
                            reader.overview(scene, band, 4096)
                    assert len(fake.searches) <= len(scenes)
                    assert_equal(read_block(window, scenes, Preprocessing(), reader), expected)
                # One that the catalogue signs no other way is no loss.
                valid.clear()
                fresh = SceneReader(source, threads=4)
                with pytest.raises(Expired, match="HTTP 403"):
                    read_block(window, scenes, Preprocessing(), fresh, Losses(99))
                reader.close()
                fresh.close()
        assert server.counts["requests"] == 0


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
            assert_equal(read_block(window, scenes, Preprocessing(), reader), expected)
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
            read_block(window, scenes, Preprocessing(), reader, losses)
            reader.close()
    [(scene, kind, _)] = losses.scenes
    assert (scene, kind) == (items[0]["id"], "refused")
