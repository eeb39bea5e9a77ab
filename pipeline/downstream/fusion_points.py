"""Labelled points, and the vectors of several products at them: what is scored together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from tessera_mosaic.model.heads.head import Task
from tessera_mosaic.pipeline.downstream.fusion_numbers import vectors_at
from tessera_mosaic.pipeline.downstream.fusion_products import Product, ProductNumbers, Sites
from tessera_mosaic.pipeline.downstream.labels import place_labels
from tessera_mosaic.pipeline.downstream.place_files import read_places
from tessera_mosaic.pipeline.downstream.places import pixels_of
from tessera_mosaic.pipeline.errors import BadInput

MOST_POINTS = 200_000
"""Points that are fused at once."""

FEWEST_POINTS = 50
"""Points that all products have to have."""


@dataclass(frozen=True)
class LabelledPoints:
    """Points with a class or a value each, in the order of their file.

    Parameters
    ----------
    sites
        Where they lie.
    targets : float64 (P,)
        Place of each point's class among the classes, or its value.
    classes
        Names of the classes; empty for values.
    left_out
        Number of places of the file that are not used, by the reason.
    """

    sites: Sites
    targets: NDArray[np.float64]
    classes: tuple[str, ...]
    left_out: Counter[str]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, which: NDArray[np.int64], why: str = "") -> LabelledPoints:
        """Some of the points; those left out are counted under a reason."""
        left = len(self) - len(which)
        counted = self.left_out + Counter({why: left} if left else {})
        return LabelledPoints(self.sites.take(which), self.targets[which], self.classes, counted)


@dataclass(frozen=True)
class FusedPoints:
    """Points at which every product has a vector.

    Parameters
    ----------
    points
        The points.
    products
        The vectors of each product at them; `missing` counts the points that were not kept, too.
    """

    points: LabelledPoints
    products: tuple[ProductNumbers, ...]

    @property
    def vectors(self) -> dict[str, NDArray[np.float32]]:
        """The vectors by the name of their product."""
        return {each.product.name: each.values for each in self.products}


def read_points(path: str, year: int, task: Task, field: str | None) -> LabelledPoints:
    """Read labelled points. Points of one pixel are several, as they stand in the file.

    Parameters
    ----------
    path
        Path of a file of points.
    year
        Calendar year; points whose column `year` names another one are left out.
    task
        Whether labels are classes or values.
    field
        Name of the column with the label; by default `label`.

    Raises
    ------
    BadInput
        If the file cannot be read, or labels too few points.
    """
    places = read_places(path, "points")
    labels = place_labels(places, year, task, field)
    left_out = labels.left_out
    usable = np.isfinite(labels.targets)
    polygons = usable & ~places.points
    left_out["polygon, where points are compared"] += int(polygons.sum())
    which = np.flatnonzero(usable & places.points)
    if not len(which):
        raise BadInput(f"{places.name}: it has polygons, and points are compared: take centres")
    if len(which) > MOST_POINTS:
        raise BadInput(f"{places.name}: {len(which):,} points, and {MOST_POINTS:,} are compared")
    pixels = pixels_of(places)
    # A point has one pixel, and pixels come in the order of the places.
    at = np.searchsorted(pixels.place, which)
    lon, lat = shapely.get_coordinates(places.shapes[which]).T
    sites = Sites(pixels.zone[at], pixels.row[at], pixels.col[at], lon, lat)
    names = tuple(each.name for each in labels.classes)
    targets = labels.targets[which]
    if task is Task.CLASS and len(np.unique(targets)) < 2:
        raise BadInput(f"{places.name}: all points are of class {names[0]}: give two classes")
    return LabelledPoints(sites, targets, names, +left_out)


def fused_points(
    points: LabelledPoints,
    products: Sequence[Product],
    year: int,
    tell: Callable[[int], None] = lambda read: None,
) -> FusedPoints:
    """The points at which every product has a vector, with these.

    Parameters
    ----------
    points, products, year
        The points, what is read at them, and the calendar year.
    tell
        Called with the number of products that were read.

    Raises
    ------
    BadInput
        If a product cannot be used, or too few points have vectors of all.
    """
    found = []
    for number, product in enumerate(products, 1):
        found.append(vectors_at(product, points.sites, year))
        tell(number)
    whole = np.logical_and.reduce([each.known for each in found])
    if whole.sum() < FEWEST_POINTS:
        told = "; ".join(
            f"{each.product.name} {int(each.known.sum()):,} of {len(points):,}" for each in found
        )
        raise BadInput(
            f"{int(whole.sum())} points have vectors of all products, and {FEWEST_POINTS} are "
            f"needed: {told}"
        )
    which = np.flatnonzero(whole)
    kept = points.take(which, "point without a vector of every product")
    return FusedPoints(
        kept,
        tuple(
            ProductNumbers(
                each.product,
                each.columns,
                np.ascontiguousarray(each.values[which]),
                each.missing,
                each.year,
                each.digest,
                each.notes,
            )
            for each in found
        ),
    )
