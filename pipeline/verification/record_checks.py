"""Whether every planned tile has its record and the objects that the record names.

It is the same for whatever a job makes of its tiles: the plan names the tiles, their records name
their objects, and how the bytes of an object are looked at is handed in. Nothing is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.sealed import unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import keys, records, tile_lists
from tessera_mosaic.pipeline.ledger.records import Failure, Record, State
from tessera_mosaic.pipeline.ledger.summary import decode_summary
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tessera_mosaic.pipeline.verification.findings import (
    Checked,
    Problem,
    ProblemKind,
    sound,
    unsound,
)

ABSENT = "it is not there"

BATCH = 1024
"""Tiles that are handed out to the cores at once."""

LEAST_THREADS = 4
"""Tiles that are read at once, even by few cores: they wait for the store more than they work."""

MOST_NAMED = 5
"""Tiles that a message names at most."""


@dataclass(frozen=True)
class Survey:
    """What the objects of a finished tile came to.

    Parameters
    ----------
    problems
        Kind and description of all that is wrong with them.
    histogram
        Distribution of the embedded codes, int64 (bars,), where the tile is sound and large enough
        to say what is usual; None otherwise.
    """

    problems: tuple[tuple[ProblemKind, str], ...] = ()
    histogram: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class TileReport:
    """What a tile's record and objects came to.

    Parameters
    ----------
    problems
        All that is wrong with them.
    summary
        The tile's record in short; None where there is none that can be read.
    histogram
        As in `Survey`.
    arithmetic
        What computed the tile, as its record says.
    """

    problems: tuple[Problem, ...]
    summary: TileSummary | None = None
    histogram: NDArray[np.int64] | None = None
    arithmetic: str = ""


@dataclass(frozen=True)
class TileCheck:
    """How the tiles of a year are checked.

    Parameters
    ----------
    storage
        The store that holds their records and objects.
    year
        Calendar year of the tiles.
    command
        Name of the command that makes the tiles, for messages that say what to do.
    fingerprint
        The digest of what makes the tiles, which every record has to carry.
    keys
        Keys of the objects of a finished tile, in the order in which they are put.
    survey
        Looks at the objects of a tile that is done, of which its record is given.
    """

    storage: Storage
    year: int
    command: str
    fingerprint: str
    keys: Callable[[Tile], Sequence[str]]
    survey: Callable[[Tile, Record], Survey]

    @property
    def remedy(self) -> str:
        """What mends a tile that was not made, in words."""
        return f"the next `{self.command}` makes it"

    def __call__(self, tile: Tile) -> TileReport:
        """Check one tile against its record, and its objects against that."""
        try:
            record = records.read_record(self.storage, self.year, tile)
        except Altered as error:
            return self._report(tile, None, (ProblemKind.RECORD, str(error)))
        if record is None:
            untried = f"it was planned and has no record; {self.remedy}"
            return self._report(tile, None, (ProblemKind.UNTRIED, untried))
        expected = (tile.name, self.year, self.fingerprint)
        if (record.tile, record.year, record.fingerprint) != expected:
            other = "the record is that of another tile, year or run"
            return self._report(tile, record, (ProblemKind.RECORD, other))
        if record.state is not State.DONE:
            return self._report(tile, record, *self._of_unmade(tile, record))
        if [stored.key for stored in record.objects] != list(self.keys(tile)):
            others = "its objects are not those of the tile"
            return self._report(tile, record, (ProblemKind.RECORD, others))
        survey = self.survey(tile, record)
        return self._report(tile, record, *survey.problems, histogram=survey.histogram)

    def _of_unmade(self, tile: Tile, record: Record) -> Iterator[tuple[ProblemKind, str]]:
        if record.state is State.FAILED:
            failure = record.error or Failure("unknown")
            yield ProblemKind.FAILED, f"{failure.kind}: {failure.message}"
        # Objects are put, and taken away, from the first to the last.
        all_keys = self.keys(tile)
        if any(self.storage.exists(key) for key in {all_keys[0], all_keys[-1]}):
            yield ProblemKind.RECORD, f"a tile that is {record.state} has objects"

    def _report(
        self,
        tile: Tile,
        record: Record | None,
        *found: tuple[ProblemKind, str],
        histogram: NDArray[np.int64] | None = None,
    ) -> TileReport:
        problems = tuple(Problem(tile.name, kind, detail, self.year) for kind, detail in found)
        if record is None:
            return TileReport(problems)
        return TileReport(problems, TileSummary.of(record), histogram, record.arithmetic)


def _to_nobody(tile: Tile, report: TileReport) -> None:
    """For who wants no more of a tile than its problems."""


def check_zone(
    check: TileCheck, zone: int, tell: Callable[[Tile, TileReport], None] = _to_nobody
) -> Iterator[Checked]:
    """Check the plan of a zone, the requests it came from, its tiles, and their summary.

    Parameters
    ----------
    check
        How its tiles are checked.
    zone
        Number of the zone.
    tell
        Called with each tile and what it came to, in the order of the tiles.
    """
    storage, year = check.storage, check.year
    planned, summed_up = keys.planned_key(year, zone), keys.summary_key(year, zone)
    summaries, wrong = _read_summary(check, summed_up)
    try:
        data = storage.read(planned)
        tiles = list(tile_lists.decode_tiles(data))
        requests = tile_lists.requests_in(data)
    except FileNotFoundError:
        if wrong != ABSENT:
            no_plan = "there is a summary of tiles but no plan"
            yield unsound(planned, ProblemKind.MISSING, no_plan, year)
        return
    except Altered as error:
        yield unsound(planned, ProblemKind.PLAN, str(error), year)
        return
    yield sound(planned)
    for request in requests:
        yield _check_request(storage, keys.request_key(year, request, zone), year)
    made = False
    for tile, report in _side_by_side(check, tiles):
        problems = list(report.problems)
        if not wrong and report.summary != summaries.pop(tile.name, None):
            otherwise = "the summary has it otherwise"
            problems.append(Problem(tile.name, ProblemKind.SUMMARY, otherwise, year))
        made |= report.summary is not None
        tell(tile, report)
        yield Checked(tile.name, year, tuple(problems), arithmetic=report.arithmetic)
    if wrong == ABSENT and not made:
        return
    if summaries:
        names = ", ".join(list(summaries)[:MOST_NAMED])
        wrong = f"{names} are in the summary, but not planned"
    yield unsound(summed_up, ProblemKind.SUMMARY, wrong, year) if wrong else sound(summed_up)


def _read_summary(check: TileCheck, key: str) -> tuple[dict[str, TileSummary], str]:
    """Summaries of a zone's tiles by name, or why there are none."""
    try:
        return decode_summary(check.storage.read(key)), ""
    except FileNotFoundError:
        return {}, ABSENT
    except Altered as error:
        return {}, f"{error}; the next `{check.command}` writes it again"


def _check_request(storage: Storage, key: str, year: int) -> Checked:
    try:
        unseal(storage.read(key))
    except FileNotFoundError:
        return unsound(key, ProblemKind.MISSING, ABSENT, year)
    except Altered as error:
        return unsound(key, ProblemKind.PLAN, str(error), year)
    return sound(key)


def _side_by_side(check: TileCheck, tiles: Sequence[Tile]) -> Iterable[tuple[Tile, TileReport]]:
    """Check tiles with every core, in order, a batch at a time."""
    threads = max(usable_cores(), LEAST_THREADS)
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        for start in range(0, len(tiles), BATCH):
            batch = tiles[start : start + BATCH]
            yield from zip(batch, pool.map(check, batch), strict=True)
