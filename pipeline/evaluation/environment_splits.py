"""What is held out of rows: at random, places, later years, or the extremes of a covariate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.environments import Rows
from tessera_mosaic.pipeline.evaluation.folds import Split, grouped_folds, random_folds

FOLDS, SEED = 20, 42
"""Folds of random and space splits, and what they are drawn with: as in Better Together (arXiv
2605.18667), whose biomass is evaluated here."""

SHARE = 0.2
"""Share of the places that the tail holds out, and of what is learnt from that chooses a model."""

Places = NDArray[np.int64]


class SplitKind(StrEnum):
    """What is held out."""

    RANDOM = "random"
    """Rows, whatever they are of: each environment is on both sides."""
    SPACE = "space"
    """Whole places."""
    TIME = "time"
    """Later years."""
    TAIL = "tail"
    """The places where a covariate is largest, or smallest."""


@dataclass(frozen=True)
class HeldOut:
    """One way to hold rows out.

    Parameters
    ----------
    fit, validation : int64
        Rows that are learnt from; the second choose a model before.
    test : int64
        Rows that are told of.
    """

    fit: Places
    validation: Places
    test: Places

    @property
    def train(self) -> Places:
        """All rows that are learnt from."""
        return np.sort(np.concatenate([self.fit, self.validation]))


def held_out(
    rows: Rows, kind: SplitKind, test_from: int | None = None, smallest: bool = False
) -> list[HeldOut]:
    """The ways in which a split holds rows out.

    Random and space splits go round, so that each row is tested once; time and tail are one way,
    as there is one future and one end of a covariate. Rows that were filled in are not learnt from.

    Parameters
    ----------
    rows
        The rows.
    kind
        What is held out.
    test_from
        First calendar year that is held out; by default the last third of the years is.
    smallest
        Whether the tail is the places with the smallest values.

    Raises
    ------
    BadInput
        If the rows have no places, years or covariate for it, or too few.
    """
    found = {
        SplitKind.RANDOM: lambda: _random(rows),
        SplitKind.SPACE: lambda: _space(rows),
        SplitKind.TIME: lambda: [_time(rows, test_from)],
        SplitKind.TAIL: lambda: [_tail(rows, smallest)],
    }[kind]()
    return [
        HeldOut(each.fit[rows.measured[each.fit]], each.validation, each.test) for each in found
    ]


def _random(rows: Rows) -> list[HeldOut]:
    splits = random_folds(rows.target, False, min(FOLDS, len(rows)), SEED)
    return [_with_validation(rows, split, number) for number, split in enumerate(splits)]


def _space(rows: Rows) -> list[HeldOut]:
    if not rows.has_places:
        raise BadInput("environments are years alone, so no place can be held out", "environments")
    splits = grouped_folds(rows.place, min(FOLDS, len(np.unique(rows.place))), SEED)
    return [_with_validation(rows, split, number) for number, split in enumerate(splits)]


def _with_validation(rows: Rows, split: Split, number: int) -> HeldOut:
    """A fold whose training part gives some of its environments to choose a model."""
    train, test = split
    of = rows.place if rows.has_places else rows.environment
    here = np.unique(of[train])
    rng = np.random.default_rng([SEED, number])
    drawn = rng.choice(here, max(round(SHARE * len(here)), 1), replace=False)
    return _cut(rows, train, np.isin(of[train], drawn), test)


def _time(rows: Rows, test_from: int | None) -> HeldOut:
    if rows.year is None:
        raise BadInput("later years can be held out of rows with a column year or time alone")
    years = np.unique(rows.year)
    first = years[-max(len(years) // 3, 1)] if test_from is None else test_from
    before = years[years < first]
    if len(before) < 2 or first > years[-1]:
        raise BadInput(
            f"two years before it and one from it on are needed, and rows are of "
            f"{', '.join(map(str, years[:3].tolist()))}"
            f"{' to ' + str(years[-1]) if len(years) > 3 else ''}",
            "test_from",
            int(first),
        )
    train = np.flatnonzero(rows.year < first)
    return _cut(rows, train, rows.year[train] == before[-1], np.flatnonzero(rows.year >= first))


def _tail(rows: Rows, smallest: bool) -> HeldOut:
    if rows.tail is None or not rows.has_places:
        raise BadInput("it needs environments that are places: name a column, or cells", "tail")
    places, of = np.unique(rows.place, return_inverse=True)
    if len(places) < 5:
        raise BadInput(f"{len(places)} places are too few to hold out some: five will do", "tail")
    mean = np.bincount(of, rows.tail) / np.bincount(of)
    order = np.argsort(mean if smallest else -mean, kind="stable")
    count = max(round(SHARE * len(places)), 1)
    # What chooses a model comes next to what is held out: it lies outside of the rest, too.
    test, validation = np.isin(of, order[:count]), np.isin(of, order[count : 2 * count])
    train = np.flatnonzero(~test)
    return _cut(rows, train, validation[train], np.flatnonzero(test))


def _cut(
    rows: Rows, train: NDArray[np.int64], validation: NDArray[np.bool_], test: NDArray[np.int64]
) -> HeldOut:
    """Training rows cut into those that fit and those that choose, of which only measured ones."""
    chooses = train[validation]
    return HeldOut(train[~validation], chooses[rows.measured[chooses]], test)
