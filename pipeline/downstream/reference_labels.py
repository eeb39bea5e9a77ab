"""What people wrote into the column `label` of a sample, as classes or as values."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.map_layout import MapClass
from tessera_mosaic.pipeline.downstream.map_scan import CHANGE, Population
from tessera_mosaic.pipeline.downstream.point_file import Points
from tessera_mosaic.pipeline.errors import BadInput

ALIKE = 0.85
"""How like the name of a class a label is that is taken for a slip of the pen."""


def class_labels(points: Points, population: Population) -> list[str]:
    """Class of each point, by name; transitions as `before > after`.

    A label is the name of a class, in any case, or its code; another name is a class of its own,
    which the map does not have.

    Raises
    ------
    BadInput
        If a label is nearly the name of a class, or no transition where they are asked for.
    """
    pixels, before = population.pixels, population.before
    found = []
    for name, label in zip(points.ids, points.labels, strict=True):
        if before is None:
            found.append(_class_name(label, pixels.classes, name))
            continue
        sides = [each.strip() for each in label.replace("→", ">").split(">")]
        if len(sides) != 2 or not all(sides):
            raise BadInput(
                f"point {name} has the label {label!r}: write the class before and after, such as "
                f"{population.names[0]!r}"
            )
        earlier = _class_name(sides[0], before.classes, name)
        found.append(f"{earlier}{CHANGE}{_class_name(sides[1], pixels.classes, name)}")
    return found


def _class_name(label: str, classes: Sequence[MapClass], point: str) -> str:
    """The name of the class that a label means."""
    for same in (
        [each.name for each in classes if each.name == label],
        [each.name for each in classes if each.name.casefold() == label.casefold()],
        [each.name for each in classes if str(each.code) == label],
    ):
        if len(same) == 1:
            return same[0]
    close = difflib.get_close_matches(label, [each.name for each in classes], 1, ALIKE)
    if close:
        raise BadInput(f"point {point} has the label {label!r}: did you mean {close[0]!r}?")
    return label


def value_labels(points: Points, path: str) -> NDArray[np.float64]:
    """Value of each point, float64 (points,).

    Raises
    ------
    BadInput
        If a label is no number.
    """
    values = np.empty(len(points))
    for number, (name, label) in enumerate(zip(points.ids, points.labels, strict=True)):
        try:
            values[number] = float(label.replace(",", "."))
        except ValueError:
            values[number] = math.nan
        if not math.isfinite(values[number]):
            raise BadInput(f"point {name} has the label {label!r}, no number", "labelled", path)
    return values
