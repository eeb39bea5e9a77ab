"""The command `changed`: how far a region's embeddings lie apart in two years, as a map."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import job_arguments, job_options
from tessera_mosaic.pipeline.commands.contract import Contract
from tessera_mosaic.pipeline.commands.map import ground_arguments
from tessera_mosaic.pipeline.commands.run import print_outcome, retry_command
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.downstream.change_request import ChangedRequest

CONTRACT = Contract(
    costs="reads the region's codes once in each year, and a sample of them before",
    takes={"store": Kind.MOSAIC},
    gives={"out": Kind.CHANGE},
    needs=("the mosaic holds both years there (`status` tells)",),
    resumes=True,
    lasting=("`overwrite` and `refresh` replace tiles, whose old bytes are gone",),
    tells=("compared", "changed", "radar_gap", "not_in_both", "tiles", "done", "failed"),
    requests=(ChangedRequest,),
)


def changed_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `changed`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument(
        "--from", required=True, type=int, metavar="Y", dest="from_year", help="the earlier year"
    )
    parser.add_argument(
        "--to", required=True, type=int, metavar="Y2", dest="to_year", help="the later year"
    )
    ground_arguments(parser)
    job_arguments(parser)


def changed_request(args: argparse.Namespace) -> ChangedRequest:
    """The request that the options of `changed` come to.

    Raises
    ------
    BadInput
        If they cannot be used.
    """
    return ChangedRequest(
        store=args.store,
        from_year=args.from_year,
        to_year=args.to_year,
        region=args.region,
        out=args.out,
        land=args.land,
        pixels=args.pixels,
        **job_options(args),
    )


def changed_command(args: argparse.Namespace) -> dict[str, Any]:
    """Make a map of change, tell what came of it, and return the fields of `changed --json`."""
    # Imported here, so that --help does not load Beam.
    from tessera_mosaic.pipeline.downstream.make_change import changed

    found = changed(changed_request(args))
    outcome, told = found.outcome, found.to_json()
    retry = retry_command(args.words, outcome)
    if not args.json:
        print_outcome(args.out, outcome, f"{outcome.pixels:,} pixels compared", retry)
        for line in described(told):
            print(f"  {line}")
        if found.report:
            print(f"report: {found.report}")
    return {**told, "retry": retry}


def described(told: dict[str, Any]) -> list[str]:
    """What a map of change holds, in some lines for people."""
    lines = []
    if told["cosine_beyond"] is not None:
        lines.append(
            f"{told['changed']:,} of {told['compared']:,} pixels lie beyond the noise of unchanged "
            f"ground, below a cosine of {told['cosine_beyond']:.3f} "
            f"({told['changed_square_metres'] / 1e4:,.2f} ha; counts are no estimates of areas)"
        )
    if told["radar_gap"]:
        lines.append(f"{told['radar_gap']:,} pixels are masked: radar saw them in one year alone")
    if told["not_in_both"]:
        lines.append(f"{told['not_in_both']:,} pixels are masked: embedded in one year alone")
    return lines + list(told["notes"])
