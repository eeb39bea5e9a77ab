"""Make docs/cli.md from the parsers of the commands.

python tools/cli_page.py
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from tessera_mosaic.pipeline.cli import COMMANDS, TAKING_BEAM_OPTIONS, build_parser

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"

HEAD = """# Commands and their options

<!-- Made from the parsers by `python tools/cli_page.py`. -->

`tessera-mosaic COMMAND`, the same as `python -m tessera_mosaic COMMAND`. Exit code 0 is done, 2 is
bad usage or bad input (one line says what), 3 is finished with some tiles failed, 130 is stopped by
a user or a signal, 1 is anything else. With `--json` a command prints one JSON object and nothing
else on standard output.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for name in COMMANDS for line in described(name))])


def described(command: str) -> Iterator[str]:
    """A command: what it is for, and a table of what it takes."""
    parser = parser_of(command)
    yield f"## {command}\n"
    yield f"{parser.description}\n"
    yield from table(parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield f"### {command} {name}\n"
                yield from table(below)
    if command in TAKING_BEAM_OPTIONS:
        yield "Options that are not listed here are Beam's, such as those of another runner.\n"


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of one command, with all that it declares."""
    (below,) = (
        action
        for action in build_parser(command)._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return below.choices[command]


def table(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A row an option or word: how it is written, and what it means."""
    yield "| option | |"
    yield "| --- | --- |"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            continue
        words = action.help % (vars(action) | {"prog": parser.prog}) if action.help else ""
        required = " **Required.**" if action.required and action.option_strings else ""
        yield f"| `{written(action)}` | {cell(words)}{required} |"
    yield ""


def written(action: argparse.Action) -> str:
    """An option or word as it is typed."""
    value = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    value = " ".join(value) if isinstance(value, tuple) else value
    if not action.option_strings:
        return cell(value)
    names = ", ".join(action.option_strings)
    return cell(names if action.nargs == 0 else f"{names} {value}")


def cell(text: str) -> str:
    """A text that fits into a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page())
