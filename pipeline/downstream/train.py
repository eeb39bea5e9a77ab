"""From labels to a head: gather their embeddings, look at them, score, fit, write one file."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tessera_mosaic.model.heads.fitting import Labelled, Recipe, one_thread
from tessera_mosaic.model.heads.head import Head, HeadError, HeadKind, Task, pixel_digests
from tessera_mosaic.model.heads.training_space import training_space
from tessera_mosaic.model.quantize import dequantize
from tessera_mosaic.pipeline import __version__
from tessera_mosaic.pipeline.bounds import Bounds, check_bounds
from tessera_mosaic.pipeline.downstream.extra_features import (
    ExtraNumbers,
    ExtraScores,
    fused,
    score_extra,
)
from tessera_mosaic.pipeline.downstream.fusion_products import products_of
from tessera_mosaic.pipeline.downstream.head_file import write_head
from tessera_mosaic.pipeline.downstream.label_check import (
    FEWEST_PIXELS,
    ClassCheck,
    check_labels,
    enough_of_each,
)
from tessera_mosaic.pipeline.downstream.labels import LabelledGround, read_ground
from tessera_mosaic.pipeline.errors import BadInput, as_bad_input, choose
from tessera_mosaic.pipeline.evaluation.folds import BLOCK_METRES, Ground
from tessera_mosaic.pipeline.evaluation.head_scores import HeadScores, score_head
from tessera_mosaic.pipeline.evaluation.score_sheets import ValueSheet
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, open_any, read_pixels
from tessera_mosaic.pipeline.mosaic.identity import fingerprint, model_name
from tessera_mosaic.pipeline.tiling.lattice import PIXEL

MOST_PIXELS = 1 << 20
"""Labelled pixels that are learnt from at most: half a gigabyte of embeddings."""


FOLDS = Bounds(f"a block of ground has {PIXEL} m or more", least=PIXEL)


@dataclass(frozen=True)
class TrainRequest:
    """A head to train on labels.

    Parameters
    ----------
    store
        Path or URL of the mosaic.
    labels
        Path of the labels: CSV (`lon,lat,label`, optional `year`, `group`), GeoJSON, GeoPackage,
        GeoParquet, Shapefile or FlatGeobuf with points or polygons, or a GeoTIFF of classes or of
        values.
    year
        Calendar year of the embeddings that belong to the labels.
    out
        Path or URL of the head's file.
    field
        Name of the column with the label; by default `label`.
    task
        Whether labels are classes (`class`) or values (`value`).
    head
        Kind of head: `logistic`, `ridge`, `knn` or `mlp`; by default `logistic` for classes and
        `ridge` for values.
    folds
        Side in metres of the blocks of ground that folds do not cut.
    unit
        Unit of the values, for maps and reports.
    extra
        Numbers of other sources, as `FuseRequest` names products: paths of points with columns of
        them (CSV or Parquet with lon and lat) or of GeoTIFFs, whose bands they are, `geoclip` and
        so on. Scores are told with and without them, and the head takes them where the interval of
        the gain lies above 0; `map` then needs them, too.

    Raises
    ------
    BadInput
        If a value is out of range, or the kind of head does not fit the task.

    Examples
    --------
    >>> tm.TrainRequest("valley.zarr", "fields.geojson", 2024, "crops.head").kind.value
    'logistic'
    """

    store: str
    labels: str
    year: int
    out: str
    field: str | None = None
    task: Task = Task.CLASS
    head: HeadKind | None = None
    folds: float = dataclasses.field(default=BLOCK_METRES, metadata=FOLDS.metadata)
    unit: str = ""
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        choose(self, task=Task)
        products_of(self.extra, "extra")
        if self.head is not None:
            choose(self, head=HeadKind)
        check_bounds(self)
        if (self.task, self.head) == (Task.VALUE, HeadKind.LOGISTIC):
            raise BadInput("it tells classes: choose ridge, knn or mlp", "head", self.head)
        if (self.task, self.head) == (Task.CLASS, HeadKind.RIDGE):
            raise BadInput("it tells values: choose logistic, knn or mlp", "head", self.head)

    @property
    def kind(self) -> HeadKind:
        """The kind of head, where none was named that of the task."""
        return self.head or (HeadKind.LOGISTIC if self.task is Task.CLASS else HeadKind.RIDGE)


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Parameters
    ----------
    out, size, sha256
        Path or URL of the head's file, its size in bytes and its digest.
    head
        The head.
    scores
        What it scored on labels held out.
    checks
        What the labels of each class look like.
    left_out
        Number of labels or pixels that were not used, by the reason.
    extra
        What numbers of another source add; None where there were none.
    """

    out: str
    size: int
    sha256: str
    head: Head
    scores: HeadScores
    checks: tuple[ClassCheck, ...]
    left_out: Mapping[str, int]
    extra: ExtraScores | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields of `train --json`."""
        return {
            "out": self.out,
            "bytes": self.size,
            "sha256": self.sha256,
            "kind": self.head.kind.value,
            "task": self.head.task.value,
            "pixels": len(self.head.pixels),
            "labels": [each.to_json() for each in self.checks],
            "left_out": dict(self.left_out),
            "scores": self.scores.to_json(),
            "extra": None if self.extra is None else self.extra.to_json(),
        }


def train(request: TrainRequest) -> Trained:
    """Train a head on labels, and score it on labels held out.

    Parameters
    ----------
    request
        What is learnt, and from what.

    Raises
    ------
    BadInput
        If the labels cannot be used with the mosaic.

    Examples
    --------
    >>> truth = "archive/ground_truth/land_cover_31UDS_2024.tif"
    >>> request = tm.TrainRequest("valley.zarr", truth, 2024, "crops.head", head="knn")
    >>> trained = tm.train(request)
    >>> len(trained.head.pixels), trained.scores.trusted.value
    (12030, 'group')
    """
    mosaic = open_any(request.store)
    mosaic.check_made(request.year)
    ground = read_ground(
        request.labels, request.year, request.task, request.field, mosaic.layout.side
    )
    ground, data = gather(mosaic, ground, request.year)
    places = Ground(ground.zone, ground.row, ground.col, ground.group)
    recipe = Recipe(request.kind, request.task, len(ground.classes) or 1)
    with as_bad_input(HeadError):
        scores = score_head(recipe, data, places, request.folds)
        extra = None
        if request.extra:
            extra = score_extra(request.extra, recipe, data, places, request.folds, request.year)
            if extra.helps:
                scores = extra.with_extra
                recipe = extra.numbers.behind(recipe, mosaic.layout.dims)
                ground, data = with_numbers(ground, data, extra.numbers)
        with one_thread():
            layers = recipe.fit(data, scores.choice.penalty, scores.choice.gains)
    embeddings = data.features[:, : mosaic.layout.dims]
    groups = data.targets.astype(np.int32) if ground.classes else np.zeros(len(ground), np.int32)
    values = None if ground.classes else data.targets
    head = Head(
        kind=request.kind,
        task=request.task,
        layers=layers,
        space=training_space(embeddings, groups),
        classes=ground.classes,
        mosaic=fingerprint(mosaic.identity),
        model=model_name(mosaic.identity),
        dims=mosaic.layout.dims,
        years=(request.year,),
        year_means=embeddings.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32),
        pixels=np.unique(pixel_digests(ground.zone, ground.row, ground.col)),
        labels_sha256=hashlib.sha256(Path(request.labels).read_bytes()).hexdigest(),
        unit=request.unit,
        valid_range=None if values is None else (float(values.min()), float(values.max())),
        error=_error(scores),
        penalty=scores.choice.penalty,
        scores=scores.to_json(),
        software=software(),
        extra=extra.columns if extra is not None and extra.helps else (),
    )
    written = write_head(request.out, head)
    return Trained(
        request.out,
        len(written),
        hashlib.sha256(written).hexdigest(),
        head,
        scores,
        check_labels(ground),
        dict(ground.left_out),
        extra,
    )


def gather(mosaic: AnyMosaic, ground: LabelledGround, year: int) -> tuple[LabelledGround, Labelled]:
    """The labelled pixels that a mosaic has embeddings of, and these.

    Raises
    ------
    BadInput
        If there are none, too few of each class, or too many.
    """
    if len(ground) > MOST_PIXELS:
        raise BadInput(
            f"they have {len(ground):,} pixels, and at most {MOST_PIXELS:,} are learnt from: thin "
            "them",
            "labels",
        )
    held = read_pixels(mosaic, year, ground.zone, ground.row, ground.col)
    known = np.isfinite(held.scales)
    if not known.any():
        raise BadInput(
            f"{mosaic.storage.url} has no embeddings of {year} where they are: check the year and "
            "the order lon, lat",
            "labels",
        )
    embedded = ground.take(known, f"pixel without an embedding of {year} in the mosaic")
    features = dequantize(held.codes[known], held.scales[known])
    enough = enough_of_each(embedded)
    if len(enough) < len(embedded):
        kept = np.isin(
            pixel_digests(embedded.zone, embedded.row, embedded.col),
            pixel_digests(enough.zone, enough.row, enough.col),
        )
        features = features[kept]
    return enough, Labelled(features, enough.target, enough.weights())


def with_numbers(
    ground: LabelledGround, data: Labelled, numbers: ExtraNumbers
) -> tuple[LabelledGround, Labelled]:
    """The labelled pixels that have numbers of another source, and their embeddings with these.

    Raises
    ------
    BadInput
        If too few of a class have them.
    """
    kept = ground.take(numbers.which, "labelled pixel without the extra numbers")
    counts = np.bincount(kept.target.astype(np.int64)) if kept.classes else np.array([len(kept)])
    for place, each in enumerate(kept.classes):
        if place >= len(counts) or counts[place] < FEWEST_PIXELS:
            raise BadInput(
                f"fewer than {FEWEST_PIXELS} labelled pixels of class {each.name} have its numbers",
                "extra",
            )
    return kept, fused(data, numbers)


def software() -> dict[str, str]:
    """Versions of the software that makes heads."""
    names = ("numpy", "torch", "scikit-learn")
    versions = {name: metadata.version(name) for name in names}
    return {"tessera-mosaic": __version__, "python": sys.version.split()[0], **versions}


def _error(scores: HeadScores) -> float:
    """Root mean square error of values at places held out."""
    headline = scores.headline
    if headline is None or not isinstance(headline.sheet, ValueSheet):
        return 0.0
    return headline.sheet.rmse.value
