"""Vector files of areas, which are untrusted, brought to one region in degrees.

GDAL goes by what is in a file, whatever its name, and much text means something to it. So text is
read here, and GDAL is given a file only if its first bytes are those of the binary format that its
name says. All of these have a byte 0 early on, at which GDAL's search for text ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.gdal_sandbox import read_layer
from tessera_mosaic.pipeline.tiling.polygons import MAX_VERTICES, checked, joined, to_degrees

MAX_BYTES = 128 * 2**20
"""Largest region file that is opened: read whole, it takes some ten times its size in memory."""

MAX_MARKS = 3 * MAX_VERTICES
"""Most brackets or tags of a text file, each of which is an object once it is read. A corner takes
one, and a square with a feature of its own two more for each of its corners."""

FORMATS = {
    ".geojson": "GeoJSON",
    ".json": "GeoJSON",
    ".kml": "KML",
    ".gpkg": "GPKG",
    ".shp": "ESRI Shapefile",
    ".fgb": "FlatGeobuf",
}
"""Vector files that are opened, with GDAL's name of the format."""

MARKS = {"GeoJSON": b"[{", "KML": b"<"}
"""With which an object begins in a format of text."""

MAGIC = {
    "GPKG": rb"SQLite format 3\x00",
    "ESRI Shapefile": rb"\x00\x00\x27\x0a",
    # Version 3, and the size of a header of less than 16 MiB.
    "FlatGeobuf": rb"fgb\x03fgb[\x00\x01][\x00-\xff]{3}\x00",
}
"""With which a binary file begins."""

WGS84 = "OGC:CRS84"

LINES = "points or lines: a region is made of areas"

Rings = list[list[Any]]
"""Of a polygon: for each ring its positions, longitude or easting first."""


def read_vector(
    path: Path, most_bytes: int = MAX_BYTES, most_corners: int = MAX_VERTICES
) -> BaseGeometry:
    """Read all areas of a vector file as one region in degrees.

    Parameters
    ----------
    path
        Path of the file, which nobody vouches for.
    most_bytes
        Size of the largest file that is opened.
    most_corners
        Largest number of corners.

    Raises
    ------
    BadInput
        In one line, if the file is too large, cannot be read, declares no reference system, has
        no area, has coordinates that are not finite or out of range, or has several layers.
    """
    kind = check_file(path, most_bytes)
    name = str(path)
    if kind in MAGIC:
        layer = read_layer(path)
        declared = layer["crs"]
        shapes = _of_wkb(layer["shapes"], name)
    else:
        data = path.read_bytes()
        if sum(data.count(mark) for mark in MARKS[kind]) > MAX_MARKS:
            raise BadInput(f"region {path} has more than {MAX_VERTICES:,} corners: simplify it")
        try:
            polygons, declared = (_geojson if kind == "GeoJSON" else _kml)(data, name)
        except BadInput:
            raise
        except (ValueError, RecursionError, ElementTree.ParseError):
            raise BadInput(f"region {path} is no {kind} file") from None
        shapes = _of_rings(polygons, name)
    parts = checked(shapes, name, most_corners)
    return joined(to_degrees(parts, declared_crs(declared, f"region {name}"), name), name)


def check_file(path: Path, most_bytes: int = MAX_BYTES, what: str = "region") -> str:
    """Refuse what should not be opened at all; the name of the format.

    Parameters
    ----------
    path
        Path of the file.
    most_bytes
        Size of the largest file that is opened.
    what
        What the file is to the user, for messages.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise BadInput(f"{what} {path} is no vector file: use one of {', '.join(FORMATS)}")
    check_size(path, most_bytes, what)
    with path.open("rb") as file:
        head = file.read(16)
    if kind in MAGIC and not re.match(MAGIC[kind], head):
        raise BadInput(f"{what} {path} is no {kind} file")
    return kind


def check_size(path: Path, most_bytes: int, what: str) -> None:
    """Refuse a file that is none, or larger than the most bytes that are opened."""
    if not path.exists():
        raise BadInput(f"{what} {path} is not there")
    if not path.is_file():
        raise BadInput(f"{what} {path} is a folder: give the file in it")
    size = path.stat().st_size
    if size > most_bytes:
        raise BadInput(f"{what} {path} has {size:,} bytes, more than {most_bytes:,}: simplify it")


def _geojson(data: bytes, name: str) -> tuple[list[Rings], str]:
    """Polygons of a GeoJSON document, and its reference system.

    The member `crs` is of the GeoJSON of 2008, and still written.
    """
    document = json.loads(data)
    return list(_polygons(document, name)), geojson_crs(document, f"region {name}")


def geojson_crs(document: dict[str, Any], name: str) -> str:
    """The reference system of a GeoJSON document, of which a message speaks by its name."""
    match document.get("crs"):
        case None:
            return WGS84
        case {"properties": {"name": str(system)}} if re.fullmatch(r"[\w.:/+-]+", system):
            return system
        case other:
            raise BadInput(f"{name} declares an unknown system, {json.dumps(other)[:80]}")


def _polygons(found: Any, name: str) -> Iterator[Rings]:
    """Polygons of a GeoJSON object and of all that is in it.

    Raises
    ------
    ValueError
        If it is none.
    BadInput
        If it has other geometries.
    """
    match found:
        case {"type": "FeatureCollection", "features": list(members)} | {
            "type": "GeometryCollection",
            "geometries": list(members),
        }:
            for member in members:
                yield from _polygons(member, name)
        case {"type": "Feature", "geometry": None}:
            pass
        case {"type": "Feature", "geometry": geometry}:
            yield from _polygons(geometry, name)
        case {"type": "Polygon", "coordinates": list(rings)}:
            yield rings
        case {"type": "MultiPolygon", "coordinates": list(polygons)}:
            yield from polygons
        case {"type": "Point" | "MultiPoint" | "LineString" | "MultiLineString"}:
            raise BadInput(f"region {name} has {LINES}")
        case _:
            raise ValueError("no GeoJSON")


def _kml(data: bytes, name: str) -> tuple[list[Rings], str]:
    """Polygons of a KML document, whose reference system is always WGS 84."""
    root = ElementTree.fromstring(data, ElementTree.XMLParser(target=_Plain()))
    if root.tag.rpartition("}")[2] != "kml":
        raise ValueError("no KML")
    for other in ("Point", "LineString", "Track"):
        if root.find(f".//{{*}}{other}") is not None:
            raise BadInput(f"region {name} has {LINES}")
    if root.find(".//{*}NetworkLink") is not None:
        raise BadInput(f"region {name} points to another file: give that one")
    ring = "BoundaryIs/{*}LinearRing/{*}coordinates"
    polygons = [
        [
            [[float(number) for number in at.split(",")] for at in (found.text or "").split()]
            for side in ("outer", "inner")
            for found in polygon.iterfind(f"{{*}}{side}{ring}")
        ]
        for polygon in root.iterfind(".//{*}Polygon")
    ]
    return polygons, WGS84


class _Plain(ElementTree.TreeBuilder):
    """Takes no document that defines things of its own, such as text that grows without end."""

    def doctype(self, *_: object) -> None:
        """Refuse it."""
        raise ValueError("a document type")


def _of_rings(polygons: list[Rings], name: str) -> NDArray[np.object_]:
    """Shapes of polygons that are lists of rings."""
    try:
        rings = [ring for polygon in polygons for ring in polygon]
        if any(len(ring) < 3 for ring in rings):
            raise ValueError("a ring has less than three corners")
        at = np.array([[x, y] for ring in rings for x, y, *_ in ring])
        if at.size and (at.ndim != 2 or at.dtype.kind not in "if"):
            raise ValueError("a coordinate is not a number")
        corners = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
        members = np.repeat(np.arange(len(polygons)), [len(polygon) for polygon in polygons])
        outlines = np.asarray(shapely.linearrings(at.reshape(-1, 2), indices=corners), object)
        return np.asarray(shapely.polygons(outlines, indices=members), object)
    except (TypeError, ValueError, shapely.errors.ShapelyError) as error:
        raise BadInput(f"region {name} has a broken geometry: {_line(error)}") from None


def _of_wkb(shapes: list[str], name: str) -> NDArray[np.object_]:
    """Shapes of WKB in hexadecimal digits."""
    try:
        return shapely.from_wkb(np.array([bytes.fromhex(shape) for shape in shapes], object))
    except shapely.errors.ShapelyError as error:
        raise BadInput(f"region {name} has a broken geometry: {_line(error)}") from None


def declared_crs(declared: str | None, name: str) -> CRS:
    """The reference system that a file declares, of which a message speaks by its name."""
    if not declared:
        raise BadInput(
            f"{name} does not say which reference system its coordinates are in: "
            "add it (a shapefile needs its .prj)"
        )
    try:
        crs = CRS.from_user_input(declared)
    except CRSError:
        raise BadInput(f"{name} declares an unknown system, {declared[:80]!r}") from None
    if not (crs.is_geographic or crs.is_projected):
        raise BadInput(f"{name} declares {crs.name!r}, which places nothing on a map")
    return crs


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
