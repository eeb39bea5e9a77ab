"""The command `evaluate`: what labels can be told from a mosaic's embeddings."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from tessera_mosaic.pipeline.commands.contract import MADE, Contract, Material
from tessera_mosaic.pipeline.console import quiet
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.evaluation.evaluate_request import SEEDS, EvaluateRequest

if TYPE_CHECKING:
    from tessera_mosaic.pipeline.evaluation.score_tables import LabelScore, MeanScore

CONTRACT = Contract(
    costs="reads the labelled chunks once, then trains probes for minutes; with a catalogue it "
    "reads a year of scenes too",
    takes={
        "store": Kind.MOSAIC,
        "labels": Material.RASTER,
        "fields": Material.RASTER,
        "catalog": Material.CATALOGUE,
    },
    gives={"out": Material.FOLDER},
    needs=(MADE, "`out` has no evaluation yet"),
    requests=(EvaluateRequest,),
)


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


def evaluate_command(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate a mosaic on labels, tell, and return the fields of `evaluate --json`."""
    # Imported here, so that --help does not need what it scores with.
    from tessera_mosaic.pipeline.evaluation.label_scores import evaluate

    request = EvaluateRequest(
        args.store, args.labels, args.year, args.fields, args.catalog, args.out, args.seeds
    )
    found = evaluate(request, _shown)
    if not args.json:
        print_scores(found.scores)
    return found.to_json()


def _shown(scores: Iterable[LabelScore], count: int) -> Iterable[LabelScore]:
    """Show on a terminal how many of the scores have come."""
    return tqdm(scores, "scoring", count, disable=quiet() or None)


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
