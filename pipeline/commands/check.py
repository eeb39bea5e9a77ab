"""The command `check`: whether artefacts go together, as what was made from what."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tessera_mosaic.pipeline.commands.contract import Contract, Material
from tessera_mosaic.pipeline.console import printable
from tessera_mosaic.pipeline.contracts.rules import Verdict
from tessera_mosaic.pipeline.downstream.check_request import CheckRequest

if TYPE_CHECKING:
    from tessera_mosaic.pipeline.downstream.check import ChainCheck

CONTRACT = Contract(
    costs="reads metadata, and the objects of up to four tiles a year of each store",
    takes={"artefacts": Material.ARTEFACT},
    tells=("verdict", "first_invalid", "steps"),
    requests=(CheckRequest,),
)


def check_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `check`."""
    parser.add_argument(
        "artefacts",
        nargs="+",
        metavar="A",
        help="mosaic, head, map, hits, sample, areas, labels or table; their order is found by "
        "what they name of one another, and is else as given",
    )


def check_command(args: argparse.Namespace) -> dict[str, Any]:
    """Check, tell, and return the fields of `check --json`."""
    from tessera_mosaic.pipeline.downstream.check import check

    found = check(CheckRequest(tuple(args.artefacts)))
    if not args.json:
        print_check(found)
    return found.to_json()


def print_check(found: ChainCheck) -> None:
    """Print a line a step, those of what was found below it, and the verdict."""
    for number, step in enumerate(found.steps, 1):
        print(f"{number}. {step.verdict.value:5}  {printable(step.name)} ({step.told})")
        for each in step.findings:
            print(f"   {each.verdict.value:5}  {each.message}")
    if found.verdict is Verdict.BLOCK:
        print(f"block: step {found.first_invalid} is the first that does not hold")
    else:
        print(found.verdict.value)
