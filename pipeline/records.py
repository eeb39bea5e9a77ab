"""What happened to each tile, and why.

A tile's record is written last, after its shard's objects; a tile without a record is not done.
Records lie in the store, one small JSON object a tile and year:

    records/<year>/tiles/utmNN/<tile>.json     what happened to the tile
    records/<year>/planned/utmNN.json          the tiles that any run was asked for
    records/<year>/requests/<id>/utmNN.json    the tiles that one run was asked for
    records/<year>/summary/utmNN.json          the records of a zone in short, written as a run ends
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import hashlib
import itertools
import json
import platform
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from pipeline import __version__
from pipeline.errors import StoreError, TesseraError
from pipeline.grid import Tile, zone_group
from pipeline.storage import Storage

READ_THREADS = 32
"""Records read at once: each is one small request."""


class State(enum.StrEnum):
    """How a tile ended."""

    DONE = "done"
    """Its shard is in the store."""
    EMPTY = "empty"
    """Nothing was observed there in the year; the store has no objects for it."""
    FAILED = "failed"
    """It could not be made; the record says why, and a rerun tries again."""


FINISHED = (State.DONE, State.EMPTY)


@dataclass(frozen=True)
class Record:
    """The record of one tile and year.

    Parameters
    ----------
    tile, year, state, fingerprint
        Which tile, how it ended, and the digest of what made it.
    scenes_used
        Ids of the scenes that gave at least one pixel a chance to be seen.
    scenes_unused
        Pairs of id and reason for every other scene that the catalogue listed.
    observations
        For `s2`, `s1_ascending` and `s1_descending`: sum and maximum over the tile's pixels.
    pixels
        `owned` by the zone and within the margin, and `embedded` among them.
    objects
        The shard's objects: key, size in bytes and sha256.
    error
        Class, message, scene and asset of what failed the tile; None otherwise.
    attempts
        How often the tile was begun in this run before it ended so.
    seconds
        Spent finding, reading, waiting, encoding and writing.
    software
        Versions of what decides or may disturb the bytes.
    written
        UTC time of the record.
    """

    tile: str
    year: int
    state: State
    fingerprint: str
    scenes_used: tuple[str, ...] = ()
    scenes_unused: tuple[tuple[str, str], ...] = ()
    observations: dict[str, dict[str, int]] = field(default_factory=dict)
    pixels: dict[str, int] = field(default_factory=dict)
    objects: tuple[dict[str, Any], ...] = ()
    error: dict[str, str] | None = None
    attempts: int = 1
    seconds: dict[str, float] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    written: str = ""

    def to_json(self) -> bytes:
        """One line of JSON a field, in a fixed order."""
        return (json.dumps(dataclasses.asdict(self), indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Record:
        """Read a record back.

        Raises
        ------
        StoreError
            If the bytes are no record.
        """
        try:
            fields = json.loads(data)
            fields["state"] = State(fields["state"])
            fields["scenes_used"] = tuple(fields["scenes_used"])
            fields["scenes_unused"] = tuple((name, why) for name, why in fields["scenes_unused"])
            fields["objects"] = tuple(fields["objects"])
            return cls(**fields)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"a record cannot be read: {error}") from None

    def short(self) -> dict[str, Any]:
        """The fields that `status` and the summary need, small whatever the number of scenes."""
        listed = json.dumps([self.scenes_used, self.scenes_unused]).encode()
        return {
            "tile": self.tile,
            "state": self.state.value,
            "fingerprint": self.fingerprint,
            "scenes_used": len(self.scenes_used),
            "scenes_unused": len(self.scenes_unused),
            "scenes_sha256": hashlib.sha256(listed).hexdigest(),
            "observations": self.observations,
            "pixels": self.pixels,
            "bytes": sum(entry["size"] for entry in self.objects),
            "error": self.error,
            "seconds": self.seconds,
            "written": self.written,
        }


def record_key(year: int, tile: Tile) -> str:
    """Key of a tile's record in the store."""
    return f"records/{year}/tiles/{zone_group(tile.zone)}/{tile.name}.json"


def read_record(storage: Storage, year: int, tile: Tile) -> Record | None:
    """A tile's record, or None where there is none."""
    try:
        return Record.from_json(storage.read(record_key(year, tile)))
    except FileNotFoundError:
        return None
    except StoreError as error:
        raise StoreError(
            f"tile {tile.name} of {year}: {error}; remove the record and rerun"
        ) from None


def read_records(
    storage: Storage, year: int, tiles: Iterable[Tile]
) -> Iterator[tuple[Tile, Record | None]]:
    """Records of many tiles, read side by side, in the order of the tiles."""
    remaining = iter(tiles)
    with ThreadPoolExecutor(READ_THREADS) as pool:
        while batch := list(itertools.islice(remaining, READ_THREADS * 64)):
            records = pool.map(lambda tile: read_record(storage, year, tile), batch)
            yield from zip(batch, records, strict=True)


def write_record(storage: Storage, tile: Tile, record: Record) -> Record:
    """Write a tile's record whole, stamped with the time, and return it as written."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    stamped = dataclasses.replace(record, written=now, software=software_versions())
    storage.write(record_key(record.year, tile), stamped.to_json())
    return stamped


def failure(error: BaseException) -> dict[str, str]:
    """Class, message, scene and asset of what failed a tile; other exceptions are `internal`."""
    kind = error.kind if isinstance(error, TesseraError) else "internal"
    message = str(error) if kind != "internal" else f"{type(error).__name__}: {error}"
    return {
        "class": kind,
        "message": message,
        "scene": getattr(error, "scene", ""),
        "asset": getattr(error, "asset", ""),
    }


def software_versions() -> dict[str, str]:
    """Versions recorded beside the fingerprint; they may move on while it stays."""
    names = ("torch", "numpy", "rasterio", "zarr", "apache-beam")
    versions = {name: metadata.version(name) for name in names}
    return {"tessera-mosaic": __version__, "python": platform.python_version(), **versions}


# Tile lists: rows of a zone with the runs of columns asked for in each.


def planned_key(year: int, zone: int) -> str:
    """Key of the list of tiles of a zone that any run was asked for."""
    return f"records/{year}/planned/{zone_group(zone)}.json"


def request_key(year: int, request: str, zone: int) -> str:
    """Key of the list of tiles of a zone that one run was asked for."""
    return f"records/{year}/requests/{request}/{zone_group(zone)}.json"


def encode_tiles(tiles: Iterable[Tile]) -> bytes:
    """A zone's tiles as JSON: side, and for each row the runs of columns `[first, last]`."""
    ordered = sorted(set(tiles))
    rows: dict[str, list[list[int]]] = {}
    for tile in ordered:
        runs = rows.setdefault(str(tile.row), [])
        if runs and runs[-1][1] == tile.col - 1:
            runs[-1][1] = tile.col
        else:
            runs.append([tile.col, tile.col])
    head = {"zone": ordered[0].zone, "side": ordered[0].side}
    return json.dumps({**head, "rows": rows}, separators=(",", ":")).encode()


def decode_tiles(data: bytes) -> Iterator[Tile]:
    """Read a zone's tiles back, in order.

    Raises
    ------
    StoreError
        If the bytes are no tile list.
    """
    try:
        listed = json.loads(data)
        for row, runs in listed["rows"].items():
            for first, last in runs:
                for col in range(first, last + 1):
                    yield Tile(int(listed["zone"]), int(row), col, int(listed["side"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"a list of tiles cannot be read: {error}") from None


def add_planned(storage: Storage, year: int, tiles: list[Tile]) -> None:
    """Add tiles of one zone to those that were ever asked for."""
    zone = tiles[0].zone
    key = planned_key(year, zone)
    with storage.locked(f"planned-{year}-{zone_group(zone)}"):
        try:
            known = set(decode_tiles(storage.read(key)))
        except FileNotFoundError:
            known = set()
        if not known.issuperset(tiles):
            storage.write(key, encode_tiles(known.union(tiles)))


def planned_tiles(storage: Storage, year: int) -> Iterator[Tile]:
    """Every tile that any run on the store was asked for, zone by zone, without listing."""
    for zone in range(1, 61):
        try:
            data = storage.read(planned_key(year, zone))
        except FileNotFoundError:
            continue
        yield from decode_tiles(data)


# Summaries: the short records of a zone in one object.


def summary_key(year: int, zone: int) -> str:
    """Key of the short records of a zone."""
    return f"records/{year}/summary/{zone_group(zone)}.json"


def read_summary(storage: Storage, year: int, zone: int) -> dict[str, dict[str, Any]]:
    """Short records of a zone by tile name, as the last finished run left them."""
    try:
        rows = json.loads(storage.read(summary_key(year, zone)))
    except FileNotFoundError:
        return {}
    return {row["tile"]: row for row in rows}


def merge_summary(storage: Storage, year: int, zone: int, rows: Iterable[dict[str, Any]]) -> None:
    """Bring a zone's short records up to date with those of the run that ends."""
    with storage.locked(f"summary-{year}-{zone_group(zone)}"):
        known = read_summary(storage, year, zone)
        known.update({row["tile"]: row for row in rows})
        lines = [json.dumps(known[name], separators=(",", ":")) for name in sorted(known)]
        storage.write(summary_key(year, zone), ("[\n" + ",\n".join(lines) + "\n]\n").encode())
