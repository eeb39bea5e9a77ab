"""The command `evaluate`: what labels can be told from a mosaic's embeddings."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

from tessera_mosaic.pipeline.commands.contract import MADE, Contract, Material
from tessera_mosaic.pipeline.console import quiet
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.evaluate_request import SEEDS, EvaluateRequest

if TYPE_CHECKING:
    from tessera_mosaic.pipeline.downstream.environments import EnvironmentScores
    from tessera_mosaic.pipeline.evaluation.score_tables import LabelScore, MeanScore

CONTRACT = Contract(
    costs="reads the labelled chunks once, then trains probes for minutes; with a catalogue it "
    "reads a year of scenes too; with `environments` it reads the chunks of the rows, and trains "
    "for seconds to minutes, most of them for trees",
    takes={
        "store": Kind.MOSAIC,
        "labels": Material.RASTER,
        "fields": Material.RASTER,
        "catalog": Material.CATALOGUE,
        "table": Material.TABLE,
    },
    gives={"out": Material.FOLDER},
    needs=(
        MADE,
        "`out` has no evaluation yet",
        "`store`, `labels` and `year`, or `environments`, `table` and `target`",
    ),
    requests=(EvaluateRequest, "EnvironmentsRequest"),
)

T = TypeVar("T")

OF_LABELS = ("labels", "fields", "catalog")
"""Options of an evaluation on a raster of classes, which environments do not take."""


def evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `evaluate`."""
    parser.add_argument("--store", help="path or URL of the mosaic")
    parser.add_argument("--labels", help="raster of class codes, 0 is unlabelled")
    parser.add_argument("--fields", help="raster of field numbers on the grid of --labels")
    parser.add_argument("--year", type=int, help="calendar year of the embeddings")
    parser.add_argument("--catalog", help="imagery, for raw features beside the embeddings")
    parser.add_argument(
        "--out", default="evaluation", help="folder for the table and the picture (%(default)s)"
    )
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="repetitions with other draws (%(default)s)"
    )
    environment_arguments(
        parser.add_argument_group("values, environment by environment, in place of --labels")
    )


def environment_arguments(parser: argparse._ArgumentGroup) -> None:
    """Declare the options of an evaluation by environments."""
    parser.add_argument(
        "--environments",
        metavar="E",
        help="columns such as site,year, or cells of ground such as 10deg: errors are told of each",
    )
    parser.add_argument(
        "--table",
        metavar="FILE",
        help="rows with values, such as `extract` writes (CSV, Parquet, NPZ), or a folder of "
        "tables of measuring sites; --store adds the vectors of its mosaic",
    )
    parser.add_argument("--target", metavar="COLUMN", help="column of --table that is told")
    parser.add_argument(
        "--features",
        metavar="NAMES",
        help="columns it is told from; e stands for e0, e1 and so on (the vectors)",
    )
    parser.add_argument(
        "--tail",
        metavar="COLUMN",
        help="also hold out the fifth of the places where it is largest; COLUMN:low the smallest",
    )
    parser.add_argument(
        "--test-from",
        type=int,
        metavar="YEAR",
        help="first year that the time split holds out (the last third)",
    )
    parser.add_argument(
        "--methods",
        default="constant,ridge,trees",
        help="what tells (%(default)s)",
    )
    parser.add_argument(
        "--choose",
        choices=("mean", "max", "spread"),
        default="mean",
        help="by what of the errors of validation environments a model is chosen (%(default)s)",
    )
    parser.add_argument(
        "--fewest",
        type=int,
        default=20,
        metavar="ROWS",
        help="rows of an environment whose error is told (%(default)s)",
    )


def evaluate_command(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate a mosaic on labels, tell, and return the fields of `evaluate --json`."""
    if args.environments is not None:
        return _environments(args)
    if args.table is not None or args.target is not None:
        raise BadInput("say of which environments, such as site or 10deg", "environments")
    for name in ("store", "labels", "year"):
        if getattr(args, name) is None:
            raise BadInput("it is needed, unless --environments and --table are given", name)
    # Imported here, so that --help does not need what it scores with.
    from tessera_mosaic.pipeline.evaluation.label_scores import evaluate

    request = EvaluateRequest(
        args.store, args.labels, args.year, args.fields, args.catalog, args.out, args.seeds
    )
    found = evaluate(request, _shown)
    if not args.json:
        print_scores(found.scores)
    return found.to_json()


def _environments(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate environment by environment."""
    from tessera_mosaic.pipeline.downstream.environments import (
        EnvironmentsRequest,
        evaluate_environments,
    )

    for name in ("table", "target"):
        if getattr(args, name) is None:
            raise BadInput("environments need it", name)
    for name in OF_LABELS:
        if getattr(args, name) is not None:
            raise BadInput("environments take a table of values instead: leave it out", name)
    request = EnvironmentsRequest(
        table=args.table,
        target=args.target,
        environments=_words(args.environments),
        store=args.store,
        year=args.year,
        features=_words(args.features),
        tail=args.tail or "",
        test_from=args.test_from,
        methods=_words(args.methods),
        choose=args.choose,
        fewest=args.fewest,
        out=args.out,
    )
    found = evaluate_environments(request, lambda folds: _bar(folds, None, "folds"))
    if not args.json:
        print_environments(found, args.target)
    return found.to_json()


def _words(text: str | None) -> tuple[Any, ...]:
    return tuple(word for each in (text or "").split(",") if (word := each.strip()))


def _shown(scores: Iterable[LabelScore], count: int) -> Iterable[LabelScore]:
    """Show on a terminal how many of the scores have come."""
    return _bar(scores, count, "scoring")


def _bar(items: Iterable[T], count: int | None, what: str) -> Iterable[T]:
    bar: Iterable[T] = tqdm(items, what, count, disable=quiet() or None)
    return bar


def print_scores(scores: Sequence[MeanScore]) -> None:
    """Print a line for each head and kind of folds, with a column for each share of labels."""
    fractions = dict.fromkeys(score.fraction for score in scores)
    print("accuracy, mean over folds and seeds, by share of the training labels")
    print(
        f"{'features':<10} {'folds':<7} {'head':<9}"
        + "".join(f"{fraction:>8.0%}" for fraction in fractions)
    )
    lines: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for score in scores:
        lines[score.features, score.folds, score.head].append(score.accuracy)
    for (kind, folds, head), values in lines.items():
        print(f"{kind:<10} {folds:<7} {head:<9}" + "".join(f"{value:>8.3f}" for value in values))


def print_environments(found: EnvironmentScores, target: str) -> None:
    """Print a line for each split, scale and method: the error of a middling and of a bad place."""
    print(f"{found.rows:,} rows of {found.environments:,} environments, {found.features} features")
    for why, count in found.left_out.items():
        print(f"  left out: {count:,} rows {why}")
    print(f"RMSE of {target}, and the median and 90th percentile (q90) over environments")
    print(
        f"{'held out':<9}{'scale':<10}{'method':<10}{'all rows':>9}  {'median, 95 % interval':<27}"
        f"{'q90, 95 % interval':<27}{'q90 above that of ridge':<26}{'environments':>12}"
    )
    for each in found.scores:
        told = [
            f"{one.value:.4g} ({one.low:.4g} to {one.high:.4g})" if one else ""
            for one in (each.median, each.q90, each.q90_above_ridge)
        ]
        print(
            f"{each.split:<9}{each.scale:<10}{each.method:<10}{each.pooled:>9.4g}  {told[0]:<27}"
            f"{told[1]:<27}{told[2]:<26}{len(each.errors):>12,}"
        )
    for split, taken in found.found.taken.items():
        times = ", ".join(f"{method} {count}" for method, count in taken.items())
        print(f"  {split}: validation environments took {times}")
    for note in found.found.notes:
        print(f"  {note}")
    print(f"every environment: {found.table}, picture: {found.picture}")
