"""Whose imagery a catalogue is, is what all of it says."""

import itertools

import pytest

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.scenes.imagery_kind import ImageryKind
from tessera_mosaic.pipeline.scenes.stac_api import PAGE_ITEMS, StacApi
from tests.fakes.web import FakeStac, fake_web
from tests.pipeline.scenes.sources import FLANDERS


def item(name: str, *assets: str, collection: str = "mine", **properties: object) -> dict:
    hrefs = {asset: {"href": f"https://a.example/{name}/{asset}.tif"} for asset in assets}
    told = {"datetime": "2024-05-01T10:00:00Z", **properties}
    place = {"bbox": [3.0, 50.0, 4.0, 51.0], "collection": collection}
    return {"id": name, **place, "assets": hrefs, "properties": told}


ESA = item("a", "B04", "SCL")
ELEMENT_84 = item("b", "red", "scl")
FLAGGED = item("c", "B04", "SCL", **{"sentinel:boa_offset_applied": True})
RADAR, EMPTY = item("d", "vv", "vh"), item("e", "thumbnail")


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ((RADAR, EMPTY, ESA), "mpc"),
        ((EMPTY, RADAR, ELEMENT_84), "aws"),
        # Only the late items of Element 84's first collection tell of the offset.
        ((ESA, FLAGGED, EMPTY), "aws"),
        ((item("f", "B04", collection="sentinel-s2-l2a-cogs"), EMPTY), "aws"),
        ((item("g", "B04_10m"),), "mpc"),
        ((RADAR, EMPTY), "mpc"),
    ],
)
def test_no_order_of_items_decides(items: tuple[dict, ...], expected: str) -> None:
    for order in itertools.permutations(items):
        kind = ImageryKind("here")
        for each in order:
            kind.add_item(each)
        assert kind.decide() == expected


@pytest.mark.parametrize(
    "items", [(ESA, ELEMENT_84), (item("h", "B04", collection="other"), FLAGGED)]
)
def test_two_kinds_are_two_catalogues(items: tuple[dict, ...]) -> None:
    for order in itertools.permutations(items):
        kind = ImageryKind("here")
        for each in order:
            kind.add_item(each)
        with pytest.raises(BadInput, match="catalogue here has assets named B04"):
            kind.decide()


def test_what_is_no_item_says_nothing() -> None:
    kind = ImageryKind("here")
    for each in (None, [], {"assets": 3, "properties": []}, {"assets": {"red": 1}}):
        kind.add_item(each)
    for each in (None, {"id": 3}, {"item_assets": ["B04"]}):
        kind.add_collection(each)
    assert kind.decide() == "aws"


def test_an_api_whose_first_items_say_nothing() -> None:
    first = [item(f"0{number}", "thumbnail", collection="sentinel-2-l2a") for number in range(3)]
    last = item("9", "red", "scl", collection="sentinel-2-l2a")
    for items in ([*first, last], [last, *first]):
        with fake_web(FakeStac(items)) as url:
            assert StacApi(url + "/", Remote(url, ["127.0.0.1"])).imagery == "aws"


@pytest.mark.parametrize("told", [ELEMENT_84, FLAGGED])
def test_what_an_api_lists_later_has_to_be_of_the_kind_that_came_first(told: dict) -> None:
    here = "sentinel-2-l2a"
    usual = [item(f"u{number:03}", "B04", "SCL", collection=here) for number in range(PAGE_ITEMS)]
    late = {**told, "id": "z", "collection": here}
    server = FakeStac([*usual, late], page=PAGE_ITEMS)
    with fake_web(server) as url:
        source = StacApi(url + "/", Remote(url, ["127.0.0.1"]))
        assert source.imagery == "mpc"
        with pytest.raises(BadInput, match=r"taken for imagery of ESA.* such as z: give them as"):
            source.search(FLANDERS, 2024)
        # A place that has none of them has the imagery that the catalogue was taken for.
        server.items = usual
        assert len(source.search(FLANDERS, 2024)) == len(usual)


def test_an_api_of_two_kinds_is_refused_whatever_comes_first() -> None:
    mine = [{**each, "collection": "sentinel-2-l2a"} for each in (ESA, ELEMENT_84)]
    for items in (mine, mine[::-1]):
        with fake_web(FakeStac(items)) as url, pytest.raises(BadInput, match="has assets named"):
            StacApi(url + "/", Remote(url, ["127.0.0.1"]))


def test_a_collection_is_as_its_document_says_or_is_refused() -> None:
    kind = ImageryKind("here")
    kind.add_collection({"id": "mine", "item_assets": {"red": {}, "scl": {}}})
    kind.check([RADAR, EMPTY, None, ELEMENT_84])
    with pytest.raises(BadInput, match=r"taken for imagery of Element 84.* such as a:"):
        kind.check([ELEMENT_84, ESA])
    # What one search found is not held against the next.
    kind.check([ELEMENT_84])
