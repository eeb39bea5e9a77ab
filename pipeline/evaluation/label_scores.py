"""What light heads get from a mosaic's embeddings on labelled ground."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tessera_mosaic.model import probes
from tessera_mosaic.model.probes import ProbeScore
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.evaluate_request import EvaluateRequest
from tessera_mosaic.pipeline.evaluation.labelled_pixels import (
    LabelledPixels,
    gather,
    rules_of,
)
from tessera_mosaic.pipeline.evaluation.score_tables import (
    LabelScore,
    MeanScore,
    draw_curves,
    mean_scores,
    write_table,
)
from tessera_mosaic.pipeline.imagery.label_raster import read_labels
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.mosaic.store import mosaic_at
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue

TABLE, PICTURE = "evaluation.csv", "evaluation.png"
"""Names of the files in the folder of an evaluation."""

Watch = Callable[[Iterable[LabelScore], int], Iterable[LabelScore]]
"""Passes on scores as they come, of which there are so many, and may show how far they are."""


@dataclass(frozen=True)
class Evaluation:
    """What came of an evaluation.

    Parameters
    ----------
    pixels, classes, fields
        Numbers of the pixels that were scored, of their classes and of their fields.
    table, picture
        Paths of the table of all scores (CSV) and of the learning curves (PNG).
    scores
        Means of the scores over the repetitions.
    """

    pixels: int
    classes: int
    fields: int
    table: Path
    picture: Path
    scores: tuple[MeanScore, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields of `evaluate --json`."""
        return {
            "pixels": self.pixels,
            "classes": self.classes,
            "fields": self.fields,
            "table": str(self.table),
            "picture": str(self.picture),
            "scores": [dataclasses.asdict(score) for score in self.scores],
        }


def evaluate(
    request: EvaluateRequest,
    watch: Watch = lambda scores, _: scores,
    learning_curves: Callable[..., Iterator[ProbeScore]] = probes.learning_curves,
) -> Evaluation:
    """Score what light heads get from a mosaic's embeddings on labelled ground.

    Parameters
    ----------
    request
        What is to be evaluated.
    watch
        Passes on the scores as they come.
    learning_curves
        Scores one kind of features, as `model.probes.learning_curves` does.

    Raises
    ------
    BadInput
        If the labels cannot be used with the mosaic, or the folder cannot be made or has an
        evaluation already.
    """
    out = Path(request.out)
    for name in (TABLE, PICTURE):
        if (out / name).exists():
            raise BadInput(f"it has an {name} already: name another folder", "out", out)
    labels = read_labels(request.labels, request.fields)
    mosaic = mosaic_at(request.store)
    mosaic.step(request.year)
    source = open_catalogue(request.catalog) if request.catalog else None
    if source is not None:
        rules_of(mosaic, source).check(source)
    try:
        pixels = _worth_probing(gather(mosaic, labels, request.year, source))
    except probes.ProbeError as error:
        raise BadInput(
            f"{request.labels}, where {request.store} has embeddings of {request.year}: {error}"
        ) from None
    make_directory(out)
    scored = (
        LabelScore(kind, row)
        for kind, values in pixels.features.items()
        for row in learning_curves(values, pixels.classes, pixels.groups, request.seeds)
    )
    folds = len(pixels.groups) + 1
    each = folds * len(probes.HEADS) * len(probes.FRACTIONS) * request.seeds
    rows = tuple(watch(scored, each * len(pixels.features)))
    scores = mean_scores(rows)
    write_table(rows, out / TABLE)
    draw_curves(scores, out / PICTURE)
    return Evaluation(
        len(pixels.classes),
        len(np.unique(pixels.classes)),
        len(np.unique(pixels.groups["field"])),
        out / TABLE,
        out / PICTURE,
        tuple(scores),
    )


def _worth_probing(pixels: LabelledPixels) -> LabelledPixels:
    """The pixels of classes that heads can learn.

    Raises
    ------
    ProbeError
        If there are too few of them, or too few groups for folds.
    """
    keep = probes.worth_probing(pixels.classes, pixels.groups["field"])
    groups = {kind: numbers[keep] for kind, numbers in pixels.groups.items()}
    for numbers in groups.values():
        probes.grouped_folds(numbers)
    features = {kind: values[keep] for kind, values in pixels.features.items()}
    return LabelledPixels(features, pixels.classes[keep], groups)
