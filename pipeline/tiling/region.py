"""What part of the Earth a user asks for: a box, points, a file, countries, tiles, `global`.

A region is a shapely polygon in longitude and latitude (WGS 84), cut at the antimeridian.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.boxes import TURNS
from tessera_mosaic.pipeline.tiling.countries import close_names, country
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
from tessera_mosaic.pipeline.tiling.points import (
    TABLE,
    check_buffer,
    is_point,
    point_region,
    table_region,
)
from tessera_mosaic.pipeline.tiling.polygons import joined, to_degrees
from tessera_mosaic.pipeline.tiling.vector_files import read_vector

SENTINEL2_TILE = 109_800
"""Side of a Sentinel-2 tile in metres: from the north-west corner of its 100 km MGRS square (ESA,
Sentinel-2 tiling grid)."""

MOST_NAMES = 300
"""Names in a list: there are fewer countries."""

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


def read_region(text: str, buffer: float | None = None) -> BaseGeometry:
    """Read a region.

    Parameters
    ----------
    text
        `global`; `west,south,east,north` in degrees; a point `lon,lat`, or a CSV file of points
        with the columns `lon` and `lat`; a GeoJSON file or another vector file that declares its
        reference system; the name of a Sentinel-2 tile, such as `31UFS` or `T31UFS`; of a country,
        as Natural Earth writes it or commonly, or its code of ISO 3166-1, such as `FRA` or `GB`;
        or several such names with commas between them. Names may be in any case.
    buffer
        Metres around points; by default as many as hold a pixel.

    Returns
    -------
    Polygon or MultiPolygon in degrees, valid, not empty, longitudes -180 to 180.

    Raises
    ------
    BadInput
        If the text is none of these, the file cannot be used, or what is no point has a buffer.

    Examples
    --------
    >>> [round(float(side), 3) for side in read_region("7.1,46.0", buffer=500).bounds]
    [7.094, 45.996, 7.106, 46.004]
    """
    text = text.strip()
    check_buffer(buffer)
    if (points := _points(text, buffer)) is not None:
        return _checked(points, text)
    if buffer is not None:
        raise BadInput("only points have one: lon,lat, or a CSV file of points", "buffer", buffer)
    if text.casefold() == "global":
        return shapely.box(-180.0, SOUTH_LIMIT, 180.0, NORTH_LIMIT)
    if os.path.exists(text):
        region = read_vector(Path(text))
    elif text.startswith("{"):
        raise BadInput("region '{...' is GeoJSON itself: put it into a file and name that")
    elif "," in text and any(map(_is_number, text.split(",", MOST_NAMES))):
        region = parse_box(text)
    else:
        parts = [named(part.strip()) for part in text.split(",", MOST_NAMES)]
        region = parts[0] if len(parts) == 1 else joined(np.array(parts), text)
    return _checked(region, text)


def _points(text: str, buffer: float | None) -> BaseGeometry | None:
    """The ground around the points that a text names; None where it names none."""
    if is_point(text):
        return point_region(text, buffer)
    path = Path(text)
    is_table = path.suffix.lower() == TABLE and os.path.exists(text)
    return table_region(path, buffer) if is_table else None


def _checked(region: BaseGeometry, text: str) -> BaseGeometry:
    """A region, of which some lies where UTM is."""
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
        If the text is no such box, or west is beyond east and more than half the globe would lie
        between them: then the two are likely to have changed places.
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
    if 0 < west - east < 180 and abs(west) < 180 and abs(east) < 180:
        raise BadInput(
            f"region {_short(text)} has its west beyond its east, and across the antimeridian "
            f"spans {360 - west + east:g} degrees: for the {west - east:g} degrees between them "
            f"give {east:g},{south:g},{west:g},{north:g}; for the rest of the globe put the boxes "
            f"{west:g},{south:g},180,{north:g} and -180,{south:g},{east:g},{north:g} into a file"
        )
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    boxes = [shapely.box(left, south, right, north) for left, right in spans if left < right]
    if not boxes:
        raise BadInput(f"region {_short(text)} has no width: west and east are the same")
    return boxes[0] if len(boxes) == 1 else shapely.multipolygons(boxes)


def named(text: str) -> BaseGeometry:
    """Ground of a country or of a Sentinel-2 tile.

    Raises
    ------
    BadInput
        If there is none, with the names that are very like it.
    """
    if tile := re.fullmatch(r"T?(\d{1,2}[A-Z]{3})", text.upper()):
        return sentinel2_tile(tile[1])
    if len(text) <= LONGEST_SHOWN and (ground := country(text)) is not None:
        return ground
    close = close_names(text) if len(text) <= LONGEST_SHOWN else []
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise BadInput(
        f"region {_short(text)} is no file here, no west,south,east,north box or lon,lat point in "
        "degrees, no Sentinel-2 tile such as 31UFS, no country by name or ISO code such as FRA "
        f"(its states and provinces have to come in a file), and not 'global'{hint}"
    )


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
    ground = [
        moved(shapely.segmentize(part, 0.01), from_lonlat(window.zone))
        for part in _near(region, window)
    ]
    if not ground:
        return np.zeros(window.shape, bool)
    burnt: NDArray[np.uint8] = rasterize(
        ground, out_shape=window.shape, transform=window.transform, dtype="uint8"
    )
    return burnt.astype(bool)


def outline_within(region: BaseGeometry, window: Window) -> BaseGeometry:
    """The part of a region, in degrees, that decides which pixels of a window lie inside it.

    Examples
    --------
    >>> from tessera_mosaic.pipeline.tiling.lattice import parse_tile
    >>> north = parse_tile("utm31-r00000-c0000", 2048).window
    >>> outline_within(shapely.box(0, 50, 6, 51), north).area
    0.0
    """
    parts = _near(region, window)
    return shapely.MultiPolygon(
        [each for part in parts for each in shapely.get_parts(part) if each.geom_type == "Polygon"]
    )


def _near(region: BaseGeometry, window: Window) -> list[BaseGeometry]:
    """What of a region lies in a window's box in degrees, on each side of the antimeridian."""
    west, south, east, north = lonlat_bounds(window)
    parts = [
        shapely.intersection(region, shapely.box(west + turn, south, east + turn, north))
        for turn in TURNS
    ]
    return [part for part in parts if part.area > 0]


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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short(text: str) -> str:
    """What the user wrote, or its beginning, for a message."""
    return repr(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}...")
