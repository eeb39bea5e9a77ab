"""Whether numbers of another source tell what the embeddings do not, by scores side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.fitting import Labelled, Recipe
from tessera_mosaic.model.heads.head import pixel_digests
from tessera_mosaic.pipeline.downstream.labels import RASTERS
from tessera_mosaic.pipeline.downstream.place_files import read_places
from tessera_mosaic.pipeline.downstream.places import Places, pixels_of
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.folds import Ground
from tessera_mosaic.pipeline.evaluation.head_scores import HeadScores, score_head
from tessera_mosaic.pipeline.evaluation.score_sheets import Estimate, difference
from tessera_mosaic.pipeline.imagery.value_raster import value_raster

NOT_FEATURES = ("lon", "lat", "label", "year", "group", "id", "fid")
"""Columns that say what a point is, not what it is like."""

FEWEST_PIXELS = 50
"""Labelled pixels that have to have the numbers of a file."""


@dataclass(frozen=True)
class ExtraNumbers:
    """Numbers of another source at labelled pixels.

    Parameters
    ----------
    columns
        Their names.
    which : int64 (pixels,)
        Places of the labelled pixels that have all of them.
    values : float32 (pixels, columns)
        The numbers of these.
    """

    columns: tuple[str, ...]
    which: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class ExtraScores:
    """What numbers of another source add to the embeddings.

    Parameters
    ----------
    numbers
        The numbers.
    without, with_extra
        Scores on these pixels by the embeddings alone, and by both.
    gain
        By how much both score above one, under the folds to be trusted.
    """

    numbers: ExtraNumbers
    without: HeadScores
    with_extra: HeadScores
    gain: Estimate | None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers."""
        return self.numbers.columns

    @property
    def pixels(self) -> int:
        """Number of labelled pixels that have them."""
        return len(self.numbers.which)

    @property
    def helps(self) -> bool:
        """Whether the interval of the gain lies above 0. Then the head takes the numbers."""
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


def extra_numbers(path: str, ground: Ground) -> ExtraNumbers:
    """The numbers of a table of points, or of a raster, at labelled pixels.

    Parameters
    ----------
    path
        Path of points with columns of numbers, or of a GeoTIFF, whose bands they are.
    ground
        Where the labelled pixels lie.

    Raises
    ------
    BadInput
        If the file has no numbers, or too few labelled pixels have them.
    """
    if Path(path).suffix.lower() in RASTERS:
        raster = value_raster(path)
        names, bands = raster.names, tuple(range(1, len(raster.names) + 1))
        values = raster.at(ground.zone, ground.row, ground.col, bands).T.astype(np.float64)
    else:
        names, values = _of_table(path, ground)
    have = np.flatnonzero(np.isfinite(values).all(axis=1))
    if len(have) < FEWEST_PIXELS:
        raise BadInput(
            f"{len(have)} of the labelled pixels have its numbers, and {FEWEST_PIXELS} are needed: "
            "it has to hold them where the labels are",
            "extra",
            path,
        )
    return ExtraNumbers(names, have, np.ascontiguousarray(values[have], np.float32))


def _of_table(path: str, ground: Ground) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Names of the columns of numbers, and the numbers of each labelled pixel, NaN without any."""
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
    return tuple(columns), np.where((digests[at] == ours)[:, None], values[at], np.nan)


def fused(data: Labelled, numbers: ExtraNumbers) -> Labelled:
    """The labelled embeddings that have the numbers, with these behind them."""
    plain = data.take(numbers.which)
    both = np.concatenate([plain.features, numbers.values], axis=1)
    return Labelled(both, plain.targets, plain.weights)


def score_extra(
    path: str, recipe: Recipe, data: Labelled, ground: Ground, metres: float
) -> ExtraScores:
    """Score a kind of head on embeddings alone, and on embeddings and other numbers.

    Both are taken on the same pixels and folds. The numbers have a penalty of their own, which
    inner folds choose.

    Parameters
    ----------
    path
        Path of points with columns of numbers, or of a GeoTIFF, whose bands they are.
    recipe, data, ground, metres
        As in `score_head`.

    Raises
    ------
    BadInput
        If the file has no numbers, or too few labelled pixels have them.
    """
    numbers = extra_numbers(path, ground)
    plain, places = data.take(numbers.which), ground.take(numbers.which)
    without = score_head(recipe, plain, places, metres)
    wider = replace(recipe, extra=len(numbers.columns))
    with_extra = score_head(wider, fused(data, numbers), places, metres)
    one, other = with_extra.trial, without.trial
    gain = None
    if one is not None and other is not None:
        gain = difference(one.targets, one.told, other.told, one.groups)
    return ExtraScores(numbers, without, with_extra, gain)


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
