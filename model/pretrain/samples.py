"""d-pixels for training: every valid observation of some pixels, in the encoder's input form.

Pixels of many places and years lie one after another. Each has its own number of observations,
so the observations of all are kept in one run, with a count a pixel.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.observations import Seen, Stack, seen_by_s1, seen_by_s2

PLACE = ("zone", "row", "col", "year")
"""Columns of `Samples.places`, which tell one pixel from another."""


class SamplesError(ValueError):
    """d-pixels cannot be used. The message says which and why, in one line."""


@dataclass(frozen=True)
class Series:
    """What one sensor saw of some pixels.

    Parameters
    ----------
    values : uint16 or int16 (N, C)
        Stored values of C channels: valid observations of the first pixel in order of the stack,
        then of the second, and so on.
    days : int16 (N,)
        Ordinal day of the year of each observation, 1 to 366.
    kinds : uint8 (N,)
        Row of the `statistics.Table` that each is standardised with: for Sentinel-1 0 is ascending
        and 1 descending.
    counts : int32 (P,)
        Number of observations of each of P pixels.
    """

    values: NDArray[np.uint16] | NDArray[np.int16]
    days: NDArray[np.int16]
    kinds: NDArray[np.uint8]
    counts: NDArray[np.int32]

    @property
    def starts(self) -> NDArray[np.int64]:
        """Index of each pixel's first observation, int64 (P,)."""
        return np.cumsum(self.counts, dtype=np.int64) - self.counts

    def take(self, pixels: NDArray[np.int64]) -> Series:
        """The series of some of the pixels, in the given order."""
        counts = self.counts[pixels]
        ends = np.cumsum(counts, dtype=np.int64)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        rows = np.repeat(self.starts[pixels], counts) + within
        return Series(self.values[rows], self.days[rows], self.kinds[rows], counts)


@dataclass(frozen=True)
class Samples:
    """d-pixels of P pixels: all that was seen of each in a year, with its place and label.

    Parameters
    ----------
    s2, s1
        Observations of the pixels by Sentinel-2 and by Sentinel-1.
    places : int32 (P, 4)
        UTM zone, row and column of the zone's lattice, and calendar year of each pixel.
    labels, groups : int32 (P,)
        Class of each pixel, 0 where it has none, and number of the field or block that it shares
        its label with; for probes only.
    """

    s2: Series
    s1: Series
    places: NDArray[np.int32]
    labels: NDArray[np.int32]
    groups: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.places)

    def take(self, pixels: NDArray[np.int64]) -> Samples:
        """Some of the pixels, in the given order."""
        return Samples(
            self.s2.take(pixels),
            self.s1.take(pixels),
            self.places[pixels],
            self.labels[pixels],
            self.groups[pixels],
        )


def samples_of(
    stack: Stack,
    pixels: NDArray[np.int64],
    places: NDArray[np.int32],
    labels: NDArray[np.int32] | None = None,
    groups: NDArray[np.int32] | None = None,
) -> Samples:
    """Take pixels out of an annual stack.

    Parameters
    ----------
    stack
        Annual stack of a block.
    pixels : int64 (P,)
        Indices of the pixels to take, counted row by row.
    places : integers (P, 4)
        As for `Samples`.
    labels, groups : integers (P,) or None
        As for `Samples`; None for all 0.
    """
    everything = slice(0, stack.shape[0] * stack.shape[1])
    nothing = np.zeros(len(pixels), np.int32)
    return Samples(
        _series(seen_by_s2(stack, everything)).take(pixels),
        _series(seen_by_s1(stack, everything)).take(pixels),
        places.astype(np.int32),
        nothing if labels is None else labels.astype(np.int32),
        nothing if groups is None else groups.astype(np.int32),
    )


def _series(seen: Seen) -> Series:
    owners = np.repeat(np.arange(len(seen.counts)), seen.counts)
    return Series(
        seen.values[seen.dates, owners],
        seen.days[seen.dates].astype(np.int16),
        seen.kinds[seen.dates].astype(np.uint8),
        seen.counts.astype(np.int32),
    )


def concatenate(parts: Sequence[Samples]) -> Samples:
    """Join d-pixels, in the given order.

    Parameters
    ----------
    parts
        d-pixels to join, at least one.
    """

    def join(*series: Series) -> Series:
        return Series(
            *(np.concatenate([getattr(s, f.name) for s in series]) for f in fields(Series))
        )

    return Samples(
        join(*(part.s2 for part in parts)),
        join(*(part.s1 for part in parts)),
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("places", "labels", "groups")
        ),
    )


def encode_samples(samples: Samples) -> bytes:
    """d-pixels as an `.npz` file; the same d-pixels make the same bytes."""
    arrays = {
        f"{sensor}_{field.name}": getattr(getattr(samples, sensor), field.name)
        for sensor in ("s2", "s1")
        for field in fields(Series)
    }
    file = io.BytesIO()
    np.savez(file, **arrays, places=samples.places, labels=samples.labels, groups=samples.groups)
    return file.getvalue()


def decode_samples(data: bytes, name: str) -> Samples:
    """Read d-pixels back.

    Parameters
    ----------
    data
        Bytes of a file that `encode_samples` wrote.
    name
        Name of the file, for messages.

    Raises
    ------
    SamplesError
        If the bytes are no such file, or its arrays do not fit together.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        s2, s1 = (
            Series(*(arrays[f"{sensor}_{field.name}"] for field in fields(Series)))
            for sensor in ("s2", "s1")
        )
        samples = Samples(s2, s1, arrays["places"], arrays["labels"], arrays["groups"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise SamplesError(f"{name} holds no d-pixels: {error}") from None
    _check(samples, name)
    return samples


def _check(samples: Samples, name: str) -> None:
    """Raise unless shapes, types and counts fit together."""
    pixels = len(samples.places)
    wanted: list[tuple[NDArray[Any], tuple[int, ...], Any]] = [
        (samples.places, (pixels, len(PLACE)), np.int32),
        (samples.labels, (pixels,), np.int32),
        (samples.groups, (pixels,), np.int32),
    ]
    for series, channels, kind in ((samples.s2, 10, np.uint16), (samples.s1, 2, np.int16)):
        rows = len(series.values)
        wanted += [
            (series.values, (rows, channels), kind),
            (series.days, (rows,), np.int16),
            (series.kinds, (rows,), np.uint8),
            (series.counts, (pixels,), np.int32),
        ]
        if (series.counts < 0).any() or int(series.counts.sum(dtype=np.int64)) != rows:
            raise SamplesError(f"{name}: its counts and its {rows} observations do not fit")
        if rows and not (series.days.min() >= 1 and series.days.max() <= 366):
            raise SamplesError(f"{name}: a day of the year is not in 1..366")
        if rows and series.kinds.max() > (0 if channels == 10 else 1):
            raise SamplesError(f"{name}: an observation is of no known kind")
    for array, shape, dtype in wanted:
        if array.shape != shape or array.dtype != dtype:
            raise SamplesError(
                f"{name}: an array is {array.dtype} {array.shape} and not {np.dtype(dtype)} {shape}"
            )
