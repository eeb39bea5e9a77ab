"""What a command takes as JSON Schema, made of its parser and of the requests that it fills.

The parser tells names, types, choices, defaults, units and words; the fields of the requests tell
bounds. So nothing of it is written a second time. Options are named as in a file of options.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import tessera_mosaic as tm
from tessera_mosaic.pipeline.bounds import Bounds, bounds_of
from tessera_mosaic.pipeline.commands.common_options import common_arguments
from tessera_mosaic.pipeline.commands.contract import Contract

COMMANDS = "tessera_mosaic.pipeline.commands"
"""Where the module of each command lies."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"

TYPES = {int: "integer", float: "number", str: "string", None: "string"}

UNITS = {
    "METRES": "m",
    "GB": "GB",
    "SECONDS": "s",
    "USD": "USD",
    "PX": "px",
    "LON": "degrees",
    "LAT": "degrees",
}
"""Units by the words that stand for values in help."""


@dataclass(frozen=True)
class Tool:
    """A command, or one of its actions, as a program sees it.

    Parameters
    ----------
    words
        By which it is called: `("models", "inspect")`.
    purpose
        What it is for.
    parser
        What declares its options.
    contract
        What it promises.
    """

    words: tuple[str, ...]
    purpose: str
    parser: argparse.ArgumentParser
    contract: Contract

    @property
    def options(self) -> dict[str, argparse.Action]:
        """Its options and words by name, without those that every command has."""
        common = common_names(self.parser)
        return {name: each for name, each in named(self.parser).items() if name not in common}

    @property
    def takes_beam_options(self) -> bool:
        """Whether options that it does not declare may be Beam's."""
        return "runner" in self.options

    @property
    def bounds(self) -> dict[str, Bounds]:
        """Bounds by the attribute that an option becomes."""
        found: dict[str, Bounds] = {}
        for each in self.contract.requests:
            found |= bounds_of(getattr(tm, each) if isinstance(each, str) else each)
        return found

    def schema(self, names: Sequence[str] | None = None) -> dict[str, Any]:
        """What it takes, or some of it, as JSON Schema."""
        options = self.options if names is None else {each: self.options[each] for each in names}
        return _schema(options, self.bounds, self.parser.prog)


def tools_of(parser: argparse.ArgumentParser) -> Iterator[Tool]:
    """All commands, and their actions.

    Parameters
    ----------
    parser
        That of the whole program, with the options of every command.
    """
    for name, below in _subparsers(parser).items():
        contract: Contract = importlib.import_module(f"{COMMANDS}.{name}").CONTRACT
        purpose = below.description or ""
        yield Tool((name,), purpose, below, contract)
        actions = next((each for each in below._actions if _is_subparsers(each)), None)
        told = {each.dest: each.help for each in getattr(actions, "_choices_actions", ())}
        for action, deepest in _subparsers(below).items():
            words = told.get(action) or ""
            purpose = f"{words[:1].upper()}{words[1:]}."
            yield Tool((name, action), purpose, deepest, contract.actions[action])


def named(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Options and words of a parser by the names that a file of options gives them."""
    found = {}
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or _is_subparsers(action):
            continue
        written = (action.option_strings or [action.dest])[-1]
        found[written.lstrip("-").replace("-", "_")] = action
    return found


def schema_of_common() -> dict[str, Any]:
    """The options that every command has, as JSON Schema."""
    return _schema(named(_common()), {}, "tessera-mosaic")


def common_names(parser: argparse.ArgumentParser) -> tuple[str, ...]:
    """Names of the options that a parser has in common with every other."""
    known = named(parser)
    return tuple(name for name in named(_common()) if name in known)


def _common() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    common_arguments(parser)
    return parser


def _schema(
    options: Mapping[str, argparse.Action], bounds: Mapping[str, Bounds], prog: str
) -> dict[str, Any]:
    return {
        "$schema": DIALECT,
        "type": "object",
        "properties": {
            name: property_of(action, bounds.get(action.dest), prog)
            for name, action in options.items()
        },
        "required": [name for name, action in options.items() if is_required(action)],
        "additionalProperties": False,
    }


def property_of(action: argparse.Action, bounds: Bounds | None, prog: str) -> dict[str, Any]:
    """An option as a property: its type, bounds, unit, default and meaning."""
    words = action.help % (vars(action) | {"prog": prog}) if action.help else ""
    unit = UNITS.get(action.metavar) if isinstance(action.metavar, str) else None
    told = {"description": words} if words else {}
    if unit is not None:
        told["unit"] = unit
    default = _plain(action.default)
    given = default not in (None, [], argparse.SUPPRESS) and not is_required(action)
    value = {"default": default} if given else {}
    if action.nargs == 0:
        return told | {"type": "boolean", "default": False}
    kind: dict[str, Any] = {"type": TYPES.get(action.type, ["integer", "string"])}  # type: ignore[arg-type]
    if action.choices is not None:
        kind["enum"] = [_plain(each) for each in action.choices]
    if bounds is not None:
        kind |= bounds.schema()
    if isinstance(action, argparse._AppendAction):
        return told | {"type": "array", "items": kind} | value
    if action.nargs in ("+", "*"):
        least = {"minItems": 1} if action.nargs == "+" else {}
        return told | {"type": "array", "items": kind} | least | value
    return told | kind | value


def is_required(action: argparse.Action) -> bool:
    """Whether nothing can be done without an option or word."""
    return action.required if action.option_strings else action.nargs not in ("?", "*")


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _is_subparsers(action: argparse.Action) -> bool:
    return isinstance(action, argparse._SubParsersAction)


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}
