"""How often the satellites see an area in a year, by a catalogue or by their orbits.

Numbers that are not certain are arrays: the value, and then draws from the range in which it may
lie instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.errors import NoScenes
from tessera_mosaic.pipeline.planning.priors import DRAWS, Drawn, Figures, read_priors
from tessera_mosaic.pipeline.scenes.scene import OrbitState, Scene, Sensor
from tessera_mosaic.pipeline.scenes.sensors import absent_sensors
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.tiling.area import Area
from tessera_mosaic.pipeline.tiling.boxes import Box, spans
from tessera_mosaic.pipeline.tiling.lattice import NORTH_EDGE, PIXEL, Tile, lonlat_bounds, to_lonlat
from tessera_mosaic.pipeline.tiling.ownership import owned, owned_pixels, tiles_within
from tessera_mosaic.pipeline.tiling.region import pixels_inside

S2_SATELLITES = {2016: 1.0, 2017: 1.5}
"""Sentinel-2 satellites at work in years that had fewer than two (ESA: 2B since July 2017)."""

S1_ALONE = range(2022, 2025)
"""Years in which Sentinel-1A was alone (ESA)."""

S1_LATITUDES = -60.0, 75.0
"""Beyond these Sentinel-1 is switched to HH and HV, which no model has seen (ESA's observation
scenario; the limits are rough)."""

REVOLUTIONS = 14.3
"""Of a Sentinel-2 satellite a day (ESA)."""

INCLINATION = 98.62
"""Of Sentinel-2's orbit in degrees (ESA)."""

SWATH, S1_SWATH, EQUATOR = 290.0, 250.0, 40_075.0
"""Kilometres across Sentinel-2's and Sentinel-1's swaths, and around the Earth."""

GRANULE, GRANULE_STEP = 109.8, 100.0
"""Kilometres along a side of a Sentinel-2 scene, and from one to the next (ESA)."""

SUN = 8.0
"""Degrees above the horizon that the sun must have for Sentinel-2's products (ESA)."""

SAMPLE, SEARCHES = 64, 4
"""Tiles whose scenes are looked up, and how many at once; more would cost the catalogue much and
the plan little."""


@dataclass(frozen=True)
class Ground:
    """The tiles and pixels of an area, counted.

    Parameters
    ----------
    tiles : int64 (tiles, 3)
        Zone, row and column of each.
    pixels, owned : int64 (tiles,)
        Number of pixels to embed, and of these without the margin over zone lines.
    latitudes : float64 (tiles,)
        Latitudes of the tiles' centres in degrees.
    side
        Side of the tiles in pixels.
    region
        Region in degrees where only its own pixels are to be made; None for whole tiles.
    """

    tiles: NDArray[np.int64]
    pixels: NDArray[np.int64]
    owned: NDArray[np.int64]
    latitudes: NDArray[np.float64]
    side: int
    region: BaseGeometry | None = None


@dataclass(frozen=True)
class Absence:
    """Tiles that a catalogue has no scene of a sensor of.

    Parameters
    ----------
    tiles, looked_up
        Number of such tiles, and of all those whose scenes were looked up.
    example
        Why one of them has none.
    """

    tiles: int
    looked_up: int
    example: str


@dataclass(frozen=True)
class Passes:
    """How often the satellites see the ground in a year.

    Parameters
    ----------
    s2, s1
        Passes over a pixel, on average over all pixels to embed, seen or not.
    s2_scenes, s1_scenes
        Scenes to open, summed over tiles: a scene counts once for each tile it touches.
    origin
        `prior`, or the name of the catalogue.
    seen
        Share of the pixels over which there is any pass, above 0: scenes may be no larger than a
        field, and what nobody saw is not embedded.
    absent
        Tiles that are without a sensor, by its name, `s2` or `s1`, where scenes were looked up.
    """

    s2: Drawn
    s1: Drawn
    s2_scenes: Drawn
    s1_scenes: Drawn
    origin: str
    seen: float = 1.0
    absent: Mapping[str, Absence] = field(default_factory=dict)

    @property
    def missing(self) -> dict[str, str]:
        """Why there is nothing of a sensor in any of the tiles that were looked up, by sensor."""
        return _throughout(self.absent)


def ground_of(area: Area) -> Ground:
    """Count an area's tiles and pixels."""
    index = {zone: area.index(zone) for zone in area.zones}
    tiles = np.concatenate([np.insert(of, 0, zone, axis=1) for zone, of in index.items()])
    centres = NORTH_EDGE - (tiles[:, 1] + 0.5) * area.side * PIXEL
    # Northings are the same in every zone.
    _, latitudes = to_lonlat(31).transform(np.full(len(tiles), 500_000.0), centres)
    margins = 0, area.margin
    counts = owned_pixels(tiles[:, 1], tiles[:, 2], area.side, margins)
    if area.inside:
        within = [tiles_within(zone, area.region, of, area.side) for zone, of in index.items()]
        whole = np.concatenate(within)
        for cut in np.flatnonzero(~whole):
            zone, row, col = tiles[cut].tolist()
            window = Tile(zone, row, col, area.side).window
            inside = pixels_inside(area.region, window)
            for count, margin in zip(counts, margins, strict=True):
                mine = inside if count[cut] == inside.size else inside & owned(window, margin)
                count[cut] = np.count_nonzero(mine)
    region = area.region if area.inside else None
    return Ground(tiles, counts[1], counts[0], latitudes, area.side, region)


def expected_observations(tiles: Sequence[Tile]) -> list[int]:
    """Observations a year of the pixels that its zone owns of each tile, by the orbits alone.

    What reading and encoding a tile take grows with them, so that launchers that divide a list of
    tiles among themselves balance their shares by it.

    Parameters
    ----------
    tiles
        Tiles of one side.

    Returns
    -------
    A number for each tile.

    Examples
    --------
    >>> equator, north = expected_observations([Tile(31, 456, 17, 2048), Tile(31, 100, 17, 2048)])
    >>> north > equator
    True
    """
    if not tiles:
        return []
    side = tiles[0].side
    rows, cols = np.array([(tile.row, tile.col) for tile in tiles]).T
    different, which = np.unique(rows, return_inverse=True)
    northings = NORTH_EDGE - (different + 0.5) * side * PIXEL
    _, latitudes = to_lonlat(31).transform(np.full(len(different), 500_000.0), northings)
    passes = 2 * s2_passes(latitudes) + read_priors().figures["s1_passes"].value
    pixels = owned_pixels(rows, cols, side, [0])[0]
    return [int(count) for count in pixels * passes[which]]


def s2_passes(latitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Passes a year of one Sentinel-2 satellite over a point by day, from its orbit.

    Parameters
    ----------
    latitudes : float64 (points,)
        Latitudes in degrees.

    Returns
    -------
    float64 (points,)
    """
    phi = np.radians(np.clip(latitudes, -81.0, 81.0))
    heading = np.arcsin(np.cos(np.radians(INCLINATION)) / np.cos(phi) * -1.0)
    share = SWATH / np.cos(heading) / (EQUATOR * np.cos(phi))
    return REVOLUTIONS * share * daylight(latitudes)


def daylight(latitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Days a year on which the sun stands high enough when Sentinel-2 passes at 10:30.

    Parameters
    ----------
    latitudes : float64 (points,)
        Latitudes in degrees.

    Returns
    -------
    int64 (points,)
    """
    days = np.arange(365)
    declination = np.radians(-23.44) * np.cos(2 * np.pi * (days + 10) / 365)
    phi = np.radians(latitudes)[:, None]
    hour = np.radians(22.5)
    sine = np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour)
    return (sine > np.sin(np.radians(SUN))).sum(axis=1)


def passes_by_prior(ground: Ground, year: int, figure: Figures) -> Passes:
    """Passes and scenes where there is no catalogue, from the satellites' orbits.

    Parameters
    ----------
    ground
        Tiles and pixels that are to be made.
    year
        Calendar year of the scenes.
    figure
        Drawn figures by their names.
    """
    weights = ground.pixels / max(ground.pixels.sum(), 1)
    # Tiles lie in rows: there are many of them, and few latitudes.
    latitudes, row = np.unique(ground.latitudes, return_inverse=True)
    one = s2_passes(latitudes)[row]
    satellites = S2_SATELLITES.get(year, 2.0) * figure["s2_passes"]
    seen = (ground.latitudes > S1_LATITUDES[0]) & (ground.latitudes < S1_LATITUDES[1])
    s1 = figure["s1_passes"] * (figure["s1_one_satellite"] if year in S1_ALONE else 1.0)
    # A tile meets the scenes of a pass whose footprint comes within its side.
    side = ground.side * PIXEL / 1000
    s2_scenes = (1 + side / SWATH) * ((GRANULE + side) / GRANULE_STEP) ** 2
    s1_scenes = (1 + side / S1_SWATH) * (1 + side / figure["s1_scene_length"])
    return Passes(
        s2=satellites * (one * weights).sum(),
        s1=s1 * (seen * weights).sum(),
        s2_scenes=satellites * one.sum() * s2_scenes,
        s1_scenes=s1 * seen.sum() * s1_scenes,
        origin="prior",
    )


def passes_in(source: Source, ground: Ground, year: int, random: np.random.Generator) -> Passes:
    """Passes and scenes of a catalogue, of all tiles or of some that stand for them.

    Parameters
    ----------
    source
        The catalogue.
    ground
        Tiles and pixels that are to be made.
    year
        Calendar year of the scenes.
    random
        Generator of the draws by which a sample of tiles is uncertain.

    Raises
    ------
    NoScenes
        If the catalogue has no scene of the year in any of them.
    """
    count = len(ground.tiles)
    chosen = _spread(count)
    sample = [Tile(zone, row, col, ground.side) for zone, row, col in ground.tiles[chosen].tolist()]
    scenes = _scenes_of(source, year, sample)
    rows = [_seen(tile, of, ground.region) for tile, of in zip(sample, scenes, strict=True)]
    found = np.array(rows, np.float64)
    if not found.any():
        raise NoScenes(
            f"{source.name} has no scenes of {year} there: check the year, the order "
            "west,south,east,north, and the catalogue's extent"
        )
    weights = ground.pixels[chosen] / max(ground.pixels[chosen].sum(), 1)
    share, found = float((found[:, 4] * weights).sum()), found[:, :4]
    means = np.stack([(found[:, :2] * weights[:, None]).sum(axis=0), found[:, 2:].mean(axis=0)])
    error = np.zeros((2, 2))
    if len(chosen) < count:
        error = found.std(axis=0, ddof=1).reshape(2, 2) / np.sqrt(len(chosen))
    noise = np.concatenate([np.zeros((1, 2, 2)), random.normal(size=(DRAWS, 2, 2))])
    (s2, s1), (s2_scenes, s1_scenes) = np.maximum(means + error * noise, 0.0).transpose(1, 2, 0)
    # Where nothing is seen there is no share to divide by, and there are no passes either.
    opened = s2_scenes * count, s1_scenes * count
    return Passes(s2, s1, *opened, source.name, share or 1.0, _absent(scenes))


def missing_in(source: Source, tiles: Sequence[Tile], year: int) -> dict[str, str]:
    """Why a catalogue has nothing of a sensor in any of some tiles, or of some that stand for them.

    Parameters
    ----------
    source
        The catalogue.
    tiles
        Tiles that are to be made, at least one.
    year
        Calendar year of the scenes.

    Returns
    -------
    Reasons by the sensors' names, `s2` or `s1`; empty where it has scenes of both, or of neither.

    Raises
    ------
    SceneError
        If the catalogue cannot be asked now.
    """
    scenes = _scenes_of(source, year, [tiles[number] for number in _spread(len(tiles))])
    return _throughout(_absent(scenes))


def _throughout(absent: Mapping[str, Absence]) -> dict[str, str]:
    """Reasons of the sensors that no tile has anything of."""
    return {sensor: of.example for sensor, of in absent.items() if of.tiles == of.looked_up}


def _spread(count: int) -> NDArray[np.intp]:
    """Numbers of tiles that stand for so many, from the first to the last."""
    return np.unique(np.linspace(0, count - 1, SAMPLE).astype(np.intp))


def _absent(scenes: Sequence[Sequence[Scene]]) -> dict[str, Absence]:
    """Which sensors tiles are without, by the scenes of each that has any."""
    why: dict[str, list[str]] = {}
    looked_up = [of_tile for of_tile in scenes if of_tile]
    for of_tile in looked_up:
        for sensor, reason in absent_sensors(of_tile).items():
            why.setdefault(sensor, []).append(reason)
    return {
        sensor: Absence(len(reasons), len(looked_up), reasons[0]) for sensor, reasons in why.items()
    }


def _scenes_of(source: Source, year: int, tiles: Sequence[Tile]) -> list[list[Scene]]:
    """All scenes of a year of each tile, of which some are looked up at a time."""
    with ThreadPoolExecutor(SEARCHES) as pool:
        return list(pool.map(lambda tile: source.search(lonlat_bounds(tile.window), year), tiles))


def _seen(
    tile: Tile, found: Sequence[Scene], region: BaseGeometry | None
) -> tuple[float, float, int, int, float]:
    """Passes of Sentinel-2 and of Sentinel-1 over a tile, scenes of each, and the share seen.

    A pass counts by the share of the ground to be made that the boxes of its scenes cover: of the
    tile's, or of the region's own in it.
    """
    bounds = lonlat_bounds(tile.window)
    whole = _ground(bounds)
    if region is not None and (own := whole.intersection(region)).area > 0:
        whole = own
    scenes = [scene for scene in found if scene.counts]
    passes: dict[tuple[Sensor, str, OrbitState | None], list[BaseGeometry]] = {}
    for scene in scenes:
        one = scene.sensor, scene.date, scene.orbit_state
        passes.setdefault(one, []).append(_ground(scene.bbox))
    share = dict.fromkeys(Sensor, 0.0)
    for (sensor, _, _), boxes in passes.items():
        share[sensor] += shapely.union_all(boxes).intersection(whole).area / whole.area
    count = Counter(scene.sensor for scene in scenes)
    covered = shapely.union_all([box for boxes in passes.values() for box in boxes])
    seen = min(covered.intersection(whole).area / whole.area, 1.0)
    return share[Sensor.S2], share[Sensor.S1], count[Sensor.S2], count[Sensor.S1], seen


def _ground(box: Box) -> BaseGeometry:
    """What a box in degrees covers, cut at the antimeridian."""
    return shapely.union_all([shapely.box(west, box[1], east, box[3]) for west, east in spans(box)])
