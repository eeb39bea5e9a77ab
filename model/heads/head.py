"""What a head is: arrays that stand for embeddings as they are stored, and what is known of it.

Inputs were standardised when the head was fitted. That is folded into the arrays, so that the first
layer is one product on int8 codes and one multiplication with the scale of each pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NEIGHBOURS = 5
"""Training pixels that vote on a pixel's class or value."""

MOST_DIMS, MOST_CLASSES, MOST_PROTOTYPES, MOST_HIDDEN, MOST_AXES = 4096, 254, 4096, 4096, 256
MOST_EXTRA = 1024
"""Sizes beyond which a file is no head of ours."""


class HeadError(ValueError):
    """Something is no head, or labels cannot make one. The message says why, in one line."""


class Task(StrEnum):
    """What a head tells of a pixel."""

    CLASS = "class"
    VALUE = "value"


class HeadKind(StrEnum):
    """How it tells."""

    LOGISTIC = "logistic"
    """Multinomial logistic regression with an L2 penalty."""
    RIDGE = "ridge"
    """Linear regression with an L2 penalty."""
    KNN = "knn"
    """The nearest training pixels vote."""
    MLP = "mlp"
    """One hidden layer."""


@dataclass(frozen=True)
class HeadClass:
    """A class that a head tells apart.

    Parameters
    ----------
    code
        Its value in a map, 0 to 253.
    name
        What people call it.
    colour
        Red, green and blue, 0 to 255.
    """

    code: int
    name: str
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class TrainingSpace:
    """Where the training data lies: one mean a class, and one covariance within all of them.

    The covariance is that of a factor analysis: some principal axes with variances of their own,
    and one variance for all that is left.

    Parameters
    ----------
    means : float32 (groups, D)
        Mean embedding of each class, or of all pixels where a value is predicted.
    axes : float32 (axes, D)
        Principal axes, of length 1.
    variances : float32 (axes,)
        Variance along each.
    rest
        Variance along every other direction.
    percentiles : float32 (101,)
        Percentiles 0 to 100 of the Mahalanobis distance of the training pixels.
    """

    means: NDArray[np.float32]
    axes: NDArray[np.float32]
    variances: NDArray[np.float32]
    rest: float
    percentiles: NDArray[np.float32]

    def limit(self, percentile: float) -> float:
        """The distance beyond which no more than the rest of the training pixels lie."""
        return float(np.interp(percentile, np.arange(101), self.percentiles))


@dataclass(frozen=True)
class Head:
    """A head, with all that has to be known before it meets a mosaic.

    Parameters
    ----------
    kind, task
        How it tells, and what.
    layers
        Arrays by name, float32: `weight` (outputs, D) and `bias` (outputs,); of a `knn` with
        `targets` (outputs,), classes by their place or values; of an `mlp` with `weight2` and
        `bias2` of the second layer.
    space
        Where its training data lies.
    classes
        Classes in the order of the outputs; empty for values.
    mosaic, model
        Fingerprint of the mosaic that it was trained on, and name of the encoder.
    dims
        Number of values of an embedding.
    years
        Calendar years of the labels.
    year_means : float32 (years, D)
        Mean embedding of the training pixels of each year.
    pixels : uint64 (pixels,)
        Digests of the training pixels, ascending.
    labels_sha256
        Digest of the file of labels.
    unit, valid_range
        Unit and range of the training values; empty and None for classes.
    error
        Root mean square error of values at places held out; 0 for classes.
    penalty
        That was chosen.
    scores
        What it scored, as JSON.
    software
        Versions of the software that made it.
    extra
        Names of numbers of another source that it takes beside the embedding, in the order of the
        last columns of `weight`.
    """

    kind: HeadKind
    task: Task
    layers: dict[str, NDArray[np.float32]]
    space: TrainingSpace
    classes: tuple[HeadClass, ...]
    mosaic: str
    model: str
    dims: int
    years: tuple[int, ...]
    year_means: NDArray[np.float32]
    pixels: NDArray[np.uint64]
    labels_sha256: str
    unit: str = ""
    valid_range: tuple[float, float] | None = None
    error: float = 0.0
    penalty: float = 0.0
    scores: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_head(self)

    @property
    def inputs(self) -> int:
        """Number of values that it takes of a pixel."""
        return self.dims + len(self.extra)

    def was_trained_on(self, zones: Array, rows: Array, cols: Array) -> NDArray[np.bool_]:
        """Which pixels of the lattice are among the training pixels.

        Parameters
        ----------
        zones, rows, cols : whole numbers (P,)
            Zone, row and column of each pixel.

        Returns
        -------
        bool (P,)
        """
        return np.isin(pixel_digests(zones, rows, cols), self.pixels)


def pixel_digests(zones: Array, rows: Array, cols: Array) -> NDArray[np.uint64]:
    """Digests of pixels of the lattice, uint64 (P,): a mix of their bits (splitmix64).

    Examples
    --------
    >>> pixel_digests(np.array([31]), np.array([7]), np.array([9])).tolist()
    [14031442763861979071]
    """
    zones, rows, cols = (np.asarray(of).astype(np.uint64) for of in (zones, rows, cols))
    mixed = (zones << np.uint64(48)) | (rows << np.uint64(24)) | cols
    with np.errstate(over="ignore"):
        mixed = mixed + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    digests: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return digests


def check_head(head: Head) -> None:
    """Check that a head's arrays go together.

    Raises
    ------
    HeadError
        If they do not.
    """
    if (head.kind is HeadKind.LOGISTIC) > (head.task is Task.CLASS):
        raise HeadError("a logistic regression tells classes, not values")
    if (head.kind is HeadKind.RIDGE) > (head.task is Task.VALUE):
        raise HeadError("a ridge regression tells values, not classes")
    if not 1 <= head.dims <= MOST_DIMS:
        raise HeadError(f"an embedding of {head.dims} values")
    of_classes = head.task is Task.CLASS
    if of_classes != bool(head.classes) or len(head.classes) > MOST_CLASSES:
        raise HeadError(f"a head of {len(head.classes)} classes for task {head.task}")
    codes = [each.code for each in head.classes]
    if len(set(codes)) != len(codes) or not all(0 <= code < MOST_CLASSES for code in codes):
        raise HeadError(f"the codes of its classes are {codes}")
    outputs = len(head.classes) if of_classes else 1
    if len(set(head.extra)) < len(head.extra) or len(head.extra) > MOST_EXTRA:
        raise HeadError(f"it takes {len(head.extra)} numbers of another source, or some twice")
    _check_layers(head, outputs)
    groups, axes = len(head.space.means), len(head.space.axes)
    if not 1 <= groups <= MOST_CLASSES or axes > MOST_AXES or not head.space.rest > 0:
        raise HeadError(f"training data in {groups} groups along {axes} axes")
    _check(head.space.means, "means", (groups, head.dims))
    _check(head.space.axes, "axes", (axes, head.dims))
    _check(head.space.variances, "variances", (axes,))
    _check(head.space.percentiles, "percentiles", (101,))
    _check(head.year_means, "year_means", (len(head.years), head.dims))
    if not (head.space.variances > 0).all():
        raise HeadError("a variance is not above 0")
    if not head.years or head.pixels.ndim != 1 or head.pixels.dtype != np.uint64:
        raise HeadError("it does not say what it was trained on")


def _check_layers(head: Head, outputs: int) -> None:
    rows = len(head.layers.get("weight", ()))
    expected: dict[str, tuple[int, ...]] = {"weight": (rows, head.inputs), "bias": (rows,)}
    if head.kind is HeadKind.KNN:
        expected["targets"] = (rows,)
        most = MOST_PROTOTYPES
    elif head.kind is HeadKind.MLP:
        expected |= {"weight2": (outputs, rows), "bias2": (outputs,)}
        most = MOST_HIDDEN
    else:
        most = outputs
    if set(head.layers) != set(expected):
        raise HeadError(f"a {head.kind} head with the arrays {', '.join(sorted(head.layers))}")
    plain = head.kind in (HeadKind.LOGISTIC, HeadKind.RIDGE)
    if not 1 <= rows <= most or (plain and rows != outputs):
        raise HeadError(f"a {head.kind} head with {rows} rows for {outputs} outputs")
    for name, shape in expected.items():
        _check(head.layers[name], name, shape)
    targets = head.layers.get("targets")
    if targets is not None and head.task is Task.CLASS:
        whole = (targets == np.floor(targets)) & (targets >= 0) & (targets < outputs)
        if not whole.all():
            raise HeadError("a neighbour is of no class")


def _check(array: Array, name: str, shape: tuple[int, ...]) -> None:
    if array.dtype != np.float32 or array.shape != shape:
        raise HeadError(f"{name} is {array.dtype} {array.shape}, not float32 {shape}")
    if not np.isfinite(array).all():
        raise HeadError(f"{name} has values that are no numbers")
