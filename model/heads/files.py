"""The file of a head: safetensors with one entry of JSON metadata. Never a pickle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from tessera_mosaic.model.heads.head import (
    Head,
    HeadClass,
    HeadError,
    HeadKind,
    Task,
    TrainingSpace,
)
from tessera_mosaic.model.sealed_tensors import SealedFormat

MOST_BYTES = 64 * 2**20
"""Largest file of a head."""

FORMAT = SealedFormat("tessera_head", 1, "head", "train", MOST_BYTES, HeadError)

LAYER, SPACE = "layer.", "space."
"""Beginnings of the names of tensors."""

QUANTIZATION = "int8 codes times one float32 scale a pixel"
"""What the first layer takes."""


def encode_head(head: Head, beside: Mapping[str, Any] | None = None) -> bytes:
    """A head as the bytes of its file, the same for the same head.

    Parameters
    ----------
    head
        The head.
    beside
        Further members of its JSON by name, under the same digest; no head is read from them.
    """
    tensors: dict[str, NDArray[Any]] = {f"{LAYER}{name}": a for name, a in head.layers.items()}
    space = head.space
    tensors |= {
        f"{SPACE}means": space.means,
        f"{SPACE}axes": space.axes,
        f"{SPACE}variances": space.variances,
        f"{SPACE}percentiles": space.percentiles,
        "year_means": head.year_means,
        "pixels": head.pixels,
    }
    told: dict[str, Any] = {
        "kind": head.kind.value,
        "task": head.task.value,
        "classes": [
            {"code": each.code, "name": each.name, "colour": list(each.colour)}
            for each in head.classes
        ],
        "unit": head.unit,
        "valid_range": None if head.valid_range is None else list(head.valid_range),
        "years": list(head.years),
        "mosaic": head.mosaic,
        "model": head.model,
        "dims": head.dims,
        "quantization": QUANTIZATION,
        "rest": space.rest,
        "error": head.error,
        "penalty": head.penalty,
        "labels_sha256": head.labels_sha256,
        "scores": head.scores,
        "software": head.software,
    }
    if head.extra:
        told["extra"] = list(head.extra)
    told |= beside or {}
    return FORMAT.encode(told, tensors)


def decode_head(data: bytes) -> Head:
    """Read a head back.

    Parameters
    ----------
    data
        Bytes of a file.

    Raises
    ------
    HeadError
        If they are not those of a head, or not as they were written; one line says why.
    """
    return FORMAT.decode(data, _head)


def _head(told: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Head:
    kept = dict(tensors)
    space = TrainingSpace(
        means=kept.pop(f"{SPACE}means"),
        axes=kept.pop(f"{SPACE}axes"),
        variances=kept.pop(f"{SPACE}variances"),
        rest=_number(told["rest"]),
        percentiles=kept.pop(f"{SPACE}percentiles"),
    )
    year_means, pixels = kept.pop("year_means"), kept.pop("pixels")
    if not all(name.startswith(LAYER) for name in kept):
        raise HeadError(f"it has more than a head: {', '.join(sorted(kept))}")
    limits = told["valid_range"]
    if not isinstance(told["scores"], dict):
        raise TypeError("scores are no object")
    return Head(
        kind=HeadKind(told["kind"]),
        task=Task(told["task"]),
        layers={name.removeprefix(LAYER): values for name, values in kept.items()},
        space=space,
        classes=tuple(_class(each) for each in told["classes"]),
        mosaic=_text(told["mosaic"]),
        model=_text(told["model"]),
        dims=_whole(told["dims"]),
        years=tuple(_whole(year) for year in told["years"]),
        year_means=year_means,
        pixels=pixels,
        labels_sha256=_text(told["labels_sha256"]),
        unit=_text(told["unit"]),
        valid_range=None if limits is None else (_number(limits[0]), _number(limits[1])),
        error=_number(told["error"]),
        penalty=_number(told["penalty"]),
        scores=told["scores"],
        software={_text(name): _text(version) for name, version in told["software"].items()},
        extra=tuple(_text(name) for name in told.get("extra", ())),
    )


def _class(fields: Mapping[str, Any]) -> HeadClass:
    red, green, blue = (_whole(part) for part in fields["colour"])
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f"a colour {fields['colour']}")
    return HeadClass(_whole(fields["code"]), _text(fields["name"]), (red, green, blue))


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
