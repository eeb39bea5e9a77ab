"""What part of the Earth a user asks for: a box, a file, a country, a Sentinel-2 tile, `global`.

A region is a shapely polygon in longitude and latitude (WGS 84), cut at the antimeridian.
"""

from __future__ import annotations

import difflib
import gzip
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.boxes import TURNS
from tessera_mosaic.pipeline.tiling.lattice import (
    NORTH_LIMIT,
    SOUTH_LIMIT,
    Window,
    from_lonlat,
    lonlat_bounds,
    moved,
    zone_crs,
)
from tessera_mosaic.pipeline.tiling.ownership import owned
from tessera_mosaic.pipeline.tiling.polygons import cut_at_antimeridian, joined, to_degrees
from tessera_mosaic.pipeline.tiling.vector_files import read_vector

COUNTRIES = Path(__file__).parent / "data" / "countries.json.gz"
"""Natural Earth 4.1.0, 1:10 million, as TopoJSON (see `tools/derive_land.py`)."""

SENTINEL2_TILE = 109_800
"""Side of a Sentinel-2 tile in metres: from the north-west corner of its 100 km MGRS square (ESA,
Sentinel-2 tiling grid)."""

LONGEST_SHOWN = 255
"""Characters of a text that a message repeats: as many as a file's name may have."""

_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_ODD_ZONES: dict[str, dict[int, tuple[float, float] | None]] = {
    "V": {31: (0.0, 3.0), 32: (3.0, 12.0)},
    "X": {31: (0.0, 9.0), 33: (9.0, 21.0), 35: (21.0, 33.0), 37: (33.0, 42.0)}
    | dict.fromkeys((32, 34, 36)),
}
"""By band, zones of other meridians than the plain ones, or none: in Norway and Svalbard."""


def read_region(text: str) -> BaseGeometry:
    """Read a region.

    Parameters
    ----------
    text
        `global`; `west,south,east,north` in degrees; a GeoJSON file or another vector file that
        declares its reference system; the name of a Sentinel-2 tile, such as `31UFS` or `T31UFS`;
        or of a country, as Natural Earth writes it, or nearly so. Names may be in any case.

    Returns
    -------
    Polygon or MultiPolygon in degrees, valid, not empty, longitudes -180 to 180.

    Raises
    ------
    BadInput
        If the text is none of these, or the file cannot be used.
    """
    text = text.strip()
    if text.casefold() == "global":
        return shapely.box(-180.0, SOUTH_LIMIT, 180.0, NORTH_LIMIT)
    if os.path.exists(text):
        region = read_vector(Path(text))
    elif text.startswith("{"):
        raise BadInput("region '{...' is GeoJSON itself: put it into a file and name that")
    elif text.count(",") == 3:
        region = parse_box(text)
    elif tile := re.fullmatch(r"T?(\d{1,2}[A-Z]{3})", text.upper()):
        region = sentinel2_tile(tile[1])
    else:
        region = country(text)
    _, south, _, north = region.bounds
    if north <= SOUTH_LIMIT or south >= NORTH_LIMIT:
        raise BadInput(
            f"region {_short(text)} lies beyond the latitudes that UTM covers, "
            f"{SOUTH_LIMIT:g} to {NORTH_LIMIT:g}"
        )
    return region


def parse_box(text: str) -> BaseGeometry:
    """Read `west,south,east,north` in degrees; west beyond east means across the antimeridian.

    Raises
    ------
    BadInput
        If the text is no such box.
    """
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise BadInput(
            f"region {_short(text)} is no box: give west,south,east,north in degrees"
        ) from None
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90):
        raise BadInput(
            f"region {_short(text)} is out of range: longitudes are -180..180, latitudes -90..90, "
            "south is less than north"
        )
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    boxes = [shapely.box(left, south, right, north) for left, right in spans if left < right]
    if not boxes:
        raise BadInput(f"region {_short(text)} has no width: west and east are the same")
    return boxes[0] if len(boxes) == 1 else shapely.multipolygons(boxes)


def countries() -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Names and ground of the countries of Natural Earth; some reach across the antimeridian."""
    # Loaded where it is used: it takes a second.
    import pyogrio

    topojson = gzip.decompress(COUNTRIES.read_bytes())
    _, _, blobs, (names,) = pyogrio.raw.read(topojson, layer="countries", columns=["name"])
    return names, shapely.from_wkb(blobs)


def country(name: str) -> BaseGeometry:
    """Ground of a country by its name in Natural Earth, with its territories there.

    Case and accents do not matter, and a word that Natural Earth cuts short may be written out.

    Raises
    ------
    BadInput
        If there is none, with the names that are like it, or it is too small to be drawn.
    """
    names, grounds = countries()
    chosen = spelt_like(name, names)
    if not chosen:
        known = {_plain(known): known for known in names}
        close = difflib.get_close_matches(_plain(name), known, n=3)
        hint = f"; did you mean {' or '.join(known[key] for key in close)}?" if close else ""
        raise BadInput(
            f"region {_short(name)} is no file here, no west,south,east,north box in degrees, no "
            f"Sentinel-2 tile such as 31UFS, no country and not 'global'{hint}"
        )
    outlines = [cut_at_antimeridian(part) for part in shapely.get_parts(grounds[chosen[0]])]
    if not any(map(len, outlines)):
        raise BadInput(
            f"region {_short(name)} is too small to have an outline at 1:10 million: give "
            "west,south,east,north in degrees"
        )
    return joined(np.concatenate(outlines), name)


def spelt_like(name: str, names: Iterable[str]) -> list[int]:
    """Indices of the names that a user may have written in this way."""
    plain = _plain(name)
    return [k for k, known in enumerate(names) if _spellings(known).fullmatch(plain)]


def _plain(name: str) -> str:
    """A name without case and accents."""
    letters = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).casefold()


def _spellings(name: str) -> re.Pattern[str]:
    """How a country's name may be written: a word that ends in a point is cut short."""
    words = (re.sub(r"\.$", r"\\w*", word) for word in re.findall(r"\w+\.?", _plain(name)))
    return re.compile(r"\W+".join(words) + r"\W*")


def sentinel2_tile(name: str) -> BaseGeometry:
    """Ground of a Sentinel-2 tile, by its MGRS name.

    Raises
    ------
    BadInput
        If there is no such tile.
    """
    match = re.fullmatch(r"(\d{1,2})([C-X])([A-Z])([A-Z])", name)
    zone = int(match[1]) if match else 0
    if match is None or not 1 <= zone <= 60 or match[2] not in _BANDS:
        raise BadInput(f"{name!r} is no Sentinel-2 tile: names look like 31UFS")
    meridians = _ODD_ZONES.get(match[2], {}).get(zone, (6.0 * zone - 186.0, 6.0 * zone - 180.0))
    if meridians is None:
        raise BadInput(f"{name!r} is no Sentinel-2 tile: band X has no zone {zone}")
    column = _COLUMNS[zone % 3].find(match[3])
    row = _ROWS.find(match[4])
    if column < 0 or row < 0:
        raise BadInput(f"{name!r} is no Sentinel-2 tile: zone {zone} has no square {name[-2:]}")
    # Rows of even zones start five letters later, and repeat every 2,000 km from the equator.
    row = (row - (0 if zone % 2 else 5)) % 20
    south = -80.0 + 8.0 * _BANDS.index(match[2])
    north = 84.0 if match[2] == "X" else south + 8.0
    west = (column + 1) * 100_000
    band = from_lonlat(zone).transform(
        6.0 * zone - 183.0 + np.array([0.0, 3.0, 0.0, 3.0]), [south, south, north, north]
    )[1]
    for turn in range(-5, 5):
        bottom = turn * 2_000_000 + row * 100_000
        if bottom < max(band) and bottom + 100_000 > min(band):
            top = bottom + 100_000
            square = shapely.box(west, top - SENTINEL2_TILE, west + SENTINEL2_TILE, top)
            tile = joined(to_degrees(np.array([square]), CRS(zone_crs(zone)), name), name)
            if tile.intersects(shapely.box(meridians[0], south, meridians[1], north)):
                return tile
    raise BadInput(f"{name!r} is no Sentinel-2 tile: {zone}{match[2]} has no square {name[-2:]}")


def pixels_inside(region: BaseGeometry, window: Window) -> NDArray[np.bool_]:
    """Which pixels of a window have their centres inside a region.

    Parameters
    ----------
    region
        Polygon or MultiPolygon in degrees.
    window
        Rectangle of the lattice.

    Returns
    -------
    bool (height, width)
    """
    west, south, east, north = lonlat_bounds(window)
    near = [
        shapely.intersection(region, shapely.box(west + turn, south, east + turn, north))
        for turn in TURNS
    ]
    ground = [
        moved(shapely.segmentize(part, 0.01), from_lonlat(window.zone))
        for part in near
        if part.area > 0
    ]
    if not ground:
        return np.zeros(window.shape, bool)
    burnt: NDArray[np.uint8] = rasterize(
        ground, out_shape=window.shape, transform=window.transform, dtype="uint8"
    )
    return burnt.astype(bool)


def wanted_pixels(
    window: Window, margin: int, inside: BaseGeometry | None = None
) -> NDArray[np.bool_]:
    """Which pixels of a window are to be embedded: those of its zone, with the margin.

    Parameters
    ----------
    window
        Rectangle of the lattice.
    margin
        Pixels that are written beyond the meridians of their zone.
    inside
        Region in degrees, where only its own pixels are wanted; None otherwise.

    Returns
    -------
    bool (height, width)
    """
    mine = owned(window, margin)
    return mine if inside is None else mine & pixels_inside(inside, window)


def _short(text: str) -> str:
    """What the user wrote, or its beginning, for a message."""
    return repr(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}...")
