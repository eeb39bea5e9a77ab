"""The command `train`: from labels to a head, with scores on labels held out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tessera_mosaic.model.heads.head import HeadKind, Task
from tessera_mosaic.pipeline.commands.contract import MADE, Contract, Material
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.evaluation.folds import BLOCK_METRES, FoldKind
from tessera_mosaic.pipeline.evaluation.score_sheets import ClassSheet, ValueSheet

if TYPE_CHECKING:
    from tessera_mosaic.pipeline.downstream.extra_features import ExtraScores
    from tessera_mosaic.pipeline.downstream.train import Trained

CONTRACT = Contract(
    costs="reads the labelled chunks once, then trains the head some thirty times for its scores, "
    "and some hundred times with `extra`: "
    "seconds to minutes",
    takes={"store": Kind.MOSAIC, "labels": Kind.PLACES, "extra": Material.PRODUCT},
    gives={"out": Kind.HEAD},
    needs=(MADE, "labels are of that year", "every class has enough labelled pixels"),
    lasting=("a file of that name is replaced",),
    requests=("TrainRequest",),
)


def train_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `train`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument(
        "--labels",
        required=True,
        metavar="L",
        help="points or polygons (CSV with lon,lat,label, GeoJSON, GeoPackage, GeoParquet, "
        "Shapefile), or a GeoTIFF of classes or values",
    )
    parser.add_argument("--field", help="column with the label (label)")
    parser.add_argument("--year", required=True, type=int, help="calendar year of the labels")
    parser.add_argument(
        "--task", choices=tuple(Task), default=Task.CLASS, help="what labels are (%(default)s)"
    )
    parser.add_argument(
        "--head", choices=tuple(HeadKind), help="kind of head (logistic; ridge for values)"
    )
    parser.add_argument(
        "--folds",
        type=float,
        default=BLOCK_METRES,
        metavar="METRES",
        help="side of the blocks of ground that folds do not cut (%(default)g)",
    )
    parser.add_argument("--unit", default="", help="unit of the values")
    parser.add_argument(
        "--extra",
        action="append",
        default=[],
        metavar="P",
        help="numbers of another source, a table of points, a GeoTIFF, or another product as of "
        "`fuse` (repeatable): scores with and without them; the head takes them where they help",
    )
    parser.add_argument("--out", required=True, help="path or URL of the head's file")


def train_command(args: argparse.Namespace) -> dict[str, Any]:
    """Train, tell, and return the fields of `train --json`."""
    # Loaded where it is used: its help does not wait for PyTorch.
    from tessera_mosaic.pipeline.downstream.train import TrainRequest, train

    trained = train(
        TrainRequest(
            store=args.store,
            labels=args.labels,
            year=args.year,
            out=args.out,
            field=args.field,
            task=args.task,
            head=args.head,
            folds=args.folds,
            unit=args.unit,
            extra=tuple(args.extra),
        )
    )
    if not args.json:
        print_trained(trained)
    return trained.to_json()


def print_trained(trained: Trained) -> None:
    """Print what was learnt from, and what it scored."""
    print(f"{'labels':<24}{'pixels':>9}{'places':>8}  {'west, south, east, north':<42}clustered")
    for each in trained.checks:
        box = f"{each.west:.4f}, {each.south:.4f}, {each.east:.4f}, {each.north:.4f}"
        alike = "" if each.neighbour_alike is None else f"{each.neighbour_alike:.0%}"
        print(f"{each.name[:23]:<24}{each.pixels:>9,}{each.groups:>8,}  {box:<42}{alike}")
    for why, count in trained.left_out.items():
        print(f"  left out: {count:,} {why}")
    print_scores(trained)
    if trained.extra is not None:
        print_extra(trained.extra)
    print(
        f"{trained.out}: a {trained.head.kind} head of {trained.size:,} bytes, trained on "
        f"{len(trained.head.pixels):,} pixels of {trained.head.years[0]}"
    )


def print_extra(extra: ExtraScores) -> None:
    """Print scores with and without the numbers of another source, under each kind of folds."""
    print(f"{len(extra.columns)} extra columns on {extra.pixels:,} labelled pixels:")
    for each in extra.without.kinds:
        other = extra.with_extra.of(each.folds)
        if other is not None:
            print(
                f"  folds by {each.folds}: {each.sheet.headline} without, "
                f"{other.sheet.headline} with them"
            )
    told = "they help" if extra.helps else "no gain: the interval holds 0, or lies below it"
    print(f"  gain {extra.gain}: {told}" if extra.gain else "  nobody can tell whether they help")
    if extra.helps:
        names = ", ".join(extra.columns)
        print(f"  the head takes them: give `map --extra` a GeoTIFF with the bands {names}")
    else:
        print("  the head is of the embeddings alone")


def print_scores(trained: Trained) -> None:
    """Print the scores of each kind of folds, and of each class under the trusted one."""
    scores = trained.scores
    for each in scores.kinds:
        name = f"blocks of {each.metres:g} m" if each.folds is FoldKind.BLOCK else str(each.folds)
        mark = "  <- trust this" if each.folds is scores.trusted else ""
        sheet = each.sheet
        if isinstance(sheet, ClassSheet):
            told = f"macro F1 {sheet.macro_f1}, accuracy {sheet.accuracy}"
        else:
            told = f"R2 {sheet.r2}, error {sheet.rmse} {trained.head.unit}".rstrip()
        print(f"folds by {name}: {told}{mark}")
    headline = scores.headline
    if headline is not None and isinstance(headline.sheet, ClassSheet):
        sheet = headline.sheet
        names = [each.name for each in trained.head.classes]
        print(f"{'class':<24}{'recall':>8}{'precision':>11}{'F1':>8}  most confused with")
        for number, name in enumerate(names):
            other = sheet.most_confused_with(number)
            confused = f"{names[other[0]]} ({other[1]} pixels)" if other else "-"
            print(
                f"{name[:23]:<24}{sheet.recall[number]:>8.3f}{sheet.precision[number]:>11.3f}"
                f"{sheet.f1[number]:>8.3f}  {confused}"
            )
        print(f"calibration: confidence is off by {sheet.calibration_error:.3f} on average")
    elif headline is not None and isinstance(headline.sheet, ValueSheet):
        print(f"mean error {headline.sheet.bias:.3g} {trained.head.unit}".rstrip())
    if scores.curve:
        curve = ", ".join(f"{score:.3f} with {share:.0%}" for share, score in scores.curve)
        print(f"by share of the labels: {curve}")
    for note in scores.notes:
        print(f"  {note}")
