"""One scene: what the pipeline keeps of a catalogue's item, and nothing else.

A year over a tile has hundreds of scenes, so the record is small and plain.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from tessera_mosaic.model.observations import S1_BANDS, S2_BANDS
from tessera_mosaic.pipeline.bounds import Bounds
from tessera_mosaic.pipeline.errors import Incomplete
from tessera_mosaic.pipeline.tiling.boxes import Box

CLASSES = "SCL"
"""Sentinel-2's scene classification among a scene's assets."""

S2_ASSETS = (*S2_BANDS, CLASSES)
"""Assets of a Sentinel-2 scene that are read."""


LATER_FIELDS = ("claim", "no_power", "strip", "superseded", "faulty", "faulty_asset")
"""Fields of `Scene` that are younger than the digests in stored records, which lack them."""

LACKING = "the item has no such asset"
"""What is wrong with an item that lacks an asset."""

FIRST_YEAR = 2016
"""First whole year of Sentinel-2 and Sentinel-1."""

YEARS = Bounds(
    f"Sentinel-2 has whole years from {FIRST_YEAR} on, the future has none", least=FIRST_YEAR
)


class Sensor(StrEnum):
    """What took the pixels of a scene."""

    S2 = "s2"
    """Sentinel-2, processing level 2A."""

    S1 = "s1"
    """Sentinel-1, terrain-corrected backscatter."""

    DPIXELS = "dpixels"
    """Both: a d-pixel directory, whose observations somebody has made of scenes before."""

    @property
    def label(self) -> str:
        """What people call it."""
        return {"s2": "Sentinel-2", "s1": "Sentinel-1"}.get(self.value, "d-pixels")


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
        What all scenes of the same acquisition share, of Sentinel-2 platform, tile and datatake;
        empty where that is not known.
    strip
        Which part of the acquisition it is, of Sentinel-2 the datastrip: scenes that share this
        too are versions of one another. Empty where that is not known.
    made
        Time in UTC at which this version was processed: the newest of several is taken.
    superseded
        Id of the version that counts in its place; it is read where that one is lost.
    unusable
        Why a scene of its kind is of no use here, such as its polarisations; empty if it is.
    faulty
        What is wrong with its item, so that a scene of use cannot be read; empty if nothing is.
    faulty_asset
        Name of the asset of which that is wrong; empty where it is of the item as a whole.
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
    strip: str = ""
    made: str = ""
    superseded: str = ""
    unusable: str = ""
    claim: OffsetClaim | None = None
    no_power: str = ""
    faulty: str = ""
    faulty_asset: str = ""

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
            raise Incomplete(LACKING, self.id, band)
        return self.assets[band]

    @property
    def anchor(self) -> str:
        """The band whose raster tells where the scene lies; those of all others lie there too."""
        return CLASSES if self.sensor == Sensor.S2 else S1_BANDS[0]

    @property
    def missing(self) -> tuple[str, ...]:
        """Bands that the item lacks."""
        wanted = {Sensor.S2: S2_ASSETS, Sensor.S1: S1_BANDS}.get(self.sensor, ())
        return tuple(band for band in wanted if band not in self.assets)

    @property
    def counts(self) -> bool:
        """Whether it is of use, sound by its item, and not superseded."""
        return not (self.unusable or self.faulty or self.superseded)


def check_year(year: int, parameter: str = "year") -> None:
    """Refuse a year of which there are no scenes.

    Parameters
    ----------
    year
        Calendar year.
    parameter
        Name of the parameter that it is of, for the message.

    Raises
    ------
    BadInput
        If the year lies before the first whole one of the satellites, or in the future.
    """
    replace(YEARS, most=datetime.date.today().year).check(year, parameter)
