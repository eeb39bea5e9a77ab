"""Whether a tile of a mosaic is what it should be: its bytes, its values, its borders."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.io.stored_object import Damaged, StoredObject, object_as_it_stands
from tessera_mosaic.pipeline.ledger.records import Record, means_of
from tessera_mosaic.pipeline.mosaic.identity import adopted_model
from tessera_mosaic.pipeline.mosaic.layout import COUNTS, Array
from tessera_mosaic.pipeline.mosaic.shards import stream_chunks
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window
from tessera_mosaic.pipeline.verification.border_checks import rough_borders
from tessera_mosaic.pipeline.verification.code_histograms import BARS, FULL_SCALE, histogram_of
from tessera_mosaic.pipeline.verification.findings import ProblemKind
from tessera_mosaic.pipeline.verification.record_checks import Survey

ENOUGH_PIXELS = 1024
"""Fewer pixels than this say nothing about a tile's statistics."""

NEAR = {"scales": (1e-4, 0.0), "codes": (0.0, 0.02)}
"""How far the means of a tile may lie apart, relatively and in units, that arithmetic alone moved.

Between AVX2 and AVX-512 scales differ by less than a millionth of themselves, and fewer than one
code in a thousand by 1; other scenes move the mean of some dimension by more than 0.1.
"""

Wanted = Callable[[Window], NDArray[np.bool_]]
"""Tells which pixels of a window are embedded at the most, bool (height, width)."""


@dataclass
class Holdings:
    """What a tile holds, by its bytes, as far as it was read.

    Parameters
    ----------
    problems
        Kind and description of all that is wrong.
    histogram
        Number of embedded codes in each bar, int64 (51,): -127 to -123, and so on to 127.
    embedded
        Number of pixels with a finite scale.
    scales
        Sum of the finite scales.
    codes
        Sums of the codes by dimension, int64 (dims,); 0 as long as none was read.
    """

    problems: list[tuple[ProblemKind, str]] = field(default_factory=list)
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BARS, np.int64))
    embedded: int = 0
    scales: float = 0.0
    codes: NDArray[np.int64] | int = 0

    def blame(self, kind: ProblemKind, detail: str) -> None:
        """Add a problem."""
        self.problems.append((kind, detail))

    def blame_damage(self, damaged: Damaged) -> None:
        """Add an object that is not as it was put."""
        self.blame(ProblemKind(damaged.damage), str(damaged))


def survey_tile(
    mosaic: Mosaic, year: int, wanted: Wanted | None, tile: Tile, record: Record
) -> Survey:
    """Read all of a tile, and say what is wrong with it.

    Values are judged only if the bytes are those that were stored, their places only if it is
    known which pixels were wanted, and borders only where nothing else is wrong.

    Parameters
    ----------
    mosaic, year
        The mosaic and the year that hold the tile.
    wanted
        Tells which pixels of a window are embedded; None where that is not known.
    tile, record
        The tile, and its record, which names all objects of the tile.
    """
    holds = read_holdings(mosaic, tile, record, wanted)
    problems = holds.problems
    if problems and made_again(mosaic, tile, record, wanted, {kind for kind, _ in problems}):
        maker = record.arithmetic or "a worker"
        told = (
            f"its scales and codes are sound, and not those that its record describes: {maker} "
            "made the tile that was recorded, and another worker wrote it again; "
            f"`run --overwrite {tile.name}` makes both one"
        )
        problems = [(ProblemKind.ARITHMETIC, told)]
    elif not problems:
        rough = rough_borders(mosaic, tile, year, record)
        problems = [(ProblemKind.BORDER, told) for told in rough]
    telling = holds.embedded >= ENOUGH_PIXELS and not problems
    return Survey(tuple(problems), holds.histogram if telling else None)


def made_again(
    mosaic: Mosaic, tile: Tile, record: Record, wanted: Wanted | None, kinds: set[ProblemKind]
) -> bool:
    """Whether a tile that is not what its record describes was made again, rather than damaged.

    What another processor makes of the same scenes has the same observations to the byte, scales
    and codes whose last bits differ, so that they compress to other lengths, and the same means.
    Damage does not come with an index whose checksum holds and that tells those lengths.

    Parameters
    ----------
    mosaic, wanted, tile, record
        As for `survey_tile`.
    kinds
        Kinds of all that is wrong with the tile.
    """
    if not (
        kinds <= {ProblemKind.SIZE, ProblemKind.CHECKSUM} and NEAR.keys() <= record.means.keys()
    ):
        return False
    try:
        standing = tuple(object_as_it_stands(mosaic.storage, it.key) for it in record.objects)
    except FileNotFoundError:
        return False
    pairs = list(zip(mosaic.layout.arrays, record.objects, standing, strict=True))
    others = {array.name for array, then, now in pairs if now != then}
    resized = any(now.size != then.size for _, then, now in pairs)
    if others & {array.name for array in mosaic.layout.counts}:
        return False
    if mosaic.layout.scales.name not in others or not resized:
        return False
    again = dataclasses.replace(record, objects=standing)
    found = read_holdings(mosaic, tile, again, wanted)
    if found.problems or not found.embedded:
        return False
    means = means_of(found.scales, np.asarray(found.codes), found.embedded)
    return all(
        np.allclose(means[name], record.means[name], rtol=NEAR[name][0], atol=NEAR[name][1])
        for name in NEAR
    )


def read_holdings(mosaic: Mosaic, tile: Tile, record: Record, wanted: Wanted | None) -> Holdings:
    """Read the objects of a tile, and judge them by themselves."""
    holds = Holdings()
    stored = {a.name: it for a, it in zip(mosaic.layout.arrays, record.objects, strict=True)}
    planes = {}
    for array in (*mosaic.layout.counts, mosaic.layout.scales):
        plane = np.full((array.side, array.side), array.fill, array.dtype)
        if _fill(holds, mosaic, array, stored[array.name], plane):
            planes[array.name] = plane
    scales = planes.get("scales")
    _judge_codes(holds, mosaic, stored, scales)
    known = mosaic.layout.observed
    if scales is not None and len(planes) == len(known) + 1:
        finite = np.isfinite(scales)
        holds.embedded = int(finite.sum())
        holds.scales = float(scales[finite].sum(dtype=np.float64))
        counts = dict(zip(known, (planes[a.name] for a in mosaic.layout.counts), strict=True))
        _judge_planes(holds, record, scales, counts)
        if wanted is not None:
            _judge_places(holds, record, scales, wanted(tile.window))
    return holds


def _fill(
    holds: Holdings, mosaic: Mosaic, array: Array, stored: StoredObject, plane: NDArray[Any]
) -> bool:
    """Read an array of one value a pixel; whether its bytes are sound."""
    n = array.inner
    try:
        for i, j, chunk in stream_chunks(mosaic.storage, array, stored):
            plane[i * n : i * n + n, j * n : j * n + n] = chunk
    except Damaged as damaged:
        holds.blame_damage(damaged)
    else:
        return True
    return False


def _judge_planes(
    holds: Holdings,
    record: Record,
    scales: NDArray[np.float32],
    counts: dict[str, NDArray[np.uint16]],
) -> None:
    """Scales are in (0, 1) or sentinels, and agree with counts and the record."""
    finite = np.isfinite(scales)
    if np.isneginf(scales).any() or ((scales <= 0) | (scales >= 1))[finite].any():
        holds.blame(ProblemKind.SCALE, "a scale is neither in (0, 1) nor a sentinel")
    if set(counts) == set(COUNTS):
        seen = sum(count.astype(np.int64) for count in counts.values()) > 0
        if (finite & ~seen).any():
            holds.blame(ProblemKind.COUNTS, "pixels are embedded that no observation saw")
    found = {n: {"sum": int(c.sum(dtype=np.int64)), "max": int(c.max())} for n, c in counts.items()}
    if found != record.observations:
        holds.blame(
            ProblemKind.COUNTS, f"observations are {found}, the record has {record.observations}"
        )
    if holds.embedded != record.pixels.get("embedded"):
        holds.blame(
            ProblemKind.COUNTS, f"{holds.embedded} px are embedded, the record has {record.pixels}"
        )


def _judge_places(
    holds: Holdings, record: Record, scales: NDArray[np.float32], mine: NDArray[np.bool_]
) -> None:
    """Only pixels are embedded that were wanted, and the record has so many of those."""
    if (np.isfinite(scales) & ~mine).any():
        holds.blame(
            ProblemKind.OWNERSHIP, "pixels are embedded that another zone owns or nobody wanted"
        )
    if int(mine.sum()) != record.pixels.get("owned"):
        holds.blame(
            ProblemKind.COUNTS, f"{mine.sum()} px are owned, the record has {record.pixels}"
        )


def _judge_codes(
    holds: Holdings,
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
            dull[i, j] = chunk[:, ~valid].any()
            if adopted_model(mosaic.identity) is None:
                dull[i, j] |= (np.abs(kept).max(axis=0) != FULL_SCALE).any()
            holds.histogram += histogram_of(kept)
            holds.codes = holds.codes + kept.sum(axis=1, dtype=np.int64)
            if kept.size:
                least = np.minimum(least, kept.min(axis=1))
                greatest = np.maximum(greatest, kept.max(axis=1))
    except Damaged as damaged:
        holds.blame_damage(damaged)
        return
    if dull.any():
        holds.blame(ProblemKind.CODES, "pixels have codes without a scale, or none of full scale")
    if holds.histogram.sum() >= ENOUGH_PIXELS * full.bands and (least == greatest).any():
        constant = np.flatnonzero(least == greatest).tolist()
        holds.blame(ProblemKind.CONSTANT, f"dimensions {constant} are the same in every pixel")
    for array in mosaic.layout.embeddings[:-1]:
        _judge_depth(holds, mosaic, array, stored[array.name], n, digests[array.bands])


def _judge_depth(
    holds: Holdings,
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
    except Damaged as damaged:
        holds.blame_damage(damaged)
    else:
        if not np.array_equal(found, digests):
            holds.blame(ProblemKind.DEPTH, f"{array.name} is not the beginning of the full depth")


def _crc(values: NDArray[Any]) -> int:
    return int(google_crc32c.value(np.ascontiguousarray(values).tobytes()))
