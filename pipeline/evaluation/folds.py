"""Folds that cut nothing: at random, by group, and by blocks of ground."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.tiling.lattice import PIXEL

FOLDS, INNER_FOLDS = 5, 3
"""Folds that scores are taken of, and those within their training part that choose a penalty."""

BLOCK_METRES = 500.0
"""Side of the blocks that folds do not cut, unless another one is asked for."""

FEWEST_BLOCKS = 5
"""Blocks that have to hold labels: with fewer, their side is halved."""

Numbers = NDArray[np.int32]
Split = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Indices of the training pixels and of the test pixels of a fold."""


class FoldKind(StrEnum):
    """What folds do not cut."""

    RANDOM = "random"
    """Nothing: pixels beside each other end up on both sides."""
    GROUP = "group"
    """Fields, polygons, or what the labels' column `group` numbers."""
    BLOCK = "block"
    """Squares of ground."""


@dataclass(frozen=True)
class Ground:
    """Where labelled pixels lie.

    Parameters
    ----------
    zone, row, col : int32 (P,)
        UTM zone, and row and column of the zone's lattice.
    group : int32 (P,)
        Number of the field or polygon that each is of.
    """

    zone: Numbers
    row: Numbers
    col: Numbers
    group: Numbers

    def take(self, which: NDArray[np.int64]) -> Ground:
        """Some of the pixels."""
        return Ground(*(of[which] for of in (self.zone, self.row, self.col, self.group)))

    @property
    def lone(self) -> bool:
        """Whether most groups are single pixels, so that folds by group cut what is alike."""
        _, counts = np.unique(self.group, return_counts=True)
        return bool((counts == 1).mean() > 0.5)


@dataclass(frozen=True)
class Blocks:
    """Blocks of ground.

    Parameters
    ----------
    numbers : int32 (P,)
        Number of the block that each pixel lies in.
    metres
        Side of a block.
    """

    numbers: Numbers
    metres: float


def blocks_of(ground: Ground, targets: NDArray[np.float64], metres: float) -> Blocks | None:
    """Blocks of some side, halved until five hold labels, of two classes in two blocks each.

    Parameters
    ----------
    ground
        Where the pixels lie.
    targets : float64 (P,)
        Classes or values of the pixels.
    metres
        Side of a block to begin with.

    Returns
    -------
    Blocks or None
        None where there are not so many blocks even with the side of a pixel.

    Examples
    --------
    >>> line = np.arange(64, dtype=np.int32)
    >>> ground = Ground(np.full(64, 31, np.int32), line * 0, line, line)
    >>> blocks_of(ground, line % 2.0, 500.0).metres
    125.0
    """
    classes, of = np.unique(targets, return_inverse=True)
    side = metres
    while side >= PIXEL:
        pixels = side / PIXEL
        at = [(places // pixels).astype(np.int64) for places in (ground.row, ground.col)]
        found = np.stack([ground.zone, *at], axis=1)
        _, inverse = np.unique(found, axis=0, return_inverse=True)
        numbers: Numbers = inverse.astype(np.int32).ravel()
        pairs = np.unique(np.stack([of, numbers], axis=1), axis=0)
        in_two = int((np.bincount(pairs[:, 0], minlength=len(classes)) >= 2).sum())
        # Values differ from pixel to pixel: whatever a block holds tells something of them.
        enough = in_two >= 2 or len(classes) > len(targets) // 2
        if numbers.max(initial=-1) + 1 >= FEWEST_BLOCKS and enough:
            return Blocks(numbers, side)
        side /= 2
    return None


def grouped_folds(groups: Numbers, folds: int = FOLDS, seed: int | None = None) -> list[Split]:
    """Folds of about equal size that cut no group; none where there are fewer groups.

    With a seed groups are drawn, and folds are of equal numbers of groups.
    """
    from sklearn.model_selection import GroupKFold

    if len(np.unique(groups)) < folds:
        return []
    kind = GroupKFold(folds, shuffle=seed is not None, random_state=seed)
    return list(kind.split(groups, groups, groups))


def random_folds(
    targets: NDArray[np.float64], of_classes: bool, folds: int = FOLDS, seed: int = 0
) -> list[Split]:
    """Folds that know nothing of the ground; those of classes have about their share of each."""
    from sklearn.model_selection import KFold, StratifiedKFold

    kind = StratifiedKFold if of_classes else KFold
    if len(targets) < folds:
        return []
    return list(kind(folds, shuffle=True, random_state=seed).split(targets, targets))


def inner_folds(
    ground: Ground, targets: NDArray[np.float64], of_classes: bool, metres: float
) -> list[Split]:
    """Folds within a training part, by blocks where there are enough of them."""
    blocks = blocks_of(ground, targets, metres)
    folds = grouped_folds(blocks.numbers, INNER_FOLDS) if blocks else []
    return folds or random_folds(targets, of_classes, INNER_FOLDS)
