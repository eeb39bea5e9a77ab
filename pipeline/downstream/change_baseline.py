"""What a change is measured against: a sample of a region in both years, taken once.

It is kept in the store of the map, so that all tiles are told in the same noise however often the
job is resumed, also when the mosaic has got more tiles since.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.change import (
    BEYOND,
    Noise,
    PixelState,
    cosines_of,
    pixel_states,
)
from tessera_mosaic.pipeline.downstream.year_pairs import RadarShares, sampled_tiles
from tessera_mosaic.pipeline.downstream.year_shift import YearMeans
from tessera_mosaic.pipeline.errors import BadInput, StoreMismatch
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import fields, listed, named, number, text, whole
from tessera_mosaic.pipeline.ledger.keys import baseline_key
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic
from tessera_mosaic.pipeline.tiling.lattice import Tile

LEAST_PIXELS = 100
"""Pixels that noise is measured over, at least."""

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
"""Percentiles of the cosine that are told."""

BINS = 40
"""Bars of the picture of how cosines are distributed."""


@dataclass(frozen=True)
class Baseline:
    """A sample of a region in two years.

    Parameters
    ----------
    from_year, to_year
        The calendar years.
    tiles
        Digest of the region's list of tiles.
    noise
        How far unchanged ground lies apart.
    pixels
        Number of the sample's pixels by their state's label.
    percentiles
        Of the cosine of those that were compared, by percent.
    edges, counts
        How these cosines are distributed: edges of the bins, one more than there are counts.
    shift
        Length of the difference between the mean embeddings of the years, as a share of the length
        of the earlier one.
    shift_cosine
        Cosine between these means.
    radar
        What the observation counts say of radar in both years; empty where it is alike.
    """

    from_year: int
    to_year: int
    tiles: str
    noise: Noise
    pixels: Mapping[str, int]
    percentiles: Mapping[str, float]
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    shift: float
    shift_cosine: float
    radar: str

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def encode(self) -> bytes:
        """The same as it lies in the store of a map."""
        return (json.dumps(self.to_json(), indent=1) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> Baseline:
        """Read a baseline back; ValueError if the bytes are none."""
        told = fields(read_json(data), FIELDS, *FIELDS)
        return cls(**told | {"noise": Noise(**told["noise"])})

    @property
    def limit(self) -> float | None:
        """Cosine below which a pixel lies beyond the noise; None where no cosine can."""
        limit = self.noise.cosine_at(BEYOND)
        return round(limit, 5) if limit > -1 else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said of a change that is measured against it."""
        one, other = self.from_year, self.to_year
        notes = [
            f"the mean embedding of {other} lies {self.shift:.0%} of its length from that of {one} "
            f"(cosine {self.shift_cosine:.3f}) over the sampled ground: this shift is in every "
            "pixel's cosine, and was not taken out"
        ]
        if self.limit is None:
            notes.append(
                f"so much of the ground differs between {one} and {other} that no pixel could lie "
                "beyond the noise: the map ranks pixels all the same, and a larger region, most of "
                "it unchanged, tells which of them changed"
            )
        if self.radar:
            notes.append(self.radar)
        return tuple(notes)


FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "from_year": lambda value: whole(value, 1, 9999),
    "to_year": lambda value: whole(value, 1, 9999),
    "tiles": text,
    "noise": lambda value: fields(value, {"middle": number, "spread": number}, "middle", "spread"),
    "pixels": lambda value: named(value, whole, 10),
    "percentiles": lambda value: named(value, number, 100),
    "edges": lambda value: listed(value, number, 1000),
    "counts": lambda value: listed(value, whole, 1000),
    "shift": number,
    "shift_cosine": number,
    "radar": text,
}
"""What each field of a baseline has to be."""


def measure(
    mosaic: AnyMosaic,
    years: tuple[int, int],
    tiles: Sequence[Tile],
    list_id: str,
    inside: bytes | None,
) -> Baseline:
    """Take the sample.

    Parameters
    ----------
    mosaic
        The mosaic.
    years
        The earlier and the later calendar year.
    tiles, list_id
        Tiles of the region, and the digest of their list.
    inside
        The region as WKB where only its own pixels are wanted.

    Raises
    ------
    BadInput
        If too few pixels of the region can be compared.
    """
    means, radar = YearMeans(mosaic.layout.dims), RadarShares()
    pixels = dict.fromkeys(PixelState, 0)
    found: list[NDArray[np.float64]] = []
    for sampled in sampled_tiles(mosaic, tiles, years, inside):
        counts = sampled.pair.counts()
        states = pixel_states(sampled.pixels, sampled.scales, counts)
        for state in PixelState:
            pixels[state] += int((states == state).sum())
        radar.add(counts, (states == PixelState.COMPARED) | (states == PixelState.RADAR_GAP))
        for codes, of in sampled.read(states == PixelState.COMPARED):
            means.add(codes, of)
            cosines = cosines_of(codes)
            found.append(cosines[np.isfinite(cosines)])
    cosines = np.concatenate([*found, np.empty(0)])
    if len(cosines) < LEAST_PIXELS:
        raise BadInput(_too_few(mosaic, years, pixels, radar, len(cosines)), "region")
    edges = np.linspace(float(cosines.min()), 1.0, BINS + 1)
    before, after = means.means
    lengths = np.linalg.norm(before), np.linalg.norm(after)
    return Baseline(
        *years,
        tiles=list_id,
        noise=Noise.of(cosines),
        pixels={state.label: count for state, count in pixels.items()},
        percentiles={
            str(percent): round(value, 5)
            for percent, value in zip(
                PERCENTILES, np.percentile(cosines, PERCENTILES).tolist(), strict=True
            )
        },
        edges=tuple(edges.round(5).tolist()),
        counts=tuple(np.histogram(np.minimum(cosines, 1.0), edges)[0].tolist()),
        shift=round(float(np.linalg.norm(after - before) / lengths[0]), 5),
        shift_cosine=round(float(before @ after / (lengths[0] * lengths[1])), 5),
        radar=_radar(radar, years),
    )


def _radar(radar: RadarShares, years: tuple[int, int]) -> str:
    told = radar.describe(years)
    if not told:
        return ""
    if radar.shares is None:
        return f"{told}, and pixels of which one does could not be masked"
    return f"{told} of the sampled ground: those that it saw in one year alone are masked"


def _too_few(
    mosaic: AnyMosaic,
    years: tuple[int, int],
    pixels: Mapping[PixelState, int],
    radar: RadarShares,
    found: int,
) -> str:
    """Why there is too little ground to compare."""
    one, other = years
    if not sum(pixels.values()):
        return f"{mosaic.storage.url} has no ground of the region in both {one} and {other}"
    why = (
        f"{found:,} pixels of {mosaic.storage.url} there can be compared between {one} and "
        f"{other}, and {LEAST_PIXELS} are needed to know the noise"
    )
    if pixels[PixelState.RADAR_GAP]:
        why += f": {radar.describe(years)}, and what it saw in one year alone is masked"
    return why


def read_baseline(storage: Storage, year: int) -> Baseline | None:
    """The baseline that a store keeps for a year; None where there is none.

    Raises
    ------
    BadInput
        If it is damaged.
    """
    try:
        return Baseline.decode(storage.read_document(baseline_key(year)))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BadInput(f"{storage.url}/{baseline_key(year)} is damaged: {error}") from None


def usable_baseline(storage: Storage, years: tuple[int, int], list_id: str) -> Baseline | None:
    """The baseline that a map was begun with, to go on with; None where it has none yet.

    Raises
    ------
    StoreMismatch
        If it was begun from another year, or over another region.
    """
    known = read_baseline(storage, years[1])
    if known is None:
        return None
    if known.from_year != years[0]:
        raise StoreMismatch(
            f"{storage.url} holds the change from {known.from_year} to {known.to_year}, not from "
            f"{years[0]}: choose another place"
        )
    if known.tiles != list_id:
        raise StoreMismatch(
            f"{storage.url} holds the change to {known.to_year} over another region, from which "
            "its noise was taken: choose another place"
        )
    return known
