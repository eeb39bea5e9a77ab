"""d-pixel directories: an annual stack as `.npy` files, and `stack.json` beside them."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from model.observations import S1_BANDS, S2_BANDS, Stack
from pipeline.errors import BadInput

ARRAYS = {field.name: f"{field.name}.npy" for field in fields(Stack)}
"""File of each array of a stack."""

DESCRIPTION = "stack.json"


def read_stack_directory(directory: str | Path) -> Stack:
    """Read a d-pixel directory, its arrays memory-mapped.

    Raises
    ------
    BadInput
        If a file is missing or the arrays do not fit together.
    """
    arrays = {}
    for name, file in ARRAYS.items():
        path = Path(directory) / file
        try:
            arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadInput(f"{path} cannot be read as a d-pixel array: {error}") from None
    _check(arrays, str(directory))
    return Stack(**arrays)


def write_stack(directory: str | Path, stack: Stack) -> None:
    """Write a stack's arrays into a directory, which is made."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    for name, file in ARRAYS.items():
        np.save(Path(directory) / file, getattr(stack, name))


def _check(arrays: dict[str, Any], where: str) -> None:
    masks = arrays["masks"]
    if masks.ndim != 3:
        raise BadInput(f"{where}: masks.npy must be (T, H, W), and is {masks.shape}")
    _, height, width = masks.shape
    expected = {
        "bands": (arrays["doys"].shape, (height, width, len(S2_BANDS)), np.uint16),
        "masks": (arrays["doys"].shape, (height, width), np.uint8),
    }
    for state in ("sar_ascending", "sar_descending"):
        doys = arrays[f"{state}_doy"].shape
        expected[state] = (doys, (height, width, len(S1_BANDS)), np.int16)
    for name, (times, rest, dtype) in expected.items():
        array = arrays[name]
        if len(times) != 1 or array.shape != (*times, *rest) or array.dtype != dtype:
            raise BadInput(
                f"{where}: {name}.npy must be {np.dtype(dtype)} {(*times, *rest)} by the other "
                f"files, and is {array.dtype} {array.shape}"
            )


def write_description(directory: str | Path, description: dict[str, Any]) -> None:
    """Write `stack.json`: where the pixels lie and which scenes they are from."""
    text = json.dumps(description, indent=1) + "\n"
    (Path(directory) / DESCRIPTION).write_text(text, encoding="utf-8")
