"""What a field is: grids of features at several spacings, shared by the years, and a small network.

A pixel's features are taken from each grid, bilinearly between its nodes; those of all grids and
the code of the year go through the layers. Grids and weights are int8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

LEVELS = 127
"""Largest code of a feature or a weight; a feature is its code over it."""

AT_ONCE = 1 << 15
"""Pixels whose vectors are computed at once."""

MOST_DIMS, MOST_YEARS, MOST_PARTS, MOST_WIDTH, MOST_SPACING = 4096, 100, 60, 4096, 1024
MOST_PIXELS = 1 << 24
"""Sizes beyond which something is no field of ours; pixels times years count for the last."""


class FieldError(ValueError):
    """Something is no field, or cannot become one. The message says why, in one line."""


@dataclass(frozen=True)
class Rectangle:
    """A part of the ground: rows and columns of pixels."""

    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Number of its pixels."""
        return self.height * self.width


@dataclass(frozen=True)
class Places:
    """Pixels of rectangles, as numbers of the rectangle, the row and the column in it: int64."""

    part: Tensor
    row: Tensor
    col: Tensor


@dataclass(frozen=True)
class Nodes:
    """The nodes of a grid that covers some rectangles.

    Parameters
    ----------
    rectangles
        The ground.
    spacing
        Pixels from node to node. With 1 each pixel has its own node.

    Examples
    --------
    >>> nodes = Nodes((Rectangle(4, 4),), spacing=2)
    >>> nodes.count
    9
    >>> at, weights = nodes.around(locate(nodes.rectangles, torch.tensor([0])))
    >>> at.tolist(), weights.tolist()
    ([[0, 1, 3, 4]], [[0.5625, 0.1875, 0.1875, 0.0625]])
    """

    rectangles: tuple[Rectangle, ...]
    spacing: int

    def _shape(self, rectangle: Rectangle) -> tuple[int, int]:
        more = int(self.spacing > 1)
        rows, cols = -(-rectangle.height // self.spacing), -(-rectangle.width // self.spacing)
        return rows + more, cols + more

    @cached_property
    def count(self) -> int:
        """Number of nodes."""
        return sum(rows * cols for rows, cols in map(self._shape, self.rectangles))

    @cached_property
    def _first(self) -> tuple[Tensor, Tensor]:
        """Number of each rectangle's first node, and of nodes in its rows."""
        shapes = [self._shape(each) for each in self.rectangles]
        sizes = [rows * cols for rows, cols in shapes]
        return torch.tensor(np.cumsum([0, *sizes[:-1]])), torch.tensor([cols for _, cols in shapes])

    def around(self, places: Places) -> tuple[Tensor, Tensor]:
        """Nodes around the centres of pixels, int64 (P, 4), and their weights, float32 (P, 4).

        With a spacing of 1 both are (P, 1).
        """
        first, cols = (each[places.part] for each in self._first)
        if self.spacing == 1:
            at = first + places.row * cols + places.col
            return at[:, None], torch.ones((len(at), 1))
        row, col = ((each + 0.5) / self.spacing for each in (places.row, places.col))
        up, left = row.floor(), col.floor()
        down, right = (row - up).float(), (col - left).float()
        at = first + up.long() * cols + left.long()
        weights = ((1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right)
        return torch.stack((at, at + 1, at + cols, at + cols + 1), 1), torch.stack(weights, 1)


def locate(rectangles: Sequence[Rectangle], pixels: Tensor) -> Places:
    """Where pixels lie that are numbered through all rectangles, row by row: int64 (P,)."""
    starts = torch.tensor(np.cumsum([0, *[each.pixels for each in rectangles[:-1]]]))
    widths = torch.tensor([each.width for each in rectangles])
    part = torch.searchsorted(starts, pixels, right=True) - 1
    within = pixels - starts[part]
    return Places(part, within // widths[part], within % widths[part])


def told_by(features: Sequence[Tensor], layers: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """What the layers make of features (P, any): (P, D), in units of the spread."""
    told = torch.cat(tuple(features), 1)
    for number, (weight, bias) in enumerate(layers, 1):
        told = functional.linear(told, weight, bias)
        if number < len(layers):
            told = functional.gelu(told)
    return told


@dataclass(frozen=True)
class Layer:
    """A layer of the network.

    Parameters
    ----------
    weight : int8 (outputs, inputs)
        Codes of the weights.
    scale, bias : float32 (outputs,)
        What a row of codes is multiplied with, and what is added.
    """

    weight: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]

    def dequantised(self) -> tuple[Tensor, Tensor]:
        """Weights and bias as they are used."""
        weight = torch.from_numpy(self.weight).float() * torch.from_numpy(self.scale)[:, None]
        return weight, torch.from_numpy(self.bias)


@dataclass(frozen=True)
class Field:
    """A field: arrays alone.

    Parameters
    ----------
    rectangles
        The ground that it holds.
    years
        Number of years.
    grids
        Features of the nodes, int8 (nodes, features), by the spacing of the nodes, wide ones first.
    codes : float32 (years, any)
        Code of each year.
    layers
        The network.
    mean : float32 (D,)
        Mean vector, which the network does not have to tell.
    spread
        Root mean square of what is left.
    known : bool (years, pixels) or None
        Of which pixels there are vectors, numbered through the rectangles; None for all.

    Raises
    ------
    FieldError
        If the arrays do not go together.
    """

    rectangles: tuple[Rectangle, ...]
    years: int
    grids: Mapping[int, NDArray[np.int8]]
    codes: NDArray[np.float32]
    layers: tuple[Layer, ...]
    mean: NDArray[np.float32]
    spread: float
    known: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        check_field(self)

    @property
    def dims(self) -> int:
        """Number of values of a vector."""
        return len(self.mean)

    @property
    def pixels(self) -> int:
        """Number of pixels of all rectangles."""
        return sum(each.pixels for each in self.rectangles)

    @cached_property
    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        return [layer.dequantised() for layer in self.layers]

    def vectors(self, pixels: NDArray[np.int64], years: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of pixels, float32 (P, D); NaN where nothing is known.

        Parameters
        ----------
        pixels : int64 (P,)
            Pixels, numbered through the rectangles.
        years : int64 (P,)
            Place of the year of each among the years.
        """
        told = np.empty((len(pixels), self.dims), np.float32)
        for start in range(0, len(pixels), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            told[part] = self._told(torch.from_numpy(pixels[part]), torch.from_numpy(years[part]))
        if self.known is not None:
            told[~self.known[years, pixels]] = np.nan
        return told

    @torch.no_grad()
    def _told(self, pixels: Tensor, years: Tensor) -> NDArray[np.float32]:
        places = locate(self.rectangles, pixels)
        features = []
        for spacing, grid in self.grids.items():
            at, weights = Nodes(self.rectangles, spacing).around(places)
            around = torch.from_numpy(grid)[at].float() / LEVELS
            features.append((around * weights[..., None]).sum(1))
        features.append(torch.from_numpy(self.codes)[years])
        told = told_by(features, self._layers) * self.spread
        return (told + torch.from_numpy(self.mean)).numpy()


def check_field(field: Field) -> None:
    """Check that a field's arrays go together.

    Raises
    ------
    FieldError
        If they do not.
    """
    parts, sizes = field.rectangles, [(each.height, each.width) for each in field.rectangles]
    if not 1 <= len(parts) <= MOST_PARTS or not all(0 < each < 1 << 24 for each in sum(sizes, ())):
        raise FieldError(f"a field of {len(parts)} rectangles, or of an empty one")
    if not 1 <= field.years <= MOST_YEARS or not 1 <= field.dims <= MOST_DIMS:
        raise FieldError(f"a field of {field.years} years and {field.dims} values")
    if field.pixels * field.years > MOST_PIXELS:
        raise FieldError(f"a field of {field.pixels:,} pixels and {field.years} years")
    if not (np.isfinite(field.spread) and field.spread > 0):
        raise FieldError("its spread is not above 0")
    width = field.codes.shape[1] if field.codes.ndim == 2 else -1
    _check(field.codes, "codes", (field.years, width), np.float32)
    for spacing, grid in field.grids.items():
        if not 1 <= spacing <= MOST_SPACING:
            raise FieldError(f"nodes every {spacing} pixels")
        features = grid.shape[1] if grid.ndim == 2 else -1
        _check(grid, f"grid {spacing}", (Nodes(parts, spacing).count, features), np.int8)
        width += features
    _check_layers(field, width)
    _check(field.mean, "mean", (field.dims,), np.float32)
    if field.known is not None:
        _check(field.known, "known", (field.years, field.pixels), np.bool_)


def _check_layers(field: Field, width: int) -> None:
    if not 1 <= len(field.layers) <= 8:
        raise FieldError(f"a network of {len(field.layers)} layers")
    for number, layer in enumerate(field.layers):
        last = number == len(field.layers) - 1
        rows = field.dims if last else len(layer.weight)
        if not 1 <= rows <= MOST_WIDTH or not 1 <= width <= MOST_WIDTH:
            raise FieldError(f"layer {number} takes {width} values and gives {rows}")
        _check(layer.weight, f"weight {number}", (rows, width), np.int8)
        _check(layer.scale, f"scale {number}", (rows,), np.float32)
        _check(layer.bias, f"bias {number}", (rows,), np.float32)
        width = rows


def _check(array: NDArray[Any], name: str, shape: tuple[int, ...], dtype: Any) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise FieldError(f"{name} is {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}")
    if array.dtype == np.float32 and not np.isfinite(array).all():
        raise FieldError(f"{name} has values that are no numbers")
