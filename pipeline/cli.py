"""The command line: `tessera-mosaic COMMAND`.

Exit codes: 0 done; 2 bad usage or bad input, with one clear line; 3 finished, but some tiles
failed; 1 anything else.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from tessera_mosaic.pipeline import __version__
from tessera_mosaic.pipeline.console import set_up_logging
from tessera_mosaic.pipeline.errors import BadInput, ExitCode, TesseraError

COMMANDS = {
    "demo": "the whole main job on an archive it makes itself",
    "plan": "what a run would take: tiles, scenes, hours, bytes, money",
    "run": "embed a region's year into a mosaic; run again, it resumes",
    "status": "planned, done, failed and missing tiles of a mosaic",
    "verify": "every planned shard against its record and its bytes",
    "publish": "metadata, registry, STAC, previews and report of a mosaic",
    "annual": "the yearly rerun: append the year, run, retry, verify, publish",
    "stack": "the annual stack of a region as d-pixel arrays",
    "encode": "a directory of d-pixel arrays to codes and scales",
    "models": "the encoders' cards; fetch, inspect and convert weights",
    "sample": "draw pixels of a region for training",
    "pretrain": "train an encoder on sampled pixels, without labels",
    "evaluate": "what labels can be told from a mosaic's embeddings",
}
"""Purpose of each command. `commands.<name>` holds `<name>_arguments` and `<name>_command`."""

COMMANDS_PACKAGE = "tessera_mosaic.pipeline.commands"

TAKING_BEAM_OPTIONS = ("run", "annual", "sample")
NEEDING_TRAINING = ("sample", "pretrain", "evaluate")
TRAINING_PACKAGES = ("matplotlib", "scipy", "sklearn")
"""Commands and packages of the extra `training`."""

JOBS = ("demo", "run", "annual", "verify", "sample")
"""Commands whose failed tiles make the exit code."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(ExitCode.BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """Make the parser; only the module of the command at hand is imported."""
    parser = _Parser(
        prog="tessera-mosaic",
        description="TESSERA embeddings of the Earth: from Sentinel scenes to a global mosaic.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tessera-mosaic {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=purpose,
            description=f"{purpose[0].upper()}{purpose[1:]}.",
            allow_abbrev=False,
        )
        if name == command:
            getattr(module_of(name), f"{name}_arguments")(sub)
        sub.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser


def module_of(command: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"{COMMANDS_PACKAGE}.{command}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = with_values(sys.argv[1:] if argv is None else argv)
    set_up_logging()
    command = next((word for word in arguments if not word.startswith("-")), None)
    try:
        return _run(command, arguments)
    except KeyboardInterrupt:
        print(f"tessera-mosaic {command}: stopped; run it again to go on", file=sys.stderr)
        return ExitCode.FAILED


def _run(command: str | None, arguments: list[str]) -> int:
    try:
        parser = build_parser(command)
    except ModuleNotFoundError as error:
        if command in NEEDING_TRAINING and (error.name or "").split(".")[0] in TRAINING_PACKAGES:
            print(
                f"tessera-mosaic {command}: {error.name} is not installed: "
                "pip install 'tessera-mosaic[training]'",
                file=sys.stderr,
            )
            return ExitCode.BAD_INPUT
        raise
    args, rest = parser.parse_known_args(arguments)
    module = module_of(args.command)
    args.beam_arguments, args.words = rest, arguments
    from tessera_mosaic.model.cards import CardError
    from tessera_mosaic.model.checkpoints.files import CheckpointError

    try:
        if rest and args.command not in TAKING_BEAM_OPTIONS:
            from tessera_mosaic.pipeline.job.beam_options import own_options, unknown_option

            said = unknown_option(rest[0], own_options(args))
            raise BadInput(f"{said} (see tessera-mosaic {args.command} --help)")
        result: dict[str, Any] = getattr(module, f"{args.command}_command")(args)
        if args.json and result:
            print(json.dumps(result))
        sys.stdout.flush()
    except (TesseraError, CardError, CheckpointError) as error:
        # Requests name their parameters, which here are options.
        said = error.of_option if isinstance(error, BadInput) else str(error)
        print(f"tessera-mosaic {args.command}: {_one_line(said)}", file=sys.stderr)
        return error.exit_code if isinstance(error, TesseraError) else ExitCode.BAD_INPUT
    except BrokenPipeError:
        # Python would complain at the end that nobody takes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    incomplete = args.command in JOBS and some_failed(result)
    return ExitCode.SOME_TILES_FAILED if incomplete else ExitCode.DONE


def with_values(words: Sequence[str]) -> list[str]:
    """The words of a command, with values such as `-122,37,-121,38` joined to their options.

    By itself such a word is taken for an option, because it begins with a minus.
    """
    joined: list[str] = []
    for word in words:
        if re.match(r"-\.?\d", word) and joined and re.fullmatch(r"--[^=]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def some_failed(result: dict[str, Any]) -> bool:
    """Whether what a job tells has failed tiles; suspicions do not count once it is published."""
    names = ("failed", "missing") if result.get("published") else ("failed", "missing", "problems")
    return any(result.get(name) for name in names)


def _one_line(text: str) -> str:
    return " ".join(text.split())
