"""Whose imagery a catalogue lists: what all its items say together, never one of them alone."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.scenes.offset_claim import OFFSET_APPLIED
from tessera_mosaic.pipeline.scenes.scene import Imagery

ELEMENT_84 = ("sentinel-s2-l2a-cogs", "sentinel-2-c1-l2a", "sentinel-2-pre-c1-l2a")
"""Collections that Element 84 alone has, whatever some of their items lack."""

MIXED = (
    "catalogue {} has assets named B04, as ESA's own products, and others named red, as those of "
    "Element 84: give them as two catalogues"
)

OTHERWISE = (
    "catalogue {} was taken for imagery of {}, by its collections or its first items, and lists "
    "others that say otherwise, such as {}: give them as two catalogues"
)
MAKERS = {Imagery.MPC: "ESA", Imagery.AWS: "Element 84"}


class ImageryKind:
    """What the items of a catalogue say of whose Sentinel-2 imagery it is.

    ESA's products name their bands `B04`, Element 84's name them `red`. Element 84's first
    collection on AWS named them as ESA does, and told of the offset in those of its items that were
    written late: one such item speaks for its whole collection.

    Parameters
    ----------
    name
        Of the catalogue, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._esa: set[str] = set()
        self._element84: set[str] = set()
        self._renamed: set[str] = set()

    def add_item(self, item: Any) -> None:
        """Take an item's word, by its assets' names; one that has none of them says nothing."""
        if not isinstance(item, Mapping):
            return
        properties, assets = item.get("properties"), item.get("assets")
        told = isinstance(properties, Mapping) and any(key in properties for key in OFFSET_APPLIED)
        self.add_names(
            str(item.get("collection") or ""),
            assets.keys() if isinstance(assets, Mapping) else (),
            told,
        )

    def add_collection(self, collection: Any) -> None:
        """Take the word of a collection's document, by its name and by what its items have."""
        if isinstance(collection, Mapping):
            assets = collection.get("item_assets")
            self.add_names(
                str(collection.get("id") or ""),
                assets.keys() if isinstance(assets, Mapping) else (),
            )

    def add_names(self, collection: str, assets: Iterable[Any], tells: bool = False) -> None:
        """Take the names of assets in a collection, and whether they tell of the offset."""
        names = set(assets)
        if collection.lower() in ELEMENT_84 or ("B04" in names and tells):
            self._renamed.add(collection)
        if "red" in names:
            self._element84.add(collection)
        elif names & {"B04", "B04_10m"}:
            self._esa.add(collection)

    @property
    def known(self) -> bool:
        """Whether anything was said."""
        return bool(self._esa or self._element84 or self._renamed)

    def decide(self) -> Imagery:
        """Whose imagery it is; ESA's where nothing says.

        Raises
        ------
        BadInput
            If it is of two kinds.
        """
        decided = self._decided()
        if decided is None:
            raise BadInput(MIXED.format(self._name))
        return decided

    def check(self, items: Iterable[Any]) -> None:
        """Refuse further items that are not of the kind that it was decided to be without them.

        Parameters
        ----------
        items
            Items that were found later.

        Raises
        ------
        BadInput
            If one says otherwise.
        """
        decided, together = self.decide(), copy.deepcopy(self)
        for item in items:
            together.add_item(item)
            if together._decided() != decided:
                name = str(item.get("id") or "one without an id")
                raise BadInput(OTHERWISE.format(self._name, MAKERS[decided], name))

    def _decided(self) -> Imagery | None:
        """Whose imagery it is; None if it is of two kinds."""
        theirs = self._element84 | self._renamed
        if theirs and self._esa - self._renamed:
            return None
        return Imagery.AWS if theirs else Imagery.MPC
