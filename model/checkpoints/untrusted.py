"""What a weights file of anybody holds: safetensors, or what `torch.save` writes.

It is read so that it can neither run anything nor take more memory than it has bytes.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch

from tessera_mosaic.model.checkpoints.files import CheckpointError
from tessera_mosaic.model.checkpoints.parameters import short
from tessera_mosaic.model.checkpoints.pickles import check_pickle

MOST_HEAD = 1 << 22
"""Most bytes that a safetensors file may say of its parameters: fifty times a published one."""

MOST_VALUES = 200_000
"""Most values in them."""

MARKS = (b",", b":", b"[", b"{")
"""One of these stands before every value of JSON but the first."""


@dataclass(frozen=True)
class HeldWeights:
    """What a weights file holds.

    Parameters
    ----------
    payload
        Its tensors by name; of a pickle the dictionary that it holds, empty where it holds none.
    safetensors
        Whether it is of that format.
    metadata
        Texts beside the tensors of a safetensors file.
    """

    payload: dict[Any, Any]
    safetensors: bool
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_weights(path: Path) -> HeldWeights:
    """Read a weights file that nothing is known of.

    Raises
    ------
    CheckpointError
        In one line, if it is no such file, is damaged, or wants to run something.
    """
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(b"PK"):
        return HeldWeights(_read_pickled(path), False)
    if start[8:] == b"{":
        return _read_safetensors(path)
    raise CheckpointError("this is no weights file: neither PyTorch's zip nor safetensors")


def _read_safetensors(path: Path) -> HeldWeights:
    _refuse_talking(path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return HeldWeights(state, True, file.metadata() or {})
    except Exception as error:
        # The header is arbitrary JSON, and raises whatever it leads the libraries to.
        raise CheckpointError(f"it is damaged: {short(str(error))}") from None


def _refuse_talking(path: Path) -> None:
    """Raise if what a file says of its parameters would take more memory than theirs."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > path.stat().st_size:
            # It ends before: its library says so.
            return
        head = file.read(min(size, MOST_HEAD))
    if size > MOST_HEAD or sum(head.count(mark) for mark in MARKS) > MOST_VALUES:
        raise CheckpointError(f"it says {size:,} bytes about its parameters, more than any encoder")


def _read_pickled(path: Path) -> dict[Any, Any]:
    _refuse_swelling(path)
    try:
        # By the reader that unpickles it: another might find another pickle in a forged zip.
        check_pickle(torch._C.PyTorchFileReader(str(path)).get_record("data.pkl"))
        payload = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        # The unpickler meets arbitrary bytes, and raises whatever they lead it to.
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it asks to run {foreign[1]}" if foreign else "it is damaged"
        raise CheckpointError(f"it cannot be read safely as weights: {reason}") from None
    return payload if isinstance(payload, dict) else {}


def _refuse_swelling(path: Path) -> None:
    """Raise if a zip would take more memory than it has bytes, which PyTorch's own never do."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise CheckpointError("it cannot be read safely as weights: it is damaged") from None
    if unpacked > path.stat().st_size:
        raise CheckpointError(
            f"it cannot be read safely as weights: it unpacks to {unpacked:,} bytes"
        )
