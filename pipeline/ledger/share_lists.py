"""How a list of tiles is divided into shares, and who makes each, as a store keeps it.

The launchers of a job array divide the same list. Who comes first to a zone writes which tiles of
it are of which share, and all others go by that: so each tile is of exactly one share, whatever
the launchers' machines make of the expected costs.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.sealed import seal, unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import fields, member, named, text, whole
from tessera_mosaic.pipeline.ledger.keys import (
    latest_shares_key,
    share_note_key,
    shares_key,
    shares_prefix,
)
from tessera_mosaic.pipeline.ledger.records import READ_THREADS
from tessera_mosaic.pipeline.ledger.tile_lists import listed_tiles, runs_by_row
from tessera_mosaic.pipeline.tiling.lattice import Tile

log = logging.getLogger(__name__)

MOST_SHARES = 100_000
"""Shares of one list, at most: as many tasks as a job array of Kubernetes may have."""


class ShareState(StrEnum):
    """What became of the launcher of a share."""

    AT_WORK = "at work"
    """It shows itself every few seconds, or was killed."""
    STOPPED = "stopped"
    """It was stopped, or broke off: tiles may be left that were never tried."""
    ENDED = "ended"
    """It came to its end: each tile of the share is made, or has failed."""


@dataclass(frozen=True)
class ShareNote:
    """Who makes a share.

    Parameters
    ----------
    launch
        Id of the launch.
    by
        The launcher's process, in words for people.
    state
        What became of it.
    signs
        How often it has shown itself.
    at
        When it did so last, by its own clock, as ISO 8601 in UTC.
    """

    launch: str
    by: str
    state: ShareState
    signs: int = 0
    at: str = ""

    def next(self, state: ShareState) -> ShareNote:
        """The note that the launcher puts next."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return dataclasses.replace(self, state=state, signs=self.signs + 1, at=now)

    @property
    def age(self) -> float | None:
        """Seconds since the last sign, by this machine's clock; None where that cannot be told."""
        try:
            then = datetime.datetime.fromisoformat(self.at)
            return (datetime.datetime.now(datetime.UTC) - then).total_seconds()
        except (ValueError, TypeError):
            return None


@dataclass(frozen=True)
class Shares:
    """A list that is divided into shares, in a store.

    Parameters
    ----------
    storage, year
        The store and the calendar year.
    request
        Id of the list.
    count
        Number of shares.
    """

    storage: Storage
    year: int
    request: str
    count: int

    def settle(self, zone: int, of_zone: Callable[[], Mapping[int, Iterable[Tile]]]) -> list[int]:
        """Write which tiles of a zone are of which share, unless another launcher has.

        Parameters
        ----------
        zone
            Number of the zone.
        of_zone
            Gives its tiles by number of their share.

        Returns
        -------
        Numbers of the shares that have tiles of the zone, as the store has it.
        """
        key = shares_key(self.year, self.request, self.count, zone)
        if not self.storage.exists(key):
            self.storage.create(key, encode_shares(of_zone()))
        try:
            return list(self.read(zone))
        except Altered as error:
            log.warning("%s: %s; it is written again", key, error)
            self.storage.write(key, encode_shares(of_zone()))
            return list(self.read(zone))

    def read(self, zone: int) -> dict[int, list[Tile]]:
        """The tiles of a zone by number of the share that they are of.

        Raises
        ------
        Altered
            If that cannot be read.
        FileNotFoundError
            If the list has no tiles there.
        """
        return decode_shares(
            self.storage.read(shares_key(self.year, self.request, self.count, zone))
        )

    def note(self, index: int) -> ShareNote | None:
        """The note who makes a share; None where nobody has begun to."""
        return read_share_note(self.storage, self._note_key(index))

    def put_note(self, index: int, note: ShareNote) -> None:
        """Put the note who makes a share."""
        self.storage.write(self._note_key(index), json.dumps(dataclasses.asdict(note)).encode())

    def notes(self) -> dict[int, ShareNote]:
        """The notes of all shares that anybody has begun, by number of the share."""
        prefix = shares_prefix(self.year, self.request, self.count)
        names = (
            key.removeprefix(prefix).removesuffix(".json") for key in self.storage.list(prefix)
        )
        begun = sorted(int(name) for name in names if name.isdecimal())
        with ThreadPoolExecutor(READ_THREADS) as pool:
            found = pool.map(self.note, begun)
        return {index: note for index, note in zip(begun, found, strict=True) if note is not None}

    def all_ended(self) -> bool:
        """Whether the launchers of all shares came to their ends."""
        notes = self.notes()
        ended = sum(note.state is ShareState.ENDED for note in notes.values())
        return ended == self.count

    def keep_as_latest(self) -> None:
        """Note that this list was divided last, for `status`."""
        told = {"request": self.request, "count": self.count}
        self.storage.write(latest_shares_key(self.year), json.dumps(told).encode())

    def _note_key(self, index: int) -> str:
        return share_note_key(self.year, self.request, self.count, index)


def latest_shares(storage: Storage, year: int) -> Shares | None:
    """The list of a year that was divided into shares last; None where none ever was."""
    key = latest_shares_key(year)
    try:
        told = fields(
            read_json(storage.read_document(key), 100),
            {"request": text, "count": lambda value: whole(value, 1, MOST_SHARES)},
            "request",
            "count",
        )
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("%s: %s; how far each share is cannot be told", key, error)
        return None
    return Shares(storage, year, told["request"], told["count"])


def encode_shares(shares: Mapping[int, Iterable[Tile]]) -> bytes:
    """Tiles of one zone by number of their share as sealed JSON."""
    ordered = {index: sorted(tiles) for index, tiles in sorted(shares.items())}
    first = next(iter(ordered.values()))[0]
    rows = {str(index): runs_by_row(tiles) for index, tiles in ordered.items()}
    return seal({"zone": first.zone, "side": first.side, "shares": rows})


def decode_shares(data: bytes) -> dict[int, list[Tile]]:
    """Read tiles by number of their share back.

    Raises
    ------
    Altered
        If the bytes are none.
    """
    try:
        content = unseal(data)
        head = {"zone": content.get("zone"), "side": content.get("side")}
        rows = member(content, "shares", lambda value: named(value, lambda each: each, MOST_SHARES))
        return {
            whole(int(index), 0, MOST_SHARES): list(listed_tiles(head | {"rows": of}))
            for index, of in rows.items()
        }
    except (Altered, ValueError) as error:
        raise Altered(f"a division into shares cannot be read: {error}") from None


def read_share_note(storage: Storage, key: str) -> ShareNote | None:
    """The note who makes a share; None where there is none that can be read."""
    checks: dict[str, Callable[[Any], Any]] = {
        "launch": text,
        "by": text,
        "state": ShareState,
        "signs": whole,
        "at": text,
    }
    try:
        return ShareNote(**fields(read_json(storage.read_document(key), 100), checks, *checks))
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("%s: %s; it counts as not there", key, error)
        return None
