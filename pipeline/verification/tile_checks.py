"""Whether a tile of the mosaic is what it should be: its bytes, its values, its borders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.io.stored_object import StoredObject
from tessera_mosaic.pipeline.ledger.records import Record
from tessera_mosaic.pipeline.mosaic.layout import COUNTS, Array
from tessera_mosaic.pipeline.mosaic.shards import (
    Damaged,
    decode_shard,
    read_chunk,
    read_index,
    stream_chunks,
)
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window

FULL_SCALE = 127
"""Magnitude of every embedded pixel's largest code: its scale is its largest value's."""

BARS = 51
"""Of a histogram of codes: five codes each, so that those of a year's tiles fit into memory."""

ENOUGH_PIXELS = 1024
"""Fewer pixels than this say nothing about a tile's statistics."""

BORDER_CHUNKS = 8
"""Inner chunks along each border whose roughness is measured."""

ROUGHEST_BORDER = 1.5
"""Times the step over the roughest other line near the border: the ground has edges of its own."""


@dataclass
class Survey:
    """What a tile holds, by its bytes.

    Parameters
    ----------
    problems
        Class and description of all that is wrong.
    histogram
        Embedded codes, int64 (51,): -127 to -123, and so on to 127.
    embedded
        Pixels with a finite scale.
    """

    problems: list[tuple[str, str]] = field(default_factory=list)
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BARS, np.int64))
    embedded: int = 0

    def blame(self, problem: str, detail: str) -> None:
        """Add a problem."""
        self.problems.append((problem, detail))


class Histograms:
    """How the codes of a year's tiles are distributed, in 0.2 kB a tile."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._shares = bytearray()
        self._pooled = np.zeros(BARS, np.int64)

    def add(self, name: str, histogram: NDArray[np.int64]) -> None:
        """Take a tile's."""
        self._names.append(name)
        self._shares += (histogram / histogram.sum()).astype(np.float32).tobytes()
        self._pooled += histogram

    def apart(self) -> Iterator[tuple[str, float]]:
        """Each tile with the share of its codes that lie elsewhere than those of all tiles."""
        shares = np.frombuffer(self._shares, np.float32).reshape(-1, BARS)
        usual = self._pooled / max(self._pooled.sum(), 1)
        for name, share in zip(self._names, shares, strict=True):
            yield name, float(np.abs(share - usual).sum() / 2)

    def __len__(self) -> int:
        return len(self._names)


Wanted = Callable[[Window], NDArray[np.bool_]]
"""Which pixels of a window are embedded at the most: bool (height, width)."""


def survey_tile(
    mosaic: Mosaic, tile: Tile, year: int, record: Record, wanted: Wanted | None
) -> Survey:
    """Read all of a tile, and say what is wrong with it.

    Values are judged only if the bytes are those that were stored, and their places only if it is
    known which pixels were wanted.
    """
    survey = Survey()
    if [stored.key for stored in record.objects] != list(mosaic.keys(tile, year)):
        survey.blame("record", "its objects are not those of the tile")
        return survey
    stored = {a.name: it for a, it in zip(mosaic.layout.arrays, record.objects, strict=True)}
    planes = {}
    for array in (*mosaic.layout.counts, mosaic.layout.scales):
        plane = np.full((array.side, array.side), array.fill, array.dtype)
        if _fill(survey, mosaic, array, stored[array.name], plane):
            planes[array.name] = plane
    scales = planes.get("scales")
    _judge_codes(survey, mosaic, stored, scales)
    if scales is not None and len(planes) == len(COUNTS) + 1:
        survey.embedded = int(np.isfinite(scales).sum())
        counts = dict(zip(COUNTS, (planes[a.name] for a in mosaic.layout.counts), strict=True))
        _judge_planes(survey, record, scales, counts)
        if wanted is not None:
            _judge_places(survey, record, scales, wanted(tile.window))
    return survey


def _fill(
    survey: Survey, mosaic: Mosaic, array: Array, stored: StoredObject, plane: NDArray[Any]
) -> bool:
    """Read an array of one value a pixel; whether its bytes are sound."""
    n = array.inner
    try:
        for i, j, chunk in stream_chunks(mosaic.storage, array, stored):
            plane[i * n : i * n + n, j * n : j * n + n] = chunk
    except Damaged as damage:
        survey.blame(damage.problem, str(damage))
    else:
        return True
    return False


def _judge_planes(
    survey: Survey,
    record: Record,
    scales: NDArray[np.float32],
    counts: dict[str, NDArray[np.uint16]],
) -> None:
    """Scales are in (0, 1) or sentinels, and agree with counts and the record."""
    finite = np.isfinite(scales)
    if np.isneginf(scales).any() or ((scales <= 0) | (scales >= 1))[finite].any():
        survey.blame("scale", "a scale is neither in (0, 1) nor a sentinel")
    seen = sum(count.astype(np.int64) for count in counts.values()) > 0
    if (finite & ~seen).any():
        survey.blame("counts", "pixels are embedded that no observation saw")
    found = {n: {"sum": int(c.sum(dtype=np.int64)), "max": int(c.max())} for n, c in counts.items()}
    if found != record.observations:
        survey.blame("counts", f"observations are {found}, the record has {record.observations}")
    if survey.embedded != record.pixels.get("embedded"):
        survey.blame("counts", f"{survey.embedded} px are embedded, the record has {record.pixels}")


def _judge_places(
    survey: Survey, record: Record, scales: NDArray[np.float32], mine: NDArray[np.bool_]
) -> None:
    """Only pixels are embedded that were wanted, and the record has so many of those."""
    if (np.isfinite(scales) & ~mine).any():
        survey.blame("ownership", "pixels are embedded that another zone owns or nobody wanted")
    if int(mine.sum()) != record.pixels.get("owned"):
        survey.blame("counts", f"{mine.sum()} px are owned, the record has {record.pixels}")


def _judge_codes(
    survey: Survey,
    mosaic: Mosaic,
    stored: dict[str, StoredObject],
    scales: NDArray[np.float32] | None,
) -> None:
    """Codes of all depths are sound, full-scale, varied, and prefixes of one another."""
    full = mosaic.layout.embeddings[-1]
    n, across = full.inner, full.across
    digests = {a.bands: np.zeros((across, across), np.uint32) for a in mosaic.layout.embeddings}
    blank = {depth: _crc(np.zeros((depth, n, n), np.int8)) for depth in digests}
    for depth, digest in digests.items():
        digest[:] = blank[depth]
    dull = np.zeros((across, across), np.bool_)
    least, greatest = np.full(full.bands, 127, np.int16), np.full(full.bands, -127, np.int16)
    try:
        for i, j, chunk in stream_chunks(mosaic.storage, full, stored[full.name]):
            for depth in digests:
                digests[depth][i, j] = _crc(chunk[:depth])
            if scales is None:
                continue
            valid = np.isfinite(scales[i * n : i * n + n, j * n : j * n + n])
            kept = chunk[:, valid].astype(np.int16)
            dull[i, j] = chunk[:, ~valid].any() or (np.abs(kept).max(axis=0) != FULL_SCALE).any()
            survey.histogram += _histogram(kept)
            if kept.size:
                least = np.minimum(least, kept.min(axis=1))
                greatest = np.maximum(greatest, kept.max(axis=1))
    except Damaged as damage:
        survey.blame(damage.problem, str(damage))
        return
    if dull.any():
        survey.blame("codes", "pixels have codes without a scale, or none of full scale")
    if survey.histogram.sum() >= ENOUGH_PIXELS * full.bands and (least == greatest).any():
        constant = np.flatnonzero(least == greatest).tolist()
        survey.blame("constant", f"dimensions {constant} are the same in every pixel")
    for array in mosaic.layout.embeddings[:-1]:
        _judge_depth(survey, mosaic, array, stored[array.name], n, digests[array.bands])


def _histogram(codes: NDArray[np.int16]) -> NDArray[np.int64]:
    inside = np.clip(codes.ravel(), -FULL_SCALE, FULL_SCALE)
    every = np.bincount(inside + FULL_SCALE, minlength=2 * FULL_SCALE + 1)
    return every.reshape(BARS, -1).sum(axis=1)


def _judge_depth(
    survey: Survey,
    mosaic: Mosaic,
    array: Array,
    stored: StoredObject,
    n: int,
    digests: NDArray[np.uint32],
) -> None:
    """A nested depth is the beginning of the full one, byte for byte."""
    found = np.full_like(digests, _crc(np.zeros((array.bands, n, n), np.int8)))
    times = array.inner // n
    try:
        for i, j, chunk in stream_chunks(mosaic.storage, array, stored):
            for down in range(times):
                for right in range(times):
                    part = chunk[:, down * n : down * n + n, right * n : right * n + n]
                    found[i * times + down, j * times + right] = _crc(part)
    except Damaged as damage:
        survey.blame(damage.problem, str(damage))
    else:
        if not np.array_equal(found, digests):
            survey.blame("depth", f"{array.name} is not the beginning of the full depth")


def _crc(values: NDArray[Any]) -> int:
    return int(google_crc32c.value(np.ascontiguousarray(values).tobytes()))


def border_roughness(mosaic: Mosaic, one: Record, other: Record, vertical: bool) -> float | None:
    """Mean step over the border of two tiles, in units of the roughest line beside it.

    Parameters
    ----------
    mosaic
        That holds the tiles.
    one, other
        Records of the tile and of its neighbour to the east, or to the south.
    vertical
        Whether the neighbour is to the south.

    Returns
    -------
    The ratio, or None where too few pixels lie on both sides, or objects are damaged.
    """
    full = mosaic.layout.embeddings[-1]
    steps = []
    try:
        sides = [_Side(mosaic, record, vertical) for record in (one, other)]
        for n in np.unique(np.linspace(0, full.across - 1, BORDER_CHUNKS).round().astype(int)):
            # Pixels run away from the border to the west or north, then to the east or south.
            near = np.concatenate(
                [sides[0].values(int(n), full.across - 1), sides[1].values(int(n), 0)], axis=-1
            )
            steps.append(np.abs(np.diff(near, axis=-1)).mean(axis=0))
    except (OSError, StoreError):
        return None
    lines = np.concatenate(steps)
    known = np.isfinite(lines)
    border = full.inner - 1
    if known[:, border].sum() < full.inner:
        return None
    means = np.where(known, lines, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    roughest = np.delete(means, border).max()
    return float(means[border] / roughest) if roughest > 0 else None


class _Side:
    """One tile's values along a border, a chunk at a time."""

    def __init__(self, mosaic: Mosaic, record: Record, vertical: bool) -> None:
        self.storage, self.vertical = mosaic.storage, vertical
        self.full, scales = mosaic.layout.embeddings[-1], mosaic.layout.scales
        of = {stored.key.split("/")[1]: stored for stored in record.objects}
        self.key = of[self.full.name].key
        self.index = read_index(self.storage, self.full, of[self.full.name])
        self.scales = decode_shard(scales, self.storage.read(of[scales.name].key))

    def values(self, along: int, towards: int) -> NDArray[np.float32]:
        """float32 (bands, along the border, across it), NaN where nothing is."""
        n = self.full.inner
        i, j = (towards, along) if self.vertical else (along, towards)
        codes = read_chunk(self.storage, self.full, self.key, self.index, i, j)
        scales = self.scales[i * n : i * n + n, j * n : j * n + n]
        values = codes * np.where(np.isfinite(scales), scales, np.float32(np.nan))
        return values.transpose(0, 2, 1) if self.vertical else values
