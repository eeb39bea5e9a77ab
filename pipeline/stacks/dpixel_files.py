"""d-pixel directories: an annual stack as `.npy` files, and `stack.json` beside them."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.observations import S1_BANDS, S2_BANDS, Stack
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.scenes.dpixel_catalog import DESCRIPTION, read_description
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
)

LAYOUT: dict[str, tuple[tuple[int, ...], Any]] = {
    "bands": ((len(S2_BANDS),), np.uint16),
    "masks": ((), np.uint8),
    "doys": ((), np.uint16),
    "sar_ascending": ((len(S1_BANDS),), np.int16),
    "sar_ascending_doy": ((), np.int16),
    "sar_descending": ((len(S1_BANDS),), np.int16),
    "sar_descending_doy": ((), np.int16),
}
"""Channels and type of each array of a stack."""

SERIES = (
    ("doys", ("bands", "masks")),
    ("sar_ascending_doy", ("sar_ascending",)),
    ("sar_descending_doy", ("sar_descending",)),
)
"""Days of the year, and the arrays that have them along their first axis."""


def read_stack_directory(directory: str | Path) -> Stack:
    """Read a d-pixel directory, its arrays memory-mapped.

    Raises
    ------
    BadInput
        If a file is missing or the arrays do not fit together.
    """
    arrays = {}
    for name in LAYOUT:
        path = Path(directory) / f"{name}.npy"
        if path.exists() and not path.is_file():
            raise BadInput(f"{path} is no file")
        try:
            arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadInput(f"{path} cannot be read as a d-pixel array: {error}") from None
        if not isinstance(arrays[name], np.ndarray):
            raise BadInput(f"{path} cannot be read as a d-pixel array: it holds several")
    _check(arrays, str(directory))
    return Stack(**arrays)


def _check(arrays: dict[str, Any], where: str) -> None:
    """Refuse arrays that do not fit together."""
    if arrays["masks"].ndim != 3:
        raise BadInput(f"{where}: masks.npy must be (T, H, W), and is {arrays['masks'].shape}")
    size = arrays["masks"].shape[1:]
    for doys, names in SERIES:
        days = np.asarray(arrays[doys])
        if days.ndim != 1 or days.dtype.kind not in "iu":
            raise BadInput(f"{where}: {doys}.npy must be integers (T,)")
        if days.size and not 1 <= days.min() <= days.max() <= 366:
            raise BadInput(f"{where}: {doys}.npy must be days of the year, 1 to 366")
        for name in names:
            array, (channels, dtype) = arrays[name], LAYOUT[name]
            expected = (len(days), *size, *channels)
            if array.shape != expected or array.dtype != dtype:
                raise BadInput(
                    f"{where}: {name}.npy must be {np.dtype(dtype)} {expected} by the other "
                    f"files, and is {array.dtype} {array.shape}"
                )


def write_stack_directory(directory: str | Path, stack: Stack, description: dict[str, Any]) -> None:
    """Write a stack's arrays and `stack.json` into a directory, which is made.

    Raises
    ------
    BadInput
        If that cannot be.
    """
    text = json.dumps(description, indent=1) + "\n"
    try:
        make_directory(directory)
        for name in LAYOUT:
            np.save(Path(directory) / f"{name}.npy", getattr(stack, name))
        (Path(directory) / DESCRIPTION).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{directory} cannot be written to: {error.strerror}") from None


def cut_stack(window: Window, directories: Sequence[str | Path]) -> Stack:
    """The part of some stacks of one year that lies in a window of their zone.

    Where stacks have an observation of the same day, that of the first counts. Days without one
    observation in the window are left out.
    """
    cuts: list[tuple[tuple[slice, slice], Stack]] = []
    for directory in directories:
        place, stack = read_description(directory).window, read_stack_directory(directory)
        if place.shape != stack.shape:
            raise BadInput(
                f"{directory}: {DESCRIPTION} says {place.shape} pixels, and the arrays have "
                f"{stack.shape}"
            )
        if place.zone == window.zone:
            cuts += _cut(window, place, stack)
    arrays: dict[str, NDArray[Any]] = {}
    for doys, names in SERIES:
        arrays |= _joined(window.shape, doys, names, cuts)
    return Stack(**arrays)


def _cut(
    window: Window, place: Window, stack: Stack
) -> Iterator[tuple[tuple[slice, slice], Stack]]:
    """What two windows have in common: where in the first, and the stack of it."""
    top, left = max(window.row, place.row), max(window.col, place.col)
    bottom = min(window.row + window.height, place.row + place.height)
    right = min(window.col + window.width, place.col + place.width)
    if top < bottom and left < right:
        common = Window(window.zone, top, left, bottom - top, right - left)
        rows, cols = common.within(place)
        whole = {field.name: getattr(stack, field.name) for field in fields(Stack)}
        part = {n: np.asarray(a[:, rows, cols]) if a.ndim > 1 else a for n, a in whole.items()}
        yield common.within(window), Stack(**part)


def _joined(
    shape: tuple[int, int],
    doys: str,
    names: Sequence[str],
    cuts: Sequence[tuple[tuple[slice, slice], Stack]],
) -> dict[str, NDArray[Any]]:
    """One series of some cuts, by day of the year, and by number where a day has several."""
    keys = [_numbered(getattr(stack, doys)) for _, stack in cuts]
    places = {key: at for at, key in enumerate(sorted({key for some in keys for key in some}))}
    out = {
        name: np.zeros((len(places), *shape, *LAYOUT[name][0]), LAYOUT[name][1]) for name in names
    }
    seen = np.zeros((len(places), *shape), bool)
    for (where, stack), some in zip(cuts, keys, strict=True):
        observed = np.asarray(getattr(stack, names[-1])) != 0
        observed = observed.any(axis=-1) if observed.ndim == 4 else observed
        for at, key in enumerate(some):
            new = observed[at] & ~seen[(places[key], *where)]
            for name in names:
                layer = getattr(stack, name)[at]
                np.copyto(
                    out[name][(places[key], *where)],
                    layer,
                    where=new if layer.ndim == 2 else new[..., None],
                )
            seen[(places[key], *where)] |= new
    keep = seen.any(axis=(1, 2))
    days = np.array([day for day, _ in places], LAYOUT[doys][1])
    return {doys: days[keep], **{name: layers[keep] for name, layers in out.items()}}


def _numbered(days: NDArray[Any]) -> list[tuple[int, int]]:
    """Each day of a series, and how often it was there before."""
    counts: Counter[int] = Counter()
    numbered = []
    for day in days.tolist():
        numbered.append((day, counts[day]))
        counts[day] += 1
    return numbered


def read_dpixels(window: Window, scenes: Sequence[Scene]) -> AnnualStack:
    """Read a block from d-pixel directories, which stand in for scenes."""
    stack = cut_stack(window, [scene.asset("stack") for scene in scenes])
    first_day = dt.date(int(scenes[0].datetime[:4]), 1, 1)

    def dates(doys: NDArray[Any]) -> tuple[str, ...]:
        return tuple(str(first_day + dt.timedelta(int(doy) - 1)) for doy in doys)

    return AnnualStack(
        stack,
        dates(stack.doys),
        dates(stack.sar_ascending_doy),
        dates(stack.sar_descending_doy),
        tuple(sorted(scene.id for scene in scenes)),
        (),
    )
