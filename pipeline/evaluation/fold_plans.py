"""Folds of one set of places side by side: at random, and by cells of several sizes in degrees."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.evaluation.environments import cell_corners
from tessera_mosaic.pipeline.evaluation.folds import (
    INNER_FOLDS,
    FoldKind,
    Numbers,
    Split,
    grouped_folds,
    random_folds,
)

MOST_CHOOSING = 2000
"""Places that choose penalties within a training part at most."""


@dataclass(frozen=True)
class FoldPlan:
    """One way to cut places into folds.

    Parameters
    ----------
    kind
        What the folds do not cut: nothing, or blocks of ground.
    degrees
        Side of the cells that they do not cut; 0 for random folds.
    splits
        Training and test places of each fold.
    groups : int32 (P,)
        What the folds do not cut, which a bootstrap draws.
    cells : int32 (P,)
        What inner folds do not cut.
    """

    kind: FoldKind
    degrees: float
    splits: tuple[Split, ...]
    groups: Numbers
    cells: Numbers

    @property
    def name(self) -> str:
        """What people call it."""
        return f"cells of {self.degrees:g} deg" if self.degrees else "random"

    def inner(self, train: NDArray[np.int64], seed: int = 0) -> tuple[NDArray[Any], list[Split]]:
        """The training places that choose penalties, and inner folds of these by cells."""
        if len(train) > MOST_CHOOSING:
            train = np.sort(np.random.default_rng(seed).choice(train, MOST_CHOOSING, False))
        return train, grouped_folds(self.cells[train], INNER_FOLDS)


def degree_cells(lon: NDArray[np.float64], lat: NDArray[np.float64], degrees: float) -> Numbers:
    """Numbers of the cells of longitude and latitude that places lie in, from 0 on: int32 (P,).

    Examples
    --------
    >>> degree_cells(np.array([-0.1, 0.1, 0.2]), np.array([50.0, 50.0, 50.4]), 0.5).tolist()
    [0, 1, 1]
    """
    at = cell_corners(lon, lat, degrees)[:, ::-1]
    return np.unique(at, axis=0, return_inverse=True)[1].ravel().astype(np.int32)


def fold_plans(
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    targets: NDArray[np.float64],
    of_classes: bool,
    degrees: Sequence[float],
    folds: int,
) -> tuple[list[FoldPlan], list[str]]:
    """Random folds, and folds by cells of every size that there are enough cells of.

    Where none of the sizes has enough, the smallest is halved until it has.

    Parameters
    ----------
    lon, lat : float64 (P,)
        Where the places lie, in degrees.
    targets : float64 (P,)
        Classes by their place, or values.
    of_classes
        Whether they are classes.
    degrees
        Sides of cells.
    folds
        Number of folds.

    Returns
    -------
    The plans, random first and then from small cells to large, and what has to be said of them.
    """
    notes, blocked = [], []
    for side in sorted(degrees):
        cells = degree_cells(lon, lat, side)
        count = int(cells.max()) + 1
        if count < folds:
            notes.append(f"{count} cells of {side:g} deg hold points: too few for {folds} folds")
            continue
        blocked.append(_by_cells(cells, side, folds))
    side = min(degrees)
    while not blocked and side > SMALLEST:
        side /= 2
        cells = degree_cells(lon, lat, side)
        if cells.max() + 1 >= folds:
            blocked.append(_by_cells(cells, side, folds))
    with warnings.catch_warnings():
        # A class with fewer places than folds is no fault of the folds.
        warnings.simplefilter("ignore", UserWarning)
        splits = tuple(random_folds(targets, of_classes, folds))
    each = np.arange(len(targets), dtype=np.int32)
    inner = blocked[0].cells if blocked else each
    plans = [FoldPlan(FoldKind.RANDOM, 0.0, splits, each, inner)] if splits else []
    return plans + blocked, notes


SMALLEST = 1e-4
"""Side in degrees below which cells are no ground any more: some 10 m."""


def _by_cells(cells: Numbers, side: float, folds: int) -> FoldPlan:
    return FoldPlan(FoldKind.BLOCK, side, tuple(grouped_folds(cells, folds)), cells, cells)
