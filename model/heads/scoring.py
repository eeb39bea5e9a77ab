"""Apply a head to embeddings as they are stored: bands first, int8 codes and a scale a pixel.

Who wants the same bytes wherever a chunk is scored gives chunks of one shape, on one thread each;
see `products`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera_mosaic.model.heads.head import (
    NEIGHBOURS,
    Head,
    HeadError,
    HeadKind,
    Task,
    TrainingSpace,
)
from tessera_mosaic.model.heads.products import Codes, Product


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
    native
        Whether the product in C is used, where it was built.
    extra
        Number of the last columns of `weight` that take numbers of another source.

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
        native: bool = True,
        extra: int = 0,
    ) -> None:
        self._kind, self._task, self._outputs = kind, task, outputs
        self._layers = {name: torch.from_numpy(np.array(a)) for name, a in layers.items()}
        dims = layers["weight"].shape[1] - extra
        weight, beside = layers["weight"][:, :dims], layers["weight"][:, dims:]
        self._extra = Product(beside, np.zeros(len(beside), np.float32)) if extra else None
        bias = layers["bias"].astype(np.float64)
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
            self._sign = np.sign(gain).astype(np.float32)
            axes = axes * np.sqrt(np.abs(gain))[:, None]
            weight = np.concatenate([weight, axes, -2 * told])
            bias = np.concatenate([bias, np.zeros(len(axes)), (means * told).sum(axis=1)])
        self._product = Product(
            weight.astype(np.float32), bias.astype(np.float32), space is not None, native
        )
        self._places = np.arange(outputs, 0, -1, dtype=np.uint8)[:, None]
        self._distances = space is not None

    def __call__(
        self,
        codes: Codes,
        scales: NDArray[np.float32],
        extra: NDArray[np.float32] | None = None,
    ) -> Scored:
        """Score pixels.

        Parameters
        ----------
        codes : int8 or float32 (D, P)
            Embeddings in units of their pixel's scale.
        scales : float32 (P,)
            Finite scale of each pixel.
        extra : float32 (extra, P) or None
            Finite numbers of another source, if the head takes such.

        Raises
        ------
        HeadError
            If the head takes such numbers and there are none, or the other way round.
        """
        rows, squares = self._product(codes, scales)
        if (extra is None) != (self._extra is None):
            raise HeadError("numbers of another source are given to the heads that take them")
        if self._extra is not None and extra is not None:
            rows[: self._rows] += self._extra(extra, np.ones(len(scales), np.float32))[0]
        distance = self._distance(rows[self._rows :], squares) if self._distances else None
        return Scored(*self._told(rows[: self._rows]), distance)

    def _distance(
        self, rows: NDArray[np.float32], squares: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The distance to the training data by its rows of the product and the squared length."""
        along = rows[: self._axes]
        distance = squares / np.float32(self._rest)
        distance += self._sign @ np.square(along, out=along)
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
        at_top = np.equal(told, top).view(np.uint8)
        best = self._outputs - np.multiply(at_top, self._places, out=at_top).max(axis=0)
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
    count = len(head.extra)
    return Scorer(head.kind, head.task, head.layers, outputs, space, shift, extra=count)
