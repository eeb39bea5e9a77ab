"""Series of days and passes: which scenes make them, and which of their layers are kept."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.scenes.scene import OrbitState, Scene, Sensor


def by_date(
    scenes: Iterable[Scene], sensor: Sensor, state: OrbitState | None = None
) -> list[tuple[str, list[Scene]]]:
    """Scenes of a sensor, and of an orbit state if one is given, by UTC date."""
    mine = (s for s in scenes if s.sensor == sensor and state in (None, s.orbit_state))
    return [(date, list(group)) for date, group in groupby(mine, lambda scene: scene.date)]


def finish(futures: Sequence[Future[None]], others: Sequence[Future[None]] = ()) -> None:
    """Wait for some work; after a failure call off what has not begun, others' too, and raise."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    if any(future.exception() for future in done):
        for future in (*futures, *others):
            future.cancel()
        wait((*futures, *others))
    for future in futures:
        if not future.cancelled():
            future.result()


def any_data(codes: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Which layers of a series are not all 0."""
    return np.array([layer.any() for layer in codes], bool)


def kept(series: NDArray[Any], keep: NDArray[np.bool_]) -> NDArray[Any]:
    """The layers of a series that are to be kept."""
    return series if keep.all() else series[keep]


def extent(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the smallest rectangle around what is true."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)


def days_of_year(dates: Iterable[str], dtype: Any) -> NDArray[Any]:
    """Ordinal days of UTC dates."""
    return np.array([dt.date.fromisoformat(date).timetuple().tm_yday for date in dates], dtype)
