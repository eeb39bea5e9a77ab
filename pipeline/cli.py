"""The command line: `tessera-mosaic COMMAND`.

Exit codes: 0 done; 2 bad usage or bad input, with one clear line, or artefacts that `check` blocks;
3 finished, but some tiles failed or were not tried; 130 stopped by a user or a signal; 1 anything
else, such as a provider, a store or a device that does not serve. `errors` says which class of
error ends with which.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from tessera_mosaic.pipeline import __version__
from tessera_mosaic.pipeline.console import (
    STOPPED,
    handled_by,
    install_hint,
    keep_streams,
    one_line,
    own_options,
    set_up_logging,
    unknown_option,
)
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
    "adopt": "embeddings that were made elsewhere into a mosaic",
    "picture": "a region of a mosaic as a picture: embeddings, true colours, counts",
    "export": "a region of a mosaic as GeoTIFF, NetCDF or Zarr",
    "point": "one pixel of a mosaic: its vector, or why there is none",
    "extract": "vectors of a mosaic at points and parcels, as a table",
    "pack": "a region of a mosaic as one small file to take along; run again, it goes on",
    "compare": "one mosaic beside another, pixel by pixel",
    "models": "the encoders' cards; fetch, inspect and convert weights",
    "sample": "draw pixels of a region for training",
    "pretrain": "train an encoder on sampled pixels, without labels",
    "evaluate": "what labels can be told from a mosaic's embeddings",
    "train": "from labels to a head, with scores on labels held out",
    "fuse": "whether other products tell more together with a mosaic than each alone",
    "map": "a head over a region's year: classes or values; run again, it resumes",
    "search": "places that look alike, over a whole mosaic; run again, it resumes",
    "changed": "how far a region's embeddings lie apart in two years, as a map that resumes",
    "points": "draw a probability sample of a map's pixels, to be labelled",
    "areas": "areas and accuracies of a map with intervals, from a labelled sample",
    "check": "whether artefacts go together: pass, warn, or block with the first invalid step",
    "suggest": "where another label would teach a map most",
    "tools": "what every command takes, makes, needs and costs, for programs and agents",
    "completion": "completion of commands and options for bash or zsh",
}
"""Purpose of each command. `commands.<name>` holds `<name>_arguments` and `<name>_command`."""

COMMANDS_PACKAGE = "tessera_mosaic.pipeline.commands"

TAKING_BEAM_OPTIONS = ("run", "annual", "sample", "adopt", "map", "search", "changed", "publish")
"""Commands to which options that they do not declare are Beam's."""

NEEDING_TRAINING = ("sample", "pretrain", "evaluate", "train", "fuse")
TRAINING_PACKAGES = ("matplotlib", "scipy", "sklearn", "threadpoolctl")
"""Commands and packages of the extra `training`."""

JOBS = (
    "demo",
    "run",
    "annual",
    "status",
    "verify",
    "sample",
    "adopt",
    "map",
    "search",
    "changed",
    "publish",
)
"""Commands whose failed and missing tiles make the exit code."""


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(ExitCode.BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv
        Words of the command line without the program's name; None for those of this process.

    Returns
    -------
    The exit code, see `errors.ExitCode`.

    Raises
    ------
    SystemExit
        With the exit code, where the words are no command or ask for help.
    """
    if argv is None:
        keep_assertions()
        keep_streams()
    words = with_values(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if not word.startswith("-")), None)
    with handled_by(_interrupt):
        set_up_logging()
        try:
            return _main(command, words)
        except KeyboardInterrupt:
            code = _failed(command, STOPPED, ExitCode.STOPPED)
            if argv is None:
                # Python would wait for threads, which may be at work on a tile.
                os._exit(code)
            return code


def _interrupt(*_: object) -> NoReturn:
    """What signals do where no job is under way, which stops in its own way."""
    raise KeyboardInterrupt


def keep_assertions() -> None:
    """Start anew as plain `python` where this is `python -O` or `-OO`.

    Zarr reads metadata in assertions, and Beam takes its docstrings apart while it is imported:
    neither works without them.
    """
    if sys.flags.optimize:
        os.environ.pop("PYTHONOPTIMIZE", None)
        os.execv(sys.executable, [sys.executable, "-m", "tessera_mosaic", *sys.argv[1:]])


def _main(command: str | None, words: list[str]) -> ExitCode:
    """Run a command that a user may stop."""
    try:
        module_of("words").check_words(words)
        parser = build_parser(command)
        args, rest = parser.parse_known_args(_with_config(command, words))
        args.beam_arguments, args.words = rest, words
        args.whole_parser = functools.partial(build_parser, all_commands=True)
        with module_of("common_options").told_as_asked(args):
            return _run(args)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if command not in NEEDING_TRAINING or package not in TRAINING_PACKAGES:
            raise
        message = f"{error.name} is not installed: {install_hint('training')}"
        return _failed(command, message, ExitCode.BAD_INPUT)
    except BadInput as error:
        # Below the commands, messages name parameters, which here are options.
        return _failed(command, error.of_option, error.exit_code)
    except TesseraError as error:
        return _failed(command, str(error), error.exit_code)
    except OSError as error:
        # A disk, a descriptor or a network that this machine has not, and no fault of the program.
        said = error.strerror or str(error)
        where = f"{error.filename}: " if error.filename else ""
        return _failed(command, f"{where}{said}", ExitCode.FAILED)


def _with_config(command: str | None, words: list[str]) -> list[str]:
    """The words with the options of a file that they name."""
    if command not in COMMANDS or not any(word.startswith("--config") for word in words):
        return words
    parser = _Parser(prog=f"tessera-mosaic {command}", add_help=False)
    getattr(module_of(command), f"{command}_arguments")(parser)
    module_of("common_options").common_arguments(parser)
    at, takes_beam = words.index(command) + 1, command in TAKING_BEAM_OPTIONS
    told = module_of("config_file").with_config(words[at:], parser, takes_beam)
    return [*words[:at], *told]


def build_parser(command: str | None = None, all_commands: bool = False) -> argparse.ArgumentParser:
    """Make the parser; only the module of the command at hand is imported, or all."""
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
        if all_commands or name == command:
            getattr(module_of(name), f"{name}_arguments")(sub)
        module_of("common_options").common_arguments(sub)
    return parser


def module_of(command: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"{COMMANDS_PACKAGE}.{command}")


def _run(args: argparse.Namespace) -> ExitCode:
    """Run a command with its options, and print what it returns where JSON is asked for."""
    unknown = args.beam_arguments
    if unknown and args.command not in TAKING_BEAM_OPTIONS:
        said = unknown_option(unknown[0], own_options(args))
        raise BadInput(f"{said} (see tessera-mosaic {args.command} --help)")
    command = getattr(module_of(args.command), f"{args.command}_command")
    result: dict[str, Any] = command(args)
    if args.json and result:
        print(json.dumps(result))
    sys.stdout.flush()
    if result.get("verdict") == "block":
        return ExitCode.BAD_INPUT
    incomplete = args.command in JOBS and some_failed(result)
    return ExitCode.SOME_TILES_FAILED if incomplete else ExitCode.DONE


def _failed(command: str | None, message: str, code: ExitCode) -> ExitCode:
    """Say in one line why a command ends, and return its exit code."""
    print(f"tessera-mosaic {command}: {one_line(message)}", file=sys.stderr)
    return code


def with_values(words: Sequence[str]) -> list[str]:
    """The words of a command, with values such as `-122,37,-121,38` joined to their options.

    By itself such a word is taken for an option, because it begins with a minus; a single number is
    not, and may be a value of the command's own.
    """
    joined: list[str] = []
    for word in words:
        is_value = re.match(r"-\.?\d", word) and not re.fullmatch(r"-\d+|-\d*\.\d+", word)
        if is_value and joined and re.fullmatch(r"--[^=]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def some_failed(result: dict[str, Any]) -> bool:
    """Whether what a job tells has failed tiles; suspicions do not count once it is published."""
    names = ("failed", "missing") if result.get("published") else ("failed", "missing", "problems")
    return any(result.get(name) for name in names)
