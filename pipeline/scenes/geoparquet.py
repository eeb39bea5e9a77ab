"""A STAC GeoParquet index: a file or a folder for millions of items, of which few are looked at."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.io.foreign_json import cleaned
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.scenes.imagery_kind import ImageryKind
from tessera_mosaic.pipeline.scenes.offset_claim import OFFSET_APPLIED
from tessera_mosaic.pipeline.scenes.paging import sound_enough
from tessera_mosaic.pipeline.scenes.parquet_columns import (
    ASSETS,
    RED,
    asset_names,
    item_of,
    links_in,
)
from tessera_mosaic.pipeline.scenes.parquet_files import (
    ParquetPart,
    Places,
    damage_in,
    partition_of,
)
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.scenes.source import opening
from tessera_mosaic.pipeline.scenes.stac_items import KEEPING_OFFSET, scene_of_item
from tessera_mosaic.pipeline.scenes.twins import settle
from tessera_mosaic.pipeline.tiling.boxes import Box, padded, touches

READS = 8
"""Files of which the footers are read at a time."""

NO_BOX: tuple[float, ...] = (float("nan"),) * 4


class ParquetIndex:
    """A STAC GeoParquet index, whose row groups are read when a search needs them.

    Parameters
    ----------
    url
        Path or address of the file, or of the folder of its files.
    remote
        Fetches the files and what they point to.
    files
        Paths or addresses of the files where it is a folder. What the names of folders below it
        say, such as `collection=sentinel-2-l2a`, they say of all rows.

    Raises
    ------
    BadInput
        If it is no such index.
    Unavailable
        If its provider asks for patience or does not answer.
    """

    def __init__(self, url: str, remote: Remote, files: Sequence[str] = ()) -> None:
        self.name, self.remote = plain(url), remote
        root = url.rstrip("/") + "/"

        def part(file: str) -> ParquetPart:
            given = partition_of(file.removeprefix(root)) if files else {}
            return ParquetPart(file, remote, given)

        with (
            opening(self.name, "STAC GeoParquet index"),
            ThreadPoolExecutor(READS, thread_name_prefix="footers") as pool,
        ):
            self._parts = list(pool.map(part, files or [url]))
        for each in self._parts:
            self._check(each)
        self._lock = threading.Lock()
        self._table = functools.lru_cache(maxsize=2)(self._read_table)
        self._places = functools.lru_cache(maxsize=16)(self._read_places)
        with opening(self.name, "STAC GeoParquet index"):
            self._kind = self._imagery_kind()
        self.imagery = self._kind.decide()
        self.keeps_offset = any(
            each.collection_of(group) == KEEPING_OFFSET
            or each.given.get("collection") == KEEPING_OFFSET
            for each in self._parts
            for group in range(each.groups)
        )

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All scenes of a year that touch a box.

        Raises
        ------
        SceneError
            If the index cannot be read.
        BadInput
            If it lists items of other imagery than it was taken for.
        """
        room = padded(bounds)
        found = []
        for number, part in enumerate(self._parts):
            for group in range(part.groups):
                if part.may_have(group, room, year):
                    items = self._items(number, group, room, year)
                    if _assets_of(part) is None:
                        # Not all of these were asked for their word when it was opened.
                        self._kind.check(item for _, item in items)
                    found += [
                        scene_of_item(cleaned(item), f"{part.name}#{group}.{row}")
                        for row, item in items
                    ]
        scenes = sound_enough(found, self.name)
        return settle((scene for scene in scenes if touches(scene.bbox, room)), year)

    def refresh(self, scene: Scene) -> Scene:
        """The scene as it is."""
        return scene

    def _items(
        self, number: int, group: int, room: Box, year: int
    ) -> list[tuple[int, dict[str, Any]]]:
        """Items of a file's group that may be wanted, with the numbers of their rows."""
        part = self._parts[number]
        with self._lock, damage_in(f"{part.name}: row group {group}"):
            places = self._places(number, group)
            rows = places.find(room, year)
            if not len(rows):
                return []
            chosen = pa.array(rows)
            cells = self._table(number, group).take(chosen).to_pylist()
            boxes = places.boxes[rows].tolist()
            items = [item_of(row, box, part.given) for row, box in zip(cells, boxes, strict=True)]
            if "links" in part.schema.names and any(map(_is_relative, items)):
                links = part.table(group, ["links"]).take(chosen)["links"].to_pylist()
                for item, cell in zip(items, links, strict=True):
                    item["links"] = links_in(cell)
        return list(zip(rows.tolist(), items, strict=True))

    def _check(self, part: ParquetPart) -> None:
        """Refuse a file whose columns are not those of items."""
        names = set(part.schema.names)
        timed = names & {"datetime", "start_datetime", "properties"}
        placed = names & {"bbox", "geometry"}
        if "content" not in names and not ({"id", "assets"} <= names and timed and placed):
            raise BadInput(
                f"catalogue {self.name} is no STAC GeoParquet index: it needs the columns id, "
                f"bbox, assets and datetime, and {part.name} has not all of them"
            )
        known = _assets_of(part)
        if known is not None and not ASSETS & {name.lower() for name in known}:
            raise BadInput(f"catalogue {self.name} has no assets of Sentinel-1 or Sentinel-2")

    def _imagery_kind(self) -> ImageryKind:
        """What the items say of whose Sentinel-2 imagery the index is."""
        kind = ImageryKind(self.name)
        for number, part in enumerate(self._parts):
            known = _assets_of(part)
            if known is None:
                self._ask_items(number, kind)
                continue
            tells = any(key in part.schema.names for key in OFFSET_APPLIED)
            names = [name for name in RED if name in known]
            for pattern in self._patterns(part, names) if len(names) > 1 else {tuple(names)}:
                kind.add_names("", pattern, tells)
        return kind

    def _patterns(self, part: ParquetPart, names: Sequence[str]) -> set[tuple[str, ...]]:
        """Which of some assets the items of a file have, as sets that there are."""
        found = set()
        for group in range(part.groups):
            with damage_in(f"{part.name}: row group {group}"):
                table = part.table(group, [f"assets.{name}" for name in names])
                rows = table["assets"].to_pylist()
            found |= {tuple(name for name in names if (row or {}).get(name)) for row in rows}
        return found

    def _ask_items(self, number: int, kind: ImageryKind) -> None:
        """Take the word of a file's items, group by group until one says something."""
        part = self._parts[number]
        for group in range(part.groups):
            with self._lock, damage_in(f"{part.name}: row group {group}"):
                items = [
                    item_of(row, NO_BOX, part.given)
                    for row in self._table(number, group).to_pylist()
                ]
            for item in items:
                kind.add_item(item)
            if kind.known:
                return

    def _read_places(self, number: int, group: int) -> Places:
        return self._parts[number].places(group)

    def _read_table(self, number: int, group: int) -> pa.Table:
        return self._parts[number].table(group)


def _assets_of(part: ParquetPart) -> list[str] | None:
    """Names of the assets of a file's items; None where its columns do not tell."""
    names = part.schema.names
    return asset_names(part.schema.field("assets").type) if "assets" in names else None


def _is_relative(item: dict[str, Any]) -> bool:
    """Whether an address in an item is relative to it."""
    hrefs = (asset.get("href") for asset in item["assets"].values())
    texts = (href for href in hrefs if isinstance(href, str))
    return any("://" not in href and not href.startswith("/") for href in texts)
