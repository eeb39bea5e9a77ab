"""How labels become the layers of a head. Needs the extra `training`; applying a head does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tessera_mosaic.model.heads.head import HeadError, HeadKind, Task
from tessera_mosaic.model.heads.ridge import RidgeSums
from tessera_mosaic.model.heads.scoring import Scorer

PENALTIES = {
    HeadKind.LOGISTIC: (3.0, 30.0, 300.0, 3000.0),
    HeadKind.RIDGE: (0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0),
    HeadKind.MLP: (1e-2,),
    HeadKind.KNN: (0.0,),
}
"""Penalties among which inner folds choose: weights of the squared coefficients beside the sum of
the losses; of an MLP its weight decay."""

PROTOTYPES = 1000
"""Training pixels that a `knn` head keeps at most, as many of each class as of the others."""

HIDDEN, STEPS, BATCH, RATE = 64, 400, 512, 5e-3
"""Of an MLP: hidden units, steps of Adam, pixels a step, and the rate at first."""

TOLERANCE = 1e-3
"""Largest slope at which a logistic regression counts as fitted."""

ABSENT = -1e4
"""Bias of a class that the training pixels of a fold do not have."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Have matrix libraries compute on one thread, so that the same labels make the same head."""
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Labelled:
    """Labelled embeddings.

    Parameters
    ----------
    features : float32 (P, D)
        Embeddings.
    targets : float64 (P,)
        Place of the class among the classes, or the value.
    weights : float64 (P,)
        How much each pixel counts.
    """

    features: NDArray[np.float32]
    targets: NDArray[np.float64]
    weights: NDArray[np.float64]

    def take(self, which: NDArray[np.int64]) -> Labelled:
        """Some of the pixels."""
        return Labelled(self.features[which], self.targets[which], self.weights[which])


@dataclass(frozen=True)
class Inputs:
    """Features of mean 0 and standard deviation 1.

    Parameters
    ----------
    values : float64 (P, D)
        The features; 0 where one is the same for all pixels.
    mean, spread : float64 (D,)
        What they were standardised by.
    weights : float64 (P,)
        How much each pixel counts, 1 in the mean.
    """

    values: NDArray[np.float64]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, data: Labelled) -> Inputs:
        """Standardise features, each by itself.

        Raises
        ------
        HeadError
            If there is nothing to learn from.
        """
        if not len(data.targets):
            raise HeadError("there is no labelled pixel to learn from")
        # Weights of mean 1, so that a penalty means the same whatever they add up to.
        weights = data.weights / data.weights.mean()
        mean = np.average(data.features.astype(np.float64), axis=0, weights=weights)
        spread = np.sqrt(np.average((data.features - mean) ** 2, axis=0, weights=weights))
        spread[spread < 1e-9 * max(float(spread.max()), 1e-30)] = np.inf
        return cls((data.features - mean) / spread, mean, spread, weights)


@dataclass(frozen=True)
class Recipe:
    """What kind of head is fitted.

    Parameters
    ----------
    kind, task
        How it tells, and what.
    outputs
        Number of classes, or 1.
    seed
        Of what is drawn.
    blocks
        Number of features of each block that has a penalty of its own, in their order: the
        embedding, and what other sources have beside it. Empty where there is one block.
    """

    kind: HeadKind
    task: Task
    outputs: int
    seed: int = 0
    blocks: tuple[int, ...] = ()

    def fit(
        self, data: Labelled, penalty: float, gains: Sequence[float] = ()
    ) -> dict[str, NDArray[np.float32]]:
        """Fit the layers of a head.

        Parameters
        ----------
        data
            What is learnt from.
        penalty
            Weight of the squared coefficients.
        gains
            By how much the standardised features of each block are stretched, so that their penalty
            is the other one over its square; 0 leaves a block out. Empty for 1.

        Raises
        ------
        HeadError
            If there is nothing to learn from.
        """
        inputs = Inputs.of(data)
        stretched = self.stretch(gains)
        values = inputs.values if stretched is None else inputs.values * stretched
        fitted = {
            HeadKind.LOGISTIC: self._logistic,
            HeadKind.RIDGE: self._ridge,
            HeadKind.KNN: self._nearest,
            HeadKind.MLP: self._perceptron,
        }[self.kind](values, data.targets, inputs.weights, penalty)
        weight = fitted["weight"] / inputs.spread
        if stretched is not None:
            weight = weight * stretched
        fitted |= {"weight": weight, "bias": fitted["bias"] - weight @ inputs.mean}
        return {name: np.ascontiguousarray(a, np.float32) for name, a in fitted.items()}

    def stretch(self, gains: Sequence[float]) -> NDArray[np.float64] | None:
        """The gain of each feature, float64 (D,), by those of the blocks; None where all are 1."""
        return np.repeat(np.array(gains, np.float64), self.blocks) if len(gains) else None

    def predict(
        self, layers: dict[str, NDArray[np.float32]], features: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Probabilities (classes, P) or values (1, P) of embeddings (P, D)."""
        scorer = Scorer(self.kind, self.task, layers, self.outputs)
        ones = np.ones(len(features), np.float32)
        return scorer(np.ascontiguousarray(features.T), ones).outputs

    def _logistic(
        self,
        inputs: NDArray[np.float64],
        targets: NDArray[np.float64],
        weights: NDArray[np.float64],
        penalty: float,
    ) -> dict[str, NDArray[np.float64]]:
        from sklearn.linear_model import LogisticRegression

        weight, bias = np.zeros((self.outputs, inputs.shape[1])), np.full(self.outputs, ABSENT)
        present = np.unique(targets).astype(np.int64)
        if len(present) == 1:
            bias[present] = 0.0
            return {"weight": weight, "bias": bias}
        found = LogisticRegression(C=1 / penalty, max_iter=1000, tol=TOLERANCE)
        found.fit(inputs, targets.astype(np.int64), sample_weight=weights)
        if len(present) == 2:
            # The softmax of plus and minus half is what the one row of two classes says.
            weight[present] = np.concatenate([-found.coef_, found.coef_]) / 2
            bias[present] = np.concatenate([-found.intercept_, found.intercept_]) / 2
        else:
            weight[present], bias[present] = found.coef_, found.intercept_
        return {"weight": weight, "bias": bias}

    def _ridge(
        self,
        inputs: NDArray[np.float64],
        targets: NDArray[np.float64],
        weights: NDArray[np.float64],
        penalty: float,
    ) -> dict[str, NDArray[np.float64]]:
        sums = RidgeSums.of(inputs, targets, weights)
        return {"weight": sums.solve(penalty)[None], "bias": np.array([sums.middle])}

    def _nearest(
        self,
        inputs: NDArray[np.float64],
        targets: NDArray[np.float64],
        weights: NDArray[np.float64],
        penalty: float,
    ) -> dict[str, NDArray[np.float64]]:
        kept = self._prototypes(targets)
        points = inputs[kept]
        # Least |x - p|^2 is greatest x.p - |p|^2 / 2.
        half = (points**2).sum(axis=1) / 2
        return {"weight": points, "bias": -half, "targets": targets[kept]}

    def _prototypes(self, targets: NDArray[np.float64]) -> NDArray[np.int64]:
        if len(targets) <= PROTOTYPES:
            return np.arange(len(targets))
        rng = np.random.default_rng(self.seed)
        if self.task is Task.VALUE:
            return np.sort(rng.choice(len(targets), PROTOTYPES, replace=False))
        order = rng.permutation(len(targets))
        rank = np.empty(len(targets), np.int64)
        for label in np.unique(targets):
            of = order[targets[order] == label]
            rank[of] = np.arange(len(of))
        return np.sort(np.argsort(rank, kind="stable")[:PROTOTYPES])

    def _perceptron(
        self,
        inputs: NDArray[np.float64],
        targets: NDArray[np.float64],
        weights: NDArray[np.float64],
        penalty: float,
    ) -> dict[str, NDArray[np.float64]]:
        middle, spread = 0.0, 1.0
        if self.task is Task.VALUE:
            middle = float(np.average(targets, weights=weights))
            spread = float(np.sqrt(np.average((targets - middle) ** 2, weights=weights))) or 1.0
        chance = torch.Generator().manual_seed(self.seed)
        x = torch.from_numpy(inputs.astype(np.float32))
        y = torch.from_numpy((targets - middle) / spread)
        w = torch.from_numpy(weights.astype(np.float32))
        layers = [
            torch.randn(HIDDEN, x.shape[1], generator=chance) * (2 / x.shape[1]) ** 0.5,
            torch.zeros(HIDDEN),
            torch.randn(self.outputs, HIDDEN, generator=chance) * (1 / HIDDEN) ** 0.5,
            torch.zeros(self.outputs),
        ]
        for layer in layers:
            layer.requires_grad_()
        adam = torch.optim.AdamW(layers, lr=RATE, weight_decay=penalty)
        slower = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
        for _ in range(STEPS):
            some = torch.randint(len(x), (min(BATCH, len(x)),), generator=chance)
            hidden = torch.relu(x[some] @ layers[0].T + layers[1])
            told = hidden @ layers[2].T + layers[3]
            if self.task is Task.CLASS:
                losses = torch.nn.functional.cross_entropy(told, y[some].long(), reduction="none")
            else:
                losses = (told[:, 0] - y[some].float()) ** 2
            adam.zero_grad()
            (losses * w[some]).mean().backward()
            adam.step()
            slower.step()
        first, bias, second, bias2 = (layer.detach().numpy().astype(np.float64) for layer in layers)
        told_middle = middle if self.task is Task.VALUE else 0.0
        return {
            "weight": first,
            "bias": bias,
            "weight2": second * spread,
            "bias2": bias2 * spread + told_middle,
        }
