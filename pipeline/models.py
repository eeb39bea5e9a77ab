"""The commands around encoders: `encode` a d-pixel directory, and look after `models`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0
from numpy.typing import DTypeLike, NDArray

from model.cards import KNOWN, Card, card_named
from model.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from model.encoder import Encoder
from model.kernels import DTYPES
from model.networks import parameter_count
from model.observations import Origin, Stack
from model.packing import SAMPLING
from model.quantize import Fidelity, fidelity
from pipeline.dpixels import (
    DESCRIPTION,
    Description,
    make_directory,
    read_description,
    read_stack_directory,
)
from pipeline.encoders import encoder_errors, load_encoder
from pipeline.errors import BadInput
from pipeline.web import plain
from pipeline.weights import local_weights, pull_weights, pulled_weights

BAND_PIXELS = 1 << 16
"""Pixels, in whole rows, whose embeddings are in memory at once."""

Shape = tuple[tuple[int, ...], DTypeLike]
"""Shape and type of an array."""


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


def encode_directory(
    stack: Stack,
    out: str | Path,
    encoder: Encoder,
    at: Origin | None = None,
    dims: int | None = None,
    floats: bool = False,
    report: bool = False,
) -> tuple[int, Fidelity | None]:
    """Embed a stack into `codes.npy`, `scales.npy` and, if asked for, `embedding.npy`.

    Parameters
    ----------
    stack
        Of any size; worked on in bands of whole rows.
    out
        Directory, which is made.
    encoder
        With which.
    at
        Where and when the stack is, for encoders that draw by place.
    dims
        Values to keep; None for all.
    floats, report
        Whether to write values before quantization, and to compare codes with them.

    Returns
    -------
    Number of embedded pixels, and how faithful quantization was if that was asked for.

    Raises
    ------
    BadEmbedding, OutOfMemory, DeviceError
        As `encoder_errors` tells them apart.
    BadInput
        If the directory cannot be made or written to.
    CardError
        If the encoder has no embeddings of so many values.
    """
    height, width = stack.shape
    kept = encoder.card.check_depth(dims)
    make_directory(out)
    arrays: dict[str, Shape] = {
        "codes": ((height, width, kept), np.int8),
        "scales": ((height, width), np.float32),
    }
    if floats:
        arrays["embedding"] = (height, width, kept), np.float32
    embedded, faith = 0, None
    with _new_arrays(Path(out), arrays) as append:
        rows = max(BAND_PIXELS // max(width, 1), 1)
        for top in range(0, height, rows):
            band = slice(top, min(top + rows, height))
            here = at and dataclasses.replace(at, row=at.row + top)
            with encoder_errors():
                made = encoder.embed(_rows(stack, band), here, floats or report, dims)
            append("codes", made.codes)
            append("scales", made.scales)
            embedded += int(np.isfinite(made.scales).sum())
            if made.values is None:
                continue
            if floats:
                append("embedding", made.values)
            if report and (part := fidelity(made.values, made.codes, made.scales)):
                faith = part if faith is None else faith + part
    return embedded, faith


@contextlib.contextmanager
def _new_arrays(
    folder: Path, arrays: dict[str, Shape]
) -> Iterator[Callable[[str, NDArray[Any]], None]]:
    """Array files, written row by row, that take their names when all of them are whole."""
    files: dict[str, IO[bytes]] = {}

    def append(name: str, rows: NDArray[Any]) -> None:
        files[name].write(np.ascontiguousarray(rows, arrays[name][1]).data)

    try:
        with contextlib.ExitStack() as opened:
            for name, (shape, dtype) in arrays.items():
                files[name] = opened.enter_context((folder / f"{name}.npy.partial").open("wb"))
                descr = dtype_to_descr(np.dtype(dtype))
                header = {"descr": descr, "fortran_order": False, "shape": shape}
                write_array_header_1_0(files[name], header)
            yield append
        if "embedding" not in arrays:
            # One of an earlier run would not belong to these codes.
            (folder / "embedding.npy").unlink(missing_ok=True)
        for name in arrays:
            os.replace(folder / f"{name}.npy.partial", folder / f"{name}.npy")
    except OSError as error:
        raise BadInput(f"{folder} cannot be written to: {error.strerror}") from None
    finally:
        for name in arrays:
            (folder / f"{name}.npy.partial").unlink(missing_ok=True)


def _rows(stack: Stack, band: slice) -> Stack:
    """Some rows of a stack."""
    arrays = {field.name: getattr(stack, field.name) for field in dataclasses.fields(Stack)}
    return Stack(**{n: a[:, band] if a.ndim > 1 else a for n, a in arrays.items()})


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


def models_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `models`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    pull = actions.add_parser("pull", help="fetch and check a model's published weights")
    pull.add_argument("model", metavar="M", help="name of a card")
    inspect = actions.add_parser("inspect", help="say what a weights file is")
    inspect.add_argument("file", metavar="F", help="checkpoint file or address")
    convert = actions.add_parser("convert", help="write weights as safetensors, or back as .pt")
    convert.add_argument("file", metavar="F", help="checkpoint file or address")
    convert.add_argument("out", metavar="OUT", help="file to write: .safetensors or .pt")
    for action in (pull, inspect, convert):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS)


def models_command(args: argparse.Namespace) -> dict[str, Any]:
    """List the cards, or do one of the actions.

    Returns
    -------
    The fields of `models --json`.
    """
    result: dict[str, Any]
    if args.action == "pull":
        card = card_named(args.model)
        path = pull_weights(card)
        result = {"model": card.name, "path": str(path), "sha256": card.sha256}
        line = f"{card.name}: {path}, sha256 as published"
    elif args.action == "inspect":
        path = local_weights(args.file)
        described = describe_checkpoint(read_checkpoint(path))
        result = {"file": plain(args.file), "bytes": path.stat().st_size, **described}
        line = "\n".join(f"{name:11} {value}" for name, value in result.items())
    elif args.action == "convert":
        checkpoint = read_checkpoint(local_weights(args.file))
        write_checkpoint(checkpoint, args.out)
        result = {"out": args.out} | describe_checkpoint(read_checkpoint(args.out))
        line = f"{args.out}: {result['family']}, sha256 {result['sha256']}"
    else:
        result = {"models": [describe_card(card) for card in KNOWN.values()]}
        line = _table(result["models"])
    if not args.json:
        print(line)
    return result


def describe_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a weights file is."""
    published = [card.name for card in KNOWN.values() if card.sha256 == checkpoint.sha256]
    return {
        "family": checkpoint.family,
        "parameters": sum(value.numel() for value in checkpoint.state.values()),
        "sizes": dataclasses.asdict(checkpoint.sizes),
        "ignored": checkpoint.dropped,
        "sha256": checkpoint.sha256,
        "published": published[0] if published else None,
    }


def describe_card(card: Card) -> dict[str, Any]:
    """A card, how many parameters its encoder has, and where its weights are on this machine."""
    here = pulled_weights(card)
    return dataclasses.asdict(card) | {
        "parameters": parameter_count(card.family, card.sizes),
        "pulled": None if here is None else str(here),
    }


def _table(models: list[dict[str, Any]]) -> str:
    """The cards, a line each, and what there is to know of each."""
    lines = [
        f"{'model':14} {'parameters':>13}  {'values':18} {'imagery':9} {'kernel':9} {'licence':10} "
        "weights"
    ]
    for model in models:
        values = ", ".join(map(str, (*model["depths"], model["dims"])))
        lines.append(
            f"{model['name']:14} {model['parameters']:>13,}  {values:18} "
            f"{', '.join(model['imagery']):9} {model['kernel']:9} {model['licence']:10} "
            f"{model['pulled'] or model['page']}"
        )
    lines += [f"\n{model['name']}: {model['notes']}" for model in models]
    return "\n".join(lines)
