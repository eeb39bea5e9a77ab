"""The command `publish`: what makes a mosaic easy to find, to see and to open."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import launcher_argument, patience_argument
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.publishing.icechunk import IcechunkRequest
from tessera_mosaic.pipeline.publishing.publish import publish


def publish_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `publish`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    patience_argument(parser)
    launcher_argument(parser)
    parser.add_argument(
        "--icechunk",
        metavar="PATH",
        help="folder, s3:// or gs:// address of two Icechunk repositories over the same bytes, "
        "PATH/tessera and PATH/dclimate, which get a commit if anything is new",
    )
    parser.add_argument(
        "--release", metavar="NAME", help="tag both Icechunk repositories, which then never moves"
    )


def publish_command(args: argparse.Namespace) -> dict[str, Any]:
    """Publish a mosaic, say what is where, and return the fields of `publish --json`.

    Raises
    ------
    BadInput
        If there is no mosaic, or part of it is damaged, or there can be no such repositories.
    """
    if args.release is not None and args.icechunk is None:
        raise BadInput("a release is a tag of Icechunk repositories: give --icechunk", "release")
    request = IcechunkRequest(args.icechunk, args.release) if args.icechunk else None
    published = publish(args.store, args.store_patience, args.single_launcher, request)
    if not args.json:
        print(
            f"{published.tiles:,} tiles in the registry, {published.new:,} of them new; "
            f"{published.painted:,} painted into the picture"
        )
        print(f"report: {published.report}")
        for layout, snapshot in published.snapshots.items():
            print(f"Icechunk repository {args.icechunk.rstrip('/')}/{layout}: snapshot {snapshot}")
    return published.to_json()
