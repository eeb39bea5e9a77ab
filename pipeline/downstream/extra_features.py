"""Whether numbers of another source tell what the embeddings do not, by scores side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.fitting import Labelled, Recipe
from tessera_mosaic.model.heads.head import pixel_digests
from tessera_mosaic.pipeline.downstream.place_files import read_places
from tessera_mosaic.pipeline.downstream.places import Places, pixels_of
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.folds import Ground
from tessera_mosaic.pipeline.evaluation.head_scores import HeadScores, score_head
from tessera_mosaic.pipeline.evaluation.score_sheets import Estimate, difference

NOT_FEATURES = ("lon", "lat", "label", "year", "group", "id", "fid")
"""Columns that say what a point is, not what it is like."""

FEWEST_PIXELS = 50
"""Labelled pixels that have to have the numbers of a file."""


@dataclass(frozen=True)
class ExtraScores:
    """What numbers of another source add to the embeddings.

    Parameters
    ----------
    columns
        Names of the numbers.
    pixels
        Number of labelled pixels that have them.
    without, with_extra
        Scores on these pixels by the embeddings alone, and by both.
    gain
        By how much both score above one, under the folds to be trusted.
    """

    columns: tuple[str, ...]
    pixels: int
    without: HeadScores
    with_extra: HeadScores
    gain: Estimate | None

    @property
    def helps(self) -> bool:
        """Whether the interval of the gain lies above 0."""
        return self.gain is not None and self.gain.low > 0

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON values."""
        return {
            "columns": list(self.columns),
            "pixels": self.pixels,
            "without": self.without.to_json(),
            "with": self.with_extra.to_json(),
            "gain": None if self.gain is None else self.gain.to_json(),
            "helps": self.helps,
        }


def score_extra(
    path: str, recipe: Recipe, data: Labelled, ground: Ground, metres: float
) -> ExtraScores:
    """Score a kind of head on embeddings alone, and on embeddings and the numbers of a file.

    Both are taken on the same pixels and folds. The numbers have a penalty of their own, which
    inner folds choose.

    Parameters
    ----------
    path
        Path of the points with their numbers.
    recipe, data, ground, metres
        As in `score_head`.

    Raises
    ------
    BadInput
        If the file has no numbers, or too few labelled pixels have them.
    """
    places = read_places(path, "extra features")
    columns = numbers_of(places)
    if not columns:
        raise BadInput("it has no column of numbers besides lon and lat", "extra", path)
    pixels = pixels_of(places)
    digests, first = np.unique(
        pixel_digests(pixels.zone, pixels.row, pixels.col), return_index=True
    )
    values = np.stack(list(columns.values()), axis=1)[pixels.place[first]]
    ours = pixel_digests(ground.zone, ground.row, ground.col)
    at = np.minimum(np.searchsorted(digests, ours), len(digests) - 1)
    have = np.flatnonzero((digests[at] == ours) & np.isfinite(values[at]).all(axis=1))
    if len(have) < FEWEST_PIXELS:
        raise BadInput(
            f"{len(have)} of the labelled pixels have its numbers, and {FEWEST_PIXELS} are needed: "
            "its points have to be those of the labels",
            "extra",
            path,
        )
    plain, places_of = data.take(have), ground.take(have)
    both = np.concatenate([plain.features, values[at[have]].astype(np.float32)], axis=1)
    fused = Labelled(both, plain.targets, plain.weights)
    without = score_head(recipe, plain, places_of, metres)
    with_extra = score_head(replace(recipe, extra=len(columns)), fused, places_of, metres)
    one, other = with_extra.trial, without.trial
    gain = None
    if one is not None and other is not None:
        gain = difference(one.targets, one.told, other.told, one.groups)
    return ExtraScores(tuple(columns), len(have), without, with_extra, gain)


def numbers_of(places: Places) -> dict[str, NDArray[np.float64]]:
    """Columns of numbers by name, NaN where a place has none."""
    found = {}
    for name, column in places.columns.items():
        if name.casefold() in NOT_FEATURES:
            continue
        values = np.array([_number(each) for each in column])
        if np.isfinite(values).any():
            found[name] = values
    return found


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
