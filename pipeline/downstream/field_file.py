"""The file of a field: one safetensors file with what is known of the field. Never a pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.fields.fidelity import Fidelity
from tessera_mosaic.model.fields.field import (
    MOST_PARTS,
    MOST_YEARS,
    Field,
    FieldError,
    Layer,
    Rectangle,
)
from tessera_mosaic.model.sealed_tensors import SEAL, SealedFormat
from tessera_mosaic.pipeline.contracts.state import (
    LATTICE,
    STATE,
    Input,
    Kind,
    Numbers,
    State,
)
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.file_place import file_place
from tessera_mosaic.pipeline.io.strict import fields, listed, named, number, text, whole
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, PIXEL, WIDTH, Window, lonlat_bounds

MOST_BYTES = 1 << 29
"""Largest file of a field."""

FORMAT = SealedFormat("tessera_field", 1, "field", "pack", MOST_BYTES, FieldError)

GRID, LAYER = "grid.", "layer."
"""Beginnings of the names of tensors."""


@dataclass(frozen=True)
class RegionField:
    """A field with all that has to be known of it.

    Parameters
    ----------
    field
        The field.
    windows
        Where its rectangles lie.
    years
        Calendar years.
    mosaic, model
        Fingerprint of the mosaic that it was made from, and name of the encoder.
    ratio
        How many times smaller it was asked to be than the codes.
    vectors
        Number of vectors that it was made from.
    fidelity
        How close it comes to them.
    request
        Digest of all that decides its bytes.
    software
        Versions of the software that made it.
    """

    field: Field
    windows: tuple[Window, ...]
    years: tuple[int, ...]
    mosaic: str
    model: str
    ratio: float
    vectors: int
    fidelity: Fidelity
    request: str
    software: Mapping[str, str]

    def __post_init__(self) -> None:
        shapes = tuple((each.height, each.width) for each in self.field.rectangles)
        if shapes != tuple(window.shape for window in self.windows):
            raise FieldError("its windows are not its rectangles")
        if len(self.years) != self.field.years or list(self.years) != sorted(set(self.years)):
            raise FieldError(f"years {self.years} of a field of {self.field.years}")

    @property
    def box(self) -> tuple[float, float, float, float]:
        """West, south, east and north edges in degrees of a box that holds it."""
        boxes = np.array([lonlat_bounds(window) for window in self.windows])
        west, south = boxes[:, :2].min(axis=0)
        east, north = boxes[:, 2:].max(axis=0)
        return float(west), float(south), float(east), float(north)


def field_state(field: RegionField) -> State:
    """What a field says of itself. A file cannot hold its own digest: who reads it adds that."""
    return State(
        Kind.FIELD,
        inputs=(Input(Kind.MOSAIC, field.mosaic),),
        product=field.model,
        fingerprint=field.mosaic,
        dims=field.field.dims,
        crs=tuple(dict.fromkeys(window.crs for window in field.windows)),
        lattice=LATTICE,
        pixel=float(PIXEL),
        extent=field.box,
        years=field.years,
        dtype="float32",
        numbers=Numbers.VALUES,
        nodata=float("nan"),
        uncertainty=f"cosine to the mosaic {field.fidelity.mean:.4f}, 5% below "
        f"{field.fidelity.p5:.4f}",
    )


def encode_field(field: RegionField) -> bytes:
    """A field as the bytes of its file, the same for the same field."""
    held = field.field
    tensors: dict[str, NDArray[Any]] = {
        f"{GRID}{spacing}": grid for spacing, grid in held.grids.items()
    }
    for at, layer in enumerate(held.layers):
        tensors |= {f"{LAYER}{at}.{name}": array for name, array in vars(layer).items()}
    tensors |= {"codes": held.codes, "mean": held.mean}
    if held.known is not None:
        tensors["known"] = np.packbits(held.known)
    told = {
        "windows": [
            [each.zone, each.row, each.col, each.height, each.width] for each in field.windows
        ],
        "years": list(field.years),
        "layers": len(held.layers),
        "spread": held.spread,
        "mosaic": field.mosaic,
        "model": field.model,
        "ratio": field.ratio,
        "vectors": field.vectors,
        "fidelity": vars(field.fidelity),
        "request": field.request,
        "software": dict(field.software),
    }
    return FORMAT.encode(told | {STATE: field_state(field).to_json()}, tensors)


def decode_field(data: bytes) -> RegionField:
    """Read a field back.

    Raises
    ------
    FieldError
        If the bytes are not those of a field, or not as they were written; one line says why.
    """
    return FORMAT.decode(data, _field)


def read_field(url: str) -> RegionField:
    """Read the field at a path or URL.

    Raises
    ------
    BadInput
        If there is none, or it is not as it was written.
    """
    storage, key = file_place(url, "field")
    try:
        # One byte more than a field may have, so that a larger file is not read whole.
        data = storage.read_range(key, 0, MOST_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError):
        raise BadInput("there is no such file: make one with `pack`", "field", url) from None
    try:
        return decode_field(data)
    except FieldError as error:
        raise BadInput(str(error), "field", url) from None


def _window(value: Any) -> Window:
    zone, row, col, height, width = listed(value, lambda each: whole(each, 0, HEIGHT), 5)
    window = Window(whole(zone, 1, 60), row, col, whole(height, 1), whole(width, 1))
    if row + height > HEIGHT or col + width > WIDTH:
        raise ValueError("a window beyond the lattice")
    return window


def read_fidelity(value: Any) -> Fidelity:
    """A fidelity out of JSON."""
    return Fidelity(**fields(value, dict.fromkeys(FIDELITY, number), *FIDELITY))


FIDELITY = ("mean", "p5", "error")
READ: Mapping[str, Callable[[Any], Any]] = {
    "version": whole,
    SEAL: text,
    "windows": lambda value: listed(value, _window, MOST_PARTS),
    "years": lambda value: listed(value, lambda year: whole(year, 1, 9999), MOST_YEARS),
    "layers": lambda value: whole(value, 1, 8),
    "spread": number,
    "mosaic": text,
    "model": text,
    "ratio": lambda value: number(value, 0),
    "vectors": whole,
    "fidelity": read_fidelity,
    "request": text,
    "software": lambda value: named(value, text, 20),
}
"""What checks each field of the JSON; all have to be there."""


def _field(told: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> RegionField:
    told = fields({name: told[name] for name in told if name != STATE}, READ, *READ)
    layers = tuple(
        Layer(*(tensors.pop(f"{LAYER}{at}.{name}") for name in ("weight", "scale", "bias")))
        for at in range(told["layers"])
    )
    grids = {
        int(name.removeprefix(GRID)): tensors.pop(name)
        for name in sorted(tensors)
        if name.startswith(GRID)
    }
    windows, years = told["windows"], told["years"]
    pixels = sum(window.height * window.width for window in windows)
    known = None
    if (bits := tensors.pop("known", None)) is not None:
        size = len(years) * pixels
        if bits.dtype != np.uint8 or bits.shape != (-(-size // 8),):
            raise FieldError(f"known is {bits.dtype} {bits.shape}, of {size:,} pixels")
        known = np.unpackbits(bits, count=size).astype(np.bool_).reshape(len(years), pixels)
    held = Field(
        tuple(Rectangle(*window.shape) for window in windows),
        len(years),
        {spacing: grids[spacing] for spacing in sorted(grids, reverse=True)},
        tensors.pop("codes"),
        layers,
        tensors.pop("mean"),
        told["spread"],
        known,
    )
    if tensors:
        raise FieldError(f"it has more than a field: {', '.join(sorted(tensors))}")
    names = ("mosaic", "model", "ratio", "vectors", "fidelity", "request", "software")
    return RegionField(held, windows, years, **{name: told[name] for name in names})
