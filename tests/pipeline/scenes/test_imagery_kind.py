"""Whose imagery a catalogue is, is what all of it says."""

import itertools

import pytest

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.scenes.imagery_kind import ImageryKind
from tessera_mosaic.pipeline.scenes.stac_api import StacApi
from tests.fakes.web import FakeStac, fake_web


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
