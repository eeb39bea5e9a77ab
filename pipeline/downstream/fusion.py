"""Whether products tell more together: from labelled points to scores side by side."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from tessera_mosaic.model.heads.fitting import Recipe
from tessera_mosaic.model.heads.head import HeadKind, Task
from tessera_mosaic.pipeline.bounds import Bounds, check_bounds
from tessera_mosaic.pipeline.contracts.state import Input, Kind, Numbers, State
from tessera_mosaic.pipeline.downstream.fusion_points import (
    FusedPoints,
    fused_points,
    read_points,
)
from tessera_mosaic.pipeline.downstream.fusion_products import (
    LICENCES,
    ProductKind,
    file_sha256,
    products_of,
)
from tessera_mosaic.pipeline.errors import BadInput, choose
from tessera_mosaic.pipeline.evaluation.complementarity import (
    Names,
    PlanScores,
    Verdict,
    combined,
    score_products,
)
from tessera_mosaic.pipeline.evaluation.fold_plans import fold_plans
from tessera_mosaic.pipeline.evaluation.published_protocol import (
    FOLDS as PUBLISHED_FOLDS,
)
from tessera_mosaic.pipeline.evaluation.published_protocol import (
    PublishedScore,
    published_scores,
)
from tessera_mosaic.pipeline.evaluation.representations import linear_cka, participation_ratio
from tessera_mosaic.pipeline.io.local_files import make_directory

CELLS = (0.1, 0.5, 2.0, 10.0)
"""Sides in degrees of the cells that folds do not cut."""

FOLDS = 10
"""Folds of every kind: with fewer no signed-rank test can tell anything."""

OF_FOLDS = Bounds("take 3 to 100 folds", least=3, most=100)

MOST_SCORED = 20_000
"""Points that scores are taken of at most."""

MOST_PRODUCTS = 8
"""Products that are compared at once: each alone, each two, and all."""


@dataclass(frozen=True)
class FuseRequest:
    """Products to compare at labelled points.

    Parameters
    ----------
    points
        Path of labelled points: CSV (`lon,lat,label`, optional `year`), GeoJSON, GeoPackage,
        GeoParquet, Parquet with lon and lat, Shapefile or FlatGeobuf.
    products
        Two products or more: a path of a table or raster of numbers, or `mosaic:PATH`,
        `alphaearth:PATH`, `geoclip`, `satclip:WEIGHTS`; `NAME=` before it calls it otherwise.
    year
        Calendar year of the products that have years, and of the points.
    task
        Whether labels are classes (`class`) or values (`value`).
    field
        Name of the column with the label; by default `label`.
    cells
        Sides in degrees of the cells of ground that folds do not cut.
    folds
        Number of folds of every kind.
    published
        Whether the published protocol is scored, too, to compare with its figures.
    out
        Folder for the table, the scores, the report and the picture; None for none of them.

    Raises
    ------
    BadInput
        If a value is out of range, or a product is none.

    Examples
    --------
    >>> request = tm.FuseRequest("at.csv", ("mosaic:valley.zarr", "climate.tif"), 2024)
    >>> request.task.value, request.cells
    ('class', (0.1, 0.5, 2.0, 10.0))
    """

    points: str
    products: tuple[str, ...]
    year: int
    task: Task = Task.CLASS
    field: str | None = None
    cells: tuple[float, ...] = CELLS
    folds: int = dataclasses.field(default=FOLDS, metadata=OF_FOLDS.metadata)
    published: bool = False
    out: str | Path | None = None

    def __post_init__(self) -> None:
        choose(self, task=Task)
        check_bounds(self)
        products_of(self.products)
        if not 2 <= len(self.products) <= MOST_PRODUCTS:
            raise BadInput(
                f"{len(self.products)} given: compare two to {MOST_PRODUCTS}, each with its option",
                "product",
            )
        if not self.cells or not all(1e-4 <= side <= 90 for side in self.cells):
            raise BadInput(
                "cells have sides of .0001 to 90 degrees", "cells", ",".join(map(str, self.cells))
            )


@dataclass(frozen=True)
class ProductReport:
    """What is known of a product at the points.

    Parameters
    ----------
    name, kind, source
        What it is called and is, and where it lies.
    dims, participation
        Number of values of a vector, and how many dimensions the vectors fill.
    missing
        Number of the points that it has no vector of, by the reason.
    year
        Calendar year of its vectors; None where they are of none.
    digest
        Fingerprint or sha256.
    licence
        Terms of its data or weights.
    """

    name: str
    kind: ProductKind
    source: str
    dims: int
    participation: float
    missing: Mapping[str, int]
    year: int | None
    digest: str
    licence: str


@dataclass(frozen=True)
class Complementarity:
    """What products tell alone and together.

    Parameters
    ----------
    task
        Whether labels are classes or values.
    points, scored
        Number of points that all products have, and of those that scores were taken of.
    left_out
        Number of places of the file that are not among them, by the reason.
    products
        What is known of each product.
    alike
        Centred kernel alignment of each two products.
    plans
        Scores and gains under random folds, and under cells of every size.
    published
        Scores by the published protocol, if they were asked for.
    verdicts
        What the cells say of each combination.
    notes
        What has to be said.
    state
        What the fused table says of itself.
    """

    task: Task
    points: int
    scored: int
    left_out: Mapping[str, int]
    products: tuple[ProductReport, ...]
    alike: Mapping[tuple[str, str], float]
    plans: tuple[PlanScores, ...]
    published: tuple[PublishedScore, ...]
    verdicts: Mapping[Names, Verdict]
    notes: tuple[str, ...]
    state: State

    @property
    def measure(self) -> str:
        """What scores are: `accuracy` of classes, `r2` of values."""
        return "accuracy" if self.task is Task.CLASS else "r2"

    def to_json(self) -> dict[str, Any]:
        """The fields of `fuse --json`."""
        return {
            "task": self.task.value,
            "measure": self.measure,
            "points": self.points,
            "scored": self.scored,
            "left_out": dict(self.left_out),
            "products": [
                {**vars(each), "kind": each.kind.value, "missing": dict(each.missing)}
                for each in self.products
            ],
            "cka": [
                {"products": list(pair), "cka": round(cka, 4)} for pair, cka in self.alike.items()
            ],
            "folds": [each.to_json() for each in self.plans],
            "published_protocol": [each.to_json() for each in self.published],
            "verdicts": [
                {"products": list(names), "verdict": verdict.value}
                for names, verdict in self.verdicts.items()
            ],
            "notes": list(self.notes),
            "state": self.state.to_json(),
        }


def complementarity(
    request: FuseRequest, tell: Callable[[int, int], None] = lambda done, all_: None
) -> Complementarity:
    """Score products alone and together at labelled points, under random folds and under cells.

    With a folder for it, the fused vectors go to `fused.parquet`, the scores to `scores.csv`, their
    picture to `scores.png` and all else to `fusion.json`.

    Parameters
    ----------
    request
        The points and the products.
    tell
        Called with the number of steps that are done, and of all that are known of.

    Raises
    ------
    BadInput
        If the points or a product cannot be used.

    Examples
    --------
    >>> lines = [f"{2.9975 + k % 20 / 5e3},{50.8441 + k // 20 / 5e3},{k % 7}" for k in range(200)]
    >>> _ = open("heights.csv", "w").write("\\n".join(["lon,lat,height", *lines]) + "\\n")
    >>> _ = open("at.csv", "w").write("\\n".join(["lon,lat,label", *lines]) + "\\n")
    >>> request = tm.FuseRequest(
    ...     "at.csv", ("mosaic:valley.zarr", "heights.csv"), 2024, "value", folds=3
    ... )
    >>> found = tm.complementarity(request)
    >>> best = found.plans[-1].gains[0]
    >>> best.best, found.plans[-1].degrees < 0.1, found.verdicts["mosaic", "heights"].value
    ('heights', True, 'no gain')
    """
    products = products_of(request.products)
    points = read_points(request.points, request.year, request.task, request.field)
    fused = fused_points(points, products, request.year, lambda read: tell(read, len(products) + 1))
    if request.out is not None:
        make_directory(request.out, "out")
    kept, vectors = _scored(fused)
    notes = [note for each in fused.products for note in each.notes]
    if len(kept.points) < len(fused.points):
        notes.append(f"scored on {len(kept.points):,} of {len(fused.points):,} points")
    targets, of_classes = kept.points.targets, request.task is Task.CLASS
    sites = kept.points.sites
    plans, told = fold_plans(
        sites.lon, sites.lat, targets, of_classes, request.cells, request.folds
    )
    notes += told
    combos = combined(list(vectors))
    heads = len(combos) * sum(len(plan.splits) for plan in plans)
    extra = len(combos) * PUBLISHED_FOLDS if request.published else 0
    steps, begun = len(products) + heads + extra, len(products)
    kind = HeadKind.LOGISTIC if of_classes else HeadKind.RIDGE
    recipe = Recipe(kind, request.task, len(points.classes) or 1)
    scores = score_products(
        vectors, targets, recipe, plans, lambda done, _: tell(begun + done, steps)
    )
    published = []
    if request.published:
        published = published_scores(
            vectors, targets, request.task, lambda done, _: tell(begun + heads + done, steps)
        )
    if not any(plan.degrees for plan in scores):
        notes.append("only random folds are possible, and they cannot show a gain")
    found = Complementarity(
        request.task,
        len(fused.points),
        len(kept.points),
        dict(fused.points.left_out),
        _reports(fused, vectors),
        {(a, b): linear_cka(vectors[a], vectors[b]) for a, b in combinations(vectors, 2)},
        tuple(scores),
        tuple(published),
        verdicts(scores),
        tuple(notes),
        fused_state(request, fused),
    )
    if request.out is not None:
        # Imported here: it loads matplotlib.
        from tessera_mosaic.pipeline.downstream.fusion_output import write_fusion

        write_fusion(Path(request.out), found, fused)
    return found


def verdicts(plans: list[PlanScores]) -> dict[Names, Verdict]:
    """What the folds by cells say of each combination: a gain, or a loss, if all of them say so."""
    by: dict[Names, set[Verdict]] = {}
    for plan in plans:
        for gain in plan.gains:
            found = by.setdefault(gain.products, set())
            if plan.degrees:
                found.add(gain.verdict)
    return {
        products: next(iter(found)) if len(found) == 1 else Verdict.NO_GAIN
        for products, found in by.items()
    }


def _scored(fused: FusedPoints) -> tuple[FusedPoints, dict[str, Any]]:
    """The points that scores are taken of, drawn where there are more than that."""
    count = len(fused.points)
    if count <= MOST_SCORED:
        return fused, fused.vectors
    which = np.sort(np.random.default_rng(0).choice(count, MOST_SCORED, replace=False))
    drawn = {name: values[which] for name, values in fused.vectors.items()}
    return FusedPoints(fused.points.take(which), fused.products), drawn


def _reports(fused: FusedPoints, vectors: Mapping[str, Any]) -> tuple[ProductReport, ...]:
    return tuple(
        ProductReport(
            each.product.name,
            each.product.kind,
            each.product.source,
            len(each.columns),
            round(participation_ratio(vectors[each.product.name]), 3),
            dict(each.missing),
            each.year,
            each.digest,
            LICENCES[each.product.kind],
        )
        for each in fused.products
    )


def fused_state(request: FuseRequest, fused: FusedPoints) -> State:
    """What the table of fused vectors says of itself."""
    sites, digest = fused.points.sites, hashlib.sha256()
    for values in (sites.lon, sites.lat, fused.points.targets, *fused.vectors.values()):
        digest.update(np.ascontiguousarray(values).tobytes())
    mosaics = [each for each in fused.products if each.product.kind is ProductKind.MOSAIC]
    inputs = [Input(Kind.PLACES, file_sha256(request.points))]
    inputs += [
        Input(_INPUTS[each.product.kind], each.digest)
        for each in fused.products
        if each.product.kind in _INPUTS
    ]
    extent = (sites.lon.min(), sites.lat.min(), sites.lon.max(), sites.lat.max())
    west, south, east, north = map(float, extent)
    return State(
        Kind.FUSED,
        (digest.hexdigest(),),
        tuple(inputs),
        fingerprint=mosaics[0].digest if len(mosaics) == 1 else None,
        dims=sum(len(each.columns) for each in fused.products),
        crs=("OGC:CRS84",),
        extent=(west, south, east, north),
        years=tuple(sorted({each.year for each in fused.products if each.year is not None}))
        or None,
        dtype="float32",
        numbers=Numbers.VALUES,
        classes=dict(enumerate(fused.points.classes)) or None,
    )


_INPUTS = {
    ProductKind.MOSAIC: Kind.MOSAIC,
    ProductKind.GEOCLIP: Kind.WEIGHTS,
    ProductKind.SATCLIP: Kind.WEIGHTS,
}
"""Products that are artefacts: the report has the digests of all."""
