"""The command `tools`: what every command takes, makes, needs and costs, for programs."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterable
from typing import Any

from tessera_mosaic.pipeline import __version__
from tessera_mosaic.pipeline.commands.contract import Contract
from tessera_mosaic.pipeline.commands.plan import COSTS
from tessera_mosaic.pipeline.commands.schemas import Tool, schema_of_common, tools_of
from tessera_mosaic.pipeline.commands.tool_calls import TIMEOUT, Limits, always_writes
from tessera_mosaic.pipeline.console import install_hint, unknown_option
from tessera_mosaic.pipeline.errors import BadInput, ExitCode

CONTRACT = Contract(
    costs="a few seconds; with `serve` what the commands cost that are called",
    tells=("version", "exit_codes", "common", "commands"),
    requests=(Limits,),
)


def tools_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `tools`."""
    parser.add_argument(
        "commands", nargs="*", metavar="COMMAND", help="of these commands alone (all)"
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="be an MCP server on standard input and output, with the commands that change nothing",
    )
    parser.add_argument(
        "--allow-writes",
        metavar="PLACE",
        help="with --serve: the other commands too, which may write below this folder or address",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="with --serve: host of a private address that catalogues may point to (repeatable)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        metavar="SECONDS",
        help="with --serve: how long a call may take before it is stopped (%(default)g)",
    )


def tools_command(args: argparse.Namespace) -> dict[str, Any]:
    """Tell the contracts, or serve them, and return the fields of `tools --json`.

    Raises
    ------
    BadInput
        If there is no such command, or a server cannot be.
    """
    limits = Limits(args.allow_writes, tuple(args.allow_host), args.timeout)
    tools = chosen(list(tools_of(args.whole_parser())), args.commands)
    if args.serve:
        if importlib.util.find_spec("mcp") is None:
            raise BadInput(f"mcp is not installed: {install_hint('mcp')}", "serve")
        # Imported here: it needs a library of an extra.
        from tessera_mosaic.pipeline.commands.tool_server import serve

        serve(tools, limits)
        return {}
    if limits != Limits():
        raise BadInput("the limits of a server: give --serve")
    if not args.json:
        print("\n".join(line for tool in tools for line in described(tool, bool(args.commands))))
    return {
        "version": __version__,
        "exit_codes": {str(code.value): code.name.lower().replace("_", " ") for code in ExitCode},
        "common": schema_of_common(),
        "commands": [told(tool) for tool in tools],
    }


def chosen(tools: list[Tool], commands: list[str]) -> list[Tool]:
    """The commands that were asked for, each with its actions; all if none was.

    Raises
    ------
    BadInput
        If there is none of such a name.
    """
    known = list(dict.fromkeys(tool.words[0] for tool in tools))
    for command in commands:
        if command not in known:
            raise BadInput(unknown_option(command, known).replace("option", "command", 1))
    return [tool for tool in tools if not commands or tool.words[0] in commands]


def told(tool: Tool) -> dict[str, Any]:
    """A command's entry in `tools --json`."""
    contract = tool.contract
    planned = {"command": "plan", "input": {"job": contract.planned_as}, "fields": list(COSTS)}
    return {
        "name": " ".join(tool.words),
        "purpose": tool.purpose,
        "input": tool.schema(),
        "takes": {name: str(kind) for name, kind in contract.takes.items()},
        "gives": {name: str(kind) for name, kind in contract.gives.items()},
        "needs": list(contract.needs),
        "costs": contract.costs,
        "planned": planned if contract.planned_as else None,
        "writes": written(tool),
        "changes": contract.changes or None,
        "lasting": list(contract.lasting),
        "resumes": contract.resumes,
        "output": list(contract.tells),
        "beam_options": tool.takes_beam_options,
    }


def written(tool: Tool) -> str:
    """When a command changes something: always, if asked for what it gives, or never."""
    return "always" if always_writes(tool) else "if asked" if tool.contract.gives else "never"


def described(tool: Tool, whole: bool) -> Iterable[str]:
    """A command for people: a line, or all that it promises."""
    contract = tool.contract
    makes = ", ".join(dict.fromkeys(str(kind) for kind in contract.gives.values())) or "-"
    reads = ", ".join(dict.fromkeys(str(kind) for kind in contract.takes.values())) or "-"
    yield f"{' '.join(tool.words):<16}writes {written(tool):<9} {reads} -> {makes}"
    if whole:
        yield f"  {tool.purpose}"
        yield f"  costs: {contract.costs}"
        yield from (f"  needs: {each}" for each in contract.needs)
        yield from (f"  lasting: {each}" for each in contract.lasting)
        schema = tool.schema()
        for name, each in schema["properties"].items():
            mark = "required, " if name in schema["required"] else ""
            yield f"  {name:<28}{mark}{limits_of(each)}"


def limits_of(option: dict[str, Any]) -> str:
    """What an option may be, in words: `integer, from 32, a multiple of 32, in px`."""
    kind = option.get("items", option)
    types = [kind["type"]] if isinstance(kind["type"], str) else kind["type"]
    several = " (several)" if "items" in option else ""
    parts = [f"{' or '.join(types)}{several}"]
    for keyword, words in SHOWN.items():
        value = kind.get(keyword, option.get(keyword))
        if value is not None and value is not False:
            listed = ", ".join(map(str, value)) if isinstance(value, list) else value
            parts.append(f"{words} {listed}")
    return ", ".join(parts)


SHOWN = {
    "enum": "one of",
    "minimum": "from",
    "exclusiveMinimum": "above",
    "maximum": "to",
    "exclusiveMaximum": "below",
    "multipleOf": "a multiple of",
    "unit": "in",
    "default": "by default",
}
"""Keywords of a schema that people are shown, and in which words."""
