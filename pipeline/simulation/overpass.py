"""Who flies over a simulated land, when, and what each pass sees: everything but the files."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from tessera_mosaic.pipeline.simulation.landscape import (
    BANDS,
    CODES,
    Floats,
    Ground,
    Landscape,
    backscatter,
    greenness,
    reflectance,
    smooth_noise,
)

BANDS_10M = ("B02", "B03", "B04", "B08")
"""Sentinel-2 bands of 10 m; the others, and the scene classification, have 20 m."""

OFFSET = 1000
"""Added to every digital number from processing baseline 04.00 on (Copernicus product guide)."""

BASELINES = (
    ("2015-01-01", "03.01"),
    ("2022-01-25", "04.00"),
    ("2022-12-06", "05.09"),
    ("2023-12-13", "05.10"),
)
"""Sentinel-2 processing baselines and the day from which each was in operation."""

CLOUD = np.array([520, 510, 520, 530, 540, 545, 550, 550, 420, 330], np.float32) / 1000
"""Reflectance of thick cloud, in the order of `BANDS`."""

LOOKS = 5
"""Looks that are averaged into a Sentinel-1 pixel."""

S2_HOUR, S1_HOUR, ORBIT_HOURS = 10.5, 6.0, 1.68
"""Local solar time of Sentinel-2's and of Sentinel-1's descending node, and Sentinel-2's period."""

ANGLES = {"ascending": (34.0, 41.0), "descending": (39.0, 32.0)}
"""Incidence in degrees on the two orbits of each direction."""


@dataclass(frozen=True)
class Footprint:
    """The ground of one granule.

    Parameters
    ----------
    name
        MGRS tile, such as `31UDS`.
    epsg
        EPSG code of its projection: 326NN, or 327NN for the south as real granules have it.
    west, north
        Easting and northing of its north-west corner in metres, multiples of 20.
    height, width
        Size in pixels of 10 m, even numbers.
    """

    name: str
    epsg: int
    west: int
    north: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.west % 20 or self.north % 20 or self.height % 2 or self.width % 2:
            raise ValueError(f"footprint {self.name} does not lie on its grid of 20 m")

    @classmethod
    def around(
        cls, name: str, lon: float, lat: float, side: int, epsg: int | None = None
    ) -> Footprint:
        """A square of `side` pixels around a place, by default in the projection of its zone."""
        epsg = epsg or (32600 if lat >= 0 else 32700) + min(int((lon + 180) // 6) + 1, 60)
        x, y = Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True).transform(lon, lat)
        west, north = x - side * 5, y + side * 5
        return cls(name, epsg, round(west / 20) * 20, round(north / 20) * 20, side, side)

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """West, south, east and north edges in metres."""
        east, south = self.west + 10 * self.width, self.north - 10 * self.height
        return self.west, south, east, self.north

    @property
    def outline(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Longitudes and latitudes along its edges; longitudes go beyond 180 where it does."""
        edge = np.linspace(0.0, 1.0, 8, endpoint=False)
        x = self.west + 10 * self.width * np.concatenate([edge, edge * 0 + 1, 1 - edge, edge * 0])
        y = self.north - 10 * self.height * np.concatenate([edge * 0, edge, edge * 0 + 1, 1 - edge])
        lon, lat = Transformer.from_crs(f"EPSG:{self.epsg}", "EPSG:4326", always_xy=True).transform(
            x, y
        )
        central = 6 * (self.epsg % 100) - 183
        return central + (lon - central + 180) % 360 - 180, lat


@dataclass(frozen=True)
class Simulation:
    """What an archive holds.

    Parameters
    ----------
    footprints
        Granules. The land lies around their middle.
    years
        Calendar years.
    s2_days, s1_days
        Days a year on which each sensor passes; Sentinel-1's directions take turns.
    s2_passes
        Sentinel-2 passes on each of its days, as many as high latitudes see.
    cloudiness
        Mean share of the sky that is cloudy, 0 to 1.
    s1_nodata
        What Sentinel-1 files hold where the swath has ended; NaN is allowed.
    baselines
        Processing baselines and their first days. From 04.00 on, digital numbers are `OFFSET` more.
    seed
        Another seed is another land, another weather.
    """

    footprints: tuple[Footprint, ...]
    years: tuple[int, ...] = (2024,)
    s2_days: int = 40
    s1_days: int = 40
    s2_passes: int = 1
    cloudiness: float = 0.4
    s1_nodata: float = -32768.0
    baselines: tuple[tuple[str, str], ...] = BASELINES
    seed: int = 0

    @cached_property
    def landscape(self) -> Landscape:
        """The land, around the middle of all footprints."""
        outlines = np.array([footprint.outline for footprint in self.footprints])
        lons, lats = outlines[:, 0], outlines[:, 1]
        lons = lons[0, 0] + (lons - lons[0, 0] + 180) % 360 - 180
        return Landscape(self.seed, *((at.min() + at.max()) / 2 for at in (lons, lats)))

    @cached_property
    def swath_edge(self) -> float:
        """Metres east of the middle at which the swaths of partial passes end."""
        planes = (self.landscape.plane(4326, *each.outline) for each in self.footprints)
        return 0.6 * max(float(x.max()) for x, _ in planes)

    def baseline(self, day: str) -> str:
        """Processing baseline of an ISO day."""
        return [name for first, name in self.baselines if first <= day][-1]


@dataclass(frozen=True)
class Pass:
    """One pass of a satellite over the land.

    Parameters
    ----------
    sensor
        `s2` or `s1`.
    time
        UTC.
    platform
        Letter of the satellite, `A` or `B`.
    orbit
        0 sees everything, 1 has its swath's edge in the land.
    ascending
        Sentinel-1's direction.
    """

    sensor: str
    time: dt.datetime
    platform: str
    orbit: int
    ascending: bool

    @property
    def direction(self) -> str:
        """Orbit state; Sentinel-2 sees the sunlit ground on its way south."""
        return "ascending" if self.ascending else "descending"

    @property
    def stamp(self) -> str:
        """Time as it stands in identifiers."""
        return f"{self.time:%Y%m%dT%H%M%S}"

    def key(self, spec: Simulation, *more: str) -> list[int]:
        """Seed of the random generator: the archive's, and a digest of what is asked for."""
        what = " ".join([self.sensor, self.stamp, self.platform, *more])
        return [spec.seed, zlib.crc32(what.encode())]

    def sees(self, spec: Simulation, ground: Ground) -> NDArray[np.bool_]:
        """Which pixels lie in the swath."""
        if self.orbit == 0:
            return np.ones(ground.x.shape, bool)
        tilt = 0.2 if self.ascending else -0.2
        return ground.x + tilt * ground.y < spec.swath_edge


def passes(spec: Simulation) -> Iterator[Pass]:
    """All passes over an archive: year by year, each sensor's in the order of days."""
    lon = spec.landscape.lon
    for year in spec.years:
        for n, day in enumerate(_days(year, spec.s2_days)):
            for again in range(spec.s2_passes):
                time = _universal(day, S2_HOUR + again * ORBIT_HOURS, lon)
                yield Pass("s2", time, *_orbit(n + again), ascending=False)
        for n, day in enumerate(_days(year, spec.s1_days)):
            ascending = n % 2 == 1
            time = _universal(day, S1_HOUR + 12 * ascending, lon)
            yield Pass("s1", time, *_orbit(n // 2), ascending)


def _days(year: int, count: int) -> list[dt.datetime]:
    """So many days, evenly spread over a year."""
    new_year = dt.datetime(year, 1, 1)
    return [new_year + dt.timedelta(int((n + 0.5) * 365 / count)) for n in range(count)]


def _universal(day: dt.datetime, solar_hour: float, lon: float) -> dt.datetime:
    """UTC at an hour of local solar time, within the same UTC day."""
    return day + dt.timedelta(seconds=round((solar_hour - lon / 15) * 3600) % 86_400)


def _orbit(turn: int) -> tuple[str, int]:
    """Satellite and orbit of a sensor's n-th pass: three by each in turn, the third one partial."""
    return "AB"[turn // 3 % 2], int(turn % 3 == 2)


def sentinel2_scene(
    spec: Simulation, passing: Pass, granule: Footprint, fine: Ground, coarse: Ground
) -> dict[str, NDArray[Any]]:
    """What Sentinel-2 sees of a granule.

    Parameters
    ----------
    spec, passing, granule
        The archive, the satellite's pass and the ground.
    fine, coarse
        The granule's ground at 10 and at 20 m.

    Returns
    -------
    dict
        Digital numbers uint16 of each band at its own resolution, and `SCL` uint8; 0 is no data.
    """
    season = spec.landscape.season(passing.time.timetuple().tm_yday)
    opacity, shadow = _weather(spec, passing, coarse)
    rng = np.random.default_rng(passing.key(spec, granule.name))
    added = OFFSET if spec.baseline(f"{passing.time:%Y-%m-%d}") >= "04.00" else 0
    seen = {20: passing.sees(spec, coarse)}
    seen[10] = _finer(seen[20])
    cover = {10: _finer(opacity), 20: opacity}
    light = {20: np.where(shadow, np.float32(0.45), np.float32(1))}
    light[10] = _finer(light[20])
    images: dict[str, NDArray[Any]] = {}
    for name, ground, cloud in zip(BANDS, reflectance(fine, season), CLOUD, strict=True):
        pixel = 10 if name in BANDS_10M else 20
        surface = (ground if pixel == 10 else _coarser(ground)) * light[pixel]
        surface = surface * (1 - cover[pixel]) + cloud * cover[pixel]
        noise = 1 + 0.015 * rng.standard_normal(surface.shape, np.float32)
        numbers = np.clip(np.rint(surface * noise * 10_000) + added, 1, 65_535)
        images[name] = np.where(seen[pixel], numbers, 0).astype(np.uint16)
    images["SCL"] = np.where(seen[20], _classes(coarse, season, opacity, shadow), 0).astype(
        np.uint8
    )
    return images


def _weather(spec: Simulation, passing: Pass, ground: Ground) -> tuple[Floats, NDArray[np.bool_]]:
    """Opacity of the sky from 0 to 1, and where the ground lies in a cloud's shadow."""
    key = passing.key(spec, "weather")
    if spec.cloudiness <= 0:
        return np.zeros(ground.x.shape, np.float32), np.zeros(ground.x.shape, bool)
    # Most days are nearly clear or nearly covered, few in between.
    mean = min(spec.cloudiness, 0.99)
    share = np.random.default_rng(key).beta(0.7, 0.7 * (1 - mean) / mean)
    least = NormalDist().inv_cdf(float(np.clip(1 - share, 1e-4, 1 - 1e-4)))

    def opacity_at(x: Floats, y: Floats) -> Floats:
        return np.clip((smooth_noise(key, x, y, 2600, octaves=4) - least) / 0.5, 0, 1)

    southern = spec.landscape.lat < 0
    opacity = opacity_at(ground.x, ground.y)
    shade = opacity_at(ground.x + 260, ground.y + (340 if southern else -340))
    return opacity, (shade > 0.5) & (opacity < 0.15)


def _classes(
    ground: Ground, season: float, opacity: Floats, shadow: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Scene classification as Sen2Cor numbers it, without its mistakes."""
    green, _ = greenness(ground, season)
    classes = np.where(green > 0.35, 4, 5).astype(np.uint8)
    classes[ground.codes == CODES["water"]] = 6
    classes = classes[ground.unit]
    classes[shadow] = 3
    classes[opacity > 0.05] = 10
    classes[opacity > 0.3] = 8
    classes[opacity > 0.6] = 9
    return classes


def sentinel1_scene(
    spec: Simulation, passing: Pass, granule: Footprint, fine: Ground
) -> dict[str, NDArray[Any]]:
    """What Sentinel-1 sees of a granule.

    Returns
    -------
    dict
        Linear gamma nought power float32 of `vv` and `vh` at 10 m, `s1_nodata` beyond the swath.
    """
    season = spec.landscape.season(passing.time.timetuple().tm_yday)
    angle = ANGLES[passing.direction][passing.orbit]
    rng = np.random.default_rng(passing.key(spec, granule.name))
    wet = smooth_noise(passing.key(spec, "rain"), fine.x, fine.y, 4000)
    power = backscatter(fine, season, angle, passing.ascending) * 10 ** (0.06 * wet)
    speckle = rng.standard_gamma(LOOKS, power.shape, np.float32) / LOOKS
    seen = passing.sees(spec, fine)
    images = np.where(seen, power * speckle, spec.s1_nodata).astype(np.float32)
    return {"vv": images[0], "vh": images[1]}


def _finer(image: NDArray[Any]) -> NDArray[Any]:
    return image.repeat(2, axis=0).repeat(2, axis=1)


def _coarser(image: Floats) -> Floats:
    height, width = image.shape
    return image.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3), dtype=np.float32)
