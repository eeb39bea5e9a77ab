"""What a packing that was stopped goes on from: a file beside the field's, gone at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tessera_mosaic.model.fields.fidelity import Fidelity
from tessera_mosaic.model.fields.field import FieldError
from tessera_mosaic.model.sealed_tensors import SEAL, SealedFormat
from tessera_mosaic.pipeline.downstream.field_file import read_fidelity
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import MOST_READ, Storage
from tessera_mosaic.pipeline.io.strict import fields, listed, number, text, whole

FORMAT = SealedFormat("tessera_field_part", 1, "begun field", "pack", MOST_READ, FieldError)

ENDING = ".part"
"""What is put behind the name of the field's file."""

EVERY, SHARE = 2.0, 50.0
"""Seconds at least from one to the next, and how many times longer than one takes to write."""


@dataclass(frozen=True)
class Checkpoint:
    """How far a packing has come.

    Parameters
    ----------
    request
        Digest of what is packed, with which sizes.
    done
        Fidelity of the fields that are done; all but the last field are made for the curve alone.
    step, tensors
        Where the one that is being made stands.
    seconds
        Processor time of that one so far.
    """

    request: str
    done: tuple[Fidelity, ...] = ()
    step: int = 0
    tensors: dict[str, NDArray[Any]] | None = None
    seconds: float = 0.0


class CheckpointFile:
    """The file of the checkpoints of one packing.

    Parameters
    ----------
    storage, key
        Where it lies.
    """

    def __init__(self, storage: Storage, key: str) -> None:
        self._storage, self._key = storage, f"{key}{ENDING}"
        self._next = time.monotonic() + EVERY

    def read(self, request: str) -> Checkpoint:
        """Where a packing stands that was begun; at its beginning where none was.

        Raises
        ------
        BadInput
            If another packing was begun there, or the file is damaged.
        """
        try:
            data = self._storage.read(self._key)
        except FileNotFoundError:
            return Checkpoint(request)
        what = "remove it, or name another out"
        place = self._storage.locate(self._key)
        try:
            found = FORMAT.decode(data, _checkpoint)
        except FieldError as error:
            raise BadInput(f"{place}: {error}: {what}") from None
        if found.request != request:
            raise BadInput(f"{place} is of a packing of something else that was begun: {what}")
        return found

    @property
    def due(self) -> bool:
        """Whether it is time for the next."""
        return time.monotonic() >= self._next

    def write(self, made: Checkpoint) -> None:
        """Put a checkpoint in the place of the last."""
        begun = time.monotonic()
        told = {
            "request": made.request,
            "done": [vars(each) for each in made.done],
            "step": made.step,
            "seconds": made.seconds,
        }
        self._storage.write(self._key, FORMAT.encode(told, made.tensors or {}))
        ended = time.monotonic()
        self._next = ended + max(EVERY, SHARE * (ended - begun))

    def remove(self) -> None:
        """Remove it; that there is none is no error."""
        self._storage.delete(self._key)


READ: Mapping[str, Callable[[Any], Any]] = {
    "version": whole,
    SEAL: text,
    "request": text,
    "done": lambda value: listed(value, read_fidelity, 100),
    "step": whole,
    "seconds": lambda value: number(value, 0),
}


def _checkpoint(told: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Checkpoint:
    told = fields(told, READ, *READ)
    return Checkpoint(told["request"], told["done"], told["step"], tensors or None, told["seconds"])
