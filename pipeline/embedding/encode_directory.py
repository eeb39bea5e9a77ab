"""A directory of d-pixel arrays to codes and scales, a band of rows at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0
from numpy.typing import DTypeLike, NDArray

from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.model.observations import Origin, Stack
from tessera_mosaic.model.quantize import Fidelity, fidelity
from tessera_mosaic.pipeline.embedding.encoders import encoder_errors
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.local_files import make_directory

log = logging.getLogger(__name__)


BAND_PIXELS = 1 << 16
"""Pixels, in whole rows, whose embeddings are in memory at once."""


Shape = tuple[tuple[int, ...], DTypeLike]
"""Shape and type of an array."""


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
