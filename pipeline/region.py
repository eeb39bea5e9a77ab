"""What part of the Earth a user asks for: a box, a file, a country, a Sentinel-2 tile, `global`.

A region is a shapely polygon in longitude and latitude (WGS 84), cut at the antimeridian. Files
are untrusted: their size, coordinates, geometry and reference system are checked before use.
"""

from __future__ import annotations

import difflib
import gzip
import logging
import re
import warnings
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio.features import rasterize
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from pipeline.errors import BadInput
from pipeline.grid import (
    NORTH_LIMIT,
    SOUTH_LIMIT,
    Window,
    from_lonlat,
    lonlat_bounds,
    moved,
    zone_crs,
)

MAX_BYTES = 128 * 2**20
"""Largest region file that is opened: read whole, it takes some ten times its size in memory."""

MAX_VERTICES = 2_000_000
"""Most corners a region may have, some seconds of work. The world's coast at 1:10 million has a
quarter of that."""

FORMATS = {
    ".geojson": "GeoJSON",
    ".json": "GeoJSON",
    ".gpkg": "GPKG",
    ".shp": "ESRI Shapefile",
    ".fgb": "FlatGeobuf",
    ".kml": "LIBKML",
}
"""Vector files that are opened, with GDAL's name of the format. Others can reach for further files
or servers when they are opened."""

COUNTRIES = Path(__file__).parent / "data" / "countries.json.gz"
"""Natural Earth 4.1.0, 1:10 million, as TopoJSON (see `tools/derive_land.py`)."""

SENTINEL2_TILE = 109_800
"""Side of a Sentinel-2 tile in metres: from the north-west corner of its 100 km MGRS square (ESA,
Sentinel-2 tiling grid)."""

TURNS = (-360.0, 0.0, 360.0)
"""Longitudes that differ by these are the same."""

_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")
_ROWS = "ABCDEFGHJKLMNPQRSTUV"

log = logging.getLogger(__name__)


def read_region(text: str) -> BaseGeometry:
    """Read a region.

    Parameters
    ----------
    text
        `global`; `west,south,east,north` in degrees; a GeoJSON file or another vector file that
        declares its reference system; the name of a Sentinel-2 tile, such as `31UFS`; or of a
        country, as Natural Earth writes it.

    Returns
    -------
    Polygon or MultiPolygon in degrees, valid, not empty, longitudes -180 to 180.

    Raises
    ------
    BadInput
        If the text is none of these, or the file cannot be used.
    """
    if text == "global":
        return shapely.box(-180.0, SOUTH_LIMIT, 180.0, NORTH_LIMIT)
    if Path(text).exists():
        region = read_vector(Path(text))
    elif text.count(",") == 3:
        region = parse_box(text)
    elif re.fullmatch(r"\d{1,2}[A-Z]{3}", text):
        region = sentinel2_tile(text)
    else:
        region = country(text)
    _, south, _, north = region.bounds
    if north <= SOUTH_LIMIT or south >= NORTH_LIMIT:
        raise BadInput(
            f"region {text!r} lies beyond the latitudes that UTM covers, "
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
            f"region {text!r} is no box: give west,south,east,north in degrees"
        ) from None
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90):
        raise BadInput(
            f"region {text!r} is out of range: longitudes are -180..180, latitudes -90..90, "
            "south is less than north"
        )
    if west == east:
        raise BadInput(f"region {text!r} has no width: west and east are the same")
    if west < east:
        return shapely.box(west, south, east, north)
    return shapely.union(
        shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)
    )


def read_vector(path: Path) -> BaseGeometry:
    """Read all areas of a vector file as one region in degrees.

    Raises
    ------
    BadInput
        In one line, if the file is too large, cannot be read, declares no reference system, has
        no area, has coordinates that are not finite or out of range, or has several layers.
    """
    _check_file(path)
    try:
        with warnings.catch_warnings():
            # What GDAL and GEOS murmur about is checked below.
            warnings.simplefilter("ignore")
            layers = [name for name, kind in pyogrio.list_layers(path) if kind is not None]
            if len(layers) != 1:
                names = ", ".join(layers) or "none"
                raise BadInput(f"region {path} needs one layer with areas, and has {names}")
            info, _, blobs, _ = pyogrio.raw.read(path, layer=layers[0], columns=[], force_2d=True)
            shapes = shapely.from_wkb([blob for blob in blobs if blob is not None])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError):
        raise BadInput(f"region {path} is no {FORMATS[path.suffix.lower()]} file") from None
    except (shapely.errors.ShapelyError, pyogrio.errors.GeometryError) as error:
        raise BadInput(f"region {path} has a broken geometry: {_line(error)}") from None
    crs = _crs(path, info["crs"])
    parts = _polygons(shapes, str(path))
    if not crs.is_geographic:
        parts = _to_degrees(parts, crs, str(path))
    elif not crs.equals(CRS("OGC:CRS84"), ignore_axis_order=True):
        parts = moved(parts, Transformer.from_crs(crs, "EPSG:4326", always_xy=True))
    return _joined(parts, str(path))


def countries() -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Names and ground of the countries of Natural Earth; some reach across the antimeridian."""
    topojson = gzip.decompress(COUNTRIES.read_bytes())
    _, _, blobs, (names,) = pyogrio.raw.read(topojson, layer="countries", columns=["name"])
    return names, shapely.from_wkb(blobs)


def country(name: str) -> BaseGeometry:
    """Ground of a country by its name in Natural Earth, in any case, with its territories there.

    Raises
    ------
    BadInput
        If there is none, with the names that are like it.
    """
    names, grounds = countries()
    known = {known.casefold(): k for k, known in enumerate(names)}
    if name.casefold() not in known:
        close = difflib.get_close_matches(name.casefold(), known, n=3)
        hint = f"; did you mean {' or '.join(names[known[key]] for key in close)}?" if close else ""
        raise BadInput(
            f"region {name!r} is no file here, no west,south,east,north box in degrees, no "
            f"Sentinel-2 tile such as 31UFS, no country and not 'global'{hint}"
        )
    parts = shapely.get_parts(grounds[known[name.casefold()]])
    return _joined(np.concatenate([cut_at_antimeridian(part) for part in parts]), name)


def cut_at_antimeridian(polygon: shapely.Polygon) -> NDArray[np.object_]:
    """Cut a polygon in degrees whose edges step over the antimeridian, and may enclose a pole.

    Parameters
    ----------
    polygon
        With edges much shorter than half the globe: a longer one is taken for a step over 180.

    Returns
    -------
    Valid polygons with longitudes -180 to 180; none where the polygon has no area.
    """
    rings: list[NDArray[np.float64]] = []
    for ring in (polygon.exterior, *polygon.interiors):
        at = shapely.get_coordinates(ring)
        at[:, 0] = np.unwrap(at[:, 0], period=360.0)
        start, end = at[0, 0], at[-1, 0]
        if abs(end - start) > 1.0:
            pole = np.copysign(90.0, at[:, 1].mean())
            at = np.concatenate([at, [[end, pole], [start, pole]], at[:1]])
        if rings:
            at[:, 0] += 360.0 * np.round((rings[0][0, 0] - start) / 360.0)
        rings.append(at)
    whole = shapely.make_valid(
        shapely.Polygon(rings[0], rings[1:]), method="structure", keep_collapsed=False
    )
    turns = [shapely.box(-180.0 + turn, -90.0, 180.0 + turn, 90.0) for turn in TURNS]
    pieces = shapely.intersection(whole, turns)
    moved_back = [translate(piece, -turn) for piece, turn in zip(pieces, TURNS, strict=True)]
    parts = shapely.get_parts(moved_back)
    return parts[shapely.area(parts) > 0]


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
            return _joined(_to_degrees(np.array([square]), CRS(zone_crs(zone)), name), name)
    raise BadInput(f"{name!r} is no Sentinel-2 tile: band {match[2]} has no such row")


def pixels_inside(region: BaseGeometry, window: Window) -> NDArray[np.bool_]:
    """Which pixels of a window have their centres inside a region.

    Parameters
    ----------
    region
        In degrees.
    window
        Of the lattice.

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


def _check_file(path: Path) -> None:
    """Refuse what should not be opened at all."""
    if path.suffix.lower() not in FORMATS:
        raise BadInput(f"region {path} is no vector file: use one of {', '.join(FORMATS)}")
    if not path.is_file():
        raise BadInput(f"region {path} is a folder: give the file in it")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise BadInput(f"region {path} has {size:,} bytes, more than {MAX_BYTES:,}: simplify it")
    with path.open("rb") as file:
        head = file.read(4096).lstrip()
    # GDAL goes by content: XML can name a server that would be asked when the file is opened.
    if head.startswith(b"<") and not (path.suffix.lower() == ".kml" and b"<kml" in head):
        raise BadInput(f"region {path} is no {FORMATS[path.suffix.lower()]} file")


def _crs(path: Path, declared: str | None) -> CRS:
    if path.suffix.lower() in (".geojson", ".json"):
        # GDAL takes an unknown name in a GeoJSON's old `crs` member for WGS 84.
        named = re.search(rb'"crs"\s*:\s*\{[^{}]*\{[^{}]*"name"\s*:\s*"([^"]+)"', path.read_bytes())
        declared = named[1].decode(errors="replace") if named else declared
    if not declared:
        raise BadInput(
            f"region {path} does not say which reference system its coordinates are in: "
            "add it (a shapefile needs its .prj)"
        )
    try:
        return CRS.from_user_input(declared)
    except CRSError:
        raise BadInput(f"region {path} declares an unknown system, {declared[:80]!r}") from None


def _polygons(shapes: NDArray[np.object_], name: str) -> NDArray[np.object_]:
    """The single polygons of the shapes, after the checks that hold in any reference system."""
    parts = shapely.get_parts(shapely.get_parts(shapes))
    parts = parts[~shapely.is_empty(parts)]
    if len(parts) == 0:
        raise BadInput(f"region {name} is empty")
    if not (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON).all():
        raise BadInput(f"region {name} has points or lines: a region is made of areas")
    corners = int(shapely.get_num_coordinates(parts).sum())
    if corners > MAX_VERTICES:
        raise BadInput(
            f"region {name} has {corners:,} corners, more than {MAX_VERTICES:,}: simplify it first"
        )
    if not np.isfinite(shapely.get_coordinates(parts)).all():
        raise BadInput(f"region {name} has a coordinate that is not a number")
    return parts


def _to_degrees(parts: NDArray[np.object_], crs: CRS, name: str) -> NDArray[np.object_]:
    """Polygons of a projected system in degrees, cut at the antimeridian."""
    west, south, east, north = shapely.total_bounds(parts)
    edge = max(east - west, north - south) / 256
    try:
        dense = shapely.segmentize(parts, edge) if edge > 0 else parts
        parts = moved(dense, Transformer.from_crs(crs, "EPSG:4326", always_xy=True))
    except (ProjError, CRSError) as error:
        raise BadInput(f"region {name} cannot be brought to degrees: {_line(error)}") from None
    if not np.isfinite(shapely.get_coordinates(parts)).all():
        raise BadInput(f"region {name} reaches beyond the ground that its system can describe")
    return np.concatenate([cut_at_antimeridian(part) for part in parts])


def _joined(parts: NDArray[np.object_], name: str) -> BaseGeometry:
    """One valid region of polygons in degrees."""
    west, south, east, north = shapely.total_bounds(parts)
    if not (-180.0 <= west <= east <= 180.0 and -90.0 <= south <= north <= 90.0):
        raise BadInput(
            f"region {name} reaches from {west:g},{south:g} to {east:g},{north:g}, which are no "
            "longitudes -180..180 and latitudes -90..90: declare its system, cut it at 180"
        )
    if not shapely.is_valid(parts).all():
        parts = shapely.make_valid(parts, method="structure", keep_collapsed=False)
        log.warning("region %s has an outline that crosses itself: repaired", name)
    region = shapely.union_all(parts)
    areas = shapely.get_parts(region)
    areas = areas[shapely.get_type_id(areas) == shapely.GeometryType.POLYGON]
    if len(areas) == 0 or shapely.area(areas).sum() == 0:
        raise BadInput(f"region {name} has no area")
    return areas[0] if len(areas) == 1 else shapely.multipolygons(areas)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
