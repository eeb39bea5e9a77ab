"""A static STAC catalogue: documents that link to one another, on a disk or behind an address."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from pipeline.errors import BadInput
from pipeline.scenes.items import resolve, scene_of_item
from pipeline.scenes.scene import Access, Box, Scene, settle, touches

MAX_DOCUMENTS = 2_000_000
"""Most documents of one catalogue that are read. More belong into a STAC GeoParquet index."""

MAX_BYTES = 64 * 2**20
"""Largest document of a catalogue."""


class StaticCatalogue:
    """A static catalogue, read once and searched in memory.

    Parameters
    ----------
    root
        Path or address of its `catalog.json`, `collection.json` or a FeatureCollection.

    Raises
    ------
    BadInput
        If there is no catalogue, or no Sentinel scene in it.
    """

    def __init__(self, root: str) -> None:
        self.name = root
        items = list(_walk(root))
        found = (scene_of_item(item, base) for base, item in items)
        self._scenes = [scene for scene in found if scene is not None]
        if not self._scenes:
            raise BadInput(
                f"catalogue {root} has no Sentinel-2 L2A or terrain-corrected Sentinel-1 item"
            )
        self.imagery = _imagery(root, items)

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All scenes of a year that touch a box."""
        return settle(
            scene
            for scene in self._scenes
            if scene.datetime[:4] in ("", f"{year:04d}") and touches(scene.bbox, bounds)
        )

    def access(self, href: str) -> Access:
        """The address as it is."""
        return Access(href)

    def renew(self) -> None:
        """Nothing to renew."""

    def refresh(self, scene: Scene) -> Scene:
        """The scene as it is."""
        return scene


def _walk(root: str) -> Any:
    """Addresses and contents of all items below a document, each document once."""
    queue, seen = deque([root]), {root}
    while queue:
        base = queue.popleft()
        document = _document(base, root)
        kind = document.get("type")
        if kind == "Feature":
            yield base, document
        features = document.get("features")
        if kind == "FeatureCollection" and isinstance(features, list):
            yield from ((base, feature) for feature in features)
        links = document.get("links") if kind in ("Catalog", "Collection") else None
        for link in links if isinstance(links, list) else []:
            if not isinstance(link, dict) or link.get("rel") not in ("child", "item", "items"):
                continue
            href = link.get("href")
            address = resolve(base, href) if isinstance(href, str) else ""
            if address and address not in seen:
                if len(seen) >= MAX_DOCUMENTS:
                    raise BadInput(
                        f"catalogue {root} has more than {MAX_DOCUMENTS:,} documents: make a "
                        "STAC GeoParquet index of it"
                    )
                seen.add(address)
                queue.append(address)


def _document(address: str, root: str) -> dict[str, Any]:
    try:
        with open(address, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        document = json.loads(data)
    except (OSError, ValueError) as error:
        raise BadInput(f"catalogue {root}: {address} cannot be read: {error}") from None
    if not isinstance(document, dict) or document.get("type") not in (
        "Catalog",
        "Collection",
        "Feature",
        "FeatureCollection",
    ):
        raise BadInput(f"catalogue {root}: {address} is no STAC document")
    return document


def _imagery(root: str, items: list[tuple[str, Any]]) -> str:
    """Which of the two kinds of imagery the assets' names tell of."""
    keys = {
        str(key) for _, item in items if isinstance(item, dict) for key in item.get("assets", ())
    }
    if "red" in keys and "B04" in keys:
        raise BadInput(
            f"catalogue {root} mixes assets named B04 (offset in the pixels) and red (offset "
            "taken out): give them as two catalogues"
        )
    return "aws" if "red" in keys else "mpc"
