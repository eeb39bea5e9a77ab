"""What the values of a state's JSON have to be, whoever wrote them.

Each function gives a value back as what it is, or raises a `ValueError` that says what it is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from tessera_mosaic.pipeline.console import printable

T = TypeVar("T")

MOST = 1000
"""Most years, zones, classes or inputs that a state may tell, and characters of a text."""


def whole(value: Any, least: int = 0) -> int:
    """A whole number from a least one on."""
    if type(value) is not int or not least <= value <= 1 << 62:
        raise ValueError(f"it is no whole number of {least} or more")
    return value


def number(value: Any) -> float:
    """A finite number."""
    try:
        if type(value) in (int, float) and math.isfinite(value):
            return value
    except OverflowError:
        pass
    raise ValueError("it is no number")


def fill(value: Any) -> float:
    """A number, or a word for one that JSON has none for."""
    return float(value) if value in ("nan", "inf", "-inf") else number(value)


def text(value: Any) -> str:
    """A text of bounded length, printable once it is read."""
    if type(value) is not str or len(value) > MOST:
        raise ValueError(f"it is no text of up to {MOST:,} characters")
    return printable(value)


def listed(of: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    """What reads a list of values, each read by a function."""

    def read(value: Any) -> tuple[T, ...]:
        if type(value) is not list:
            raise ValueError("it is no list")
        if len(value) > MOST:
            raise ValueError(f"it has more than {MOST:,}")
        return tuple(of(each) for each in value)

    return read


def by_number(of: Callable[[Any], T]) -> Callable[[Any], dict[int, T]]:
    """What reads an object whose names are whole numbers."""

    def read(value: Any) -> dict[int, T]:
        if type(value) is not dict or len(value) > MOST:
            raise ValueError(f"it is no object of up to {MOST:,}")
        if not all(name.isascii() and name.isdigit() and len(name) <= 9 for name in value):
            raise ValueError("its names are no numbers")
        return {int(name): of(each) for name, each in value.items()}

    return read


def years(value: Any) -> tuple[int, ...]:
    """Calendar years, ascending."""
    found = listed(whole)(value)
    if found != tuple(sorted(set(found))) or (found and found[-1] > 9999):
        raise ValueError("years ascend")
    return found


def bounds(count: int) -> Callable[[Any], tuple[float, ...]]:
    """What reads so many numbers, the second half of which are no less than the first."""

    def read(value: Any) -> tuple[float, ...]:
        numbers = listed(number)(value)
        if len(numbers) != count:
            raise ValueError(f"it has {len(numbers)} numbers, not {count}")
        if any(a > b for a, b in zip(numbers, numbers[count // 2 :], strict=False)):
            raise ValueError("it ends before it begins")
        return numbers

    return read
