"""Options that every command has, and what of them is done around a command."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from collections.abc import Iterator

from tessera_mosaic.pipeline.commands.config_file import OPTION
from tessera_mosaic.pipeline.console import TOLD, log_to, tell
from tessera_mosaic.pipeline.errors import BadInput

log = logging.getLogger(__name__)


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that every command has."""
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument(
        OPTION, metavar="F", help="TOML file of options, over which the command line wins"
    )
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument(
        "-v", "--verbose", action="store_true", help="tell on standard error what is done"
    )
    loud.add_argument("--quiet", action="store_true", help="tell errors alone, no progress")
    parser.add_argument("--log-file", metavar="F", help="file to which a log is added")


@contextlib.contextmanager
def told_as_asked(args: argparse.Namespace) -> Iterator[None]:
    """Tell people and the file of a log what the options ask for, while a command runs.

    Raises
    ------
    BadInput
        If the file cannot be written.
    """
    tell(args.verbose, args.quiet)
    with contextlib.ExitStack() as stack:
        if args.log_file is not None:
            try:
                handler = log_to(args.log_file)
            except OSError as error:
                said = f"it cannot be written: {error.strerror}"
                raise BadInput(said, "log_file", args.log_file) from None
            stack.callback(handler.close)
            stack.callback(logging.getLogger().removeHandler, handler)
            log.info("%s begins", args.command, extra={TOLD: True})
        if args.quiet and not args.json:
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        try:
            yield
        except BaseException as error:
            said = error.of_option if isinstance(error, BadInput) else str(error)
            kind = type(error).__name__
            log.error("%s ends: %s: %s", args.command, kind, said, extra={TOLD: True})
            raise
        log.info("%s ends", args.command, extra={TOLD: True})
