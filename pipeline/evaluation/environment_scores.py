"""Errors environment by environment, and what their median and their tail say of a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.evaluation.environment_models import (
    Trial,
    ValueMethod,
    rmse_of_each,
)
from tessera_mosaic.pipeline.evaluation.environment_splits import SplitKind
from tessera_mosaic.pipeline.evaluation.environments import Rows
from tessera_mosaic.pipeline.evaluation.score_sheets import LEVEL, Estimate
from tessera_mosaic.pipeline.evaluation.time_scales import Scale, on_scale

TAIL = 90.0
"""Percentile of the errors that is told beside their median."""

FEWEST_ROWS = 20
"""Rows of an environment whose error is told, unless asked otherwise."""

DRAWS = 1000
"""Draws of environments for an interval."""


@dataclass(frozen=True)
class ErrorIn:
    """The error of one method in one environment.

    Parameters
    ----------
    environment
        Its name.
    rows
        Number of rows, or of days, weeks and so on, that were told of.
    rmse
        Root mean square error in the unit of the target.
    """

    environment: str
    rows: int
    rmse: float


@dataclass(frozen=True)
class MethodScore:
    """How well a method tells what was held out.

    Parameters
    ----------
    method
        What told.
    median, q90
        Median and 90th percentile of the errors of environments, with 95 % intervals by drawing
        environments.
    skill
        1 minus the median, and 1 minus the 90th percentile, over those of the constant and of
        ridge, by the name of the method: 0 is as good, 1 is perfect.
    q90_above_ridge
        By how much the 90th percentile lies above that of ridge, with its interval; None for ridge.
    errors
        Of each environment.
    split, scale
        What was held out, and over which time errors are taken.
    pooled
        Root mean square error over all that was held out at once, of small environments, too.
    """

    method: str
    median: Estimate
    q90: Estimate
    skill: Mapping[str, tuple[float, float]]
    q90_above_ridge: Estimate | None
    errors: tuple[ErrorIn, ...]
    split: SplitKind = SplitKind.RANDOM
    scale: Scale = Scale.ROWS
    pooled: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON values; the errors stand in the table."""
        above = self.q90_above_ridge
        return {
            "split": self.split.value,
            "scale": self.scale.value,
            "method": self.method,
            "environments": len(self.errors),
            "pooled": round(self.pooled, 4),
            "median": self.median.to_json(),
            "q90": self.q90.to_json(),
            "skill": {name: [round(each, 4) for each in two] for name, two in self.skill.items()},
            "q90_above_ridge": None if above is None else above.to_json(),
        }


def score(
    rows: Rows,
    trial: Trial,
    split: SplitKind,
    scale: Scale = Scale.ROWS,
    fewest: int = FEWEST_ROWS,
) -> list[MethodScore]:
    """Score what methods told, environment by environment.

    Parameters
    ----------
    rows, trial
        The rows, and what was told of those held out.
    split
        What was held out.
    scale
        Over which time errors are taken.
    fewest
        Rows that an environment has at least; on other scales one mean will do.

    Returns
    -------
    A score for each method, in their order; none where no environment has so many rows.
    """
    tested = rows.take(trial.tested)
    names = rows.place_names if scale.of_places else rows.names
    series = {method: on_scale(tested, told, scale) for method, told in trial.told.items()}
    # Every method tells of the same rows: the same environments, in the same order.
    each = {method: rmse_of_each(told.group, told.wrong) for method, told in series.items()}
    numbers, _, counts = next(iter(each.values()))
    kept = counts >= (fewest if scale is Scale.ROWS else 1)
    if not kept.any():
        return []
    errors = {method: found[kept] for method, (_, found, _) in each.items()}
    pooled = {method: float((told.wrong**2).mean() ** 0.5) for method, told in series.items()}
    named = [names[number] for number in numbers[kept]]
    told_of = counts[kept], named
    return [
        replace(_scored(errors, method, *told_of), split=split, scale=scale, pooled=pooled[method])
        for method in errors
    ]


def _scored(
    errors: Mapping[str, NDArray[np.float64]],
    method: str,
    counts: NDArray[np.int64],
    names: Sequence[str],
) -> MethodScore:
    """The score of one method beside the errors of all."""
    mine, draws = errors[method], _draws(len(counts))
    ridge, above = errors.get(ValueMethod.RIDGE), None
    if ridge is not None and method != ValueMethod.RIDGE:
        above = _interval(_tail(mine) - _tail(ridge), _tail(mine[draws]) - _tail(ridge[draws]))
    references = [name for name in (ValueMethod.CONSTANT, ValueMethod.RIDGE) if name in errors]
    told_of = zip(names, counts.tolist(), mine.tolist(), strict=True)
    return MethodScore(
        method=method,
        median=_interval(np.median(mine), np.median(mine[draws], axis=-1)),
        q90=_interval(_tail(mine), _tail(mine[draws])),
        skill={name.value: _skill(mine, errors[name]) for name in references},
        q90_above_ridge=above,
        errors=tuple(ErrorIn(*one) for one in told_of),
    )


def _skill(errors: NDArray[np.float64], others: NDArray[np.float64]) -> tuple[float, float]:
    """By how much the median and the tail lie below those of another method, as shares of these."""
    pairs = (np.median(errors), np.median(others)), (_tail(errors), _tail(others))
    median, tail = (1 - float(one / other) if other else 0.0 for one, other in pairs)
    return median, tail


def _tail(errors: NDArray[np.float64]) -> Any:
    return np.percentile(errors, TAIL, axis=-1)


def _draws(count: int) -> NDArray[np.int64]:
    """Environments drawn with replacement, the same ones for every method: (draws, count)."""
    return np.random.default_rng(0).integers(0, max(count, 1), (DRAWS, count))


def _interval(value: Any, drawn: Any) -> Estimate:
    low, high = np.percentile(drawn, LEVEL)
    return Estimate(float(value), float(low), float(high))
