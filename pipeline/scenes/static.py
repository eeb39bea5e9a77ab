"""A static STAC catalogue: documents that link to one another, on a disk or behind an address."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from pipeline.errors import BadInput, SceneError
from pipeline.remote import Access, Remote
from pipeline.scenes.items import resolve, scene_of_item
from pipeline.scenes.scene import Box, Scene, padded, settle, touches
from pipeline.web import plain

MAX_DOCUMENTS = 1_000_000
"""Most documents of one catalogue. More belong into a STAC GeoParquet index."""

MAX_BYTES = 256 * 2**20
"""Largest document of a catalogue."""

READS = 32
"""Documents that are fetched at a time."""

STAC_TYPES = ("Catalog", "Collection", "Feature", "FeatureCollection")

MIXED = (
    "catalogue {} has assets named B04, whose pixels have the radiometric offset, and others "
    "named red, whose pixels do not: give them as two catalogues"
)


class StaticCatalogue:
    """A static catalogue, read once and searched in memory.

    Parameters
    ----------
    root
        Address of its `catalog.json`, of a `collection.json`, or of a FeatureCollection of items.
    remote
        Fetches its documents and what they point to.

    Raises
    ------
    BadInput
        If there is no such catalogue, or no Sentinel scene in it.
    """

    def __init__(self, root: str, remote: Remote) -> None:
        self.name, self.remote = plain(root), remote
        items = list(read_items(root, remote))
        scenes = [scene_of_item(item, base) for base, item in items]
        self._scenes = SceneList([scene for scene in scenes if scene is not None])
        if not len(self._scenes):
            raise BadInput(
                f"catalogue {self.name} has no Sentinel-2 L2A or terrain-corrected Sentinel-1 item"
            )
        self.imagery = imagery_of(self.name, (item for _, item in items))

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All scenes of a year that touch a box."""
        return settle(self._scenes.find(bounds, year), year)

    def refresh(self, scene: Scene) -> Scene:
        """The scene as it is."""
        return scene


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


def read_items(root: str, remote: Remote) -> Iterator[tuple[str, Any]]:
    """Addresses and contents of all items below a document, each document once."""
    level, seen = [root], {root}
    with ThreadPoolExecutor(READS, thread_name_prefix="catalogue") as pool:
        while level:
            below = []
            documents = pool.map(lambda address: read_document(address, root, remote), level)
            for base, document in zip(level, documents, strict=True):
                yield from _items(base, document)
                below += [a for a in _children(base, document) if a not in seen]
                below = list(dict.fromkeys(below))
            seen.update(below)
            if len(seen) > MAX_DOCUMENTS:
                raise BadInput(
                    f"catalogue {plain(root)} has more than {MAX_DOCUMENTS:,} documents: make a "
                    "STAC GeoParquet index of it"
                )
            level = below


def read_document(address: str, root: str, remote: Remote) -> dict[str, Any]:
    """Read one document of a catalogue.

    Raises
    ------
    BadInput
        If it cannot be read or is no STAC document.
    """
    try:
        data = remote.persist(lambda: remote.read_all(Access(address), MAX_BYTES), address)
        document = json.loads(data)
    except SceneError as error:
        raise BadInput(f"catalogue {plain(root)}: {error.message}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"catalogue {plain(root)}: {plain(address)} is no JSON: {error}") from None
    if not isinstance(document, dict) or document.get("type") not in STAC_TYPES:
        raise BadInput(f"catalogue {plain(root)}: {plain(address)} is no STAC document")
    return document


def imagery_of(root: str, items: Iterator[Any]) -> str:
    """Whose Sentinel-2 imagery items are, by the names of their assets."""
    found = set()
    for item in items:
        assets = item.get("assets") if isinstance(item, dict) else None
        if isinstance(assets, dict):
            found |= {"aws"} if "red" in assets else {"mpc"} if "B04" in assets else set()
    if len(found) > 1:
        raise BadInput(MIXED.format(root))
    return found.pop() if found else "mpc"


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
