"""The layout of `global_rgb`, the picture of the whole mosaic in degrees, level by level.

Level 0 has 0.0001 degrees a pixel; each level halves the one before it. The principal components
that became colours are kept in the group's attributes, so that whatever is drawn later looks alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.io.strict import listed, member, number
from tessera_mosaic.pipeline.mosaic.conventions import (
    BRIEF_PLACE,
    MULTISCALES,
    PLACE,
    place_attributes,
)
from tessera_mosaic.pipeline.mosaic.layout import (
    BYTES,
    PLAIN,
    array_node,
    group_node,
)

GROUP = "global_rgb"
"""Name of the group."""

LEVELS = 10
"""Number of levels."""

STEP = 1e-4
"""Degrees a pixel of level 0 (layout of the TESSERA client's previews)."""

HEIGHT, WIDTH = 1_800_000, 3_600_000
"""Rows and columns of level 0: row 0 begins at 90 N, column 0 at 180 W."""

SIDE = 512
"""Side in pixels of a chunk."""

RGB, BAND = np.dtype("u1"), np.dtype("<i4")
"""Types of the values of the pictures, and of the coordinate of their bands."""


MOST_DIMS = 4096
"""Most dimensions of an embedding."""


@dataclass(frozen=True)
class Colours:
    """How embeddings become red, green and blue.

    Parameters
    ----------
    mean
        Mean of the embeddings, a value a dimension.
    components
        Weights of the dimensions, a row for each of the three colours.
    low, high
        What becomes black and what full light, a value a colour.
    """

    mean: tuple[float, ...]
    components: tuple[tuple[float, ...], ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def paint(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Colours, uint8 (pixels, 3), of embeddings, float32 (pixels, dims)."""
        mean, weights, low, high = (
            np.asarray(part, np.float32)
            for part in (self.mean, self.components, self.low, self.high)
        )
        light = ((values - mean) @ weights.T - low) / (high - low)
        return (np.clip(light, 0, 1) * 255).round().astype(np.uint8)

    def to_json(self) -> dict[str, Any]:
        """The attributes that hold them."""
        return {
            "mean": list(self.mean),
            "components": [list(row) for row in self.components],
            "low": list(self.low),
            "high": list(self.high),
        }

    @classmethod
    def from_json(cls, fields: Any) -> Colours:
        """Read attributes back.

        Raises
        ------
        StoreError
            If they are no colours.
        """
        try:
            mean = member(fields, "mean", _numbers)
            rows = member(fields, "components", lambda value: listed(value, _numbers, 3))
            low, high = member(fields, "low", _numbers), member(fields, "high", _numbers)
            lengths = {len(row) for row in rows}
            if (len(low), len(high), len(rows)) != (3, 3, 3) or lengths != {len(mean)}:
                raise ValueError("three colours of as many numbers as the mean belong there")
            return cls(mean, rows, low, high)
        except ValueError as error:
            raise StoreError(f"the colours of {GROUP} cannot be read: {error}") from None


def _numbers(value: Any) -> tuple[float, ...]:
    return listed(value, number, MOST_DIMS)


def strongest_components(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The three strongest principal components, float64 (3, dims), each of length 1.

    A component's sign is that which makes its largest weight positive, so that the same embeddings
    always have the same colours.

    Parameters
    ----------
    values : float64 (pixels, dims)
        Embeddings without their mean.
    """
    _, vectors = np.linalg.eigh(values.T @ values)
    components = vectors[:, :-4:-1].T
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return components * np.sign(largest)


def level_shape(level: int) -> tuple[int, int]:
    """Rows and columns of a level."""
    return HEIGHT >> level, WIDTH >> level


def chunk_key(level: int, row: int, col: int) -> str:
    """Key of a chunk of a level."""
    return f"{GROUP}/{level}/rgb/c/{row}/{col}/0"


def pyramid_nodes(colours: Colours) -> dict[str, dict[str, Any]]:
    """Zarr metadata of the group and its arrays, by path."""
    nodes = {GROUP: group_node(_attributes(colours))}
    for level in range(LEVELS):
        shape = level_shape(level)
        nodes[f"{GROUP}/{level}"] = group_node(_place(level, PLACE))
        nodes[f"{GROUP}/{level}/rgb"] = array_node(
            (*shape, 4),
            (SIDE, SIDE, 4),
            RGB,
            0,
            ("lat", "lon", "band"),
            [BYTES, PLAIN.metadata(RGB)],
            _place(level, BRIEF_PLACE),
        )
        nodes[f"{GROUP}/{level}/band"] = array_node(
            (4,), (4,), BAND, 0, ("band",), [BYTES, PLAIN.metadata(BAND)]
        )
    return nodes


def pyramid_coordinates() -> Iterator[tuple[str, bytes]]:
    """Keys and bytes of the pyramid's coordinates."""
    for level in range(LEVELS):
        yield f"{GROUP}/{level}/band/c/0", bytes(PLAIN.codec.encode(np.arange(4, dtype=BAND)))


def _attributes(colours: Colours) -> dict[str, Any]:
    place = _place(0, (*PLACE, MULTISCALES))
    # Of several levels none is the group's own.
    del place["spatial:shape"], place["spatial:transform"]
    return place | {
        "multiscales": {
            "layout": [_level(level) for level in range(LEVELS)],
            "resampling_method": "mean",
        },
        "tessera_mosaic:colours": colours.to_json(),
    }


def _place(level: int, declared: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Attributes that tell where a level lies."""
    step = STEP * 2**level
    transform = (step, 0.0, -180.0, 0.0, -step, 90.0)
    return place_attributes(declared, "EPSG:4326", ("lat", "lon"), level_shape(level), transform)


def _level(level: int) -> dict[str, Any]:
    place = _place(level, ())
    entry: dict[str, Any] = {"asset": str(level)}
    if level:
        entry |= {"derived_from": str(level - 1), "resampling_method": "mean"}
    scale = 2.0 if level else 1.0
    return entry | {
        # One number for each axis of the array, the last of which are its bands.
        "transform": {"scale": [scale, scale, 1.0], "translation": [0.0, 0.0, 0.0]},
        "spatial:shape": place["spatial:shape"],
        "spatial:transform": place["spatial:transform"],
    }
