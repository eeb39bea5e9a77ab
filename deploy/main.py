"""What the Flex Template's launcher runs: its parameters become the options of `run`.

The launcher passes the cloud region as `--region`, which to `run` is the part of the Earth to map.
So the template calls that `area`, and here both get the names that `run` knows.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from tessera_mosaic.pipeline import cli
from tessera_mosaic.pipeline.commands import run
from tessera_mosaic.pipeline.errors import ExitCode


def run_words(given: Sequence[str]) -> list[str]:
    """The launcher's `--name=value` words as options of `run`; names of Beam's stay as they are."""
    ours = options()
    words = []
    for word in given:
        name, _, value = word.removeprefix("--").partition("=")
        action = ours.get(name)
        if action is None:
            words.append(word.replace("--region=", "--gcp_region="))
        elif action.nargs == 0:
            words += [action.option_strings[-1]] * (value == "true")
        elif action.nargs == "+":
            words += [action.option_strings[-1], *value.split(",")]
        else:
            words.append(f"{action.option_strings[-1]}={value}")
    return words


def options() -> dict[str, argparse.Action]:
    """The options of `run` by the template's names for them."""
    parser = Declared(add_help=False)
    run.run_arguments(parser)
    named = {action.dest: action for action in parser.declared}
    return {"area": named.pop("region"), **named}


class Declared(argparse.ArgumentParser):
    """A parser that remembers what was declared."""

    def __init__(self, **more: Any) -> None:
        self.declared: list[argparse.Action] = []
        super().__init__(**more)

    def add_argument(self, *names: Any, **more: Any) -> argparse.Action:  # type: ignore[override]
        """Declare an option."""
        self.declared.append(super().add_argument(*names, **more))
        return self.declared[-1]


if __name__ == "__main__":
    from boot import hand_over_secrets

    hand_over_secrets(os.environ)
    code = cli.main(["run", *run_words(sys.argv[1:])])
    # The launcher takes the graph and starts the job itself, so that tiles are still missing.
    sys.exit(ExitCode.DONE if code == ExitCode.SOME_TILES_FAILED else code)
