"""The command `encode`: a directory of d-pixel arrays to codes and scales."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import time
from pathlib import Path
from typing import Any

from tessera_mosaic.model.engine.kernels import DTYPES
from tessera_mosaic.model.engine.packing import SAMPLING
from tessera_mosaic.model.observations import Origin, Stack
from tessera_mosaic.pipeline.commands.refusals import model_refusals
from tessera_mosaic.pipeline.embedding.encode_directory import encode_directory
from tessera_mosaic.pipeline.embedding.encoders import load_encoder
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.scenes.dpixel_catalog import DESCRIPTION, Description, read_description
from tessera_mosaic.pipeline.stacks.dpixel_files import read_stack_directory

log = logging.getLogger(__name__)


def encode_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `encode`."""
    parser.add_argument("--stack", required=True, metavar="DIR", help="d-pixel directory")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the arrays go")
    parser.add_argument("--model", help="name of a card: see `tessera-mosaic models`")
    parser.add_argument("--weights", metavar="F", help="checkpoint file or address")
    parser.add_argument("--precision", choices=tuple(DTYPES), default="fp32")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--dim", type=int, metavar="K", help="keep the first K values")
    parser.add_argument(
        "--source", choices=("mpc", "aws"), help="where the imagery is from, if stack.json is not"
    )
    parser.add_argument("--float", action="store_true", help="write embedding.npy too")
    parser.add_argument("--report", action="store_true", help="how faithful quantization was")


@model_refusals()
def encode_command(args: argparse.Namespace) -> dict[str, Any]:
    """Embed a d-pixel directory.

    Returns
    -------
    The fields of `encode --json`.

    Raises
    ------
    BadInput
        If the directory, the options or the weights cannot be used.
    """
    stack = read_stack_directory(args.stack)
    place = _place(args.stack, stack)
    imagery = _imagery(args, place)
    encoder = load_encoder(
        args.model, args.weights, args.precision, device=args.device, imagery=imagery
    )
    at = None
    if place is not None:
        at = Origin(place.window.zone, place.window.row, place.window.col, place.year)
    elif encoder.card.family in SAMPLING:
        raise BadInput(
            f"{encoder.card.name} draws observations by place, and {args.stack} has no "
            f"{DESCRIPTION} that says where it is"
        )
    began = time.monotonic()
    embedded, report = encode_directory(
        stack, args.out, encoder, at, args.dim, floats=args.float, report=args.report
    )
    seconds = time.monotonic() - began
    height, width = stack.shape
    dims = encoder.card.check_depth(args.dim)
    if not args.json:
        print(
            f"{args.out}: {embedded:,} of {height * width:,} px embedded with "
            f"{encoder.card.name}, {dims} values each, in {seconds:.1f} s"
        )
        if report is not None:
            print(
                f"quantization: cosine {report.mean_cosine:.6f} on average and "
                f"{report.least_cosine:.6f} at the least, largest error "
                f"{report.largest_error:.4g}, {report.share_at_limit:.2%} of codes at the limit"
            )
    return {
        "out": str(args.out),
        "model": encoder.card.name,
        "weights_sha256": encoder.weights_sha256,
        "shape": [height, width, dims],
        "embedded": embedded,
        "seconds": round(seconds, 3),
        "pixels_per_second": round(embedded / seconds, 1) if seconds else 0.0,
        "report": report and dataclasses.asdict(report),
    }


def _place(directory: str, stack: Stack) -> Description | None:
    """What `stack.json` says, where there is one: d-pixels of others come without."""
    if not (Path(directory) / DESCRIPTION).exists():
        return None
    place = read_description(directory)
    if place.window.shape != stack.shape:
        raise BadInput(
            f"{directory}: {DESCRIPTION} says {place.window.shape} pixels, and the arrays have "
            f"{stack.shape}"
        )
    return place


def _imagery(args: argparse.Namespace, place: Description | None) -> str | None:
    """Where the imagery is from, as the stack or the user says."""
    if place is None:
        return args.source
    if args.source not in (None, place.imagery):
        raise BadInput(
            f"--source {args.source}: {args.stack}/{DESCRIPTION} says that this is imagery of "
            f"{place.imagery}"
        )
    return place.imagery
