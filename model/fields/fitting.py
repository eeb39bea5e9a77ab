"""How a field learns a region by heart, so that it can stop anywhere and go on to the same bytes.

Features and weights are rounded to int8 while they are learnt, with slopes as if they were not.
Only the nodes around the pixels of a batch are touched, so that a batch costs the same whatever the
size of the region.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tessera_mosaic.model.fields.field import (
    LEVELS,
    Field,
    FieldError,
    Layer,
    Nodes,
    locate,
    told_by,
)
from tessera_mosaic.model.fields.sizes import Sizes
from tessera_mosaic.model.fields.vectors import Vectors

EPOCHS, LEAST_STEPS = 40, 1000
"""How often each vector is seen; more often where there are too few for so many steps."""

BATCH = 1024
"""Vectors of a step."""

GRID_RATE, RATE = 2e-2, 7e-3
"""Rates of Adam at first, of features and of all else; both fall to 0 along a cosine."""

FADING = (0.9, 0.99)
"""What Adam keeps of its two moments from step to step."""

START = 0.1
"""Features begin within so much of 0."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Have PyTorch compute on one thread, so that the same vectors make the same field."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Moments:
    """A tensor with Adam's moments, of which some rows are moved at a time."""

    def __init__(self, values: Tensor, rate: float) -> None:
        self.values, self.rate = values, rate
        self.first, self.second = torch.zeros_like(values), torch.zeros_like(values)

    def move(self, slope: Tensor, step: int, share: float, rows: Tensor | None = None) -> None:
        """Move all rows, or some, against their slope."""
        at: Any = slice(None) if rows is None else rows
        keep, keep_squares = FADING
        first = self.first[at] * keep + slope * (1 - keep)
        second = self.second[at] * keep_squares + slope.square() * (1 - keep_squares)
        self.first[at], self.second[at] = first, second
        length = second.div(1 - keep_squares**step).sqrt_().add_(1e-10)
        self.values[at] -= first.div_(length).mul_(self.rate * share / (1 - keep**step))


class Fitting:
    """A field that is being made.

    Parameters
    ----------
    data
        What it learns by heart.
    sizes
        Its sizes.
    epochs
        How often each vector is seen, at least.
    seed
        Of where it begins, and of the order of the vectors.
    """

    def __init__(
        self, data: Vectors, sizes: Sizes, epochs: int | None = None, seed: int = 0
    ) -> None:
        self._data, self._seed, self.step = data, seed, 0
        self._batches = -(-len(data) // BATCH)
        if epochs is None:
            epochs = max(EPOCHS, -(-LEAST_STEPS // self._batches))
        self.steps = epochs * self._batches
        random = torch.Generator().manual_seed(seed)
        self._nodes = {each: Nodes(data.rectangles, each) for each in sizes.features}

        def features(count: int, each: int) -> Tensor:
            return (torch.rand(count, each, generator=random) * 2 - 1) * START

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=random)

        self._grids = {
            spacing: _Moments(features(nodes.count, sizes.features[spacing]), GRID_RATE)
            for spacing, nodes in self._nodes.items()
        }
        self._codes = _Moments(normal(data.years, sizes.code) / 2, RATE)
        self._weights = [
            _Moments(normal(outputs, inputs) / math.sqrt(inputs), RATE)
            for inputs, outputs in sizes.layers
        ]
        self._biases = [_Moments(torch.zeros(outputs), RATE) for _, outputs in sizes.layers]
        self._mean = torch.from_numpy(data.mean.astype(np.float32))
        # Vectors that are all alike have no spread; any will do.
        self._spread = math.sqrt(data.variance / (len(data) * data.dims)) or 1.0
        self._order: tuple[int, Tensor] | None = None

    @property
    def done(self) -> bool:
        """Whether it has learnt all that it will."""
        return self.step >= self.steps

    def learn(self) -> None:
        """Learn one batch."""
        share = 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        which = self._batch()
        self.step += 1
        rows: list[tuple[_Moments, Tensor, Tensor]] = []
        features = []
        places = locate(self._data.rectangles, torch.from_numpy(self._data.pixel[which]))
        for spacing, nodes in self._nodes.items():
            at, weights = nodes.around(places)
            touched, inverse = torch.unique(at, return_inverse=True)
            grid = self._grids[spacing]
            some = grid.values[touched].requires_grad_()
            rows.append((grid, some, touched))
            around = functional.embedding(inverse, _rounded(some, torch.tensor(1 / LEVELS)))
            features.append((around * weights[..., None]).sum(1))
        whole = [self._codes, *self._weights, *self._biases]
        leaves = [each.values.detach().requires_grad_() for each in whole]
        layers = len(self._weights)
        weights_, biases = leaves[1 : 1 + layers], leaves[1 + layers :]
        features.append(leaves[0][torch.from_numpy(self._data.year[which])])
        told = told_by(
            features,
            [(_rounded(w, _scales(w)), b) for w, b in zip(weights_, biases, strict=True)],
        )
        wanted = (torch.from_numpy(self._data.values(which)) - self._mean) / self._spread
        functional.mse_loss(told, wanted).backward()
        with torch.no_grad():
            for grid, some, touched in rows:
                grid.move(_slope(some), self.step, share, touched)
                grid.values[touched] = grid.values[touched].clamp_(-1, 1)
            for moments, leaf in zip(whole, leaves, strict=True):
                moments.move(_slope(leaf), self.step, share)

    def _batch(self) -> NDArray[np.int64]:
        """The vectors of this step."""
        epoch, batch = divmod(self.step, self._batches)
        if self._order is None or self._order[0] != epoch:
            random = torch.Generator().manual_seed((self._seed << 32) + epoch)
            self._order = epoch, torch.randperm(len(self._data), generator=random)
        return self._order[1][batch * BATCH : (batch + 1) * BATCH].numpy()

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        named = {f"grid.{spacing}": grid for spacing, grid in self._grids.items()}
        named |= {"codes": self._codes}
        named |= {f"weight.{n}": each for n, each in enumerate(self._weights)}
        named |= {f"bias.{n}": each for n, each in enumerate(self._biases)}
        for name, moments in named.items():
            yield name, moments.values
            yield f"{name}.first", moments.first
            yield f"{name}.second", moments.second

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All that goes on from here needs, but for the step."""
        return {name: each.numpy() for name, each in self._tensors()}

    def go_on(self, step: int, tensors: dict[str, NDArray[Any]]) -> None:
        """Go on from the tensors of a step.

        Raises
        ------
        FieldError
            If they are not those of this field.
        """
        ours = dict(self._tensors())
        if ours.keys() != tensors.keys() or not 0 <= step <= self.steps:
            raise FieldError("it was begun with other sizes")
        for name, each in ours.items():
            if tensors[name].shape != tuple(each.shape) or tensors[name].dtype != np.float32:
                raise FieldError("it was begun with other sizes")
            each.copy_(torch.from_numpy(tensors[name]))
        self.step = step

    def field(self) -> Field:
        """The field as it is now."""
        layers = []
        for weight, bias in zip(self._weights, self._biases, strict=True):
            scale = _scales(weight.values)
            codes = _codes(weight.values, scale)
            layers.append(Layer(codes, scale[:, 0].numpy().copy(), bias.values.numpy().copy()))
        return Field(
            self._data.rectangles,
            self._data.years,
            {
                spacing: _codes(grid.values, torch.tensor(1 / LEVELS))
                for spacing, grid in self._grids.items()
            },
            self._codes.values.numpy().copy(),
            tuple(layers),
            self._mean.numpy(),
            self._spread,
            self._data.known,
        )


def _scales(weights: Tensor) -> Tensor:
    """What the codes of each row of weights are multiplied with: (outputs, 1)."""
    return weights.detach().abs().amax(1, keepdim=True).clamp_(min=1e-12) / LEVELS


def _codes(values: Tensor, scale: Tensor) -> NDArray[np.int8]:
    return (values / scale).round().clamp(-LEVELS, LEVELS).to(torch.int8).numpy()


def _rounded(values: Tensor, scale: Tensor) -> Tensor:
    """Values as their codes have them, with slopes as if they were not rounded."""
    rounded = (values.detach() / scale).round_().clamp_(-LEVELS, LEVELS) * scale
    return values + (rounded - values.detach())


def _slope(leaf: Tensor) -> Tensor:
    slope = leaf.grad
    assert slope is not None
    return slope
