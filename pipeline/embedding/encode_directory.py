"""A folder of d-pixel arrays to codes and scales, a band of rows at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0
from numpy.typing import DTypeLike, NDArray

from tessera_mosaic.model.cards import CardError
from tessera_mosaic.model.engine.packing import SAMPLING
from tessera_mosaic.model.observations import Origin, Stack
from tessera_mosaic.model.quantize import Fidelity, fidelity
from tessera_mosaic.pipeline.embedding.adopted_grids import GRID
from tessera_mosaic.pipeline.embedding.encoder_requests import EncodeRequest
from tessera_mosaic.pipeline.embedding.encoders import Encoder
from tessera_mosaic.pipeline.errors import BadInput, as_bad_input
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.scenes.dpixel_catalog import DESCRIPTION, Description, read_description
from tessera_mosaic.pipeline.stacks.dpixel_files import read_stack_directory

BAND_PIXELS = 1 << 16
"""Pixels, in whole rows, whose embeddings are in memory at once."""

Shape = tuple[tuple[int, ...], DTypeLike]
"""Shape and type of an array."""


@dataclass(frozen=True)
class Encoded:
    """What became of a folder of d-pixels.

    Parameters
    ----------
    model
        Name of the card that was used.
    weights_sha256
        Hexadecimal digest of the weights file.
    shape
        Number of rows, of columns, and of values of an embedding.
    embedded
        Number of pixels that have an embedding.
    seconds
        Seconds that embedding and writing took.
    report
        How faithful quantization was, if that was asked for and there was any pixel.
    """

    model: str
    weights_sha256: str
    shape: tuple[int, int, int]
    embedded: int
    seconds: float
    report: Fidelity | None


def encode_directory(request: EncodeRequest, band_pixels: int = BAND_PIXELS) -> Encoded:
    """Embed d-pixel arrays into `codes.npy`, `scales.npy` and, if asked for, `embedding.npy`.

    Parameters
    ----------
    request
        The arrays, the folder that codes go to, and the encoder.
    band_pixels
        Number of pixels whose embeddings are in memory at once, to whole rows.

    Returns
    -------
    Encoded
        The numbers that were counted. The files hold codes, int8 (H, W, D), and scales, float32
        (H, W); where `stack.json` says where they lie, `grid.json` says so to `adopt`.

    Raises
    ------
    BadInput
        If the arrays, the encoder or the folder for what comes out cannot be used.
    BadEmbedding, OutOfMemory, DeviceError
        As `Encoder.embed`.

    Examples
    --------
    >>> region = tm.StackRequest("archive/catalog.json", "2.995,50.845,2.998,50.847", 2024)
    >>> made = tm.write_stack(region, "stack")
    >>> tm.encode_directory(tm.EncodeRequest("stack", "embeddings")).shape
    (24, 22, 128)
    """
    stack = read_stack_directory(request.stack)
    place = _place(request, stack)
    encoder = Encoder.open(
        request.model,
        request.weights,
        request.precision,
        device=request.device,
        imagery=_imagery(request, place),
    )
    at = None
    if place is not None:
        at = Origin(place.window.zone, place.window.row, place.window.col, place.year)
    elif encoder.card.family in SAMPLING:
        raise BadInput(
            f"{encoder.card.name} draws observations by place, and {request.stack} has no "
            f"{DESCRIPTION} that says where it is"
        )
    with as_bad_input(CardError):
        dims = encoder.card.check_depth(request.dim)
    began = time.monotonic()
    embedded, report = _embed(stack, at, encoder, request, dims, band_pixels, place)
    return Encoded(
        encoder.card.name,
        encoder.weights_sha256,
        (*stack.shape, dims),
        embedded,
        time.monotonic() - began,
        report,
    )


def _place(request: EncodeRequest, stack: Stack) -> Description | None:
    """What `stack.json` says, where there is one: d-pixels of others come without."""
    if not (Path(request.stack) / DESCRIPTION).exists():
        return None
    place = read_description(request.stack)
    if place.window.shape != stack.shape:
        raise BadInput(
            f"{request.stack}: {DESCRIPTION} says {place.window.shape} pixels, and the arrays have "
            f"{stack.shape}"
        )
    return place


def _imagery(request: EncodeRequest, place: Description | None) -> str | None:
    """Where the imagery is from, as the stack or the user says."""
    if place is None:
        return request.source
    if request.source not in (None, place.imagery):
        raise BadInput(
            f"{request.stack}/{DESCRIPTION} says that this is imagery of {place.imagery}",
            "source",
            request.source,
        )
    return place.imagery


def _embed(
    stack: Stack,
    at: Origin | None,
    encoder: Encoder,
    request: EncodeRequest,
    dims: int,
    band_pixels: int,
    place: Description | None,
) -> tuple[int, Fidelity | None]:
    """Embed a stack into the arrays of the request; count its pixels, and compare their codes."""
    height, width = stack.shape
    make_directory(request.out)
    arrays: dict[str, Shape] = {
        "codes": ((height, width, dims), np.int8),
        "scales": ((height, width), np.float32),
    }
    if request.floats:
        arrays["embedding"] = (height, width, dims), np.float32
    embedded, faith = 0, None
    with _new_arrays(Path(request.out), arrays) as append:
        rows = max(band_pixels // max(width, 1), 1)
        for top in range(0, height, rows):
            band = slice(top, min(top + rows, height))
            here = at and dataclasses.replace(at, row=at.row + top)
            made = encoder.embed(_rows(stack, band), here, request.floats or request.report, dims)
            append("codes", made.codes)
            append("scales", made.scales)
            embedded += int(np.isfinite(made.scales).sum())
            if made.values is None:
                continue
            if request.floats:
                append("embedding", made.values)
            if request.report and (part := fidelity(made.values, made.codes, made.scales)):
                faith = part if faith is None else faith + part
    _write_grid(Path(request.out) / GRID, place)
    return embedded, faith


def _write_grid(path: Path, place: Description | None) -> None:
    """Say where the arrays lie, where that is known."""
    partial = path.with_name(f"{GRID}.partial")
    try:
        if place is None:
            # One of an earlier run would not belong to these codes.
            path.unlink(missing_ok=True)
            return
        told = {"crs": place.window.crs, "transform": place.window.transform}
        partial.write_text(json.dumps(told) + "\n")
        os.replace(partial, path)
    except OSError as error:
        raise BadInput(f"{path.parent} cannot be written to: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


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
