"""Make the store of a map, write its tiles, and read them back.

Metadata is written by the launcher alone, under a lock; workers only put shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline import __version__
from tessera_mosaic.pipeline.contracts.state import LATTICE, STATE, Input, Kind, Numbers, State
from tessera_mosaic.pipeline.downstream.change import PixelState
from tessera_mosaic.pipeline.downstream.map_layout import (
    CHANGE_UNIT,
    MEASURES,
    MapLayout,
    map_digest,
)
from tessera_mosaic.pipeline.errors import BadInput, StoreError, StoreMismatch
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.stored_object import StoredObject
from tessera_mosaic.pipeline.io.strict import check_format
from tessera_mosaic.pipeline.ledger.summary import find_summaries
from tessera_mosaic.pipeline.ledger.tile_lists import planned_tiles
from tessera_mosaic.pipeline.mosaic.identity import Identity, differences
from tessera_mosaic.pipeline.mosaic.layout import group_node
from tessera_mosaic.pipeline.mosaic.metadata import encode_json
from tessera_mosaic.pipeline.mosaic.root import refuse_others
from tessera_mosaic.pipeline.mosaic.shards import decode_shard, encode_shard
from tessera_mosaic.pipeline.mosaic.store import METADATA_LOCK, ROOT
from tessera_mosaic.pipeline.tiling.lattice import PIXEL, Tile, Window, zone_crs, zone_group

VERSION = 1
"""Version of the format of maps, raised when a reader of an earlier one would read it wrongly."""

ATTRIBUTE = "tessera_mosaic:map"
"""Attribute of the root that tells what decides the bytes of the map."""


@dataclass(frozen=True)
class MapStore:
    """A map as its root tells it. Plain and picklable, so that workers can hold it.

    Parameters
    ----------
    storage
        The store that it lies in.
    layout
        Its arrays.
    identity
        What decides its bytes: the digest of its head, if it has one, the fingerprint of the
        mosaic, and options.
    years
        Calendar years of the time axis, which is that of the mosaic.
    zones
        Numbers of the zones that have a group, ascending.
    matched
        Years whose embeddings were shifted to the mean of the head's year, by that year.
    compared
        Years of a map of change by the earlier one that each is compared with.
    mapped
        Years that somebody mapped, ascending; empty in stores of earlier versions.
    valid_range
        Least and largest value that its head can tell, to which all others were clipped.
    """

    storage: Storage
    layout: MapLayout
    identity: Identity
    years: tuple[int, ...]
    zones: tuple[int, ...]
    matched: Mapping[int, int] = field(default_factory=dict)
    compared: Mapping[int, int] = field(default_factory=dict)
    mapped: tuple[int, ...] = ()
    valid_range: tuple[float, float] | None = None

    @property
    def state(self) -> State:
        """What the map says of itself."""
        main, beside = (self.layout.array(name) for name in self.layout.pictured)
        told = {Kind.HEAD: self.identity.get("head"), Kind.MOSAIC: self.identity.get("mosaic")}
        names = {each.code: each.name for each in self.layout.classes}
        return State(
            Kind.CHANGE if self.layout.change else Kind.MAP,
            digests=tuple(map_digest(self.identity, main.name, year) for year in self.mapped),
            inputs=tuple(Input(kind, str(of)) for kind, of in told.items() if of is not None),
            product=self.identity.get("change"),
            fingerprint=self.identity.get("mosaic"),
            crs=tuple(map(zone_crs, self.zones)),
            lattice=LATTICE,
            pixel=float(PIXEL),
            years=self.mapped or None,
            matched=self.matched or None,
            compared=self.compared or None,
            dtype=main.dtype.name,
            numbers=Numbers.VALUES,
            unit=self.layout.unit or None,
            valid_range=self.valid_range,
            classes=names or None,
            nodata=float(main.fill),
            uncertainty=CHANGE_UNIT if self.layout.change else beside.name,
        )

    @property
    def command(self) -> str:
        """The command that makes it."""
        return "changed" if self.layout.change else "map"

    def tags(self, year: int) -> dict[str, str]:
        """What a GeoTIFF of a year says of itself."""
        tags = {"YEAR": str(year)}
        if year in self.matched:
            tags["MATCHED_TO_YEAR"] = str(self.matched[year])
        if year in self.compared:
            tags["COMPARED_WITH_YEAR"] = str(self.compared[year])
        if self.layout.unit:
            tags["UNIT"] = self.layout.unit
        return tags

    def step(self, year: int) -> int:
        """Place of a year on the time axis.

        Raises
        ------
        BadInput
            If the axis does not have the year.
        """
        if year not in self.years:
            raise BadInput(f"{self.storage.url} is no map of {year}", "year", year)
        return self.years.index(year)

    def keys(self, tile: Tile, year: int) -> tuple[str, ...]:
        """Keys of a tile's shards, in the order in which they are written."""
        step = self.step(year)
        return tuple(array.key(tile, step) for array in self.layout.arrays)

    def tiles(self, year: int) -> Iterator[Tile]:
        """Tiles of a year that are done, zone by zone, by the records of the map."""
        planned = planned_tiles(self.storage, year, self.zones)
        for found in find_summaries(self.storage, year, planned):
            if found.summary is not None and found.summary.bytes_written and found.finished:
                yield found.tile

    def write(
        self, tile: Tile, year: int, values: Mapping[str, NDArray[Any]]
    ) -> tuple[StoredObject, ...]:
        """Put a tile's shards, each whole, in the layout's order.

        Parameters
        ----------
        tile, year
            The tile, and its calendar year.
        values
            The pixels of each array by its name: (side, side), or (bands, side, side).
        """
        stored = []
        for array in self.layout.arrays:
            key, data = array.key(tile, self.step(year)), encode_shard(array, values[array.name])
            self.storage.write(key, data)
            stored.append(StoredObject.of(key, data))
        return tuple(stored)

    def read(self, tile: Tile, year: int, name: str = "class") -> NDArray[Any]:
        """An array of a tile, fill where it has none.

        Returns
        -------
        (side, side), or (bands, side, side) for `probability` and `quality`

        Raises
        ------
        StoreError
            If the object is damaged.
        """
        array = self.layout.array(name)
        try:
            data = self.storage.read(array.key(tile, self.step(year)))
        except FileNotFoundError:
            bands = (array.bands,) if array.bands else ()
            return np.full((*bands, array.side, array.side), array.fill, array.dtype)
        try:
            return decode_shard(array, data)
        except StoreError as error:
            raise StoreError(f"tile {tile.name}: {error}") from None

    def read_window(self, window: Window, year: int, name: str = "class") -> NDArray[Any]:
        """An array of any window of a zone, put together from its tiles; see `read`."""
        array, side = self.layout.array(name), self.layout.side
        bands = (array.bands,) if array.bands else ()
        values = np.full((*bands, *window.shape), array.fill, array.dtype)
        bottom, right = window.row + window.height, window.col + window.width
        for row in range(window.row // side, -(-bottom // side)):
            for col in range(window.col // side, -(-right // side)):
                top, left = max(window.row, row * side), max(window.col, col * side)
                height, width = min(bottom, (row + 1) * side), min(right, (col + 1) * side)
                part = Window(window.zone, top, left, height - top, width - left)
                tile = Tile(window.zone, row, col, side)
                values[(..., *part.within(window))] = self.read(tile, year, name)[
                    (..., *part.within(tile.window))
                ]
        return values


def create_map(
    storage: Storage,
    layout: MapLayout,
    identity: Identity,
    years: Iterable[int],
    zones: Iterable[int],
    matched: Mapping[int, int] | None = None,
    compared: Mapping[int, int] | None = None,
    mapped: Iterable[int] = (),
    valid_range: tuple[float, float] | None = None,
) -> MapStore:
    """Make a map's store ready for tiles of some years and zones; do nothing if it is.

    Parameters
    ----------
    storage
        An empty place, or one that holds a map of the same identity and layout.
    layout, identity
        Its arrays, and what decides its bytes.
    years
        Calendar years of the mosaic, ascending without a gap.
    zones
        Numbers of the zones that will be written.
    matched
        Years whose embeddings are shifted to the mean of another year, by that year.
    compared
        Years of a map of change by the earlier one that each is compared with.
    mapped
        Years that are mapped.
    valid_range
        Least and largest value that its head can tell.

    Raises
    ------
    StoreMismatch
        If the map there has another identity or layout, or its years begin otherwise.
    BadInput
        If something else than a map is there.
    """
    storage.sweep()
    with locked(storage, METADATA_LOCK):
        try:
            known: MapStore | None = read_map(storage)
        except FileNotFoundError:
            refuse_others(storage)
            known = None
        made = MapStore(
            storage,
            layout,
            identity,
            tuple(years),
            tuple(sorted(set(zones))),
            matched or {},
            compared or {},
            tuple(sorted(set(mapped))),
            valid_range,
        )
        if known is not None:
            made = _grown(known, made)
        if made != known:
            _write_metadata(made)
    return made


def read_map(storage: Storage) -> MapStore:
    """The map that a storage holds.

    Raises
    ------
    FileNotFoundError
        If there is no Zarr store.
    BadInput
        If there is one that is no map, or of a later format.
    """
    data = storage.read_document(ROOT)
    try:
        attributes = read_json(data)["attributes"]
        told = attributes[ATTRIBUTE]
        check_format(told, "version", VERSION, storage.url)
        return MapStore(
            storage,
            MapLayout.from_json(told | {"classes": attributes.get("classes", [])}),
            told["identity"],
            tuple(int(year) for year in told["years"]),
            tuple(int(zone) for zone in told["zones"]),
            {int(year): int(to) for year, to in told["matched_years"].items()},
            {int(year): int(of) for year, of in told.get("compared_years", {}).items()},
            tuple(int(year) for year in told.get("mapped_years", [])),
            _range(told.get("valid_range")),
        )
    except BadInput:
        raise
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(
            f"{storage.url} holds a {ROOT} that is no map: name the --out of `map` or `changed`"
        ) from None


def open_map(url: str) -> MapStore:
    """Open the map at a path or URL that a user gave.

    Raises
    ------
    BadInput
        If there is none.
    """
    storage = Storage(url)
    try:
        return read_map(storage)
    except FileNotFoundError:
        raise BadInput(f"{storage.url} holds no map: make one with `map`") from None


def _grown(known: MapStore, asked: MapStore) -> MapStore:
    """The known map with the years and zones of another one of the same kind."""
    theirs, ours = ({"layout": of.layout.to_json()} for of in (known, asked))
    found = differences(asked.identity | ours, known.identity | theirs)
    if found:
        raise StoreMismatch(
            f"{known.storage.url} holds another map, choose another place: " + "; ".join(found)
        )
    longer = max(known.years, asked.years, key=len)
    for years in (known.years, asked.years):
        if longer[: len(years)] != years:
            raise StoreMismatch(
                f"{known.storage.url} has the years from {known.years[0]} on, and the mosaic those "
                f"from {asked.years[0]} on: choose another place"
            )
    zones = tuple(sorted({*known.zones, *asked.zones}))
    matched = {**known.matched, **asked.matched}
    compared = {**known.compared, **asked.compared}
    return replace(
        known,
        years=longer,
        zones=zones,
        matched=matched,
        compared=compared,
        mapped=tuple(sorted({*known.mapped, *asked.mapped})),
        valid_range=known.valid_range or asked.valid_range,
    )


def _range(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    low, high = value
    return float(low), float(high)


def _write_metadata(made: MapStore) -> None:
    """Write the metadata of all nodes, the root's last."""
    below: dict[str, dict[str, Any]] = {}
    for zone in made.zones:
        below |= made.layout.zone_nodes(zone, made.years)
        for name, _, data in made.layout.coordinates(made.years):
            made.storage.write(f"{zone_group(zone)}/{name}/c/0", data)
    for path in reversed(below):
        made.storage.write(f"{path}/{ROOT}", encode_json(below[path]))
    told = made.layout.to_json()
    classes = told.pop("classes")
    told |= {
        "version": VERSION,
        "software": __version__,
        "identity": made.identity,
        "years": list(made.years),
        "zones": list(made.zones),
        "matched_years": {str(year): to for year, to in sorted(made.matched.items())},
    }
    if made.compared:
        told["compared_years"] = {str(year): of for year, of in sorted(made.compared.items())}
    if made.mapped:
        told["mapped_years"] = list(made.mapped)
    if made.valid_range:
        told["valid_range"] = list(made.valid_range)
    attributes: dict[str, Any] = {ATTRIBUTE: told, STATE: made.state.to_json()}
    if made.layout.change:
        attributes["states"] = [{"code": int(s), "name": s.label} for s in PixelState]
    if made.layout.of_classes:
        attributes["classes"] = classes
    if made.layout.quality:
        attributes["measures"] = list(MEASURES)
    consolidated = {"kind": "inline", "must_understand": False, "metadata": below}
    root = group_node(attributes) | {"consolidated_metadata": consolidated}
    made.storage.write(ROOT, encode_json(root))
