"""A static STAC catalogue: documents that link to one another, on a disk or behind an address."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tessera_mosaic.pipeline.errors import BadInput, Corrupt, Unavailable
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.scenes.imagery_kind import ImageryKind
from tessera_mosaic.pipeline.scenes.links import own_address, resolve
from tessera_mosaic.pipeline.scenes.paging import (
    Answered,
    Page,
    ask_page,
    sound_enough,
    whole_list,
)
from tessera_mosaic.pipeline.scenes.scene import RadiometricOffset, Scene
from tessera_mosaic.pipeline.scenes.source import opening
from tessera_mosaic.pipeline.scenes.stac_items import scene_of_item
from tessera_mosaic.pipeline.scenes.twins import settle
from tessera_mosaic.pipeline.tiling.boxes import Box, padded, touches

T = TypeVar("T")

MAX_BYTES = 256 * 2**20
"""Largest document of a catalogue."""

READS = 32
"""Documents that are fetched at a time."""

PARENTS = ("Catalog", "Collection")

COLLECTIONS = "Collections"
"""Type of an API's list of its collections, which does not tell one."""

STAC_TYPES = ("Catalog", "Collection", "Feature", "FeatureCollection", COLLECTIONS)

TOO_LARGE = "catalogue {} has more than {}: make a STAC GeoParquet index of it"


@dataclass(frozen=True)
class Document:
    """A document of a catalogue.

    Parameters
    ----------
    content
        Decoded JSON.
    base
        Address at which it was read, after all redirects.
    size
        Number of its bytes.
    """

    content: Mapping[str, Any]
    base: str
    size: int

    def children(self) -> Iterator[str]:
        """Addresses of the documents below it."""
        own = own_address(self.content)
        links = self.content.get("links") if self.content["type"] in PARENTS else None
        for link in links if isinstance(links, list) else ():
            if isinstance(link, dict) and link.get("rel") in ("child", "item", "items"):
                href = link.get("href")
                if isinstance(href, str) and href:
                    yield resolve(self.base, href, own)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Items that stand in it, each with the place at which it does."""
        kind, features = self.content["type"], self.content.get("features")
        if kind == "Feature":
            yield self.base, self.content
        elif kind == "FeatureCollection" and isinstance(features, list):
            yield from ((f"{self.base}#{number}", each) for number, each in enumerate(features))


@dataclass(frozen=True)
class Limits:
    """How large a static catalogue may be. What is larger belongs into a STAC GeoParquet index.

    Parameters
    ----------
    documents
        Largest number of its documents.
    total_bytes
        Most bytes of all its documents.
    scenes
        Largest number of scenes, which are kept in memory.
    """

    documents: int = 1_000_000
    total_bytes: int = 4 * 2**30
    scenes: int = 1_000_000


class StaticCatalogue:
    """A static catalogue, read once and searched in memory.

    Parameters
    ----------
    root
        Address of its `catalog.json`, of a `collection.json`, or of a FeatureCollection of items.
    remote
        Fetches its documents and what they point to.
    limits
        Largest size that it may have.

    Raises
    ------
    BadInput
        If there is no such catalogue, or no Sentinel scene in it.
    Unavailable
        If its provider asks for patience or does not answer.
    """

    def __init__(self, root: str, remote: Remote, limits: Limits = Limits()) -> None:
        self.name, self.remote = plain(root), remote
        scenes: list[Scene] = []
        kind = ImageryKind(self.name)
        self._places: dict[str, str] = {}

        def found() -> Iterator[Scene | None]:
            for address, document in read_documents(root, remote, limits):
                for place, item in document.items():
                    kind.add_item(item)
                    scene = scene_of_item(item, place)
                    if scene is not None:
                        self._places[scene.id] = address
                    yield scene

        with opening(self.name):
            for scene in sound_enough(found(), self.name):
                scenes.append(scene)
                if len(scenes) > limits.scenes:
                    raise BadInput(TOO_LARGE.format(self.name, f"{limits.scenes:,} scenes"))
        if not scenes:
            raise BadInput(
                f"catalogue {self.name} has no Sentinel-2 L2A or terrain-corrected Sentinel-1 item"
            )
        self._scenes = SceneList(scenes)
        self.imagery = kind.decide()
        self.keeps_offset = any(scene.offset == RadiometricOffset.KEPT for scene in scenes)

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All scenes of a year that touch a box."""
        return settle(self._scenes.find(bounds, year), year)

    def refresh(self, scene: Scene) -> Scene:
        """The scene as its document has it now."""
        try:
            address = self._places[scene.id]
            document = read_document(address, address, self.remote)
        except (KeyError, BadInput, Unavailable):
            return scene
        found = (scene_of_item(item, place) for place, item in document.items())
        return next((again for again in found if again and again.id == scene.id), scene)


class SceneList:
    """Scenes in memory, found by place and year without looking at each."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = scenes
        self._souths = np.array([scene.bbox[1] for scene in scenes])
        self._norths = np.array([scene.bbox[3] for scene in scenes])
        self._years = np.array([int(scene.datetime[:4] or 0) for scene in scenes])

    def __len__(self) -> int:
        return len(self._scenes)

    def find(self, bounds: Box, year: int) -> list[Scene]:
        """Scenes of a year that touch a box, and those that do not say of which year they are."""
        room = padded(bounds)
        near = (self._souths <= room[3]) & (self._norths >= room[1])
        near &= (self._years == year) | (self._years == 0)
        scenes = (self._scenes[int(index)] for index in np.flatnonzero(near))
        return [scene for scene in scenes if touches(scene.bbox, room)]


def read_documents(
    root: str, remote: Remote, limits: Limits = Limits()
) -> Iterator[tuple[str, Document]]:
    """A document and all below it, each once, with the addresses that links gave them.

    Raises
    ------
    BadInput
        If a document cannot be read or is no STAC document, or if there are too many.
    Unavailable
        If the provider asks for patience or does not answer.
    """
    level, seen, total = [root], {root}, 0

    def fetch(address: str) -> Document:
        return read_document(address, root, remote)

    with ThreadPoolExecutor(READS, thread_name_prefix="catalogue") as pool:
        while level:
            below = []
            for address, document in fetched_in_order(level, fetch, pool):
                pages = list(_pages(address, document, root, remote, limits))
                total += sum(page.size for _, page in pages)
                if total > limits.total_bytes:
                    raise BadInput(TOO_LARGE.format(plain(root), f"{limits.total_bytes:,} bytes"))
                yield from pages
                below += [child for child in document.children() if child not in seen]
            level = list(dict.fromkeys(below))
            seen.update(level)
            if len(seen) > limits.documents:
                raise BadInput(TOO_LARGE.format(plain(root), f"{limits.documents:,} documents"))


def _pages(
    address: str, document: Document, root: str, remote: Remote, limits: Limits
) -> Iterator[tuple[str, Document]]:
    """A document, and behind a page of items all that follow it, with their addresses."""
    features = document.content.get("features")
    if document.content["type"] != "FeatureCollection" or not isinstance(features, list):
        yield address, document
        return
    first, known, sizes = Page(address), [document], {}

    def ask(page: Page) -> Answered:
        if page == first and known:
            # It was read a moment ago; only if the list is not whole it is asked for again.
            told = known.pop()
            sizes[page.key] = told.size
            return Answered(page, told.content, told.base)
        answered = ask_page(remote, page, MAX_BYTES)
        sizes[page.key] = answered.size
        if sum(sizes.values()) > limits.total_bytes:
            raise BadInput(TOO_LARGE.format(plain(root), f"{limits.total_bytes:,} bytes"))
        return answered

    with opening(plain(root)):
        pages = whole_list(first, ask, remote, plain(address))
    for answered in pages:
        page = answered.page
        # What was posted to get a page is not kept, so it cannot be asked for again.
        place = page.url if page.method == "GET" and not page.headers else address
        content = {**answered.content, "type": "FeatureCollection"}
        yield place, Document(content, answered.place, sizes[page.key])


def fetched_in_order(
    addresses: Iterable[str], fetch: Callable[[str], T], pool: ThreadPoolExecutor
) -> Iterator[tuple[str, T]]:
    """Addresses in their order with what was fetched there, at most `READS` of them ahead."""
    ahead: deque[tuple[str, Future[T]]] = deque()
    for address in addresses:
        ahead.append((address, pool.submit(fetch, address)))
        if len(ahead) > READS:
            first, document = ahead.popleft()
            yield first, document.result()
    for first, document in ahead:
        yield first, document.result()


def read_document(address: str, root: str, remote: Remote) -> Document:
    """Read one document of a catalogue.

    Raises
    ------
    BadInput
        If it cannot be read or is no STAC document.
    Unavailable
        If the provider asks for patience or does not answer.
    """

    def once() -> tuple[Any, str, int]:
        answer = remote.get(Access(address), MAX_BYTES)
        try:
            return read_json(answer.data), answer.url, len(answer.data)
        except ValueError as error:
            raise Corrupt(f"{plain(address)} is no JSON: {error}") from None

    with opening(plain(root)):
        content, base, size = remote.persist(once, address)
    kind = _kind(content)
    if kind not in STAC_TYPES:
        raise BadInput(f"catalogue {plain(root)}: {plain(address)} is no STAC document")
    return Document({**content, "type": kind}, base, size)


def _kind(content: Any) -> Any:
    """Type of a document; before STAC 1.0 catalogues and collections did not tell it."""
    if not isinstance(content, dict):
        return None
    if "type" not in content and isinstance(content.get("collections"), list):
        return COLLECTIONS
    if "type" in content or "stac_version" not in content or "links" not in content:
        return content.get("type")
    return "Collection" if "extent" in content else "Catalog"
