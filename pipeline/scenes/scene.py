"""One scene: what the pipeline keeps of a catalogue's item, and nothing else.

A year over a tile has hundreds of scenes, so the record is small and plain.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tessera_mosaic.model.observations import S1_BANDS, S2_BANDS
from tessera_mosaic.pipeline.errors import BadInput, Incomplete
from tessera_mosaic.pipeline.tiling.boxes import Box

CLASSES = "SCL"
"""Sentinel-2's scene classification among a scene's assets."""

S2_ASSETS = (*S2_BANDS, CLASSES)
"""Assets of a Sentinel-2 scene that are read."""


LATER_FIELDS = ("claim", "no_power")
"""Fields of `Scene` that are younger than the digests in stored records, which lack them."""

FIRST_YEAR = 2016
"""First whole year of Sentinel-2 and Sentinel-1."""


class Sensor(StrEnum):
    """What took the pixels of a scene."""

    S2 = "s2"
    """Sentinel-2, processing level 2A."""

    S1 = "s1"
    """Sentinel-1, terrain-corrected backscatter."""

    DPIXELS = "dpixels"
    """Both: a d-pixel directory, whose observations somebody has made of scenes before."""


class OrbitState(StrEnum):
    """Direction in which a satellite of Sentinel-1 flew."""

    ASCENDING = "ascending"
    DESCENDING = "descending"


class Imagery(StrEnum):
    """Whose products a catalogue lists."""

    MPC = "mpc"
    """Sentinel-2 as ESA made it and Sentinel-1 RTC, as Planetary Computer has them."""

    AWS = "aws"
    """Sentinel-2 as Element 84 made it, without the radiometric offset, and NASA's OPERA RTC-S1."""


class RadiometricOffset(StrEnum):
    """What a catalogue says of the radiometric offset of a Sentinel-2 scene."""

    BY_BASELINE = ""
    """Nothing: whether it is in the pixels follows from their processing baseline."""

    APPLIED = "applied"
    """It has been taken out of the pixels."""

    KEPT = "kept"
    """It is in the pixels, though those of the same source are without."""


@dataclass(frozen=True)
class OffsetClaim:
    """What an item says of whether the radiometric offset is in its pixels.

    Parameters
    ----------
    kept
        Whether it is.
    by
        What in the item says so.
    certain
        Whether that is beyond doubt, so that the pixels need not be looked at.
    """

    kept: bool
    by: str
    certain: bool = False


@dataclass(frozen=True)
class Scene:
    """One acquisition of one sensor over one footprint.

    Parameters
    ----------
    id
        Name of the catalogue's item.
    sensor
        What took the pixels.
    datetime
        Time of the acquisition in UTC, such as `2024-05-01T10:30:31.024000Z`; empty where the item
        does not tell. Scenes of a day compete in this order.
    bbox
        Box around the footprint in degrees; west beyond east means across the antimeridian.
    assets
        Address of each band. Keys are those of `S2_ASSETS`, or `vv` and `vh`.
    orbit_state
        Direction of the orbit; None for Sentinel-2 and where the item does not tell.
    epsg
        EPSG code of the projection of the rasters, 0 where the item does not tell.
    baseline
        Processing baseline of Sentinel-2, such as `05.11`, empty where unknown.
    offset
        What the catalogue says of the radiometric offset of Sentinel-2, for the rule `item`.
    claim
        What the item says of it, by all that an item has, for the rule `evidence`.
    no_power
        Why the numbers of Sentinel-1 are no linear power, by what the item says; empty if they are.
    twin
        What all reprocessed versions of the same acquisition share; empty for a scene without.
    made
        Time in UTC at which this version was processed: the newest of several twins is taken.
    unusable
        Why the scene can never be used, empty if it can.
    """

    id: str
    sensor: Sensor
    datetime: str
    bbox: Box
    assets: Mapping[str, str] = field(default_factory=dict)
    orbit_state: OrbitState | None = None
    epsg: int = 0
    baseline: str = ""
    offset: RadiometricOffset = RadiometricOffset.BY_BASELINE
    twin: tuple[str, ...] = ()
    made: str = ""
    unusable: str = ""
    claim: OffsetClaim | None = None
    no_power: str = ""

    @property
    def date(self) -> str:
        """UTC date of the acquisition, `2024-05-01`."""
        return self.datetime[:10]

    @property
    def order(self) -> tuple[str, str]:
        """Rank among the scenes of a day: by time, then by id."""
        return self.datetime, self.id

    def asset(self, band: str) -> str:
        """Where a band lies.

        Raises
        ------
        Incomplete
            If the item lacks it.
        """
        if band not in self.assets:
            raise Incomplete("the item has no such asset", self.id, band)
        return self.assets[band]

    @property
    def anchor(self) -> str:
        """The band whose raster tells where the scene lies; those of all others lie there too."""
        return CLASSES if self.sensor == Sensor.S2 else S1_BANDS[0]

    @property
    def missing(self) -> tuple[str, ...]:
        """Bands that the item lacks."""
        wanted = S2_ASSETS if self.sensor == Sensor.S2 else S1_BANDS
        return tuple(band for band in wanted if band not in self.assets)


def settle(scenes: Iterable[Scene], year: int) -> list[Scene]:
    """Put found scenes in order.

    Parameters
    ----------
    scenes
        Scenes in any order, and some perhaps twice.
    year
        The year that was asked for. Scenes of others are dropped; those of an unknown time stay.

    Returns
    -------
    The scenes by time and id. All but the newest sound one of twins are marked as superseded.
    Where several that differ have one id, a digest of each is added to it: the ids of STAC's items
    are told apart by their collections alone.
    """
    known = {
        _as_text(scene): scene for scene in scenes if scene.datetime[:4] in ("", f"{year:04d}")
    }
    named = Counter(scene.id for scene in known.values())
    ordered = sorted(
        (
            scene
            if named[scene.id] == 1
            else dataclasses.replace(scene, id=_distinct(scene.id, text))
            for text, scene in known.items()
        ),
        key=lambda scene: scene.order,
    )
    best: dict[tuple[str, ...], Scene] = {}
    for scene in ordered:
        if scene.twin and not scene.unusable:
            rival = best.get(scene.twin)
            if rival is None or _soundness(scene) > _soundness(rival):
                best[scene.twin] = scene
    return [
        dataclasses.replace(scene, unusable=f"superseded by {best[scene.twin].id}")
        if not scene.unusable and scene.twin and best[scene.twin].id != scene.id
        else scene
        for scene in ordered
    ]


def _as_text(scene: Scene) -> str:
    """A scene as one text, which stays the same: ids in stored records have digests of it."""
    values = {
        each.name: getattr(scene, each.name)
        for each in dataclasses.fields(scene)
        if each.name not in LATER_FIELDS
    }
    plain = {
        name: str(value or "") if name in ("sensor", "orbit_state", "offset") else value
        for name, value in values.items()
    }
    return f"Scene({', '.join(f'{name}={value!r}' for name, value in plain.items())})"


def _distinct(name: str, text: str) -> str:
    return f"{name}#{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _soundness(scene: Scene) -> tuple[bool, str, str, str]:
    return not scene.missing, scene.made, scene.baseline, scene.id


def check_year(year: int) -> None:
    """Refuse a year of which there are no scenes.

    Raises
    ------
    BadInput
        If the year lies before the first whole one of the satellites, or in the future.
    """
    if not FIRST_YEAR <= year <= datetime.date.today().year:
        raise BadInput(
            f"Sentinel-2 has whole years from {FIRST_YEAR} on, the future has none", "year", year
        )
