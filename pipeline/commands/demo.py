"""The command `demo`: the whole main job on an archive that it simulates, and a picture of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tessera_mosaic.pipeline.commands.contract import Contract, Material

CONTRACT = Contract(
    costs="a minute or two, and some 10 MB of disk",
    gives={"out": Material.FOLDER},
    tells=("archive", "store", "picture"),
)


def demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `demo`."""
    parser.add_argument("--out", default="demo", help="folder for all that it makes (demo)")


def demo_command(args: argparse.Namespace) -> dict[str, Any]:
    """Simulate an archive, make its mosaic, draw a picture, and say what is where.

    Returns
    -------
    The fields of `run --json`, and where `archive`, `store` and `picture` are.
    """
    # Imported here, so that --help does not load PyTorch.
    from tessera_mosaic.pipeline.commands.demo_steps import LAND, make_demo

    return make_demo(Path(args.out), LAND, quiet=args.json)
