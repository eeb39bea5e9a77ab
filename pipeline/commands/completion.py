"""The command `completion`: what bash and zsh need to complete commands, options and files."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.contract import Contract

SHELLS = ("bash", "zsh")

CONTRACT = Contract(costs="nothing", tells=("shell", "script"))


def completion_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the shell."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash or zsh")


def completion_command(args: argparse.Namespace) -> dict[str, Any]:
    """Print the script that a shell reads."""
    # Imported here, since it is needed for nothing else.
    import shtab

    parser: argparse.ArgumentParser = args.whole_parser()
    complete_files(parser)
    script = shtab.complete(parser, shell=args.shell)
    if not args.json:
        print(script)
    return {"shell": args.shell, "script": script}


def complete_files(parser: argparse.ArgumentParser) -> None:
    """Have files completed wherever a value is neither a number nor one of some words."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                complete_files(sub)
        elif action.choices is None and action.type in (None, str) and action.nargs != 0:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
