"""A static STAC catalogue: documents that link to one another, on a disk or behind an address."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tessera_mosaic.pipeline.errors import BadInput, Corrupt, Unavailable
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.scenes.scene import Imagery, RadiometricOffset, Scene, settle
from tessera_mosaic.pipeline.scenes.source import opening
from tessera_mosaic.pipeline.scenes.stac_items import OFFSET_APPLIED, resolve, scene_of_item
from tessera_mosaic.pipeline.tiling.boxes import Box, padded, touches

T = TypeVar("T")

MAX_BYTES = 256 * 2**20
"""Largest document of a catalogue."""

READS = 32
"""Documents that are fetched at a time."""

STAC_TYPES = ("Catalog", "Collection", "Feature", "FeatureCollection")

TOO_LARGE = "catalogue {} has more than {}: make a STAC GeoParquet index of it"

MIXED = (
    "catalogue {} has assets named B04, whose pixels have the radiometric offset, and others "
    "named red, whose pixels do not: give them as two catalogues"
)


@dataclass(frozen=True)
class Limits:
    """How large a static catalogue may be. What is larger belongs into a STAC GeoParquet index.

    Parameters
    ----------
    documents
        Largest number of its documents.
    total_bytes
        Most bytes of all its documents: the scenes in memory are smaller than these.
    """

    documents: int = 1_000_000
    total_bytes: int = 4 * 2**30


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
        scenes, imagery = [], set()
        self._places: dict[str, str] = {}
        for base, item in read_items(root, remote, limits):
            imagery.add(imagery_of(item))
            if (scene := scene_of_item(item, base)) is not None:
                scenes.append(scene)
                self._places[scene.id] = base.partition("#")[0]
        if not scenes:
            raise BadInput(
                f"catalogue {self.name} has no Sentinel-2 L2A or terrain-corrected Sentinel-1 item"
            )
        self._scenes = SceneList(scenes)
        self.imagery = one_imagery(self.name, imagery)
        self.keeps_offset = any(scene.offset == RadiometricOffset.KEPT for scene in scenes)

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All scenes of a year that touch a box."""
        return settle(self._scenes.find(bounds, year), year)

    def refresh(self, scene: Scene) -> Scene:
        """The scene as its document has it now."""
        try:
            place = self._places[scene.id]
            document = read_document(place, place, self.remote)
        except (KeyError, BadInput, Unavailable):
            return scene
        found = (scene_of_item(item, base) for base, item in _items(place, document))
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


def read_items(root: str, remote: Remote, limits: Limits = Limits()) -> Iterator[tuple[str, Any]]:
    """Addresses and contents of all items below a document, each document once.

    Raises
    ------
    BadInput
        If a document cannot be read or is no STAC document, or if there are too many.
    Unavailable
        If the provider asks for patience or does not answer.
    """
    level, seen, total = [root], {root}, 0

    def fetch(address: str) -> tuple[dict[str, Any], int]:
        return _read(address, root, remote)

    with ThreadPoolExecutor(READS, thread_name_prefix="catalogue") as pool:
        while level:
            below = []
            for base, (document, size) in fetched_in_order(level, fetch, pool):
                total += size
                if total > limits.total_bytes:
                    raise BadInput(TOO_LARGE.format(plain(root), f"{limits.total_bytes:,} bytes"))
                yield from _items(base, document)
                below += [a for a in _children(base, document) if a not in seen]
            level = list(dict.fromkeys(below))
            seen.update(level)
            if len(seen) > limits.documents:
                raise BadInput(TOO_LARGE.format(plain(root), f"{limits.documents:,} documents"))


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


def read_document(address: str, root: str, remote: Remote) -> dict[str, Any]:
    """Read one document of a catalogue.

    Raises
    ------
    BadInput
        If it cannot be read or is no STAC document.
    Unavailable
        If the provider asks for patience or does not answer.
    """
    return _read(address, root, remote)[0]


def _read(address: str, root: str, remote: Remote) -> tuple[dict[str, Any], int]:
    """A document and its size in bytes."""

    def once() -> tuple[Any, int]:
        data = remote.read_all(Access(address), MAX_BYTES)
        try:
            return json.loads(data), len(data)
        except (ValueError, RecursionError) as error:
            raise Corrupt(f"{plain(address)} is no JSON: {error}") from None

    with opening(plain(root)):
        document, size = remote.persist(once, address)
    if not isinstance(document, dict) or document.get("type") not in STAC_TYPES:
        raise BadInput(f"catalogue {plain(root)}: {plain(address)} is no STAC document")
    return document, size


def imagery_of(item: Any) -> Imagery | None:
    """Whose Sentinel-2 imagery an item is, by its assets' names; None if they do not tell.

    Element 84's first collection on AWS named them as ESA does, and told of the offset.
    """
    assets, properties = (
        item.get(name) if isinstance(item, dict) else None for name in ("assets", "properties")
    )
    if not isinstance(assets, dict) or not isinstance(properties, dict):
        return None
    if "red" in assets or ("B04" in assets and any(name in properties for name in OFFSET_APPLIED)):
        return Imagery.AWS
    return Imagery.MPC if "B04" in assets else None


def one_imagery(name: str, found: set[Imagery | None]) -> Imagery:
    """Whose imagery a catalogue is, by that of its items.

    Raises
    ------
    BadInput
        If it is of two kinds.
    """
    kinds = found - {None}
    if len(kinds) > 1:
        raise BadInput(MIXED.format(name))
    return next((kind for kind in kinds if kind is not None), Imagery.MPC)


def _items(base: str, document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if document["type"] == "Feature":
        yield base, document
    features = document.get("features")
    if document["type"] == "FeatureCollection" and isinstance(features, list):
        yield from ((f"{base}#{number}", feature) for number, feature in enumerate(features))


def _children(base: str, document: dict[str, Any]) -> Iterator[str]:
    """Addresses of the documents below one."""
    links = document.get("links") if document["type"] in ("Catalog", "Collection") else None
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") in ("child", "item", "items"):
            href = link.get("href")
            if isinstance(href, str) and href:
                yield resolve(base, href)
