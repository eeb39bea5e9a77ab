"""An option's value, out of a file or a program, as words of a command line."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.errors import BadInput


def option_words(name: str, action: argparse.Action, value: Any) -> list[str]:
    """The words that give an option a value.

    Parameters
    ----------
    name
        How whoever gives it names the option.
    action
        What declares it.
    value
        A text, a number, a truth value, or a list of texts and numbers.

    Raises
    ------
    BadInput
        If it is of the wrong kind, or would be read as another option.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> option_words("allow_host", parser.add_argument("--allow-host", action="append"), ["a", "b"])
    ['--allow-host=a', '--allow-host=b']
    """
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise BadInput(f"{name} is true or false")
        return [action.option_strings[-1]] * value
    several = isinstance(action, argparse._AppendAction) or action.nargs in ("+", "*")
    if isinstance(value, list) and not several:
        raise BadInput(f"{name} takes one value")
    values = [text_of(name, each) for each in (value if isinstance(value, list) else [value])]
    if not action.option_strings:
        return values
    option = action.option_strings[-1]
    if action.nargs in ("+", "*"):
        # They are words of their own, and would be read as other options.
        if wrong := next((each for each in values if each.startswith("-")), None):
            raise BadInput(f"{name} takes no value that begins with a hyphen, such as {wrong:.80}")
        return [option, *values] if values else []
    return [f"{option}={each}" for each in values]


def text_of(name: str, value: Any) -> str:
    """A value as a word of a command line.

    Raises
    ------
    BadInput
        If it is neither a text nor a number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadInput(f"{name} takes a text or a number")
    if "\0" in (word := str(value)):
        raise BadInput(f"{name} has a character of code 0 in it")
    return word
