"""Apply a head to embeddings as they are stored: bands first, int8 codes and a scale a pixel.

Matrix libraries choose how to sum by the shapes and the number of threads that they are given. Who
wants the same bytes wherever a chunk is scored gives chunks of one shape, on one thread each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera_mosaic.model.heads.head import NEIGHBOURS, Head, HeadKind, Task, TrainingSpace

AT_ONCE = 512
"""Pixels whose codes are cast at once: of more the processor's cache does not hold the floats."""


@dataclass(frozen=True)
class Scored:
    """What a head tells of P pixels.

    Parameters
    ----------
    best : uint8 (P,)
        Place of the most probable class; 0 for values.
    sure : float32 (P,)
        Its probability, 0 to 1; 1 for values.
    relative : float32 (classes, P) or (1, P)
        Probability of each class, relative to the most probable one's; or the value.
    distance : float32 (P,) or None
        Mahalanobis distance to the training data, where it was asked for.
    """

    best: NDArray[np.uint8]
    sure: NDArray[np.float32]
    relative: NDArray[np.float32]
    distance: NDArray[np.float32] | None = None

    @property
    def outputs(self) -> NDArray[np.float32]:
        """Probability of each class, float32 (classes, P), or the value, float32 (1, P)."""
        return self.relative * self.sure


class Scorer:
    """A head, ready for chunks.

    Parameters
    ----------
    kind, task
        How the head tells, and what.
    layers
        Its arrays.
    outputs
        Number of its classes, or 1.
    space
        Where its training data lies, if distances are asked for.
    shift : float32 (D,) or None
        What is added to every embedding before it is scored.

    Examples
    --------
    >>> layers = {"weight": np.float32([[1, 0], [0, 1]]), "bias": np.float32([0, 0])}
    >>> scorer = Scorer(HeadKind.LOGISTIC, Task.CLASS, layers, 2)
    >>> scorer(np.int8([[2, 0], [0, 2]]), np.float32([1, 0.5])).outputs.round(2).tolist()
    [[0.8799999952316284, 0.27000001072883606], [0.11999999731779099, 0.7300000190734863]]
    """

    def __init__(
        self,
        kind: HeadKind,
        task: Task,
        layers: dict[str, NDArray[np.float32]],
        outputs: int,
        space: TrainingSpace | None = None,
        shift: NDArray[np.float32] | None = None,
    ) -> None:
        self._kind, self._task, self._outputs = kind, task, outputs
        self._layers = {name: torch.from_numpy(np.array(a)) for name, a in layers.items()}
        weight, bias = layers["weight"], layers["bias"].astype(np.float64)
        moved = np.zeros(weight.shape[1]) if shift is None else shift.astype(np.float64)
        bias = bias + weight.astype(np.float64) @ moved
        self._rows, self._axes = len(weight), 0
        if space is not None:
            means = space.means.astype(np.float64) - moved
            axes = space.axes.astype(np.float64)
            # (x - m)' M (x - m) with M = I / rest + U' diag(gain) U, so that all but |x|^2 is one
            # more row of the product.
            gain = 1 / space.variances.astype(np.float64) - 1 / space.rest
            told = means / space.rest + ((means @ axes.T) * gain) @ axes
            self._axes, self._rest = len(axes), space.rest
            self._gain = gain.astype(np.float32)[:, None]
            weight = np.concatenate([weight, axes, -2 * told])
            bias = np.concatenate([bias, np.zeros(len(axes)), (means * told).sum(axis=1)])
        self._weight = torch.from_numpy(np.ascontiguousarray(weight, np.float32))
        self._bias = bias.astype(np.float32)[:, None]
        self._places = np.arange(outputs, 0, -1, dtype=np.uint8)[:, None]
        self._distances = space is not None

    def __call__(
        self, codes: NDArray[np.int8] | NDArray[np.float32], scales: NDArray[np.float32]
    ) -> Scored:
        """Score pixels.

        Parameters
        ----------
        codes : int8 or float32 (D, P)
            Embeddings in units of their pixel's scale.
        scales : float32 (P,)
            Finite scale of each pixel.
        """
        with torch.inference_mode():
            rows, squares = self._product(codes)
            rows *= scales
            rows += self._bias
            distance = None
            if self._distances:
                squares *= np.square(scales)
                distance = self._distance(rows[self._rows :], squares)
            best, sure, relative = self._told(rows[: self._rows])
            return Scored(best, sure, relative, distance)

    def _product(
        self, codes: NDArray[np.int8] | NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The weights times the codes (rows, P), and for distances the squared length of these."""
        pixels = codes.shape[1]
        rows = np.empty((len(self._weight), pixels), np.float32)
        squares = np.empty(pixels if self._distances else 0, np.float32)
        for start in range(0, pixels, AT_ONCE):
            here = slice(start, start + AT_ONCE)
            values = codes[:, here].astype(np.float32)
            rows[:, here] = (self._weight @ torch.from_numpy(values)).numpy()
            if self._distances:
                np.einsum("dp,dp->p", values, values, out=squares[here])
        return rows, squares

    def _distance(
        self, rows: NDArray[np.float32], squares: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The distance to the training data by its rows of the product and the squared length."""
        along = np.square(rows[: self._axes])
        along *= self._gain
        distance = squares / np.float32(self._rest)
        distance += along.sum(axis=0)
        distance += rows[self._axes :].min(axis=0)
        np.maximum(distance, 0, out=distance)
        return np.sqrt(distance, out=distance)

    def _told(
        self, rows: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """What the rows of the product tell: the first three parts of `Scored`."""
        told = rows
        if self._kind is HeadKind.KNN:
            told = self._voted(torch.from_numpy(rows)).numpy()
        elif self._kind is HeadKind.MLP:
            hidden = torch.from_numpy(rows).clamp_(min=0)
            told = (self._layers["weight2"] @ hidden + self._layers["bias2"][:, None]).numpy()
        if self._task is Task.VALUE:
            pixels = told.shape[1]
            return np.zeros(pixels, np.uint8), np.ones(pixels, np.float32), told
        top = told.max(axis=0)
        # The first class at the top. `argmax` along this axis takes several times as long.
        best = self._outputs - ((told == top) * self._places).max(axis=0)
        if self._kind is HeadKind.KNN:
            return best, top, told / top
        told -= top
        relative = np.exp(told, out=told)
        return best, np.reciprocal(relative.sum(axis=0)), relative

    def _voted(self, closeness: Tensor) -> Tensor:
        """Shares of the votes (classes, P), or means of the values (1, P)."""
        count = min(NEIGHBOURS, len(closeness))
        near = torch.topk(closeness, count, dim=0).indices
        told = self._layers["targets"][near]
        if self._task is Task.VALUE:
            return told.mean(dim=0, keepdim=True)
        votes = torch.zeros((self._outputs, closeness.shape[1]))
        votes.scatter_add_(0, told.long(), torch.ones_like(told))
        return votes / count


def scorer_of(
    head: Head, distances: bool = False, shift: NDArray[np.float32] | None = None
) -> Scorer:
    """A head, ready for chunks; see `Scorer`."""
    space = head.space if distances else None
    outputs = len(head.classes) or 1
    return Scorer(head.kind, head.task, head.layers, outputs, space, shift)
