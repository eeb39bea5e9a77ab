"""A tile's record in short: small, whatever the number of scenes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.strict import fields, listed, text, whole
from tessera_mosaic.pipeline.ledger.records import (
    FINISHED,
    NOT_THERE,
    RECORD,
    TAKEN_OUT,
    Failure,
    Record,
    State,
)


@dataclass(frozen=True)
class TileSummary:
    """What counts, comparisons and decisions need to know of a tile's record.

    Parameters
    ----------
    tile, state, fingerprint, observations, pixels, tokens, error, attempts, launch, bytes_read, \
requests_read, retries, seconds, written
        The fields of the same names of `Record`.
    scenes_used, scenes_unused, scenes_lost
        Numbers of scenes; the record names them.
    offsets_taken_out, offsets_not_there
        Numbers of scenes in the record's `offset_by_evidence`.
    absent_sensors
        Names of the sensors that gave no observation; the record says why.
    bytes_written
        Size in bytes of all the tile's objects together.
    """

    tile: str
    state: State
    fingerprint: str
    scenes_used: int
    scenes_unused: int
    scenes_lost: int
    observations: dict[str, dict[str, int]]
    pixels: dict[str, int]
    tokens: int
    bytes_written: int
    error: Failure | None
    attempts: int
    launch: str
    bytes_read: int
    requests_read: int
    retries: dict[str, int]
    seconds: dict[str, float]
    written: str
    offsets_taken_out: int = 0
    offsets_not_there: int = 0
    absent_sensors: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: Record) -> TileSummary:
        """A record in short."""
        offsets = Counter(what for _, what, _ in record.offset_by_evidence)
        return cls(
            tile=record.tile,
            state=record.state,
            fingerprint=record.fingerprint,
            scenes_used=len(record.scenes_used),
            scenes_unused=len(record.scenes_unused),
            scenes_lost=len(record.scenes_lost),
            observations=record.observations,
            pixels=record.pixels,
            tokens=record.tokens,
            bytes_written=sum(stored.size for stored in record.objects),
            error=record.error,
            attempts=record.attempts,
            launch=record.launch,
            bytes_read=record.bytes_read,
            requests_read=record.requests_read,
            retries=record.retries,
            seconds=record.seconds,
            written=record.written,
            offsets_taken_out=offsets[TAKEN_OUT],
            offsets_not_there=offsets[NOT_THERE],
            absent_sensors=tuple(record.absent_sensors),
        )

    @property
    def finished(self) -> bool:
        """Whether the tile is done, or known to have nothing to see."""
        return self.state in FINISHED

    @property
    def lacks(self) -> str:
        """Name of the sensor that a finished tile had to do without; empty where there is none."""
        one = self.absent_sensors if self.state is State.DONE else ()
        return one[0] if len(one) == 1 else ""

    def to_json(self) -> dict[str, Any]:
        """The fields in a fixed order, as JSON values."""
        error = None if self.error is None else self.error.to_json()
        return vars(self) | {"state": self.state.value, "error": error}

    @classmethod
    def from_json(cls, value: Any) -> TileSummary:
        """Read a summary back.

        Raises
        ------
        Altered
            If the value is no summary.
        """
        try:
            return cls(**fields(value, SUMMARY, *NEEDED))
        except ValueError as wrong:
            raise Altered(f"a tile's summary cannot be read: {wrong}") from None


SUMMARY: Mapping[str, Callable[[Any], Any]] = {
    **{each.name: RECORD.get(each.name, whole) for each in dataclasses.fields(TileSummary)},
    "absent_sensors": lambda value: listed(value, text, 100),
    **dict.fromkeys(("scenes_used", "scenes_unused", "scenes_lost"), whole),
}
"""What each field of a summary has to be: as in a record, or a number."""

NEEDED = tuple(
    each.name for each in dataclasses.fields(TileSummary) if each.default is dataclasses.MISSING
)
"""Fields that every summary has."""
