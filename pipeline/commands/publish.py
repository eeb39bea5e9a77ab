"""The command `publish`: what makes a mosaic easy to find, to see and to open."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import (
    launcher_argument,
    patience_argument,
    runner_arguments,
)
from tessera_mosaic.pipeline.commands.contract import Contract, Material
from tessera_mosaic.pipeline.console import own_options, unknown_option
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.job.job_request import JobOptions
from tessera_mosaic.pipeline.publishing.icechunk import IcechunkRequest
from tessera_mosaic.pipeline.publishing.publish import publish

CONTRACT = Contract(
    costs="reads the records, and the new tiles at a coarse step for the pictures; `blocks` reads "
    "all codes of the new tiles",
    gives={"store": Kind.MOSAIC, "icechunk": Material.REPOSITORY},
    needs=("no tile of the mosaic is damaged (`verify` tells)",),
    lasting=("a `release` is a tag that never moves", "a commit of Icechunk stays in its history"),
    tells=("tiles", "new", "painted", "report"),
    requests=(JobOptions,),
)


def publish_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `publish`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument(
        "--blocks",
        action="store_true",
        help="make GeoParquet of blocks of 320 m too, or bring it up to date, with --workers and "
        "--runner as `run` has them",
    )
    runner_arguments(parser)
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
        If there is no mosaic, part of it is damaged, or options do not go together.
    """
    if args.release is not None and args.icechunk is None:
        raise BadInput("a release is a tag of Icechunk repositories: give --icechunk", "release")
    if not args.blocks:
        _check_plain(args)
    request = IcechunkRequest(args.icechunk, args.release) if args.icechunk else None
    made = _blocks(args) if args.blocks else {}
    published = publish(args.store, args.store_patience, args.single_launcher, request)
    if not args.json:
        print(
            f"{published.tiles:,} tiles in the registry, {published.new:,} of them new; "
            f"{published.painted:,} painted into the picture"
        )
        print(f"report: {published.report}")
        for layout, snapshot in published.snapshots.items():
            print(f"Icechunk repository {args.icechunk.rstrip('/')}/{layout}: snapshot {snapshot}")
    return {**published.to_json(), **made}


def _check_plain(args: argparse.Namespace) -> None:
    """Refuse options of the job that makes blocks where none are asked for."""
    if args.beam_arguments:
        said = unknown_option(args.beam_arguments[0], own_options(args))
        raise BadInput(f"{said} (see tessera-mosaic publish --help)")
    if args.workers != 1:
        raise BadInput("it is for --blocks", "workers", args.workers)
    if args.runner != "direct":
        raise BadInput("it is for --blocks", "runner", args.runner)


def _blocks(args: argparse.Namespace) -> dict[str, Any]:
    """Make the blocks, say what came of them, and return their fields."""
    # Imported here, so that --help does not load Beam.
    from tessera_mosaic.pipeline.downstream.make_blocks import BlocksRequest, blocks
    from tessera_mosaic.pipeline.job.beam_options import check_beam_arguments

    check_beam_arguments(args.beam_arguments, own_options(args))
    made = blocks(
        BlocksRequest(
            args.store,
            runner=args.runner,
            workers=args.workers,
            beam_options=tuple(args.beam_arguments),
            store_patience=args.store_patience,
            single_launcher=args.single_launcher,
        )
    )
    if not args.json:
        for year, outcome in made.years.items():
            print(
                f"blocks of {year}: {outcome.done:,} of {outcome.tiles:,} tiles done, "
                f"{outcome.failed:,} failed, {outcome.missing:,} missing"
            )
            for kind, count in outcome.failures.items():
                print(f"  {kind}: {count:,}")
        print(f"blocks: {made.files}")
    return made.to_json()
