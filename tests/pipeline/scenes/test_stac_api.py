"""A STAC API is asked page by page, in whatever way it wants to be asked."""

import json
from pathlib import Path

import pytest

from benchmarks.server import serving
from tessera_mosaic.pipeline.errors import (
    Corrupt,
)
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.io.http import Patience
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.planetary_computer import PlanetaryComputer
from tessera_mosaic.pipeline.scenes.stac_api import StacApi
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
)
from tests.fakes.catalogues import items_of
from tests.fakes.web import FakeStac, Reply, Request, fake_web
from tests.pipeline.scenes.sources import FLANDERS, YEAR, assert_equal, stack_of


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


def test_items_without_an_id_are_counted_on_both_sides_of_the_antimeridian(archive: Path) -> None:
    items = items_of(archive, "https://nowhere.example")[:2]
    items[0]["bbox"], items[1]["bbox"] = [179.5, -17, 180, -16], [-180, -17, -179.5, -16]
    with fake_web(FakeStac(items)) as url:
        source = open_catalogue(url + "/")
        for item in items:
            item["id"] = None
        found = source.search((179.9, -17, 180.1, -16), YEAR)
    assert [scene.faulty for scene in found] == ["the item has no id"] * 2
    assert len({scene.id for scene in found}) == 2


def test_planetary_computer_has_the_scenes_of_its_collections(archive: Path) -> None:
    with fake_web(FakeStac(items_of(archive, "https://nowhere.example"))) as url:
        source = PlanetaryComputer(Remote(url), url + "/")
        assert source.imagery == "mpc"
        assert len(source.search((2.9, 50.7, 3.1, 50.9), YEAR)) == 5
