"""Any STAC API: searched by place and year, page by page."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from tessera_mosaic.pipeline.errors import BadInput, Corrupt
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.scenes.scene import Imagery, Scene, settle
from tessera_mosaic.pipeline.scenes.source import opening
from tessera_mosaic.pipeline.scenes.stac_items import KEEPING_OFFSET, resolve, scene_of_item
from tessera_mosaic.pipeline.scenes.static_catalog import imagery_of, one_imagery
from tessera_mosaic.pipeline.tiling.boxes import Box, padded, spans

log = logging.getLogger(__name__)

PAGE_ITEMS = 100
"""Items a page: public APIs refuse or cut off answers of more than a few megabytes."""

MAX_PAGES = 2000
"""Most pages of one search: 200,000 items are more than any tile-year has."""

MAX_PAGE_BYTES = 64 * 2**20

COLLECTIONS = (
    ("sentinel-2-l2a", KEEPING_OFFSET),
    ("sentinel-1-rtc",),
)
"""Collections that are searched: of each row, the first that an API has."""


class StacApi:
    """A STAC API.

    Parameters
    ----------
    root
        Address of its landing page.
    remote
        Fetches its answers and what they point to.
    collections, imagery
        Names of the collections to search, and whose products they are; by default what the API
        says.

    Raises
    ------
    BadInput
        If there is no such API, or it has no collection that is used here.
    Unavailable
        If its provider asks for patience or does not answer.
    """

    def __init__(
        self,
        root: str,
        remote: Remote,
        collections: Sequence[str] = (),
        imagery: Imagery | None = None,
    ) -> None:
        self.name, self.remote = plain(root), remote
        with opening(self.name):
            landing, place = self._ask("GET", root)
            self._search, self._method = _search_link(place, landing)
            self._collections = list(collections) or self._known_collections(place, landing)
            self.imagery = imagery or self._imagery()
        self.keeps_offset = KEEPING_OFFSET in self._collections

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All scenes of a year that touch a box.

        Raises
        ------
        SceneError
            If the API cannot be asked now.
        """
        room = padded(bounds)
        when = f"{year}-01-01T00:00:00Z/{year}-12-31T23:59:59.999999Z"
        items = itertools.chain.from_iterable(
            self._items({"bbox": [west, room[1], east, room[3]], "datetime": when})
            for west, east in spans(room)
        )
        scenes = [scene_of_item(item, f"{self._search}#{n}") for n, item in enumerate(items)]
        return settle((scene for scene in scenes if scene is not None), year)

    def refresh(self, scene: Scene) -> Scene:
        """The scene as the API gives it now."""
        for item in self._items({"ids": [scene.id]}):
            again = scene_of_item(item, self._search)
            if again is not None and again.id == scene.id:
                return again
        return scene

    def _items(self, query: Mapping[str, Any]) -> Iterator[Any]:
        """Items of a search, page by page."""
        body = {"collections": self._collections, "limit": PAGE_ITEMS, **query}
        page: _Page | None = _Page(self._search, self._method, body)
        asked: set[str] = set()
        while page is not None:
            if page.key in asked or len(asked) >= MAX_PAGES:
                raise Corrupt(f"{self.name}: the pages of a search do not end")
            asked.add(page.key)
            answer, place = self._ask(page.method, page.url, page.body)
            features = answer.get("features")
            if not isinstance(features, list):
                raise Corrupt(f"{self.name}: the answer to a search has no features")
            yield from features
            page = page.following(answer, place)

    def _known_collections(self, root: str, landing: Mapping[str, Any]) -> list[str]:
        """Those of `COLLECTIONS` that the API has."""
        has: set[str] = set()
        url: str | None = _link(root, landing, "data") or f"{root.rstrip('/')}/collections"
        asked: set[str] = set()
        while url and url not in asked and len(asked) < MAX_PAGES:
            asked.add(url)
            answer, place = self._ask("GET", url)
            listed = answer.get("collections")
            for entry in listed if isinstance(listed, list) else ():
                if isinstance(entry, dict) and isinstance(entry.get("id"), str):
                    has.add(entry["id"])
            url = _link(place, answer, "next")
        found = [next((name for name in row if name in has), "") for row in COLLECTIONS]
        if not any(found):
            wanted = ", ".join(name for row in COLLECTIONS for name in row)
            raise BadInput(f"catalogue {self.name} has none of the collections {wanted}")
        for sensor, name in zip(("Sentinel-2", "Sentinel-1"), found, strict=True):
            if not name:
                log.warning("catalogue %s has no %s that is used here", self.name, sensor)
        return [name for name in found if name]

    def _imagery(self) -> Imagery:
        """Whose Sentinel-2 imagery the API has, by the assets of one item."""
        first, _ = self._ask(
            self._method, self._search, {"collections": self._collections[:1], "limit": 1}
        )
        features = first.get("features")
        items = features if isinstance(features, list) else []
        return one_imagery(self.name, {imagery_of(item) for item in items})

    def _ask(
        self, method: str, url: str, body: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], str]:
        """An answer of the API, asked for again where that can help, and where it came from."""

        def once() -> tuple[dict[str, Any], str]:
            headers = {"Accept": "application/geo+json, application/json"}
            if method == "POST":
                data = json.dumps(body).encode()
                headers["Content-Type"] = "application/json"
                answer = self.remote.post(url, data, headers, MAX_PAGE_BYTES)
            else:
                query = f"{'&' if '?' in url else '?'}{_query(body)}" if body else ""
                answer = self.remote.get(Access(url + query, headers), MAX_PAGE_BYTES)
            try:
                document = json.loads(answer.data)
            except (ValueError, RecursionError):
                raise Corrupt(f"{plain(url)} did not answer in JSON") from None
            if not isinstance(document, dict):
                raise Corrupt(f"{plain(url)} did not answer with a JSON object")
            return document, answer.url

        return self.remote.persist(once, url)


class _Page:
    """One page of a search: what to ask for it."""

    def __init__(self, url: str, method: str, body: Mapping[str, Any] | None) -> None:
        self.url, self.method, self.body = url, method, body

    @property
    def key(self) -> str:
        """The same for the same question."""
        return json.dumps([self.url, self.method, self.body], sort_keys=True)

    def following(self, answer: Mapping[str, Any], place: str) -> _Page | None:
        """The next page, as the answer to this one says."""
        for link in _links(answer):
            if link.get("rel") != "next" or not isinstance(link.get("href"), str):
                continue
            url = resolve(place, link["href"])
            if str(link.get("method") or "GET").upper() != "POST":
                return _Page(url, "GET", None)
            body = link.get("body")
            body = body if isinstance(body, dict) else {}
            return _Page(url, "POST", {**(self.body or {}), **body} if link.get("merge") else body)
        return None


def is_api(landing: Mapping[str, Any]) -> bool:
    """Whether a document is the landing page of a STAC API that can be searched."""
    return any(link.get("rel") == "search" for link in _links(landing))


def _search_link(root: str, landing: Mapping[str, Any]) -> tuple[str, str]:
    """Address of the search and the method to ask it with."""
    links = [link for link in _links(landing) if link.get("rel") == "search"]
    links = [link for link in links if isinstance(link.get("href"), str)]
    if not links:
        raise BadInput(f"catalogue {plain(root)} is no STAC API that can be searched")
    posts = [link for link in links if str(link.get("method") or "GET").upper() == "POST"]
    return resolve(root, (posts or links)[0]["href"]), "POST" if posts else "GET"


def _links(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    links = document.get("links")
    return [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []


def _link(base: str, document: Mapping[str, Any], rel: str) -> str | None:
    for link in _links(document):
        if link.get("rel") == rel and isinstance(link.get("href"), str):
            return resolve(base, link["href"])
    return None


def _query(body: Mapping[str, Any]) -> str:
    """A search as the query of an address."""
    return urlencode(
        {
            name: ",".join(map(str, value)) if isinstance(value, list) else value
            for name, value in body.items()
        }
    )
