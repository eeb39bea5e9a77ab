"""Lists that come in pages are whole, however a server pages, or they are an error."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tessera_mosaic.pipeline.errors import BadInput, Corrupt
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.io.http import Patience
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.paging import (
    MAX_LIST_BYTES,
    Endless,
    Page,
    ask_page,
    whole_list,
)
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.scenes.stac_api import CollectionItems
from tessera_mosaic.pipeline.scenes.static_catalog import StaticCatalogue
from tests.fakes.catalogues import items_of, write_index
from tests.fakes.web import Reply, Request, fake_web
from tests.pipeline.scenes.sources import FLANDERS, YEAR

HURRIED = Patience(pause=0.0001)
TOTAL = 4

Paging = Callable[[str, int, dict[str, Any]], dict[str, Any]]
"""What a page says beside its one item: of the server's address, its number, and the search."""


def to(number: int, url: str, **link: Any) -> dict[str, Any]:
    return {"links": [{"rel": "next", "href": f"{url}/search?page={number}", **link}]}


def by_post(url: str, number: int, search: dict[str, Any]) -> dict[str, Any]:
    return to(0, url, method="post", body={**search, "page": number + 1})


def by_merging(url: str, number: int, search: dict[str, Any]) -> dict[str, Any]:
    return to(0, url, method="POST", body={"page": number + 1}, merge=True)


def by_get(url: str, number: int, search: dict[str, Any]) -> dict[str, Any]:
    return to(number + 1, url)


def by_headers(url: str, number: int, search: dict[str, Any]) -> dict[str, Any]:
    return to(0, url, method="POST", body=search, headers={"X-Page": number + 1, "Host": "no"})


def with_null(url: str, number: int, search: dict[str, Any]) -> dict[str, Any]:
    return by_get(url, number, search) if number < TOTAL - 1 else {"links": [{"rel": "next"}]}


def to_itself_at_last(url: str, number: int, search: dict[str, Any]) -> dict[str, Any]:
    return to(min(number + 1, TOTAL), url)


def counting(paging: Paging, told: Callable[[int], dict[str, Any]]) -> Paging:
    return lambda url, number, search: {**paging(url, number, search), **told(number)}


def matched(count: int) -> Callable[[int], dict[str, Any]]:
    return lambda number: {"numberMatched": count}


def listed(
    paging: Paging, names: list[str | None], most: int = MAX_LIST_BYTES
) -> tuple[list[str], int]:
    """Ids that come of a list whose pages have an item each, or none, and what that took."""
    asked = 0

    def answer(request: Request) -> Reply:
        nonlocal asked
        asked += 1
        search = json.loads(request.body) if request.body else {}
        place = request.headers.get("x-page") or search.get("page") or request.query.get("page")
        number = int(place or 0)
        name = names[number] if number < len(names) else None
        features = [{"id": name, "collection": "c"}] if name else []
        url = f"http://{request.headers['host']}"
        return 200, {}, {"features": features, **paging(url, number, search)}

    with fake_web(answer) as url:
        remote = Remote(url, patience=HURRIED)
        first = Page(f"{url}/search", "POST", {"limit": 1})
        pages = whole_list(first, functools.partial(ask_page, remote), remote, "it", most)
    return [item["id"] for page in pages for item in page.features], asked


@pytest.mark.parametrize(
    "paging",
    [
        by_post,
        by_merging,
        by_get,
        by_headers,
        with_null,
        to_itself_at_last,
        counting(by_get, matched(4)),
        counting(by_get, lambda number: {"context": {"matched": 4}} if number == 0 else {}),
        counting(by_get, lambda number: {"context": {"matched": None}, "numberMatched": "4"}),
        counting(to_itself_at_last, lambda number: {"search:metadata": {"matched": 4}}),
    ],
)
def test_ways_to_page(paging: Paging) -> None:
    assert listed(paging, list("abcd"))[0] == list("abcd")


def test_a_list_has_no_more_bytes_than_it_may() -> None:
    page = len(json.dumps({"features": [{"id": "a", "collection": "c"}]}))
    assert listed(lambda *_: {}, ["a"], page) == (["a"], 1)
    with pytest.raises(Endless, match=rf"the pages of a search have {page} bytes and go on"):
        listed(lambda *_: {}, ["a"], page - 1)
    # It is counted while the pages come, not when all are there.
    asked: list[int] = []

    def counted(url: str, number: int, search: dict[str, Any]) -> dict[str, Any]:
        asked.append(number)
        return by_get(url, number, search)

    with pytest.raises(Endless, match="bytes and go on"):
        listed(counted, [str(number) for number in range(100)], 10 * page)
    assert asked == list(range(len(asked)))
    assert len(asked) < 10


def test_empty_pages_do_not_end_a_list_that_counts_more() -> None:
    assert listed(counting(by_get, matched(2)), ["a", None, None, "b"])[0] == ["a", "b"]
    assert listed(by_get, ["a", None, None, "b"])[0] == ["a"]


@pytest.mark.parametrize(
    ("paging", "names"),
    [
        (counting(by_get, matched(5)), list("abcd")),
        (counting(to_itself_at_last, matched(5)), list("abcd")),
        (counting(by_get, matched(4)), list("abbd")),
        (counting(lambda *_: {}, matched(2)), ["a"]),
    ],
)
def test_lists_of_which_something_lacks_are_asked_for_again_and_named(
    paging: Paging, names: list[str | None]
) -> None:
    with pytest.raises(Corrupt, match=r"1 items fewer than it counts|one comes again"):
        listed(paging, names)


def test_a_list_that_is_whole_the_second_time() -> None:
    once = iter([9])
    found, asked = listed(
        counting(by_get, lambda number: {"numberMatched": next(once, 4)}), list("abcd")
    )
    assert found == list("abcd")
    assert asked > 2 * TOTAL


def circle(url: str, number: int, search: dict[str, Any]) -> dict[str, Any]:
    return to((number + 1) % 3, url, method="POST", body={"page": (number + 1) % 3 or None})


def under_new_names(url: str, number: int, search: dict[str, Any]) -> dict[str, Any]:
    return to(number + 1, url)


@pytest.mark.parametrize(
    ("paging", "names"), [(circle, list("abc")), (under_new_names, list("abcd") + list("a" * 99))]
)
def test_pages_that_lead_back_are_named_at_once(paging: Paging, names: list[str | None]) -> None:
    asked = []

    def watched(url: str, number: int, search: dict[str, Any]) -> dict[str, Any]:
        asked.append(number)
        return paging(url, number, search)

    with pytest.raises(Endless, match="do not end"):
        listed(watched, names)
    assert len(asked) <= len("abcd") + 1


def of_sentinel2(archive: Path) -> list[dict[str, Any]]:
    items = items_of(archive, "https://nowhere.example")
    return [item for item in items if item["collection"] == "sentinel-2-l2a"]


class Collection:
    """A server of one collection, whose items come two a page."""

    def __init__(self, items: list[dict[str, Any]], landing: bool) -> None:
        self.items, self.landing = items, landing
        self.queries: list[dict[str, str]] = []

    def __call__(self, request: Request) -> Reply:
        url = f"http://{request.headers['host']}"
        if request.path == "/" and self.landing:
            links = [{"rel": "search", "href": f"{url}/search"}]
            return 200, {}, {"type": "Catalog", "id": "api", "links": links}
        if request.path == "/c":
            links = [{"rel": "items", "href": f"{url}/c/items"}, {"rel": "root", "href": f"{url}/"}]
            return 200, {}, {"type": "Collection", "id": "sentinel-2-l2a", "links": links}
        if request.path == "/c/items":
            self.queries.append(request.query)
            start = int(request.query.get("at", 0))
            links = []
            if start + 2 < len(self.items):
                links = [{"rel": "next", "href": f"{url}/c/items?at={start + 2}"}]
            page = {"features": self.items[start : start + 2], "links": links}
            page["numberMatched"] = len(self.items)
            return 200, {}, {"type": "FeatureCollection", **page}
        for item in self.items:
            if request.path == f"/c/items/{item['id']}":
                return 200, {}, item
        return 404, {}, {"code": "NotFound"}


def found_in(source: Source) -> list[Scene]:
    return source.search(FLANDERS, YEAR)


def test_the_address_of_a_collection_of_an_api(archive: Path) -> None:
    items = of_sentinel2(archive)
    elsewhere = {**items[0], "id": "elsewhere", "bbox": [60, 0, 61, 1]}
    server = Collection([*items, elsewhere], landing=True)
    with fake_web(server) as url:
        source = open_catalogue(f"{url}/c")
        assert isinstance(source, CollectionItems)
        scenes = found_in(source)
        assert {scene.id for scene in scenes} == {item["id"] for item in items}
        asked = next(query for query in server.queries if "datetime" in query)
        assert asked["datetime"].startswith(f"{YEAR}-01-01")
        assert len(asked["bbox"].split(",")) == 4
        assert source.refresh(scenes[0]) == scenes[0]
        server.items = []
        assert source.refresh(scenes[0]) == scenes[0]


def test_the_address_of_a_collection_without_an_api(archive: Path) -> None:
    items = of_sentinel2(archive)
    with fake_web(Collection(items, landing=False)) as url:
        source = open_catalogue(f"{url}/c")
        assert isinstance(source, StaticCatalogue)
        assert {scene.id for scene in found_in(source)} == {item["id"] for item in items}


def test_a_page_of_a_search_that_was_saved(archive: Path, tmp_path: Path) -> None:
    items = of_sentinel2(archive)
    server = Collection(items, landing=True)
    page: dict[str, Any] = {"type": "FeatureCollection", "features": items[:2], "numberMatched": 3}
    path = tmp_path / "page.json"
    with fake_web(server) as url:
        page["links"] = [{"rel": "next", "href": f"{url}/c/items?at=2"}]
        path.write_text(json.dumps(page))
        source = open_catalogue(str(path), ["127.0.0.1"])
        scenes = found_in(source)
        assert {scene.id for scene in scenes} == {item["id"] for item in items}
        assert [source.refresh(scene) for scene in scenes] == scenes
        page["links"] = [
            {"rel": "next", "href": f"{url}/search", "method": "POST", "body": {}, "merge": True}
        ]
        path.write_text(json.dumps(page))
        with pytest.raises(BadInput, match="give the API as the catalogue"):
            open_catalogue(str(path), ["127.0.0.1"])
    page["links"] = []
    path.write_text(json.dumps(page))
    with pytest.raises(BadInput, match="1 items fewer than it counts"):
        open_catalogue(str(path))


def test_an_index_is_known_by_its_first_bytes(archive: Path, tmp_path: Path) -> None:
    items = items_of(archive, "https://nowhere.example")
    write_index(tmp_path / "index", items, group=3)
    data = (tmp_path / "index").read_bytes()

    def answer(request: Request) -> Reply:
        part = request.headers.get("range", "")
        if not part:
            return 200, {}, data
        start, stop = map(int, part.removeprefix("bytes=").split("-"))
        sent = data[start : stop + 1]
        told = f"bytes {start}-{start + len(sent) - 1}/{len(data)}"
        return 206, {"Content-Range": told}, sent

    with fake_web(answer) as url:
        for place in (f"{url}/index?version=3", str(tmp_path / "index")):
            assert len(found_in(open_catalogue(place, ["127.0.0.1"]))) == len(items)


def test_catalogues_of_before_stac_1(archive: Path, tmp_path: Path) -> None:
    item = of_sentinel2(archive)[0]
    (tmp_path / "item.json").write_text(json.dumps(item))
    links = [{"rel": "item", "href": "./item.json"}]
    old = {"stac_version": "0.9.0", "id": "x", "links": links, "extent": {}}
    (tmp_path / "collection.json").write_text(json.dumps(old))
    assert [scene.id for scene in found_in(open_catalogue(str(tmp_path)))] == [item["id"]]


def only_lists(url: str, request: Request, pages: list[list[str]], counted: int | None) -> Reply:
    """An API of which no more is asked than its landing page and its collections."""
    if request.path == "/":
        links = [
            {"rel": "data", "href": f"{url}/collections"},
            {"rel": "search", "href": f"{url}/search", "method": "GET"},
        ]
        return 200, {}, {"type": "Catalog", "stac_version": "1.0.0", "id": "a", "links": links}
    if request.path == "/search":
        return 200, {}, {"type": "FeatureCollection", "features": []}
    number = int(request.query.get("page", 0))
    following = f"{url}/collections?page={(number + 1) % (len(pages) + (counted is not None))}"
    listed = {
        "collections": [{"id": name} for name in pages[number]] if number < len(pages) else [],
        "links": [{"rel": "root", "href": f"{url}/"}, {"rel": "next", "href": following}],
    }
    if counted is not None:
        listed["numberMatched"] = counted
        listed["links"] = listed["links"][: 1 + (number + 1 < len(pages))]
    return 200, {}, listed


def opened(pages: list[list[str]], counted: int | None, path: str = "/") -> Source:
    place: list[str] = []
    with fake_web(lambda request: only_lists(place[0], request, pages, counted)) as url:
        place.append(url)
        return open_catalogue(url + path, patience=HURRIED)


def test_the_list_of_collections_is_whole_or_an_error() -> None:
    assert opened([["other"], ["sentinel-2-l2a", "sentinel-1-rtc"]], 3).name.endswith("/")
    with pytest.raises(BadInput, match="lists 1 items fewer than it counts"):
        opened([["other"], ["sentinel-2-l2a"]], 3)
    with pytest.raises(BadInput, match="do not end"):
        opened([["sentinel-2-l2a"], ["sentinel-1-rtc"]], None)


@pytest.mark.parametrize("path", ["/collections", "/collections?page=0"])
def test_the_address_of_the_collections_of_an_api(path: str) -> None:
    assert opened([["sentinel-2-l2a", "sentinel-1-rtc"]], 2, path).name.endswith("/")


def test_a_saved_page_whose_next_one_has_to_be_merged(archive: Path, tmp_path: Path) -> None:
    items = items_of(archive, "https://nowhere.example")
    merging = {"rel": "next", "href": "https://nowhere.example/search", "method": "POST"}
    page: dict[str, Any] = {
        "type": "FeatureCollection",
        "features": items,
        "links": [{**merging, "body": {"token": 2}, "merge": True}],
    }
    saved = tmp_path / "page.json"
    # Its search is not known; where nothing lacks, none is needed.
    saved.write_text(json.dumps(page))
    with pytest.raises(BadInput, match="give the API as the catalogue"):
        open_catalogue(str(saved))
    saved.write_text(json.dumps({**page, "numberMatched": len(items)}))
    assert len(found_in(open_catalogue(str(saved)))) == len(items)
    # Its own link may tell it.
    own = {"rel": "self", "method": "POST", "body": {"collections": ["sentinel-2-l2a"]}}
    first = Page(str(saved)).following({"links": [own, *page["links"]]}, "https://a.example/search")
    assert first is not None
    assert first.body == {"collections": ["sentinel-2-l2a"], "token": 2}
