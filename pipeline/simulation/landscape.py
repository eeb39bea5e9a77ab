"""A made-up land for simulated archives: what covers the ground, and how it looks in a year.

Everything is a function of the place on a plane around the archive's centre, so that scenes which
overlap agree about the ground under them, in whatever projection each of them is. Spectra, seasons
and backscatter are of the size that temperate farmland shows; they are invented, not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

Floats = NDArray[np.floating]

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
"""Sentinel-2 bands in the order of the spectra below."""

GREEN = np.array([25, 55, 30, 90, 260, 330, 360, 380, 170, 80], np.float32) / 1000
DRY = np.array([70, 110, 150, 190, 230, 250, 280, 300, 340, 250], np.float32) / 1000
SOIL = np.array([70, 100, 140, 160, 180, 190, 210, 230, 300, 260], np.float32) / 1000
FLOWER = np.array([50, 170, 150, 190, 290, 340, 380, 390, 190, 100], np.float32) / 1000
"""Reflectance of closed canopy, of straw, of bare soil and of flowering rapeseed."""


@dataclass(frozen=True)
class Cover:
    """A land cover class.

    Parameters
    ----------
    name
        Name for legends.
    colour
        Red, green, blue, 0 to 255.
    seasons
        Times of the year at which it is green: first day, last day, and share of the ground that
        is covered then.
    floor
        Share that is covered all year.
    soil, canopy
        Reflectance of the ground and of what covers it, in the order of `BANDS`.
    radar
        Backscatter of the bare ground, VV and VH in dB.
    grown
        What a full canopy adds to it, VV and VH in dB.
    texture
        Relative variation from pixel to pixel.
    """

    name: str
    colour: tuple[int, int, int]
    seasons: tuple[tuple[float, float, float], ...] = ()
    floor: float = 0.0
    soil: tuple[float, ...] = tuple(SOIL.tolist())
    canopy: tuple[float, ...] = tuple(GREEN.tolist())
    radar: tuple[float, float] = (-10.5, -18.5)
    grown: tuple[float, float] = (0.0, 3.0)
    texture: float = 0.06


def _thousandths(*values: int) -> tuple[float, ...]:
    return tuple(value / 1000 for value in values)


COVERS = (
    Cover(
        "winter wheat",
        (226, 190, 92),
        ((-70, 70, 0.3), (70, 195, 0.95), (310, 440, 0.3)),
        grown=(-4.5, -0.5),
    ),
    Cover("maize", (236, 130, 40), ((150, 275, 0.95),), grown=(1.0, 4.5)),
    Cover("sugar beet", (190, 70, 120), ((135, 310, 0.9),), grown=(0.5, 5.5)),
    Cover(
        "rapeseed",
        (240, 230, 60),
        ((-110, 60, 0.45), (60, 185, 0.95), (255, 475, 0.45)),
        grown=(-1.5, 5.0),
    ),
    Cover("grass", (140, 200, 90), ((75, 325, 0.35),), floor=0.5, radar=(-11.5, -19.0)),
    Cover(
        "broadleaf forest",
        (40, 130, 50),
        ((110, 300, 0.9),),
        soil=_thousandths(40, 55, 60, 80, 110, 120, 135, 145, 160, 100),
        radar=(-8.0, -14.0),
        grown=(-0.8, 0.6),
        texture=0.14,
    ),
    Cover(
        "conifer forest",
        (10, 80, 60),
        floor=1.0,
        canopy=_thousandths(18, 30, 20, 45, 130, 170, 190, 200, 90, 40),
        radar=(-8.5, -13.5),
        grown=(0.0, 0.0),
        texture=0.12,
    ),
    Cover(
        "built",
        (200, 60, 60),
        ((95, 300, 0.15),),
        soil=_thousandths(110, 130, 150, 160, 170, 180, 190, 200, 220, 200),
        radar=(-4.0, -11.5),
        grown=(0.0, 0.0),
        texture=0.35,
    ),
    Cover(
        "water",
        (60, 110, 200),
        soil=_thousandths(35, 40, 25, 20, 15, 13, 12, 10, 6, 4),
        radar=(-20.0, -28.0),
        texture=0.05,
    ),
    Cover(
        "bare",
        (200, 180, 160),
        ((120, 280, 0.1),),
        soil=_thousandths(140, 190, 240, 270, 290, 300, 320, 330, 420, 380),
        radar=(-13.0, -22.0),
    ),
)
"""Land cover classes; a class's code is its place here plus 1, and code 0 is nothing."""

CODES = {cover.name: code for code, cover in enumerate(COVERS, 1)}

CROPS = ("winter wheat", "maize", "sugar beet", "rapeseed", "grass", "bare")
CROP_SHARES = (0.28, 0.22, 0.13, 0.12, 0.20, 0.05)
"""What grows in the fields, and how often."""

FIELD_SIZE = (230.0, 150.0)
"""Mean length and width of a field in metres."""

CELLS = 256
"""Every random table repeats after so many cells."""

LOOK_ANGLE = 38.0
"""Incidence angle in degrees at which a class's `radar` holds."""


@dataclass(frozen=True)
class Landscape:
    """A land around a place.

    Parameters
    ----------
    seed
        The same seed and place make the same land.
    lon, lat
        Centre of the plane on which it lies, in degrees.
    """

    seed: int
    lon: float
    lat: float

    def plane(self, epsg: int, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Metres east and north of the centre, of points given in a projection."""
        plane = f"+proj=laea +lat_0={self.lat} +lon_0={self.lon} +datum=WGS84 +units=m"
        east, north = Transformer.from_crs(f"EPSG:{epsg}", plane, always_xy=True).transform(x, y)
        return east, north

    def season(self, day: int) -> float:
        """The day of the year by which plants go: half a year later in the south."""
        return float(day) if self.lat >= 0 else float((day + 182) % 365)


@dataclass(frozen=True)
class Ground:
    """The land under a raster in one year.

    Parameters
    ----------
    x, y : float (H, W)
        Places of the pixels' centres on the plane, in metres.
    cover : uint8 (H, W)
        Class codes.
    parcel : uint32 (H, W)
        Fields, and the parts of other classes that behave alike; the same number means the same
        parcel in every raster of the land.
    unit : int64 (H, W)
        Index of the parcel among those of this raster, the rows of what follows.
    codes : uint8 (U,)
        Class of each.
    delay, vigour : float32 (U,)
        Days by which its season is late, and how well it grows around 1.
    texture : float32 (H, W)
        Brightness of a pixel around 1.
    """

    x: Floats
    y: Floats
    cover: NDArray[np.uint8]
    parcel: NDArray[np.uint32]
    unit: NDArray[np.int64]
    codes: NDArray[np.uint8]
    delay: Floats
    vigour: Floats
    texture: Floats


def smooth_noise(key: list[int], x: Floats, y: Floats, scale: float, octaves: int = 2) -> Floats:
    """Spatially coherent noise of mean 0 and deviation 1, a function of key and place.

    Parameters
    ----------
    key
        Seed of the random generator.
    x, y
        Places in metres.
    scale
        Size of its largest blobs in metres; each octave is half as large and half as strong.
    """
    total = np.zeros(x.shape, np.float32)
    for octave in range(octaves):
        table = np.random.default_rng([*key, octave]).standard_normal((CELLS, CELLS), np.float32)
        column, right = _between(x * (2**octave / scale))
        row, below = _between(y * (2**octave / scale))
        next_row, next_column = (row + 1) % CELLS, (column + 1) % CELLS
        above = table[row, column] * (1 - right) + table[row, next_column] * right
        under = table[next_row, column] * (1 - right) + table[next_row, next_column] * right
        total += (above * (1 - below) + under * below) / 2**octave
    # Blending four neighbours smoothly leaves 26/35 of their deviation, averaged over a cell.
    return total / np.float32(26 / 35 * np.sqrt(sum(4.0**-octave for octave in range(octaves))))


def _between(at: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Cell of the table, and the smooth weight of the next one."""
    cell = np.floor(at)
    part = (at - cell).astype(np.float32)
    return cell.astype(np.int64) % CELLS, part * part * (3 - 2 * part)


def ground_under(
    land: Landscape,
    epsg: int,
    west: float,
    north: float,
    pixel: float,
    shape: tuple[int, int],
    year: int,
) -> Ground:
    """The land under a raster.

    Parameters
    ----------
    land
        The land.
    epsg, west, north, pixel, shape
        Projection, north-west corner, pixel side in metres, rows and columns of the raster.
    year
        Fields change their crop from year to year.
    """
    rows, columns = shape
    x, y = land.plane(
        epsg,
        *np.meshgrid(
            west + (np.arange(columns) + 0.5) * pixel, north - (np.arange(rows) + 0.5) * pixel
        ),
    )
    cell = _fields(land.seed, x, y)
    crops = np.array([CODES[name] for name in CROPS], np.uint8)
    sown = np.random.default_rng([land.seed, 1, year]).choice(crops, CELLS**2, p=CROP_SHARES)
    cover = sown[cell]
    forest = smooth_noise([land.seed, 2], x, y, 700)
    conifer = smooth_noise([land.seed, 3], x, y, 400)
    built = smooth_noise([land.seed, 4], x, y, 550)
    river = smooth_noise([land.seed, 5], x, y, 1500)
    cover[forest > 0.9] = CODES["broadleaf forest"]
    cover[(forest > 0.9) & (conifer > 0.2)] = CODES["conifer forest"]
    cover[built > 1.2] = CODES["built"]
    cover[(np.abs(river) < 0.06) | (river < -2.2)] = CODES["water"]

    parcel = (cell * 16 + cover).astype(np.uint32)
    parcels, unit = np.unique(parcel, return_inverse=True)
    rng = np.random.default_rng([land.seed, 6])
    delay = rng.normal(0.0, 7.0, CELLS**2).astype(np.float32)
    vigour = rng.normal(1.0, 0.08, CELLS**2).astype(np.float32)
    rough = np.array([0.0, *(cover.texture for cover in COVERS)], np.float32)[cover]
    return Ground(
        x=x,
        y=y,
        cover=cover,
        parcel=parcel,
        unit=unit.reshape(shape),
        codes=(parcels % 16).astype(np.uint8),
        delay=delay[parcels // 16],
        vigour=vigour[parcels // 16],
        texture=np.clip(1 + rough * smooth_noise([land.seed, 7], x, y, 40), 0.3, 2.0),
    )


def _fields(seed: int, x: Floats, y: Floats) -> NDArray[np.int64]:
    """Which field each place lies in: the nearest of jittered points, by the longer axis."""
    jitter = np.random.default_rng([seed, 0]).uniform(0.15, 0.85, (CELLS, CELLS, 2))
    u = (0.94 * x + 0.34 * y) / FIELD_SIZE[0]
    v = (0.94 * y - 0.34 * x) / FIELD_SIZE[1]
    at_u, at_v = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    nearest = np.full(x.shape, np.inf)
    field = np.zeros(x.shape, np.int64)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            row, column = (at_v + down) % CELLS, (at_u + right) % CELLS
            off_v = np.abs(at_v + down + jitter[row, column, 0] - v)
            off_u = np.abs(at_u + right + jitter[row, column, 1] - u)
            distance = np.maximum(off_u, off_v)
            closer = distance < nearest
            nearest = np.where(closer, distance, nearest)
            field = np.where(closer, row * CELLS + column, field)
    return field


def greenness(ground: Ground, season: float) -> tuple[Floats, Floats]:
    """Shares of each parcel that are green and that are straw, float32 (U,)."""
    green, dry = np.zeros(len(ground.codes)), np.zeros(len(ground.codes))
    day = season - ground.delay
    for code, cover in enumerate(COVERS, 1):
        of_class = ground.codes == code
        at = day[of_class]
        share = np.full(len(at), cover.floor)
        straw = np.zeros(len(at))
        for first, last, most in cover.seasons:
            grown = _ramp((at - first) / 9)
            ripe = _ramp((at - last) / 6)
            share = share + most * grown * (1 - ripe)
            if most > 0.5:
                straw = np.maximum(straw, 0.8 * ripe * (1 - _ramp((at - last - 35) / 6)))
        green[of_class] = np.clip(share * ground.vigour[of_class], 0, 1)
        dry[of_class] = np.minimum(straw, 1 - green[of_class])
    return green.astype(np.float32), dry.astype(np.float32)


def _ramp(at: Floats) -> Floats:
    return 1 / (1 + np.exp(-at))


def reflectance(ground: Ground, season: float) -> Floats:
    """Surface reflectance, float32 (10, H, W), bands in the order of `BANDS`."""
    soil = np.array([SOIL, *(cover.soil for cover in COVERS)], np.float32)[ground.codes]
    canopy = np.array([GREEN, *(cover.canopy for cover in COVERS)], np.float32)[ground.codes]
    flowers = (
        np.exp(-(((season - ground.delay - 118) / 9) ** 2)) * (ground.codes == CODES["rapeseed"])
    )[:, None]
    green, dry = (share[:, None] for share in greenness(ground, season))
    spectra = (1 - green - dry) * soil + dry * DRY
    spectra = spectra + green * ((1 - flowers) * canopy + flowers * FLOWER)
    image: Floats = spectra.astype(np.float32).T[:, ground.unit] * ground.texture
    return image


def backscatter(ground: Ground, season: float, angle: float, ascending: bool) -> Floats:
    """Terrain-corrected gamma nought without speckle, linear power, float32 (2, H, W): VV, VH.

    Parameters
    ----------
    ground
        What is looked at.
    season
        The day of the year by which plants go.
    angle
        Incidence in degrees: smooth ground returns less at grazing angles, canopies hardly so.
    ascending
        Streets and walls return more to one of the two directions.
    """
    bare = np.array([(0.0, 0.0), *(cover.radar for cover in COVERS)])[ground.codes]
    grown = np.array([(0.0, 0.0), *(cover.grown for cover in COVERS)])[ground.codes]
    green, _ = greenness(ground, season)
    decibel = bare + green[:, None] * grown
    decibel -= ((1 - 0.8 * green) * 0.12 * (angle - LOOK_ANGLE))[:, None]
    decibel[ground.codes == CODES["built"]] += 0.9 if ascending else -0.9
    decibel += (4 * (ground.vigour - 1))[:, None]
    power: Floats = (10 ** (decibel / 10)).astype(np.float32)
    return power.T[:, ground.unit] * ground.texture
