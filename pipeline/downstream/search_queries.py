"""What is searched for: examples or a head, as one product with the codes of a pixel.

A pixel of codes `q` scores `w . q / |q| + b` for examples, and `w . q * scale + b` for a head. The
weights are rounded so that the product with whole numbers of 8 bits is exact in
double precision: no processor, library or order of the sum makes another score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.head import Head, HeadKind, Task
from tessera_mosaic.pipeline.errors import BadInput

ENOUGH = 6
"""Examples of either kind from which they are told apart by a logistic regression. With fewer the
cosine to those that are alike ranks better (measured on real embeddings)."""

PENALTY = 10.0
"""Weight of the squared coefficients beside the sum of the losses. From 6 to 100 examples of a kind
3 to 30 rank alike."""

STEPS, TOLERANCE = 100, 1e-10
"""Newton's steps at most, and the change of a coefficient at which they end."""

CODE_BITS, DOUBLE_BITS = 7, 53
"""Bits of the largest code, 128, and of the whole numbers that double precision holds exactly."""


class Measure(StrEnum):
    """By what the product of weights and codes is turned into a score."""

    LENGTH = "length"
    """Divided by the length of the codes: a cosine, for which no scale is needed."""

    SCALE = "scale"
    """Multiplied by the pixel's scale: what a head says of the embedding."""


@dataclass(frozen=True)
class Query:
    """What is looked for. Plain and picklable, so that a maker can hold it.

    Parameters
    ----------
    name
        What the user calls it; empty where there is only one.
    weights
        One value a dimension, rounded by `exact_weights`.
    bias
        What is added to the product.
    measure
        What else makes a score of the product.
    """

    name: str
    weights: tuple[float, ...]
    bias: float = 0.0
    measure: Measure = Measure.LENGTH

    @property
    def dims(self) -> int:
        """Number of values of an embedding that it takes."""
        return len(self.weights)


@dataclass(frozen=True)
class Examples:
    """Places that a query is made of.

    Parameters
    ----------
    name
        Name of the query.
    like, unlike : float64 (places, D)
        Embeddings of places that are looked for, at least one, and of others that are not.
    """

    name: str
    like: NDArray[np.float64]
    unlike: NDArray[np.float64]


def exact_weights(weights: NDArray[np.float64]) -> tuple[float, ...]:
    """Weights with so few bits that their product with codes is exact, in whatever order.

    Parameters
    ----------
    weights : float64 (D,)
        Any weights; the largest keeps 46 bits, less the logarithm of their number.

    Examples
    --------
    >>> exact_weights(np.array([1.0, 1 / 3]))[0]
    1.0
    """
    largest = float(np.abs(weights).max(initial=0.0))
    if not largest:
        return tuple(0.0 for _ in weights)
    bits = DOUBLE_BITS - CODE_BITS - math.ceil(math.log2(max(len(weights), 2)))
    power = bits - math.frexp(largest)[1]
    rounded = np.ldexp(np.rint(np.ldexp(weights, power)), -power)
    return tuple(rounded.tolist())


def query_of(examples: Examples, dims: int | None = None) -> Query:
    """The query that examples make.

    Up to `ENOUGH` of either kind, it is the cosine to the mean direction of those that are alike;
    from then on a penalised logistic regression on directions, whose score is a logarithm of odds.

    Parameters
    ----------
    examples
        Embeddings of the places.
    dims
        Number of first values that count; None for all.

    Raises
    ------
    BadInput
        If no direction is left: the places that are alike cancel one another out.
    """
    like, unlike = (directions(of[:, :dims]) for of in (examples.like, examples.unlike))
    if min(len(like), len(unlike)) >= ENOUGH:
        weights, bias = _logistic(like, unlike)
        return Query(examples.name, exact_weights(weights), bias)
    mean = like.mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        raise BadInput(f"the examples of {examples.name or 'the query'} have no direction together")
    return Query(examples.name, exact_weights(mean / length))


def directions(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors of length 1, float64 (places, D); those without a direction stay 0."""
    lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def queries_of_head(head: Head) -> tuple[Query, ...]:
    """What a head tells, as queries: one for each class, or one for the largest values.

    The score of a class is its logit less the mean of those of the others: of two classes the
    logarithm of the odds.

    Raises
    ------
    BadInput
        If the head is no product with the embedding.
    """
    if head.kind not in (HeadKind.LOGISTIC, HeadKind.RIDGE):
        raise BadInput(
            f"a {head.kind} head is no product with the embedding: train a logistic or a ridge one",
            "head",
        )
    weights = head.layers["weight"].astype(np.float64)
    biases = head.layers["bias"].astype(np.float64)
    if head.task is Task.VALUE:
        return (Query("", exact_weights(weights[0]), float(biases[0]), Measure.SCALE),)
    if len(weights) == 1:
        raise BadInput("it has a single class, which every pixel is of", "head")
    others = len(weights) - 1
    weights = weights - (weights.sum(axis=0) - weights) / others
    biases = biases - (biases.sum() - biases) / others
    return tuple(
        Query(each.name, exact_weights(row), float(bias), Measure.SCALE)
        for each, row, bias in zip(head.classes, weights, biases, strict=True)
    )


def check_alike(queries: Sequence[Query]) -> None:
    """Check that queries can be answered in one pass.

    Raises
    ------
    ValueError
        If there is none, or they take other embeddings or other measures.
    """
    if len({(each.dims, each.measure) for each in queries}) != 1:
        raise ValueError("queries of one pass have one measure and one number of dimensions")


def _logistic(
    like: NDArray[np.float64], unlike: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Weights and bias of a logistic regression with an L2 penalty, by Newton's method.

    Both kinds count alike, however many there are of each.
    """
    inputs = np.concatenate([like, unlike])
    targets = np.repeat([1.0, 0.0], [len(like), len(unlike)])
    counts = np.where(targets > 0, len(like), len(unlike))
    each = len(inputs) / (2.0 * counts)
    mean = inputs.mean(axis=0)
    spread = math.sqrt(float(inputs.var(axis=0).mean())) or 1.0
    design = np.concatenate([(inputs - mean) / spread, np.ones((len(inputs), 1))], axis=1)
    penalty = np.full(design.shape[1], PENALTY)
    penalty[-1] = 0.0
    found = np.zeros(design.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ found, -500, 500)))
        slope = design.T @ (each * (chance - targets)) + penalty * found
        bend = (design * (each * chance * (1 - chance))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(bend, slope)
        found = found - step
        if np.abs(step).max() < TOLERANCE:
            break
    weights = found[:-1] / spread
    return weights, float(found[-1] - weights @ mean)
