"""Whether a tile of the mosaic is what it should be: its bytes, its values, its borders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StoreError
from pipeline.grid import Tile
from pipeline.mosaic import COUNTS, Array, Mosaic, StoredObject
from pipeline.mosaic.shards import (
    Damaged,
    decode_shard,
    read_chunk,
    read_index,
    stream_chunks,
)
from pipeline.ownership import owned
from pipeline.records import Record

FULL_SCALE = 127
"""Magnitude of every embedded pixel's largest code: its scale is its largest value's."""

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
        Embedded codes from -127 to 127, int64 (255,).
    embedded
        Pixels with a finite scale.
    """

    problems: list[tuple[str, str]] = field(default_factory=list)
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(255, np.int64))
    embedded: int = 0

    def blame(self, problem: str, detail: str) -> None:
        """Add a problem."""
        self.problems.append((problem, detail))


def survey_tile(mosaic: Mosaic, tile: Tile, year: int, record: Record) -> Survey:
    """Read all of a tile, and say what is wrong with it.

    Values are judged only if the bytes are those that were stored.
    """
    survey = Survey()
    listed = [StoredObject(**entry) for entry in record.objects]
    if [entry.key for entry in listed] != list(mosaic.keys(tile, year)):
        survey.blame("record", "its objects are not those of the tile")
        return survey
    stored = {a.name: entry for a, entry in zip(mosaic.layout.arrays, listed, strict=True)}
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
        _judge_planes(survey, mosaic, tile, record, scales, counts)
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
    mosaic: Mosaic,
    tile: Tile,
    record: Record,
    scales: NDArray[np.float32],
    counts: dict[str, NDArray[np.uint16]],
) -> None:
    """Scales are in (0, 1) or sentinels, and agree with ownership, counts and the record."""
    finite = np.isfinite(scales)
    if np.isneginf(scales).any() or ((scales <= 0) | (scales >= 1))[finite].any():
        survey.blame("scale", "a scale is neither in (0, 1) nor a sentinel")
    mine = owned(tile.window, mosaic.identity["margin"])
    if (finite & ~mine).any():
        survey.blame("ownership", "pixels are embedded that another zone owns")
    seen = sum(count.astype(np.int64) for count in counts.values()) > 0
    if (finite & ~seen).any():
        survey.blame("counts", "pixels are embedded that no observation saw")
    found = {n: {"sum": int(c.sum(dtype=np.int64)), "max": int(c.max())} for n, c in counts.items()}
    if found != record.observations:
        survey.blame("counts", f"observations are {found}, the record has {record.observations}")
    pixels = {"owned": int(mine.sum()), "embedded": survey.embedded}
    if pixels != record.pixels:
        survey.blame("counts", f"pixels are {pixels}, the record has {record.pixels}")


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
            survey.histogram += np.bincount(kept.ravel() + 128, minlength=256)[1:]
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
        stored = {entry["key"]: StoredObject(**entry) for entry in record.objects}
        of = {key.split("/")[1]: entry for key, entry in stored.items()}
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
