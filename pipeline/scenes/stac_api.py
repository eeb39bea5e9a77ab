"""Any STAC API: searched by place and year, page by page."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tessera_mosaic.pipeline.errors import BadInput, Gone
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.scenes.imagery_kind import ImageryKind
from tessera_mosaic.pipeline.scenes.links import resolve
from tessera_mosaic.pipeline.scenes.paging import (
    Answered,
    Page,
    ask_page,
    links_of,
    queried,
    sound_enough,
    whole_list,
)
from tessera_mosaic.pipeline.scenes.scene import Imagery, Scene
from tessera_mosaic.pipeline.scenes.source import opening
from tessera_mosaic.pipeline.scenes.stac_items import KEEPING_OFFSET, scene_of_item
from tessera_mosaic.pipeline.scenes.twins import settle
from tessera_mosaic.pipeline.tiling.boxes import Box, padded, spans, touches

log = logging.getLogger(__name__)

PAGE_ITEMS = 100
"""Items a page: public APIs refuse or cut off answers of more than a few megabytes."""

SAMPLE_PAGES = 10
"""Most pages of items that are asked to know whose imagery an API has."""

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
            landing, place = self._ask(root)
            self._search, self._method = _search_link(place, landing)
            known: list[Mapping[str, Any]] = []
            if not collections:
                known = self._known_collections(place, landing)
            self._collections = list(collections) or [str(each["id"]) for each in known]
            kind = None if imagery else self._imagery_kind(*known[:1])
            self.imagery = kind.decide() if kind else imagery or Imagery.MPC
            self._kind = kind
        self.keeps_offset = KEEPING_OFFSET in self._collections

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All scenes of a year that touch a box.

        Raises
        ------
        SceneError
            If the API cannot be asked now.
        BadInput
            If it lists items of other imagery than it was taken for.
        """
        room = padded(bounds)
        when = f"{year}-01-01T00:00:00Z/{year}-12-31T23:59:59.999999Z"
        items = [
            found
            for west, east in spans(room)
            for found in self._items({"bbox": [west, room[1], east, room[3]], "datetime": when})
        ]
        if self._kind is not None:
            self._kind.check(item for _, item in items)
        found = (scene_of_item(item, f"{place}#{n}") for n, (place, item) in enumerate(items))
        scenes = sound_enough(found, self.name)
        return settle((scene for scene in scenes if self._wants(scene, room)), year)

    def _wants(self, scene: Scene, room: Box) -> bool:
        """Whether a scene that was found is one that was asked for; a search leaves out others."""
        return True

    def refresh(self, scene: Scene) -> Scene:
        """The scene as the API gives it now."""
        for place, item in self._items({"ids": [scene.id]}):
            again = scene_of_item(item, place)
            if again is not None and again.id == scene.id:
                return again
        return scene

    def _items(self, query: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Items of a search, each with the address that gave it, once all of them have come."""
        first = self._page({"limit": PAGE_ITEMS, **query})
        ask = functools.partial(ask_page, self.remote)
        for answered in whole_list(first, ask, self.remote, self.name):
            yield from ((plain(answered.place), item) for item in answered.features)

    def _page(self, query: Mapping[str, Any]) -> Page:
        """The first page of a search."""
        body = {"collections": self._collections, **query}
        if self._method == "POST":
            return Page(self._search, "POST", body)
        return Page(queried(self._search, body))

    def _known_collections(self, root: str, landing: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Documents of those of `COLLECTIONS` that the API has."""
        has: dict[str, Mapping[str, Any]] = {}
        url = _link(root, landing, "data") or f"{root.rstrip('/')}/collections"
        for answered in whole_list(Page(url), self._collections_page, self.remote, self.name):
            for entry in answered.features:
                if isinstance(entry, dict) and isinstance(entry.get("id"), str):
                    has[entry["id"]] = entry
        found = [next((name for name in row if name in has), "") for row in COLLECTIONS]
        if not any(found):
            wanted = ", ".join(name for row in COLLECTIONS for name in row)
            raise BadInput(f"catalogue {self.name} has none of the collections {wanted}")
        for sensor, name in zip(("Sentinel-2", "Sentinel-1"), found, strict=True):
            if not name:
                log.warning("catalogue %s has no %s that is used here", self.name, sensor)
        return [has[name] for name in found if name]

    def _collections_page(self, page: Page) -> Answered:
        """A page of the list of collections, as one of items is."""
        answered = ask_page(self.remote, page)
        listed = answered.content.get("collections")
        content = {**answered.content, "features": listed if isinstance(listed, list) else []}
        return dataclasses.replace(answered, content=content)

    def _imagery_kind(self, *documents: Mapping[str, Any]) -> ImageryKind:
        """Whose Sentinel-2 imagery the API has: as its collections' documents tell, or its items.

        Of these many are asked, as the first that come may lack what tells; what searches find
        later has to agree with them.
        """
        kind = ImageryKind(self.name)
        for document in documents:
            kind.add_collection(document)
        if kind.known:
            return kind
        page: Page | None = self._page({**self._one_collection(), "limit": PAGE_ITEMS})
        came = 0
        for _ in range(SAMPLE_PAGES):
            if page is None or came >= PAGE_ITEMS:
                break
            answered = ask_page(self.remote, page)
            for item in answered.features:
                kind.add_item(item)
            came += len(answered.features)
            page = page.following(answered.content, answered.place)
        return kind

    def _one_collection(self) -> dict[str, Any]:
        """What limits a search to the first collection, which is that of Sentinel-2 if any is."""
        return {"collections": self._collections[:1]}

    def _ask(self, url: str) -> tuple[Mapping[str, Any], str]:
        """A document of the API, and where it came from."""
        answered = ask_page(self.remote, Page(url))
        return answered.content, answered.place


class CollectionItems(StacApi):
    """A collection of an API, asked for its items by place and year.

    Parameters
    ----------
    root
        Address of the collection.
    items
        Address of its items.
    document
        Its document, with its id.
    remote
        Fetches its answers and what they point to.

    Raises
    ------
    BadInput
        If it has no items that can be used.
    Unavailable
        If its provider asks for patience or does not answer.
    """

    def __init__(self, root: str, items: str, document: Mapping[str, Any], remote: Remote) -> None:
        self.name, self.remote = plain(root), remote
        collection = str(document.get("id"))
        self._search, self._method, self._collections = items, "GET", [collection]
        with opening(self.name):
            self._kind = self._imagery_kind(document)
            self.imagery = self._kind.decide()
        self.keeps_offset = collection == KEEPING_OFFSET

    def _wants(self, scene: Scene, room: Box) -> bool:
        # Not every server of a collection looks at what its items are asked for by.
        return touches(scene.bbox, room)

    def refresh(self, scene: Scene) -> Scene:
        """The scene as the collection gives it now."""
        url = f"{self._search.partition('?')[0].rstrip('/')}/{quote(scene.id, safe='')}"
        try:
            answered = ask_page(self.remote, Page(url))
        except Gone:
            return scene
        again = scene_of_item(answered.content, answered.place)
        return again if again is not None and again.id == scene.id else scene

    def _one_collection(self) -> dict[str, Any]:
        return {}

    def _page(self, query: Mapping[str, Any]) -> Page:
        """The first page of a search."""
        return Page(queried(self._search, query))


def is_api(landing: Mapping[str, Any]) -> bool:
    """Whether a document is the landing page of a STAC API that can be searched."""
    return any(link.get("rel") == "search" for link in links_of(landing))


def _search_link(root: str, landing: Mapping[str, Any]) -> tuple[str, str]:
    """Address of the search and the method to ask it with."""
    links = [link for link in links_of(landing) if link.get("rel") == "search"]
    links = [link for link in links if isinstance(link.get("href"), str)]
    if not links:
        raise BadInput(f"catalogue {plain(root)} is no STAC API that can be searched")
    posts = [link for link in links if str(link.get("method") or "GET").upper() == "POST"]
    return resolve(root, (posts or links)[0]["href"]), "POST" if posts else "GET"


def _link(base: str, document: Mapping[str, Any], rel: str) -> str | None:
    for link in links_of(document):
        if link.get("rel") == rel and isinstance(link.get("href"), str):
            return resolve(base, link["href"])
    return None
