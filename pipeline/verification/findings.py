"""What `verify` looked at, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be.

    Parameters
    ----------
    tile
        Name of the tile, or key of the object where it belongs to none.
    problem
        Its class.
    detail
        In words.
    year
        Of the tile; None where the object belongs to no year.
    """

    tile: str
    problem: str
    detail: str
    year: int | None = None


@dataclass(frozen=True)
class Checked:
    """A tile or an object that was looked at, and what is wrong with it.

    Parameters
    ----------
    name
        Of the tile, or key of the object.
    year
        Of the tile; None where the object belongs to no year.
    problems
        Empty where all is well.
    again
        Whether it was looked at before, and counts no second time.
    """

    name: str
    year: int | None
    problems: tuple[Problem, ...] = ()
    again: bool = False


def object_checked(
    key: str, problem: str = "", detail: str = "", year: int | None = None
) -> Checked:
    """An object that was looked at, and what is wrong with it if anything is."""
    return Checked(key, year, (Problem(key, problem, detail, year),) if problem else ())


@dataclass
class Verdict:
    """What was looked at, and what is wrong with it."""

    checked: int = 0
    bad: set[tuple[str, int | None]] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def take(self, entries: Iterable[Checked], show: bool) -> None:
        """Add what was looked at, and show each problem as it is found if that is asked for."""
        for entry in entries:
            self.checked += not entry.again
            self.problems += entry.problems
            if entry.problems:
                self.bad.add((entry.name, entry.year))
            if show:
                for problem in entry.problems:
                    print(f"{problem.tile}: {problem.problem}: {problem.detail}")

    def show(self) -> None:
        """Print how many problems there are, by class."""
        ok = self.checked - len(self.bad)
        print(f"{self.checked} checked, {ok} ok, {len(self.problems)} problems")
        for kind, count in Counter(problem.problem for problem in self.problems).most_common():
            print(f"  {kind}: {count}")

    def to_json(self) -> dict[str, Any]:
        """The fields of `verify --json`."""
        return {
            "checked": self.checked,
            "ok": self.checked - len(self.bad),
            "problems": [vars(problem) for problem in self.problems],
        }
