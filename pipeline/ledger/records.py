"""What happened to each tile, and why.

A record is one small JSON object a tile and year, with a digest of its own. It is written last,
after the tile's objects: a tile without a record is not done.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import Altered, classed
from tessera_mosaic.pipeline.io.sealed import seal, unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.stored_object import StoredObject
from tessera_mosaic.pipeline.io.strict import fields, listed, named, number, text, whole
from tessera_mosaic.pipeline.ledger.keys import record_key, records_prefix
from tessera_mosaic.pipeline.ledger.software import software_versions
from tessera_mosaic.pipeline.tiling.lattice import Tile

log = logging.getLogger(__name__)

READ_THREADS = 32
"""Small objects, such as records, that are read at once."""


ENOUGH_TO_LIST = 1
"""Records of a zone that are asked for one by one at the most; more are listed before."""


class State(enum.StrEnum):
    """How a tile ended. Tiles without land are never planned, and have no record."""

    DONE = "done"
    """Its objects are in the store."""
    EMPTY = "empty"
    """Nothing was observed there in the year; the store has no objects for it."""
    FAILED = "failed"
    """It could not be made; the record says why, and a rerun tries again."""


FINISHED = (State.DONE, State.EMPTY)
"""How a tile ended of which nothing is left to do."""


TAKEN_OUT, NOT_THERE = "taken out", "not there"
"""What became of a scene's radiometric offset against the reference: it was there and was taken
out, or it was not there and nothing was."""


@dataclass(frozen=True)
class Failure:
    """What failed a tile.

    Parameters
    ----------
    kind
        The class of the error, as `errors` names it; `internal` for any other exception.
    message
        What went wrong, in words.
    scene, asset
        Names of the scene and of its asset that could not be read; empty where there is none.
    """

    kind: str
    message: str = ""
    scene: str = ""
    asset: str = ""

    def to_json(self) -> dict[str, str]:
        """The fields in a fixed order."""
        return {
            "class": self.kind,
            "message": self.message,
            "scene": self.scene,
            "asset": self.asset,
        }

    @classmethod
    def from_json(cls, value: Any) -> Failure:
        """Read a failure back; ValueError if the value is none."""
        names = ("class", "message", "scene", "asset")
        known = fields(value, dict.fromkeys(names, text), *names)
        return cls(*(known[name] for name in names))


@dataclass(frozen=True)
class TileResult:
    """What a maker made of a tile, which is what it knows; the job adds the rest of a record.

    Parameters
    ----------
    state
        How the tile ended: done or empty. A maker that fails raises instead.
    scenes_used, scenes_unused, scenes_lost, absent_sensors, offset_by_evidence, sources, \
observations, pixels, tokens, objects
        As in `Record`.
    arithmetic, means, outline
        As in `Record`.
    """

    state: State
    scenes_used: tuple[str, ...] = ()
    scenes_unused: tuple[tuple[str, str], ...] = ()
    scenes_lost: tuple[tuple[str, str, str], ...] = ()
    offset_by_evidence: tuple[tuple[str, str, str], ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    observations: dict[str, dict[str, int]] = field(default_factory=dict)
    pixels: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    objects: tuple[StoredObject, ...] = ()
    arithmetic: str = ""
    means: dict[str, list[float]] = field(default_factory=dict)
    absent_sensors: dict[str, str] = field(default_factory=dict)
    outline: str = ""


@dataclass(frozen=True)
class Record:
    """The record of one tile and year.

    Parameters
    ----------
    tile
        Name of the tile.
    year
        Calendar year.
    state
        How the tile ended.
    fingerprint
        The digest of all that decides the tile's bytes, as 64 hex digits.
    scenes_used
        Ids of the scenes that gave at least one pixel a chance to be seen.
    scenes_unused
        Pairs of id and reason for every other scene that the catalogue listed.
    scenes_lost
        Id, class of error and message of every scene that could not be read in some block, where
        the user had allowed that.
    offset_by_evidence
        Scenes whose radiometric offset was not as the reference takes it to be: id, `taken out` or
        `not there`, and what showed it.
    sources
        Name and sha256, as 64 hex digits, of each file that embeddings made elsewhere are from.
    absent_sensors
        Why a sensor gave no observation, by its name, `s2` or `s1`, where no scene of it is listed
        or none is of use, or where all were lost and the user had allowed that.
    observations
        By `s2`, `s1_ascending` and `s1_descending`: `sum` and `max` of the number of observations
        of the tile's pixels.
    pixels
        Numbers of pixels: of a mosaic's tile those that are `owned` by the zone, with the margin,
        and those `embedded` among them; of a tile of d-pixels those `drawn`.
    tokens
        Number of observations that the encoder computed with.
    objects
        The tile's objects in the store, in the order in which they were put.
    error
        What failed the tile; None where it did not fail.
    attempts
        Number of times that the tile was begun since it last ended: more than one if workers died
        on it.
    launch
        Id of the launch that made the tile.
    bytes_read, requests_read
        Number of bytes that were fetched of scenes, and of the requests that this took.
    retries
        Number of times that the tile and its reads were tried again, by class of error.
    seconds
        Time in seconds by what it was spent on, as in `ledger.metrics.STAGES`.
    arithmetic
        What computed the tile, such as `AVX512 (AuthenticAMD)` or the name of a GPU: another may
        round the last bits of float32 otherwise. Empty where nothing depends on it, or is known.
    means
        Means of a mosaic's tile over its embedded pixels: `scales`, one value, and `codes`, one a
        dimension. Other arithmetic hardly moves them, and other scenes do.
    outline
        The part of the mosaic's outline that the tile was made with, as WKB of degrees in
        hexadecimal digits; empty where all of its pixels were wanted.
    software
        Versions of the software that decides or may disturb the bytes, by name.
    written
        Time at which the record was written, in UTC, as ISO 8601.
    """

    tile: str
    year: int
    state: State
    fingerprint: str
    scenes_used: tuple[str, ...] = ()
    scenes_unused: tuple[tuple[str, str], ...] = ()
    scenes_lost: tuple[tuple[str, str, str], ...] = ()
    offset_by_evidence: tuple[tuple[str, str, str], ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    observations: dict[str, dict[str, int]] = field(default_factory=dict)
    pixels: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    objects: tuple[StoredObject, ...] = ()
    error: Failure | None = None
    attempts: int = 1
    launch: str = ""
    bytes_read: int = 0
    requests_read: int = 0
    retries: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    arithmetic: str = ""
    means: dict[str, list[float]] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    written: str = ""
    absent_sensors: dict[str, str] = field(default_factory=dict)
    outline: str = ""

    @classmethod
    def of(cls, tile: Tile, year: int, fingerprint: str, result: TileResult) -> Record:
        """The record of what a maker made of a tile and year."""
        return cls(tile.name, year, fingerprint=fingerprint, **vars(result))

    def to_json(self) -> bytes:
        """Sealed JSON, a line a field, in a fixed order."""
        error = None if self.error is None else self.error.to_json()
        fields = dataclasses.asdict(self) | {"error": error}
        if not self.sources:
            # No tile that is made of scenes has any.
            del fields["sources"]
        if not self.outline:
            del fields["outline"]
        return seal(fields)

    @classmethod
    def from_json(cls, data: bytes) -> Record:
        """Read a record back.

        Raises
        ------
        Altered
            If the bytes are no record.
        """
        try:
            return cls(**fields(unseal(data), RECORD, "tile", "year", "state", "fingerprint"))
        except (Altered, ValueError) as error:
            raise Altered(f"a record cannot be read: {error}") from None

    def scenes(self) -> set[str]:
        """Ids of all scenes that the catalogue listed when the tile was made."""
        return {*self.scenes_used, *(name for name, _ in self.scenes_unused)}


def means_of(scales: float, codes: NDArray[np.int64], embedded: int) -> dict[str, list[float]]:
    """Means of a tile's embedded pixels, as its record has them.

    Parameters
    ----------
    scales
        Sum of their scales.
    codes : int64 (dims,)
        Sums of their codes by dimension.
    embedded
        Number of pixels, above 0.
    """
    return {
        "scales": [float(f"{scales / embedded:.7g}")],
        "codes": [round(mean, 3) for mean in (codes / embedded).tolist()],
    }


MOST_SCENES = 1_000_000
"""Most scenes that one record may name."""

MOST_DIGITS = 1 << 24
"""Most hexadecimal digits of a record's outline."""

MOST_KINDS = 1000
"""Most names under which a record may count something."""

MOST_OBJECTS = 1000
"""Most objects that a tile may have."""


def _texts(value: Any, count: int) -> tuple[str, ...]:
    texts = listed(value, text, count)
    if len(texts) != count:
        raise ValueError(f"{count} texts belong there")
    return texts


def _counted(value: Any) -> dict[str, int]:
    return named(value, whole, MOST_KINDS)


def _observed(value: Any) -> dict[str, int]:
    of: dict[str, Callable[[Any], Any]] = {"sum": whole, "max": whole}
    return fields(value, of, *of)


def _object(value: Any) -> StoredObject:
    of: dict[str, Callable[[Any], Any]] = {"key": text, "size": whole, "sha256": text}
    return StoredObject(**fields(value, of, *of))


RECORD: Mapping[str, Callable[[Any], Any]] = {
    "tile": text,
    "year": lambda value: whole(value, 1, 9999),
    "state": State,
    "fingerprint": text,
    "scenes_used": lambda value: listed(value, text, MOST_SCENES),
    "scenes_unused": lambda value: listed(value, lambda each: _texts(each, 2), MOST_SCENES),
    "scenes_lost": lambda value: listed(value, lambda each: _texts(each, 3), MOST_SCENES),
    "offset_by_evidence": lambda value: listed(value, lambda each: _texts(each, 3), MOST_SCENES),
    "absent_sensors": lambda value: named(value, text, MOST_KINDS),
    "outline": lambda value: text(value, MOST_DIGITS),
    "sources": lambda value: listed(value, lambda each: _texts(each, 2), MOST_SCENES),
    "observations": lambda value: named(value, _observed, MOST_KINDS),
    "pixels": _counted,
    "tokens": whole,
    "objects": lambda value: listed(value, _object, MOST_OBJECTS),
    "error": lambda value: None if value is None else Failure.from_json(value),
    "attempts": whole,
    "launch": text,
    "bytes_read": whole,
    "requests_read": whole,
    "retries": _counted,
    "seconds": lambda value: named(value, number, MOST_KINDS),
    "arithmetic": text,
    "means": lambda value: named(value, lambda of: list(listed(of, number, 10_000)), MOST_KINDS),
    "software": lambda value: named(value, text, MOST_KINDS),
    "written": text,
}
"""What each field of a record has to be."""


def read_record(storage: Storage, year: int, tile: Tile) -> Record | None:
    """A tile's record, or None where there is none.

    Raises
    ------
    StoreError
        If it cannot be read; `Altered` if it is not as it was written.
    """
    try:
        return Record.from_json(storage.read_document(record_key(year, tile)))
    except FileNotFoundError:
        return None
    except Altered as error:
        raise Altered(f"tile {tile.name} of {year}: {error}") from None


def known_record(storage: Storage, year: int, tile: Tile) -> Record | None:
    """A tile's record; None where there is none, or where it is damaged, which is logged."""
    try:
        return read_record(storage, year, tile)
    except Altered as error:
        log.warning("%s; the tile counts as not made", error)
        return None


def read_records(
    storage: Storage, year: int, tiles: Iterable[Tile]
) -> Iterator[tuple[Tile, Record | None]]:
    """Records of many tiles, read side by side, in the order of the tiles.

    Where several are asked for of a zone, its records are listed before, a thousand for the price
    of a dozen reads, so that none is asked for that is not there.
    """
    remaining = iter(tiles)
    listed: dict[int, set[str]] = {}
    with ThreadPoolExecutor(READ_THREADS) as pool:
        while batch := list(itertools.islice(remaining, READ_THREADS * 64)):
            counts = Counter(tile.zone for tile in batch if tile.zone not in listed)
            for zone in (zone for zone, count in counts.items() if count > ENOUGH_TO_LIST):
                listed[zone] = set(storage.list(records_prefix(year, zone)))

            def find(tile: Tile) -> Record | None:
                there = tile.zone not in listed or record_key(year, tile) in listed[tile.zone]
                return known_record(storage, year, tile) if there else None

            yield from zip(batch, pool.map(find, batch), strict=True)


def write_record(storage: Storage, tile: Tile, record: Record) -> Record:
    """Write a tile's record whole, stamped with the time, and return it as written."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    stamped = dataclasses.replace(record, written=now, software=software_versions())
    storage.write(record_key(record.year, tile), stamped.to_json())
    return stamped


def failure(error: BaseException) -> Failure:
    """What an error says of the tile that it failed; other exceptions than ours are `internal`."""
    told, scene, asset = classed(error), getattr(error, "scene", ""), getattr(error, "asset", "")
    return Failure(told.kind, str(told), scene, asset)
