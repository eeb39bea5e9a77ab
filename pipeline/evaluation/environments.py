"""Environments: the sites, regions, years or cells of ground that errors are told of one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import BadInput

YEAR = "year"
"""The key of environments that is no place."""

CELLS = re.compile(r"(\d+(?:\.\d+)?)deg")
"""How cells of ground are asked for: `10deg`."""

MOST_ENVIRONMENTS = 100_000
"""Environments that rows may be of."""

Numbers = NDArray[np.int32]
Coded = tuple[NDArray[np.int64], list[str]]
"""Numbers of values, and the values in words."""


@dataclass(frozen=True)
class Rows:
    """What is told of, and from what.

    Parameters
    ----------
    features : float32 (P, D)
        What each row is told from.
    target : float64 (P,)
        The value that was measured.
    environment : int32 (P,)
        Number of the environment that each row is of.
    names
        Names of the environments, by their number.
    place : int32 (P,)
        Number of the site, region or cell: an environment without its year. -1 where environments
        are years alone.
    place_names
        Names of the places, by their number.
    measured : bool (P,)
        False for rows that were filled in: nothing is learnt from them.
    year : int32 (P,) or None
        Calendar year of each row; None where rows have none.
    time : datetime64[s] (P,) or None
        When each row was measured; None where rows have no times.
    tail : float64 (P,) or None
        A covariate whose extremes may be held out.
    """

    features: NDArray[np.float32]
    target: NDArray[np.float64]
    environment: Numbers
    names: tuple[str, ...]
    place: Numbers
    place_names: tuple[str, ...]
    measured: NDArray[np.bool_]
    year: Numbers | None = None
    time: NDArray[np.datetime64] | None = None
    tail: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def has_places(self) -> bool:
        """Whether environments are places, or places in years."""
        return bool(self.place.max(initial=-1) >= 0)

    def take(self, which: NDArray[Any]) -> Rows:
        """Some of the rows, by number or by truth."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return Rows(
            **{
                name: values[which] if isinstance(values, np.ndarray) else values
                for name, values in given.items()
            }
        )


@dataclass(frozen=True)
class Environments:
    """The environment and the place of each row.

    Parameters
    ----------
    names
        Names of the environments.
    number : int32 (P,)
        Number of the environment of each row.
    place : int32 (P,)
        Number of the place of each row; -1 where environments are years alone.
    place_names
        Names of the places.
    """

    names: tuple[str, ...]
    number: Numbers
    place: Numbers
    place_names: tuple[str, ...]


def environments_of(keys: Sequence[str], columns: Mapping[str, NDArray[Any]]) -> Environments:
    """The environments that some columns, or cells of longitude and latitude, make of rows.

    Parameters
    ----------
    keys
        Names of columns (`site`, `region`, `year`), or sides of cells in degrees (`10deg`), which
        need the columns `lon` and `lat`. All but `year` make the place.
    columns
        Columns by name, each (P,).

    Raises
    ------
    BadInput
        If there is no such column, or there are more environments than make sense.

    Examples
    --------
    >>> at = {"lon": np.array([3.0, 4.0, -71.0]), "lat": np.array([50.0, 51.0, -3.0])}
    >>> found = environments_of(["10deg"], at)
    >>> found.names[found.number[0]], found.number.tolist()
    ('50N 0E', [1, 1, 0])
    """
    coded = {key: _codes(key, columns) for key in keys}
    number, names = _combined(list(coded.values()))
    if len(names) > MOST_ENVIRONMENTS:
        raise BadInput(
            f"it makes {len(names):,} environments, and at most {MOST_ENVIRONMENTS:,} are told "
            "of: name a coarser column",
            "environments",
            ",".join(keys),
        )
    places = [found for key, found in coded.items() if key != YEAR]
    if not places:
        return Environments(names, number, np.full(len(number), -1, np.int32), ())
    return Environments(names, number, *_combined(places))


def cell_corners(
    lon: NDArray[np.float64], lat: NDArray[np.float64], degrees: float
) -> NDArray[np.float64]:
    """South-western corners of the cells that places lie in, latitude first: float64 (P, 2)."""
    return np.floor(np.stack([lat, lon], axis=1) / degrees) * degrees


def _codes(key: str, columns: Mapping[str, NDArray[Any]]) -> Coded:
    """A number for each value of a key, in their order, and the values in words."""
    cells = CELLS.fullmatch(key)
    if cells is None:
        if key not in columns:
            raise BadInput(
                f"there is no such column, and cells are written as 10deg; there are "
                f"{', '.join(columns) or 'none'}",
                "environments",
                key,
            )
        values = columns[key]
        if values.dtype == object:
            values = values.astype(str)
        each, number = np.unique(values, return_inverse=True)
        return number.ravel(), [_word(value) for value in each.tolist()]
    degrees = float(cells[1])
    missing = [name for name in ("lon", "lat") if name not in columns]
    if missing or not 0 < degrees <= 180:
        why = f"cells need the column {missing[0]}" if missing else "a cell has 0 to 180 degrees"
        raise BadInput(why, "environments", key)
    corners = cell_corners(columns["lon"], columns["lat"], degrees)
    each, number = np.unique(corners, axis=0, return_inverse=True)
    return number.ravel(), [_corner(*corner) for corner in each]


def _word(value: Any) -> str:
    """A value as a word: whole numbers without a point."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _corner(lat: float, lon: float) -> str:
    south, west = "S" if lat < 0 else "N", "W" if lon < 0 else "E"
    return f"{abs(lat):g}{south} {abs(lon):g}{west}"


def _combined(coded: Sequence[Coded]) -> tuple[Numbers, tuple[str, ...]]:
    """A number for each combination of values, and the combinations in words."""
    codes = np.stack([number for number, _ in coded], axis=1)
    each, number = np.unique(codes, axis=0, return_inverse=True)
    words = [" ".join(names[k] for k, (_, names) in zip(row, coded, strict=True)) for row in each]
    return number.ravel().astype(np.int32), tuple(words)
