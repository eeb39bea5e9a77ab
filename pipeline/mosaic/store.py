"""Make a mosaic, add years and zones to it, write its tiles, and read them back.

Metadata is written by the launcher alone, under a lock; workers only put shards.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from tessera_mosaic.pipeline import __version__
from tessera_mosaic.pipeline.errors import BadInput, StoreError, StoreMismatch
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import before_work
from tessera_mosaic.pipeline.mosaic.identity import Identity, adopted_model, differences
from tessera_mosaic.pipeline.mosaic.layout import PLAIN, Array, Layout
from tessera_mosaic.pipeline.mosaic.metadata import (
    YEARS_CHUNK,
    MosaicMetadata,
    encode_json,
    parse_root,
    pyramid_objects,
    root_node,
    zone_objects,
)
from tessera_mosaic.pipeline.mosaic.root import ROOT, refuse_others, root_is_cut_short
from tessera_mosaic.pipeline.mosaic.shards import Pixels, decode_shard
from tessera_mosaic.pipeline.mosaic.writer import ShardWriter
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, tiles_on

METADATA_LOCK = "metadata"
"""Name of the lock of whoever edits the metadata."""

log = logging.getLogger(__name__)

FIRST_YEAR = 2017
"""Where the time axis begins unless an earlier year is asked for: the first whole year of both
Sentinel-2 satellites."""

PUT_THREADS = 16
"""Small metadata objects put at once."""


@dataclass(frozen=True)
class Mosaic(MosaicMetadata):
    """A mosaic as its root tells it. Plain and picklable, so that workers can hold it.

    Parameters
    ----------
    storage
        The store that it lies in.
    """

    storage: Storage = field(kw_only=True)

    def step(self, year: int) -> int:
        """Place of a year on the time axis."""
        if year not in self.years:
            raise BadInput(
                f"{self.storage.url} has no year {year}: it holds {self.years[0]} to "
                f"{self.years[-1]}"
            )
        return self.years.index(year)

    def years_made(self) -> tuple[int, ...]:
        """Calendar years of which there is any tile: the time axis has steps for others too.

        Where the store cannot be listed it is all of the axis, as nobody knows.
        """
        with ThreadPoolExecutor(PUT_THREADS) as pool:
            made = pool.map(self.is_made, self.years)
        return tuple(year for year, there in zip(self.years, made, strict=True) if there)

    def is_made(self, year: int) -> bool:
        """Whether there is any tile of a year; true where the store cannot be listed."""
        if year not in self.years:
            return False
        step = self.years.index(year)
        try:
            return any(
                self.storage.holds(self.layout.scales.prefix(zone, step)) for zone in self.zones
            )
        except StoreError:
            return True

    def check_made(self, year: int) -> None:
        """Refuse a year of which there is no tile.

        Raises
        ------
        BadInput
            Naming the years of which there are some.
        """
        if not self.is_made(year):
            told = ", ".join(map(str, self.years_made())) or "none yet"
            raise BadInput(
                f"{self.storage.url} has no year {year}: the years that were made are {told}"
            )

    def keys(self, tile: Tile, year: int) -> tuple[str, ...]:
        """Keys of a tile's objects, in the order in which they are written."""
        step = self.step(year)
        return tuple(array.key(tile, step) for array in self.layout.arrays)

    def writer(self, tile: Tile, year: int, threads: int = 1) -> ShardWriter:
        """A writer of a tile's shards."""
        if tile.side != self.layout.side:
            raise BadInput(
                f"{self.storage.url} has tiles of {self.layout.side} px, not {tile.side}"
            )
        least = -127 if adopted_model(self.identity) is None else -128
        return ShardWriter(self.storage, self.layout, tile, self.step(year), threads, least)

    def read(self, tile: Tile, year: int) -> Pixels:
        """A whole tile at full depth, fill where it has no objects.

        Raises
        ------
        StoreError
            If an object is damaged.
        """
        read = functools.partial(self._read, tile, self.step(year))
        return Pixels(
            codes=np.moveaxis(read(self.layout.embeddings[-1]), 0, -1),
            scales=read(self.layout.scales),
            counts={
                name: read(array)
                for name, array in zip(self.layout.observed, self.layout.counts, strict=True)
            },
        )

    def read_window(self, window: Window, year: int) -> Pixels:
        """Any window of a zone at full depth, put together from its tiles."""
        height, width = window.shape
        pixels = Pixels(
            np.zeros((height, width, self.layout.dims), np.int8),
            np.full((height, width), np.inf, np.float32),
            {name: np.zeros((height, width), np.uint16) for name in self.layout.observed},
        )
        for tile in tiles_on(window, self.layout.side):
            part = _overlap(window, tile.window)
            ours, theirs = part.within(window), part.within(tile.window)
            read = self.read(tile, year)
            pixels.codes[ours], pixels.scales[ours] = read.codes[theirs], read.scales[theirs]
            for name in self.layout.observed:
                pixels.counts[name][ours] = read.counts[name][theirs]
        return pixels

    def _read(self, tile: Tile, step: int, array: Array) -> np.ndarray:
        try:
            shard = self.storage.read(array.key(tile, step))
        except FileNotFoundError:
            bands = (array.bands,) if array.bands else ()
            return np.full((*bands, array.side, array.side), array.fill, array.dtype)
        try:
            return decode_shard(array, shard)
        except StoreError as error:
            raise StoreError(f"tile {tile.name}: {error}") from None


def create_store(
    storage: Storage,
    layout: Layout,
    identity: Identity,
    years: Iterable[int],
    zones: Iterable[int],
) -> Mosaic:
    """Make a mosaic ready for tiles of the given years and zones; do nothing if it is.

    Years only ever append: the axis starts at `FIRST_YEAR`, or at the first year asked for if
    that is earlier, and has no gaps. Safe to call from several launchers at once.

    Parameters
    ----------
    storage
        An empty place, or one that holds a mosaic of the same identity and layout.
    layout, identity
        How the mosaic is to be cut, and what decides its bytes, as `mosaic.identity` has it.
    years, zones
        Calendar years and numbers of the zones that will be written.

    Raises
    ------
    StoreMismatch
        If the mosaic there has another identity or layout; says what differs.
    BadInput
        If a year cannot be added, or something else than a mosaic is there.
    """
    storage.sweep()
    with locked(storage, METADATA_LOCK):
        try:
            known: Mosaic | None = read_mosaic(storage)
        except FileNotFoundError:
            refuse_others(storage)
            known = None
        except BadInput:
            known = rebuilt(storage, layout, identity)
            if known is None:
                raise
            log.warning("%s: its %s was damaged and is written again", storage.url, ROOT)
            write_metadata(known)
        if known is not None:
            _check_same(known, layout, identity)
        mosaic = _extended(known, storage, layout, identity, sorted(set(years)), set(zones))
        if mosaic != known:
            write_metadata(mosaic, new_since=known)
    return mosaic


def rebuilt(storage: Storage, layout: Layout, identity: Identity) -> Mosaic | None:
    """The mosaic whose root's metadata is cut short, by its zones and what it has to be.

    Returns
    -------
    None if the root is whole JSON, so that it is of something else, or there is no zone.
    """
    if not root_is_cut_short(storage):
        return None
    groups = [name for name in storage.folders() if re.fullmatch(r"utm\d\d", name)]
    zones = tuple(sorted(int(name[3:]) for name in groups))
    for group in groups:
        try:
            steps = int(json.loads(storage.read_document(f"{group}/time/{ROOT}"))["shape"][0])
            chunk = PLAIN.codec.decode(storage.read(f"{group}/time/c/0"))
            first = int(np.frombuffer(chunk, "<i4")[0])
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            continue
        years = tuple(range(first, first + steps))
        return Mosaic(layout, identity, years, zones, __version__, storage=storage)
    return None


def read_mosaic(storage: Storage) -> Mosaic:
    """The mosaic that a storage holds.

    Raises
    ------
    FileNotFoundError
        If there is no Zarr store.
    BadInput
        If there is one that is no mosaic of ours.
    """
    data = storage.read_document(ROOT)
    try:
        told = parse_root(data)
    except StoreError as error:
        if root_is_cut_short(storage):
            raise BadInput(
                f"{storage.url} holds a zarr.json that is cut short: give the command of its run "
                "again, which writes it anew"
            ) from None
        raise BadInput(
            f"{storage.url} holds a zarr.json that is no mosaic of ours: choose another place "
            f"({error})"
        ) from None
    return Mosaic(**vars(told), storage=storage)


def mosaic_at(url: str) -> Mosaic:
    """The mosaic at a path or URL that a user gave.

    Raises
    ------
    BadInput
        If there is none.
    """
    return mosaic_in(Storage(url))


def mosaic_in(storage: Storage) -> Mosaic:
    """The mosaic that a user means to be in a storage.

    Raises
    ------
    BadInput
        If there is none.
    """
    try:
        with before_work():
            return read_mosaic(storage)
    except FileNotFoundError:
        raise BadInput(f"{storage.url} holds no mosaic: give the --store of a run") from None


def write_metadata(mosaic: Mosaic, new_since: Mosaic | None = None) -> None:
    """Write the metadata of every zone, or of those that changed, and the root's last."""
    same = new_since is not None and mosaic.years == new_since.years and is_current(new_since)
    known = new_since.zones if same and new_since is not None else ()
    objects = metadata_objects(mosaic, [zone for zone in mosaic.zones if zone not in known])
    with ThreadPoolExecutor(PUT_THREADS) as pool:
        list(pool.map(lambda entry: mosaic.storage.write(*entry), objects))
    mosaic.storage.write(ROOT, encode_json(root_node(mosaic)))


def is_current(mosaic: Mosaic) -> bool:
    """Whether a mosaic's metadata is as this version writes it; `publish` makes it so."""
    return mosaic.storage.read(ROOT) == encode_json(root_node(mosaic))


def metadata_objects(
    mosaic: Mosaic, zones: Iterable[int] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Keys and bytes of the metadata of all zones, or some, and of the picture; not the root's."""
    for zone in mosaic.zones if zones is None else zones:
        yield from zone_objects(mosaic.layout, zone, mosaic.years)
    if mosaic.colours is not None:
        yield from pyramid_objects(mosaic.colours)


def _extended(
    known: Mosaic | None,
    storage: Storage,
    layout: Layout,
    identity: Identity,
    years: list[int],
    zones: set[int],
) -> Mosaic:
    """The mosaic with the years and zones asked for beside those it has."""
    if not years or not zones:
        raise BadInput("a mosaic needs at least one year and one zone")
    first = known.years[0] if known else min(FIRST_YEAR, years[0])
    last = max(years[-1], known.years[-1] if known else years[-1])
    if years[0] < first:
        raise BadInput(
            f"{storage.url} begins with {first}: {years[0]} cannot be put before it; "
            "make a new store that starts earlier"
        )
    if last - first >= YEARS_CHUNK:
        raise BadInput(f"{first} to {last} is more than the {YEARS_CHUNK} years a store can hold")
    span = tuple(range(first, last + 1))
    if known is None:
        return Mosaic(layout, identity, span, tuple(sorted(zones)), __version__, storage=storage)
    return replace(known, years=span, zones=tuple(sorted(zones | set(known.zones))))


def _check_same(known: Mosaic, layout: Layout, identity: Identity) -> None:
    theirs_adopted, ours_adopted = adopted_model(known.identity), adopted_model(identity)
    if (theirs_adopted is None) != (ours_adopted is None):
        made = (
            f"embeddings of {theirs_adopted}, which were made elsewhere and adopted"
            if theirs_adopted
            else "embeddings of a run, beside which none are adopted"
        )
        raise StoreMismatch(f"{known.storage.url} holds {made}: choose another store")
    # A mosaic keeps its own compression, so that its shards are of one kind.
    layout = replace(layout, compression=known.layout.compression)
    ours, theirs = ({"layout": vars(of)} for of in (layout, known.layout))
    found = differences(identity | ours, known.identity | theirs)
    if found:
        raise StoreMismatch(
            f"{known.storage.url} was made by another run, choose another store: "
            + "; ".join(found)
        )


def _overlap(one: Window, other: Window) -> Window:
    row, col = max(one.row, other.row), max(one.col, other.col)
    bottom = min(one.row + one.height, other.row + other.height)
    right = min(one.col + one.width, other.col + other.width)
    return Window(one.zone, row, col, bottom - row, right - col)
