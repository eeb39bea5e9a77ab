"""Scores of probes: their means, a table of all of them, and learning curves."""

from __future__ import annotations

import csv
import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tessera_mosaic.model.probes import ProbeScore
from tessera_mosaic.pipeline.evaluation.labelled_pixels import FeatureKind


@dataclass(frozen=True)
class LabelScore:
    """What a probe gets from one kind of features."""

    features: FeatureKind
    probe: ProbeScore


@dataclass(frozen=True)
class MeanScore:
    """What a probe gets over all repetitions.

    Parameters
    ----------
    features
        What the pixels are described by.
    folds, head, fraction
        As of `ProbeScore`.
    accuracy, spread
        Mean and standard deviation of the accuracy over the repetitions, 0 to 1.
    balanced_accuracy
        Mean of the balanced accuracy over the repetitions, 0 to 1.
    """

    features: FeatureKind
    folds: str
    head: str
    fraction: float
    accuracy: float
    spread: float
    balanced_accuracy: float


def mean_scores(rows: Sequence[LabelScore]) -> list[MeanScore]:
    """Means and standard deviations over the repetitions, rounded to four digits."""
    by: dict[tuple[FeatureKind, str, str, float], list[ProbeScore]] = defaultdict(list)
    for row in rows:
        by[row.features, row.probe.folds, row.probe.head, row.probe.fraction].append(row.probe)
    means = []
    for (features, folds, head, fraction), members in by.items():
        accuracy = [probe.accuracy for probe in members]
        balanced = [probe.balanced_accuracy for probe in members]
        means.append(
            MeanScore(
                features,
                folds,
                head,
                fraction,
                accuracy=round(float(np.mean(accuracy)), 4),
                spread=round(float(np.std(accuracy)), 4),
                balanced_accuracy=round(float(np.mean(balanced)), 4),
            )
        )
    return means


def write_table(rows: Sequence[LabelScore], path: Path) -> None:
    """Write every score as CSV."""
    table = [{"features": row.features, **dataclasses.asdict(row.probe)} for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def draw_curves(scores: Sequence[MeanScore], path: Path) -> None:
    """Draw accuracy over the share of labels, a panel for each kind of folds."""
    kinds = list(dict.fromkeys(score.folds for score in scores))
    heads = list(dict.fromkeys(score.head for score in scores))
    figure = Figure(figsize=(4.5 * len(kinds), 4), layout="constrained")
    axes = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    styles = dict(zip(dict.fromkeys(score.features for score in scores), ("-", "--"), strict=False))
    for axis, kind in zip(axes, kinds, strict=True):
        for number, head in enumerate(heads):
            for features, style in styles.items():
                mine = [
                    score
                    for score in scores
                    if (score.folds, score.head, score.features) == (kind, head, features)
                ]
                axis.errorbar(
                    [score.fraction for score in mine],
                    [score.accuracy for score in mine],
                    [score.spread for score in mine],
                    label=f"{features}, {head}",
                    color=f"C{number}",
                    linestyle=style,
                )
        title = "random folds" if kind == "random" else f"folds by {kind}"
        axis.set(title=title, xlabel="share of training labels", xscale="log")
        axis.grid(alpha=0.3)
    axes[0].set(ylabel="accuracy")
    axes[-1].legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=120, metadata={"Software": None})
