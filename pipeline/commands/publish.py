"""The command `publish`: what makes a mosaic easy to find, to see and to open."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import launcher_argument, patience_argument
from tessera_mosaic.pipeline.publishing.publish import publish


def publish_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `publish`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    patience_argument(parser)
    launcher_argument(parser)


def publish_command(args: argparse.Namespace) -> dict[str, Any]:
    """Publish a mosaic, say what is where, and return the fields of `publish --json`.

    Raises
    ------
    BadInput
        If there is no mosaic, or part of it is damaged.
    """
    published = publish(args.store, args.store_patience, args.single_launcher)
    if not args.json:
        print(
            f"{published.tiles:,} tiles in the registry, {published.new:,} of them new; "
            f"{published.painted:,} painted into the picture"
        )
        print(f"report: {published.report}")
    return published.to_json()
