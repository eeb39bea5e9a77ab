"""What a head scores on labels that it was not fitted with."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.fitting import Labelled, Recipe, one_thread
from tessera_mosaic.model.heads.head import Task
from tessera_mosaic.pipeline.evaluation.folds import (
    BLOCK_METRES,
    FoldKind,
    Ground,
    Split,
    blocks_of,
    grouped_folds,
    inner_folds,
    random_folds,
)
from tessera_mosaic.pipeline.evaluation.penalty_choice import Choice, choose, out_of_fold
from tessera_mosaic.pipeline.evaluation.score_sheets import (
    ClassSheet,
    ValueSheet,
    class_sheet,
    value_sheet,
)

MOST_SCORED, MOST_CHOOSING = 20_000, 2_000
"""Labelled pixels that scores are taken of at most, and those that choose a penalty."""

FRACTIONS = (0.1, 0.3, 1.0)
"""Shares of the training labels of a learning curve."""


@dataclass(frozen=True)
class FoldScores:
    """Scores under one kind of folds.

    Parameters
    ----------
    folds
        What the folds do not cut.
    metres
        Side of the blocks; 0 for other folds.
    sheet
        The scores.
    """

    folds: FoldKind
    metres: float
    sheet: ClassSheet | ValueSheet

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON values."""
        return {"folds": self.folds.value, "metres": self.metres, **self.sheet.to_json()}


@dataclass(frozen=True)
class Trial:
    """What was told of pixels held out.

    Parameters
    ----------
    targets : float64 (P,)
        Classes by their place, or values.
    told : float32 (outputs, P)
        Probabilities, or values.
    groups : int32 (P,)
        What the folds did not cut.
    """

    targets: NDArray[np.float64]
    told: NDArray[np.float32]
    groups: NDArray[np.int32]


@dataclass(frozen=True)
class HeadScores:
    """What a kind of head scores on labels.

    Parameters
    ----------
    kinds
        Scores under each kind of folds that the labels allow.
    trusted
        The kind of folds whose scores are to be trusted; None where there is only chance.
    choice
        Penalties that all labels together choose.
    pixels
        Number of labelled pixels that scores were taken of.
    curve
        Share of the training labels, and the score, under the trusted folds: macro F1, or R2.
    notes
        What has to be said of them.
    trial
        What was told under the trusted folds, to compare with.
    """

    kinds: tuple[FoldScores, ...]
    trusted: FoldKind | None
    choice: Choice
    pixels: int
    curve: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()
    trial: Trial | None = field(default=None, compare=False, repr=False)

    def of(self, kind: FoldKind | None) -> FoldScores | None:
        """The scores under one kind of folds, if there are any."""
        return next((each for each in self.kinds if each.folds is kind), None)

    @property
    def headline(self) -> FoldScores | None:
        """The scores that are to be trusted."""
        return self.of(self.trusted) or next(iter(self.kinds), None)

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON values."""
        return {
            "trusted": self.trusted.value if self.trusted else None,
            "pixels": self.pixels,
            "penalty": self.choice.penalty,
            "folds": [each.to_json() for each in self.kinds],
            "learning_curve": [
                {"fraction": share, "score": round(score, 4)} for share, score in self.curve
            ],
            "notes": list(self.notes),
        }


def score_head(
    recipe: Recipe, data: Labelled, ground: Ground, metres: float = BLOCK_METRES
) -> HeadScores:
    """Score a kind of head under every kind of folds that the labels allow.

    The penalty is chosen anew within the training part of each fold, by inner folds.

    Parameters
    ----------
    recipe
        What kind of head.
    data, ground
        Labelled embeddings, and where they lie.
    metres
        Side of the blocks to begin with.
    """
    notes: list[str] = []
    if len(data.targets) > MOST_SCORED:
        chosen = np.random.default_rng(recipe.seed).choice(
            len(data.targets), MOST_SCORED, replace=False
        )
        chosen.sort()
        notes.append(f"scored on {MOST_SCORED:,} of {len(data.targets):,} labelled pixels")
        data, ground = data.take(chosen), ground.take(chosen)
    with one_thread():
        folds = _kinds_of_folds(recipe, data, ground, metres, notes)
        trusted = _trusted(set(folds), ground, notes)
        kinds: list[FoldScores] = []
        curve: list[tuple[float, float]] = []
        trial = None
        for kind, (splits, groups, side) in folds.items():
            choices = [choose_penalty(recipe, data, ground, train, side) for train, _ in splits]
            told = out_of_fold(recipe, data, splits, choices)
            kinds.append(FoldScores(kind, side, sheet(recipe, data.targets, told, splits, groups)))
            if kind is trusted:
                curve = _curve(recipe, data, splits, choices)
                trial = Trial(data.targets, told, groups)
        whole = np.arange(len(data.targets))
        choice = choose_penalty(recipe, data, ground, whole, metres)
    told_of = len(data.targets), tuple(curve), tuple(notes)
    return HeadScores(tuple(kinds), trusted, choice, *told_of, trial)


def _kinds_of_folds(
    recipe: Recipe, data: Labelled, ground: Ground, metres: float, notes: list[str]
) -> dict[FoldKind, tuple[list[Split], NDArray[np.int32], float]]:
    """Folds of each kind, with what they do not cut, and the side of blocks."""
    of_classes, pixels = recipe.task is Task.CLASS, np.arange(len(data.targets), dtype=np.int32)
    with warnings.catch_warnings():
        # A class with fewer pixels than folds is said by the pre-check of the labels.
        warnings.simplefilter("ignore", UserWarning)
        found = {FoldKind.RANDOM: (random_folds(data.targets, of_classes), pixels, 0.0)}
    found[FoldKind.GROUP] = grouped_folds(ground.group), ground.group, 0.0
    blocks = blocks_of(ground, data.targets, metres)
    if blocks is None:
        notes.append("the labels lie too close together for folds by blocks of ground")
    else:
        found[FoldKind.BLOCK] = grouped_folds(blocks.numbers), blocks.numbers, blocks.metres
        if blocks.metres < metres:
            what = "labels of two classes" if of_classes else "labels"
            notes.append(f"blocks are of {blocks.metres:g} m: too few of {metres:g} m hold {what}")
    for kind in [kind for kind, (splits, *_) in found.items() if not splits]:
        notes.append(f"there are too few labels for folds by {kind}")
        del found[kind]
    return found


def _trusted(kinds: set[FoldKind], ground: Ground, notes: list[str]) -> FoldKind | None:
    """The kind of folds to be trusted: those that leave least of a neighbour in training."""
    order = [FoldKind.GROUP, FoldKind.BLOCK]
    if ground.lone:
        order.reverse()
        if FoldKind.BLOCK in kinds:
            notes.append("most groups are single pixels: trust the folds by blocks, not by groups")
    found = next((kind for kind in order if kind in kinds), None)
    if found is None and kinds:
        notes.append("only random folds are possible, and they flatter")
    return found


def choose_penalty(
    recipe: Recipe, data: Labelled, ground: Ground, train: NDArray[np.int64], metres: float
) -> Choice:
    """The penalties with the least loss on inner folds of some training pixels.

    Parameters
    ----------
    recipe, data, ground
        As in `score_head`.
    train : int64 (pixels,)
        The training pixels.
    metres
        Side of the blocks that inner folds do not cut; 0 for the usual one.
    """
    if len(train) > MOST_CHOOSING:
        train = np.sort(np.random.default_rng(recipe.seed).choice(train, MOST_CHOOSING, False))
    part, of_classes = data.take(train), recipe.task is Task.CLASS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        splits = inner_folds(ground.take(train), part.targets, of_classes, metres or BLOCK_METRES)
    return choose(recipe, part, splits)


def _curve(
    recipe: Recipe, data: Labelled, splits: Sequence[Split], choices: Sequence[Choice]
) -> list[tuple[float, float]]:
    """The score with shares of the training labels."""
    rng = np.random.default_rng(recipe.seed)
    curve = []
    for share in FRACTIONS:
        thinned = [
            (np.sort(rng.choice(train, max(round(share * len(train)), 2), replace=False)), test)
            for train, test in splits
        ]
        told = out_of_fold(recipe, data, thinned, choices)
        found = sheet(recipe, data.targets, told, splits, None)
        curve.append((share, found.headline.value))
    return curve


def sheet(
    recipe: Recipe,
    targets: NDArray[np.float64],
    told: NDArray[np.float32],
    splits: Sequence[Split],
    groups: NDArray[np.int32] | None,
) -> ClassSheet | ValueSheet:
    """The scores of what was told of pixels held out; see `score_sheets`."""
    if recipe.task is Task.CLASS:
        return class_sheet(targets.astype(np.int64), told, groups)
    return value_sheet(targets, told[0], [test for _, test in splits], groups)
