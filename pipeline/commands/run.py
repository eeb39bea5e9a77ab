"""The command `run`: embed a region's year into a mosaic."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import (
    area_arguments,
    catalogue_arguments,
    encoder_arguments,
    job_arguments,
    job_options,
    loss_arguments,
    one_sensor_lines,
    rule_arguments,
    years,
)
from tessera_mosaic.pipeline.commands.contract import Contract, Material
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.job.outcome import Outcome, together
from tessera_mosaic.requests import DEFAULT_BLOCK, RunRequest

CONTRACT = Contract(
    costs="what `plan` tells: reading a year of scenes, and encoding every pixel",
    takes={"catalog": Material.CATALOGUE, "weights": Kind.WEIGHTS},
    gives={"store": Kind.MOSAIC},
    needs=(
        "a mosaic that is there was made with the same weights, imagery, rules and precision",
        "the catalogue's imagery is one that the model was trained on",
    ),
    resumes=True,
    lasting=("`overwrite` and `refresh` replace tiles, whose old bytes are gone",),
    planned_as="run",
    tells=("tiles", "done", "failed", "pixels", "seconds", "pixels_per_second"),
    requests=(RunRequest,),
)


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `run`."""
    run_options(parser)
    parser.add_argument(
        "--year",
        required=True,
        type=years,
        metavar="YEAR",
        help="calendar year, or several: 2019-2024",
    )


def run_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `run`, but for the year."""
    catalogue_arguments(parser)
    area_arguments(parser)
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    encoder_arguments(parser)
    parser.add_argument(
        "--block",
        type=int,
        default=DEFAULT_BLOCK,
        metavar="PX",
        help="side of a block (%(default)s)",
    )
    parser.add_argument(
        "--depths",
        action="store_true",
        help="store the shorter embeddings that the model's first values are, too",
    )
    rule_arguments(parser)
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="on which workers encode (cpu)"
    )
    parser.add_argument(
        "--reproducible",
        action="store_true",
        help="hold every worker to the same instructions (AVX2), so that unlike processors make "
        "the same bytes; slower",
    )
    loss_arguments(parser)
    parser.add_argument(
        "--max-cost",
        type=float,
        metavar="USD",
        help="refuse a run whose plan comes to more money (see `plan`)",
    )
    parser.add_argument(
        "--max-tiles", type=int, metavar="N", help="refuse a run that has more tiles"
    )
    parser.add_argument(
        "--read-memory",
        type=float,
        metavar="GB",
        help="memory of a machine that annual stacks may take before they are encoded (4, and at "
        "most a quarter of what there is)",
    )
    parser.add_argument(
        "--read-disk",
        type=float,
        metavar="GB",
        help="the same of its local disk (20, and at most half of what is free)",
    )
    job_arguments(parser)


def run_request(args: argparse.Namespace) -> RunRequest:
    """The request that the options of `run` come to.

    Raises
    ------
    BadInput
        If one of them cannot be used.
    """
    return RunRequest(
        catalog=args.catalog,
        region=args.region,
        buffer=args.buffer,
        year=args.year[0] if isinstance(args.year, tuple) else args.year,
        store=args.store,
        allow_hosts=tuple(args.allow_host),
        land=args.land,
        pixels=args.pixels,
        tile=args.tile,
        margin=args.margin,
        model=args.model,
        weights=args.weights,
        block=args.block,
        depths=args.depths,
        offset=args.offset,
        s1_mosaic=args.s1_mosaic,
        precision=args.precision,
        device=args.device,
        reproducible=args.reproducible,
        max_tiles=args.max_tiles,
        max_cost=args.max_cost,
        allow_lost_scenes=args.allow_lost_scenes,
        allow_lost_sensor=args.allow_lost_sensor,
        read_memory=args.read_memory,
        read_disk=args.read_disk,
        **job_options(args),
    )


def run_command(args: argparse.Namespace) -> dict[str, Any]:
    """Run the job, tell what came of it, and return the fields of `run --json`."""
    # Imported here, so that --help does not load Beam.
    from tessera_mosaic.launching import run_years

    asked = args.year if isinstance(args.year, tuple) else (args.year,)
    outcomes = dict(zip(asked, run_years(run_request(args), asked), strict=True))
    whole = together(outcomes.values())
    retry = retry_command(args.words, whole)
    for year, outcome in outcomes.items():
        if not args.json:
            where = args.store if len(asked) == 1 else f"{args.store}, {year}"
            what = f"{outcome.pixels:,} pixels embedded"
            print_outcome(where, outcome, what, retry if year == asked[-1] else None)
    told = {**whole.to_json(), "retry": retry}
    if isinstance(args.year, tuple):
        told["years"] = {str(year): outcome.to_json() for year, outcome in outcomes.items()}
    return told


def print_outcome(where: str, outcome: Outcome, what: str, retry: str | None) -> None:
    """Print what came of a tile job, failures by class, and how to try again."""
    share = f"share {outcome.share}: " if outcome.share else ""
    print(
        f"{where}: {share}{outcome.done} of {outcome.tiles} tiles done, {outcome.failed} failed, "
        f"{outcome.missing} missing; {what} in {outcome.seconds:.0f} s"
    )
    for line in one_sensor_lines(outcome.without):
        print(line)
    for kind, count in outcome.failures.items():
        print(f"  {kind}: {count} tiles")
    if whole := outcome.whole:
        print(
            f"all shares have ended: {whole.done} of {whole.tiles} tiles done, {whole.failed} "
            f"failed, {whole.missing} missing"
        )
    if retry:
        print(f"to try them again:\n  {retry}")


def retry_command(words: list[str], outcome: Outcome) -> str | None:
    """The command that makes what is left; None if nothing is. Without what may be a credential.

    It is the command that was given, but for `--retry-failed` where tiles were never tried: with
    it they would be left out again.

    Parameters
    ----------
    words
        Of the command line, without the program's name.
    outcome
        What came of the tiles.
    """
    if not (outcome.failed or outcome.missing):
        return None
    told, last = [], ""
    for word in words:
        if word == "--retry-failed" and outcome.missing:
            continue
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if outcome.share and (option or last) == "--share" and value:
            # What `auto` came to holds outside of the job array, too.
            value = outcome.share
        told.append(f"{option}{equals}{plain(value)}")
        last = word
    return shlex.join(["tessera-mosaic", *told])
