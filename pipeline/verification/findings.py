"""What was looked at, and what is wrong with it."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


class ProblemKind(enum.StrEnum):
    """What can be wrong with a tile or an object."""

    MISSING = "missing"
    """An object is not there."""
    SIZE = "size"
    """An object is longer or shorter than the record says."""
    UNREADABLE = "unreadable"
    """An object's bytes do not decode."""
    CHECKSUM = "checksum"
    """An object's bytes are not those that were put."""
    ARITHMETIC = "arithmetic"
    """A tile is sound, and is not what its record describes: another worker made it again."""
    RECORD = "record"
    """A record is damaged, of another tile or run, or does not fit the tile's objects."""
    SUMMARY = "summary"
    """The zone's summary is damaged, or has something else than the record."""
    PLAN = "plan"
    """The list of planned tiles, one that it came from, or the region is damaged."""
    UNTRIED = "untried"
    """A tile was planned, and has no record."""
    FAILED = "failed"
    """A tile could not be made."""
    METADATA = "metadata"
    """What describes the whole, such as a node's metadata, does not go with it."""
    PUBLISHED = "published"
    """An object is not as it was published."""
    SCALE = "scale"
    """A scale is neither in (0, 1) nor a sentinel."""
    COUNTS = "counts"
    """Observations or pixels are not as many as the record says, or were never seen."""
    OWNERSHIP = "ownership"
    """Pixels are embedded that another zone owns, or that nobody wanted."""
    CODES = "codes"
    """Codes stand without a scale, or do not fill it."""
    DEPTH = "depth"
    """A nested depth is not the beginning of the full one."""
    CONSTANT = "constant"
    """A dimension is the same in every pixel."""
    BORDER = "border"
    """The border to a neighbour is rougher than the ground beside it."""
    HISTOGRAM = "histogram"
    """The codes are not distributed like those of the other tiles."""


HOLES = frozenset({ProblemKind.FAILED, ProblemKind.UNTRIED})
"""Problems of tiles that are not there; what is there may be sound."""

SUSPICIONS = frozenset({ProblemKind.BORDER, ProblemKind.CONSTANT, ProblemKind.HISTOGRAM})
"""Problems that the ground itself can raise: a person has to look."""


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be.

    Parameters
    ----------
    name
        Name of the tile, or key of the object where it belongs to no tile.
    kind
        What is wrong.
    detail
        The same in words, and what to do.
    year
        Year of the tile or object; None where the object belongs to no year.
    """

    name: str
    kind: ProblemKind
    detail: str
    year: int | None = None

    def to_json(self) -> dict[str, Any]:
        """An entry of `problems` in `verify --json`."""
        return {
            "tile": self.name,
            "problem": self.kind.value,
            "detail": self.detail,
            "year": self.year,
        }


@dataclass(frozen=True)
class Checked:
    """A tile or an object that was looked at, and what is wrong with it.

    Parameters
    ----------
    name
        Name of the tile, or key of the object.
    year
        Year of the tile or object; None where the object belongs to no year.
    problems
        All that is wrong with it; empty where all is well.
    again
        Whether it was looked at before, and counts no second time.
    arithmetic
        What computed it, as its record says; empty where nothing depends on that, or is known.
    """

    name: str
    year: int | None = None
    problems: tuple[Problem, ...] = ()
    again: bool = False
    arithmetic: str = ""


def sound(key: str, year: int | None = None) -> Checked:
    """An object that was looked at and is as it should be."""
    return Checked(key, year)


def unsound(key: str, kind: ProblemKind, detail: str, year: int | None = None) -> Checked:
    """An object that was looked at and is not as it should be."""
    return Checked(key, year, (Problem(key, kind, detail, year),))


def tell_nobody(problem: Problem) -> None:
    """For who waits for all problems."""


@dataclass
class Findings:
    """All that was looked at.

    Parameters
    ----------
    checked
        Number of tiles and objects.
    problems
        All that is wrong with them, in the order in which it was found.
    years
        Calendar years whose tiles are looked at, where the store tells them.
    arithmetic
        Number of tiles by what computed them: where that differs, so may the last bits.
    """

    checked: int = 0
    problems: list[Problem] = field(default_factory=list)
    years: tuple[int, ...] = ()
    arithmetic: Counter[str] = field(default_factory=Counter)
    _unsound: set[tuple[str, int | None]] = field(default_factory=set)

    def take(
        self, entries: Iterable[Checked], tell: Callable[[Problem], None] = tell_nobody
    ) -> None:
        """Add what was looked at.

        Parameters
        ----------
        entries
            Tiles and objects, which may be looked at while they are taken.
        tell
            Called with each problem as it is found.
        """
        for entry in entries:
            self.checked += not entry.again
            self.problems += entry.problems
            self.arithmetic.update([entry.arithmetic] if entry.arithmetic else [])
            if entry.problems:
                self._unsound.add((entry.name, entry.year))
            for problem in entry.problems:
                tell(problem)

    @property
    def ok(self) -> int:
        """Number of tiles and objects with which nothing is wrong."""
        return self.checked - len(self._unsound)

    def kinds(self) -> Counter[ProblemKind]:
        """Number of problems of each kind."""
        return Counter(problem.kind for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        """The fields of `verify --json`."""
        return {
            "checked": self.checked,
            "ok": self.ok,
            "problems": [problem.to_json() for problem in self.problems],
            "years": list(self.years),
            "arithmetic": dict(self.arithmetic),
        }
