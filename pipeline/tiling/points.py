"""Points as regions: the ground around one that is named, or around those of a table."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.bounds import Bounds
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.lattice import PIXEL
from tessera_mosaic.pipeline.tiling.polygons import cut_at_antimeridian, joined
from tessera_mosaic.pipeline.tiling.vector_files import MAX_BYTES, check_size

TABLE = ".csv"
"""Ending of a file with one point a line, in the columns `lon` and `lat`."""

RADIUS = PIXEL * math.sqrt(0.5) + 0.1
"""Metres around a point without a buffer: the least that hold the centre of some pixel for sure."""

MOST_BUFFER = 100_000.0
"""Most metres around a point."""

BUFFER = Bounds(f"choose metres above 0 and up to {MOST_BUFFER:,.0f}", above=0, most=MOST_BUFFER)

MOST_POINTS = 50_000
"""Most points of a table."""

CORNERS = 32
"""Of the outline around a point, which comes within half a hundredth of the radius."""


def is_point(text: str) -> bool:
    """Whether a text is two numbers with a comma between them.

    Examples
    --------
    >>> is_point("7.1,46.0"), is_point("7,46,7.1,46.1")
    (True, False)
    """
    try:
        return len([float(part) for part in text.split(",")]) == 2
    except ValueError:
        return False


def check_buffer(buffer: float | None) -> None:
    """Refuse a buffer that cannot be meant.

    Raises
    ------
    BadInput
        If it is not above 0 and up to `MOST_BUFFER` metres.
    """
    BUFFER.check(buffer, "buffer")


def point_region(text: str, buffer: float | None = None) -> BaseGeometry:
    """The ground around the point `lon,lat`.

    Parameters
    ----------
    text
        Longitude and latitude in degrees.
    buffer
        Metres around it; by default as many as hold a pixel.

    Raises
    ------
    BadInput
        If there is no such point on the globe.
    """
    lon, lat = (float(part) for part in text.split(","))
    at = np.array([[lon, lat]])
    if not _on_globe(at)[0]:
        swapped = _on_globe(at[:, ::-1])[0]
        hint = f"; longitude comes first: did you mean {lat:g},{lon:g}?" if swapped else ""
        raise BadInput(f"region {text!r} is no point: give lon,lat in degrees{hint}")
    return around(at, RADIUS if buffer is None else buffer, text)


def table_region(path: Path, buffer: float | None = None) -> BaseGeometry:
    """The ground around the points of a CSV file with the columns `lon` and `lat`.

    Parameters
    ----------
    path
        Path of the file, which nobody vouches for.
    buffer
        Metres around each; by default as many as hold a pixel.

    Raises
    ------
    BadInput
        In one line, if the file cannot be read, or names a point that there is not.
    """
    check_size(path, MAX_BYTES, "region")
    try:
        rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        header = [word.strip().casefold() for word in next(rows, [])]
        lines = [(rows.line_num, row) for row in rows if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(f"region {path} is no CSV file: {error}") from None
    if header.count("lon") != 1 or header.count("lat") != 1:
        told = ", ".join(header) or "none"
        raise BadInput(f"region {path} needs the columns lon and lat, in degrees; it has {told}")
    if not 0 < len(lines) <= MOST_POINTS:
        raise BadInput(f"region {path} has {len(lines):,} points: 1 to {MOST_POINTS:,} are read")
    columns = header.index("lon"), header.index("lat")
    at = np.array([[_number(row, column) for column in columns] for _, row in lines])
    for wrong in np.flatnonzero(~_on_globe(at)):
        number, row = lines[wrong]
        raise BadInput(
            f"region {path}, line {number}: {','.join(row)[:80]!r} is no point: "
            "lon is -180..180, lat -90..90"
        )
    return around(at, RADIUS if buffer is None else buffer, str(path))


def around(at: NDArray[np.float64], radius: float, name: str) -> BaseGeometry:
    """The ground that lies so near to any of some points.

    Parameters
    ----------
    at : float64 (points, 2)
        Longitudes and latitudes in degrees.
    radius
        Metres on the ellipsoid.
    name
        Name of the region, for messages.

    Returns
    -------
    Polygon or MultiPolygon in degrees, cut at the antimeridian.
    """
    azimuths = np.linspace(0.0, 360.0, CORNERS, endpoint=False)
    count = len(at)
    lon, lat, _ = Geod(ellps="WGS84").fwd(
        np.repeat(at[:, 0], CORNERS),
        np.repeat(at[:, 1], CORNERS),
        np.tile(azimuths, count),
        np.full(count * CORNERS, radius),
    )
    rings = np.stack([lon, lat], axis=-1).reshape(count, CORNERS, 2)
    across = np.ptp(rings[..., 0], axis=1) > 180.0
    circles = [np.asarray(shapely.polygons(rings[~across]), object)]
    circles += [cut_at_antimeridian(shapely.Polygon(ring)) for ring in rings[across]]
    return joined(np.concatenate(circles), name)


def _on_globe(at: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((np.abs(at[:, 0]) <= 180.0) & (np.abs(at[:, 1]) <= 90.0), bool)


def _number(row: list[str], column: int) -> float:
    """A coordinate; NaN where it is none."""
    try:
        return float(row[column])
    except (ValueError, IndexError):
        return float("nan")
