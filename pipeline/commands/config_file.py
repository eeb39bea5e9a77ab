"""Options of a command out of a TOML file: `--config run.toml`.

A file holds the names of options with their values. They are put before the words of the command
line, which so win; of an option that takes several values, those of the command line stand alone.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tessera_mosaic.pipeline.commands.option_words import option_words, text_of
from tessera_mosaic.pipeline.console import unknown_option
from tessera_mosaic.pipeline.errors import BadInput

P = ParamSpec("P")
T = TypeVar("T")

OPTION = "--config"

MOST_BYTES = 1 << 20
"""Largest file that is read."""


def with_config(
    words: Sequence[str], parser: argparse.ArgumentParser, takes_beam_options: bool = False
) -> list[str]:
    """The words of a command with those of its file of options before them.

    Parameters
    ----------
    words
        Of the command line, after the command's name.
    parser
        What declares the command's options.
    takes_beam_options
        Whether options that it does not declare are Beam's.

    Raises
    ------
    BadInput
        In one line, if the file cannot be read, names an option that the command does not have, or
        gives one a value of the wrong kind.
    """
    path = _named(words)
    if path is None:
        return list(words)
    told = _read(path)
    own = {name: action for action in parser._actions for name in action.option_strings}
    given = {own[name] for word in words if (name := word.partition("=")[0]) in own}
    for group in parser._mutually_exclusive_groups:
        if given & set(group._group_actions):
            given |= set(group._group_actions)
    found: list[str] = []
    for name, value in told.items():
        option = f"--{name.replace('_', '-')}"
        action = own.get(option)
        if action is not None and option != OPTION and option != "--help":
            # An option of the command line stands alone, even one that may be repeated.
            found += [] if action in given else _of_file(path, option_words, name, action, value)
        elif takes_beam_options:
            found += _beam_words(path, name, value, list(own), words)
        else:
            raise BadInput(f"{path}: {unknown_option(option, list(own))}")
    return [*found, *words]


def _named(words: Sequence[str]) -> Path | None:
    """The file that the words name, if any."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(OPTION, type=Path)
    try:
        named, _ = parser.parse_known_args(list(words))
    except argparse.ArgumentError as error:
        raise BadInput(str(error)) from None
    path: Path | None = named.config
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput("the file is too large to be one of options", "config", path)
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"it cannot be read: {error.strerror}", "config", path) from None
    except ValueError as error:
        raise BadInput(f"it is no TOML file: {error}", "config", path) from None


def _beam_words(
    path: Path, name: str, value: Any, own: list[str], words: Sequence[str]
) -> list[str]:
    """An option of Beam as words; none where the command line has it."""
    # Imported here, so that commands which take no options of Beam do not load it.
    from tessera_mosaic.pipeline.job.beam_options import check_beam_arguments

    option = f"--{name}"
    if any(word.partition("=")[0] == option for word in words):
        return []
    if isinstance(value, bool):
        found = [option] * value
    else:
        values = value if isinstance(value, list) else [value]
        found = [f"{option}={_of_file(path, text_of, name, each)}" for each in values]
    _of_file(path, check_beam_arguments, found or [option], own)
    return found


def _of_file(path: Path, read: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """What a function makes of a file's option; the file is named where it cannot be used."""
    try:
        return read(*given, **named)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
