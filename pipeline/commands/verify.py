"""The command `verify`: every planned tile against its record and its bytes."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import patience_argument
from tessera_mosaic.pipeline.commands.contract import Contract
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.job.job_request import JobOptions
from tessera_mosaic.pipeline.verification.findings import Findings, Problem, tell_nobody
from tessera_mosaic.pipeline.verification.verify import verify

CONTRACT = Contract(
    costs="reads every byte of the store once, or of its year",
    takes={"store": Kind.MOSAIC},
    tells=("checked", "ok", "problems"),
    requests=(JobOptions,),
)


def verify_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `verify`."""
    parser.add_argument(
        "--store", required=True, help="path or URL of a mosaic, a map, or a folder of d-pixels"
    )
    parser.add_argument("--year", type=int, help="one year (all by default)")
    patience_argument(parser)


def verify_command(args: argparse.Namespace) -> dict[str, Any]:
    """Check a store, name its problems, and return the fields of `verify --json`.

    Raises
    ------
    BadInput
        If there is no mosaic, no map and no folder of d-pixels, or it does not have the year.
    """
    tell = tell_nobody if args.json else print_problem
    findings = verify(args.store, args.year, tell, args.store_patience)
    if not args.json:
        print_findings(findings)
    return findings.to_json()


def print_problem(problem: Problem) -> None:
    """Print a problem as it is found."""
    print(f"{problem.name}: {problem.kind}: {problem.detail}")


def print_findings(findings: Findings) -> None:
    """Print how many problems there are, by kind."""
    of = f" of {', '.join(map(str, findings.years))}" if findings.years else ""
    print(f"{findings.checked} checked{of}, {findings.ok} ok, {len(findings.problems)} problems")
    for kind, count in findings.kinds().most_common():
        print(f"  {kind}: {count}")
    if len(findings.arithmetic) > 1:
        print("tiles were computed by unlike processors, so that their last bits may differ:")
        for what, count in findings.arithmetic.most_common():
            print(f"  {what}: {count}")
