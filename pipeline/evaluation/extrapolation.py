"""Every split and scale that rows allow, scored environment by environment, and written down."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tessera_mosaic.model.heads.fitting import one_thread
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.environment_models import (
    CHOSEN,
    ModelChoice,
    ValueMethod,
    Watch,
    tell,
)
from tessera_mosaic.pipeline.evaluation.environment_scores import (
    FEWEST_ROWS,
    MethodScore,
    score,
)
from tessera_mosaic.pipeline.evaluation.environment_splits import HeldOut, SplitKind, held_out
from tessera_mosaic.pipeline.evaluation.environments import Rows
from tessera_mosaic.pipeline.evaluation.time_scales import Scale, scales_of

HELD_OUT = {
    SplitKind.RANDOM: "random rows",
    SplitKind.SPACE: "whole places",
    SplitKind.TIME: "later years",
    SplitKind.TAIL: "places of the tail",
}
"""What each split holds out, in words."""


@dataclass(frozen=True)
class Extrapolation:
    """How methods do where they did not learn.

    Parameters
    ----------
    scores
        A score for each split, scale and method.
    taken
        How often validation takes each method, by split.
    notes
        What has to be said of them.
    """

    scores: tuple[MethodScore, ...]
    taken: Mapping[SplitKind, Mapping[str, int]]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON values."""
        return {
            "scores": [each.to_json() for each in self.scores],
            "taken": {split.value: dict(taken) for split, taken in self.taken.items()},
            "notes": list(self.notes),
        }


def extrapolate(
    rows: Rows,
    methods: Sequence[ValueMethod] = tuple(ValueMethod),
    choice: ModelChoice = ModelChoice.MEAN,
    fewest: int = FEWEST_ROWS,
    test_from: int | None = None,
    smallest: bool = False,
    watch: Watch = lambda splits: splits,
) -> Extrapolation:
    """Score methods under every split and on every scale that rows allow.

    Parameters
    ----------
    rows
        What is told of, and from what.
    methods, choice
        What tells, and how validation environments choose settings and a method.
    fewest
        Rows of an environment whose error is told.
    test_from, smallest
        As of `held_out`.
    watch
        Passes on the folds of all splits as they are done.

    Raises
    ------
    BadInput
        If there are too few rows or environments.
    """
    splits, notes = _splits(rows, test_from, smallest)
    scores: list[MethodScore] = []
    taken: dict[SplitKind, Mapping[str, int]] = {}
    folds = iter(watch([fold for each in splits.values() for fold in each]))
    with one_thread():
        for split, mine in splits.items():
            trial = tell(rows, itertools.islice(folds, len(mine)), methods, choice, fewest)
            taken[split] = trial.taken
            for scale in (Scale.ROWS, *scales_of(rows)):
                found = score(rows, trial, split, scale, fewest)
                scores += found
                if not found:
                    least = f"{fewest} rows" if scale is Scale.ROWS else "enough rows"
                    notes.append(f"{split}, {scale}: no environment that is held out has {least}")
    # A bar of progress is done when it is asked once more.
    next(folds, None)
    if not scores:
        raise BadInput("no environment has so many rows", "fewest", fewest)
    return Extrapolation(tuple(scores), taken, tuple(notes))


def _splits(
    rows: Rows, test_from: int | None, smallest: bool
) -> tuple[dict[SplitKind, list[HeldOut]], list[str]]:
    """The splits that rows allow, and why others are left out."""
    found, notes = {}, []
    for kind in SplitKind:
        if kind is SplitKind.TAIL and rows.tail is None:
            continue
        try:
            splits = held_out(rows, kind, test_from, smallest)
        except BadInput as error:
            if kind is SplitKind.TAIL or (kind is SplitKind.TIME and test_from is not None):
                raise
            notes.append(f"no {kind} split: {error}")
            continue
        if splits and all(len(each.fit) for each in splits):
            found[kind] = splits
        else:
            notes.append(f"no {kind} split: there are too few rows or environments for it")
    if not found:
        raise BadInput("there are too few rows or environments to hold some out", "environments")
    return found, notes


def write_errors(scores: Sequence[MethodScore], path: Path) -> None:
    """Write the error of every environment as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "scale", "method", "environment", "rows", "rmse"])
        for one in scores:
            writer.writerows(
                (one.split, one.scale, one.method, each.environment, each.rows, f"{each.rmse:.6g}")
                for each in one.errors
            )


def draw_errors(scores: Sequence[MethodScore], path: Path, target: str) -> None:
    """Draw the errors of environments, sorted, a panel for each split and a line for each method.

    Parameters
    ----------
    scores
        Scores of all splits and methods; those of rows as they are are drawn.
    path
        Path of the PNG.
    target
        What was told, for the axis.
    """
    from matplotlib.figure import Figure

    drawn = [each for each in scores if each.scale is Scale.ROWS] or list(scores)
    splits = list(dict.fromkeys(each.split for each in drawn))
    figure = Figure(figsize=(1 + 4 * len(splits), 4), layout="constrained")
    axes = figure.subplots(1, len(splits), squeeze=False, sharey=True)[0]
    for axis, split in zip(axes, splits, strict=True):
        mine = [each for each in drawn if each.split is split]
        for number, one in enumerate(mine):
            errors = sorted(each.rmse for each in one.errors)
            share = [100 * (k + 0.5) / len(errors) for k in range(len(errors))]
            told = f"{one.method}: median {one.median.value:.3g}, q90 {one.q90.value:.3g}"
            dashed = one.method == CHOSEN
            style = {"color": "black", "linestyle": "--"} if dashed else {"color": f"C{number}"}
            axis.plot(share, errors, label=told, **style)
        for line in (50, 90):
            axis.axvline(line, color="0.75", linewidth=0.8, zorder=0)
        count = len(mine[0].errors)
        axis.set(title=f"{HELD_OUT[split]} held out")
        axis.set(xlabel=f"share of the {count} environments, %", xticks=[0, 25, 50, 75, 90])
        axis.set(ylim=(0, None), xlim=(0, 100))
        axis.legend(frameon=False, fontsize="small", loc="upper left")
    axes[0].set(ylabel=f"RMSE of {target} in an environment")
    figure.savefig(path, dpi=120, metadata={"Software": None})
