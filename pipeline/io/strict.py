"""What a value of JSON has to be, for what a store holds that somebody else may have written.

Each function gives the value back as what it is, or raises a `ValueError` that says in a few words
what it should have been. Ranges are wide: they keep out what nobody writes, not what is unusual.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tessera_mosaic.pipeline.errors import BadInput

T = TypeVar("T")

LARGEST = 1 << 62
"""Largest whole number of bytes, pixels or anything else that is counted."""

LONGEST = 1 << 16
"""Most characters of a text."""


def whole(value: Any, least: int = 0, most: int = LARGEST) -> int:
    """A whole number within bounds.

    Examples
    --------
    >>> whole(2024, 1, 9999)
    2024
    """
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{shown(value)} is no whole number from {least:,} to {most:,}")
    return value


def number(value: Any, least: float = -1e15, most: float = 1e15) -> float:
    """A finite number within bounds, whole or not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{shown(value)} is no number")
    if not math.isfinite(value) or not least <= value <= most:
        raise ValueError(f"{shown(value)} is no number from {least:g} to {most:g}")
    return value


def text(value: Any, longest: int = LONGEST) -> str:
    """A text of bounded length."""
    if type(value) is not str or len(value) > longest:
        raise ValueError(f"{shown(value)} is no text of up to {longest:,} characters")
    return value


def listed(value: Any, of: Callable[[Any], T], most: int) -> tuple[T, ...]:
    """A list of so many values at most, each checked by a function."""
    if type(value) is not list or len(value) > most:
        raise ValueError(f"{shown(value)} is no list of up to {most:,}")
    return tuple(map(of, value))


def named(value: Any, of: Callable[[Any], T], most: int) -> dict[str, T]:
    """An object of so many fields at most, whose values are each checked by a function."""
    if type(value) is not dict or len(value) > most:
        raise ValueError(f"{shown(value)} is no object of up to {most:,} fields")
    return {text(name): of(each) for name, each in value.items()}


def fields(value: Any, of: Mapping[str, Callable[[Any], Any]], *needed: str) -> dict[str, Any]:
    """An object of known fields, each checked by its own function.

    Parameters
    ----------
    value
        The object.
    of
        What checks each field that it may have.
    needed
        Names of those that it has to have.
    """
    if type(value) is not dict:
        raise ValueError(f"{shown(value)} is no object")
    if unknown := sorted(value.keys() - of.keys()):
        raise ValueError(f"there is no field {shown(unknown[0])}")
    if lacking := [name for name in needed if name not in value]:
        raise ValueError(f"it lacks the field {lacking[0]}")
    return {name: member(value, name, of[name]) for name in value}


def member(value: Any, name: str, of: Callable[[Any], T]) -> T:
    """One field of an object, checked by a function."""
    if type(value) is not dict or name not in value:
        raise ValueError(f"it lacks the field {name}")
    try:
        return of(value[name])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from None


def shallow(value: Any, depth: int = 16) -> Any:
    """A value that is nested no deeper than so many lists and objects."""
    if isinstance(value, list | dict):
        if depth == 0:
            raise ValueError("it is nested too deeply")
        for each in value.values() if isinstance(value, dict) else value:
            shallow(each, depth - 1)
    return value


def check_format(document: Any, name: str, newest: int, what: str) -> None:
    """Check that something was not written in a later format than this version reads.

    Parameters
    ----------
    document
        A JSON object that says the version of its format; one without is of the first.
    name
        Its member that says it.
    newest
        The last version that is read.
    what
        What was written, for the message.

    Raises
    ------
    ValueError
        If the document is no object, or the version no number.
    BadInput
        If it is a later one.
    """
    if not isinstance(document, dict):
        raise ValueError(f"{shown(document)} is no JSON object")
    if (written := whole(document.get(name, 1), 1)) > newest:
        raise BadInput(
            f"{what} has format {written}, and this version reads up to {newest}: "
            "update tessera-mosaic"
        )


def shown(value: Any) -> str:
    """A value in a few characters, whatever it holds."""
    if isinstance(value, list | dict | tuple):
        return f"a {type(value).__name__} of {len(value):,}"
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a larger number"
    return repr(value)[:60]
