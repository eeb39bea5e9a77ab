"""Whether numbers of another source tell what the embeddings do not, by scores side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.fitting import Labelled, Recipe
from tessera_mosaic.pipeline.downstream.fusion_numbers import vectors_at
from tessera_mosaic.pipeline.downstream.fusion_products import Sites, products_of
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.folds import Ground
from tessera_mosaic.pipeline.evaluation.head_scores import HeadScores, score_head
from tessera_mosaic.pipeline.evaluation.score_sheets import Estimate, difference

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
    blocks
        Number of columns of each product.
    """

    columns: tuple[str, ...]
    which: NDArray[np.int64]
    values: NDArray[np.float32]
    blocks: tuple[int, ...]

    def behind(self, recipe: Recipe, dims: int) -> Recipe:
        """The recipe of a head that takes them behind embeddings of so many values."""
        return replace(recipe, blocks=(dims, *self.blocks))


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


def extra_numbers(texts: Sequence[str], ground: Ground, year: int) -> ExtraNumbers:
    """The numbers of other products at labelled pixels that all of them have.

    Parameters
    ----------
    texts
        The products, as `Product.of` reads them.
    ground
        Where the labelled pixels lie.
    year
        Calendar year, for products that have years.

    Raises
    ------
    BadInput
        If a product cannot be used, or too few labelled pixels have its numbers.
    """
    sites = Sites.of_pixels(ground)
    found = [vectors_at(product, sites, year) for product in products_of(texts, "extra")]
    columns = tuple(name for each in found for name in each.columns)
    for each in found:
        if double := next((name for name in each.columns if columns.count(name) > 1), None):
            raise each.product.refused(f"another product has a column {double}, too")
    have = np.flatnonzero(np.logical_and.reduce([each.known for each in found]))
    if len(have) < FEWEST_PIXELS:
        raise BadInput(
            f"{len(have)} of the labelled pixels have its numbers, and {FEWEST_PIXELS} are needed: "
            "it has to hold them where the labels are",
            "extra",
            ",".join(texts),
        )
    values = np.concatenate([each.values[have] for each in found], axis=1)
    return ExtraNumbers(columns, have, values, tuple(len(each.columns) for each in found))


def fused(data: Labelled, numbers: ExtraNumbers) -> Labelled:
    """The labelled embeddings that have the numbers, with these behind them."""
    plain = data.take(numbers.which)
    both = np.concatenate([plain.features, numbers.values], axis=1)
    return Labelled(both, plain.targets, plain.weights)


def score_extra(
    texts: Sequence[str], recipe: Recipe, data: Labelled, ground: Ground, metres: float, year: int
) -> ExtraScores:
    """Score a kind of head on embeddings alone, and on embeddings and other numbers.

    Both are taken on the same pixels and folds. Each product has a penalty of its own, which inner
    folds choose.

    Parameters
    ----------
    texts, year
        As in `extra_numbers`.
    recipe, data, ground, metres
        As in `score_head`.

    Raises
    ------
    BadInput
        If a product cannot be used, or too few labelled pixels have its numbers.
    """
    numbers = extra_numbers(texts, ground, year)
    plain, places = data.take(numbers.which), ground.take(numbers.which)
    without = score_head(recipe, plain, places, metres)
    wider = numbers.behind(recipe, plain.features.shape[1])
    with_extra = score_head(wider, fused(data, numbers), places, metres)
    one, other = with_extra.trial, without.trial
    gain = None
    if one is not None and other is not None:
        gain = difference(one.targets, one.told, other.told, one.groups)
    return ExtraScores(numbers, without, with_extra, gain)
