"""The command `evaluate`: what labels can be told from a mosaic's embeddings."""

from __future__ import annotations

import argparse
import csv
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from tessera_mosaic.model import probes
from tessera_mosaic.pipeline.commands.refusals import model_refusals
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.label_scores import _rules, gather, summarize
from tessera_mosaic.pipeline.imagery.label_raster import read_labels
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.mosaic.store import mosaic_at
from tessera_mosaic.pipeline.scenes import open_catalogue

log = logging.getLogger(__name__)


SEEDS = 5


TABLE, PICTURE = "evaluation.csv", "evaluation.png"


def evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `evaluate`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument("--labels", required=True, help="raster of class codes, 0 is unlabelled")
    parser.add_argument("--fields", help="raster of field numbers on the grid of --labels")
    parser.add_argument("--year", required=True, type=int)
    parser.add_argument("--catalog", help="imagery, for raw features beside the embeddings")
    parser.add_argument(
        "--out", default="evaluation", help="folder for the table and the picture (%(default)s)"
    )
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="repetitions with other draws (%(default)s)"
    )


@model_refusals()
def evaluate_command(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate a mosaic on labels.

    Returns
    -------
    `pixels`, `classes`, `fields`, where `table` and `picture` are, and `scores`: mean and spread
    over the seeds of the accuracy, for each kind of features, folds, head and share of labels.

    Raises
    ------
    BadInput
        If the labels cannot be used with the mosaic, or there is no folder for what is found.
    """
    if args.seeds < 1:
        raise BadInput(f"--seeds {args.seeds}: at least one")
    labels = read_labels(args.labels, args.fields)
    mosaic = mosaic_at(args.store)
    mosaic.step(args.year)
    source = open_catalogue(args.catalog) if args.catalog else None
    if source is not None:
        _rules(mosaic, source).check(source)
    features, classes, groups = gather(mosaic, labels, args.year, source)
    try:
        keep = probes.worth_probing(classes, groups["field"])
        classes = classes[keep]
        groups = {kind: numbers[keep] for kind, numbers in groups.items()}
        for numbers in groups.values():
            probes.grouped_folds(numbers)
    except probes.ProbeError as error:
        raise BadInput(
            f"{args.labels}, where {args.store} has embeddings of {args.year}: {error}"
        ) from None
    out = Path(args.out)
    make_directory(out)
    scored = (
        {"features": kind, **row}
        for kind, values in features.items()
        for row in probes.learning_curves(values[keep], classes, groups, args.seeds)
    )
    folds = len(groups) + 1
    each = folds * len(probes.HEADS) * len(probes.FRACTIONS) * args.seeds
    # On a terminal only.
    rows = list(tqdm(scored, "scoring", each * len(features), disable=None))
    write_table(rows, out / TABLE)
    scores = summarize(rows)
    draw_curves(scores, out / PICTURE)
    if not args.json:
        print_scores(scores)
    return {
        "pixels": len(classes),
        "classes": len(np.unique(classes)),
        "fields": len(np.unique(groups["field"])),
        "table": str(out / TABLE),
        "picture": str(out / PICTURE),
        "scores": scores,
    }


def write_table(rows: list[dict[str, Any]], path: Path) -> None:
    """Write every score as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def print_scores(scores: list[dict[str, Any]]) -> None:
    """Print a line for each head and kind of folds, with a column for each share of labels."""
    print("accuracy, mean over folds and seeds, by share of the training labels")
    print(
        f"{'features':<10} {'folds':<7} {'head':<9}"
        + "".join(f"{fraction:>8.0%}" for fraction in probes.FRACTIONS)
    )
    lines: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in scores:
        lines[row["features"], row["folds"], row["head"]].append(row["accuracy"])
    for (kind, folds, head), values in lines.items():
        print(f"{kind:<10} {folds:<7} {head:<9}" + "".join(f"{value:>8.3f}" for value in values))


def draw_curves(scores: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy over the share of labels, a panel for each kind of folds."""
    # Imported here: it is slow to import, and only this needs it.

    kinds = list(dict.fromkeys(row["folds"] for row in scores))
    figure = Figure(figsize=(4.5 * len(kinds), 4), layout="constrained")
    axes = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    styles = dict(zip(dict.fromkeys(row["features"] for row in scores), ("-", "--"), strict=False))
    for axis, kind in zip(axes, kinds, strict=True):
        for number, head in enumerate(probes.HEADS):
            for features, style in styles.items():
                mine = [
                    row
                    for row in scores
                    if (row["folds"], row["head"], row["features"]) == (kind, head, features)
                ]
                axis.errorbar(
                    [row["fraction"] for row in mine],
                    [row["accuracy"] for row in mine],
                    [row["spread"] for row in mine],
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
