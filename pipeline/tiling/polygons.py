"""Polygons by their outlines: checked, brought to degrees, cut at the antimeridian, joined."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.boxes import TURNS
from tessera_mosaic.pipeline.tiling.lattice import moved

MAX_VERTICES = 2_000_000
"""Most corners a region may have, some seconds of work. The world's coast at 1:10 million has a
quarter of that."""


def checked(
    shapes: NDArray[np.object_], name: str, most_corners: int = MAX_VERTICES
) -> NDArray[np.object_]:
    """The single polygons of some shapes, after the checks that hold in any reference system.

    Parameters
    ----------
    shapes
        Shapes of any kind.
    name
        Name of the region, for messages.
    most_corners
        Largest number of their corners.

    Raises
    ------
    BadInput
        If there is none, or one is no area that can be meant.
    """
    parts = shapely.get_parts(shapely.get_parts(shapes))
    parts = parts[~shapely.is_empty(parts)]
    if len(parts) == 0:
        raise BadInput(f"region {name} is empty")
    if not (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON).all():
        raise BadInput(f"region {name} has points or lines: a region is made of areas")
    corners = int(shapely.get_num_coordinates(parts).sum())
    if corners > most_corners:
        raise BadInput(
            f"region {name} has {corners:,} corners, more than {most_corners:,}: simplify it first"
        )
    if not np.isfinite(shapely.get_coordinates(parts)).all():
        raise BadInput(f"region {name} has a coordinate that is not a number")
    if not shapely.area(shapely.convex_hull(parts)).any():
        raise BadInput(f"region {name} has no area")
    broken = parts[~shapely.is_valid(parts)]
    if len(broken):
        raise BadInput(
            f"region {name} has an outline that crosses itself or lies wrong "
            f"({shapely.is_valid_reason(broken[0])}): mend it first"
        )
    return parts


def to_degrees(parts: NDArray[np.object_], crs: CRS, name: str) -> NDArray[np.object_]:
    """Polygons of any reference system in degrees, longitudes -180 to 180.

    Raises
    ------
    BadInput
        If they reach beyond the ground that the system, or degrees, can describe.
    """
    if crs.is_geographic:
        if not crs.equals(CRS("OGC:CRS84"), ignore_axis_order=True):
            parts = moved(parts, Transformer.from_crs(crs, "EPSG:4326", always_xy=True))
        _check_degrees(parts, name)
        return parts
    west, south, east, north = shapely.total_bounds(parts)
    edge = max(east - west, north - south) / 256
    try:
        dense = shapely.segmentize(parts, edge)
        parts = moved(dense, Transformer.from_crs(crs, "EPSG:4326", always_xy=True))
    except (ProjError, CRSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"region {name} cannot be brought to degrees: {reason}") from None
    if not np.isfinite(shapely.get_coordinates(parts)).all():
        raise BadInput(f"region {name} reaches beyond the ground that its system can describe")
    return np.concatenate([cut_at_antimeridian(part) for part in parts])


def joined(parts: NDArray[np.object_], name: str) -> BaseGeometry:
    """One valid region of polygons in degrees.

    Raises
    ------
    BadInput
        If they have no area.
    """
    areas = shapely.get_parts(shapely.union_all(parts))
    areas = areas[shapely.get_type_id(areas) == shapely.GeometryType.POLYGON]
    if len(areas) == 0 or shapely.area(areas).sum() == 0:
        raise BadInput(f"region {name} has no area")
    return areas[0] if len(areas) == 1 else shapely.multipolygons(areas)


def cut_at_antimeridian(polygon: shapely.Polygon) -> NDArray[np.object_]:
    """Cut a polygon in degrees whose edges step over the antimeridian, and may enclose a pole.

    Parameters
    ----------
    polygon
        Polygon in degrees whose edges are much shorter than half the globe: a longer edge is taken
        for a step over 180.

    Returns
    -------
    Valid polygons with longitudes -180 to 180; none where the polygon has no area.
    """
    if polygon.is_empty:
        return np.empty(0, object)
    shell = _enclosed(polygon.exterior)
    holes = shapely.union_all([_enclosed(ring) for ring in polygon.interiors])
    parts = shapely.get_parts(shapely.difference(shell, holes))
    return parts[shapely.area(parts) > 0]


def _enclosed(ring: shapely.LinearRing) -> BaseGeometry:
    """What a ring in degrees encloses, cut at the antimeridian."""
    at = shapely.get_coordinates(ring)
    at[:, 0] = np.unwrap(at[:, 0], period=360.0)
    start, end = at[0, 0], at[-1, 0]
    if abs(end - start) > 1.0:
        pole = np.copysign(90.0, at[:, 1].mean())
        at = np.concatenate([at, [[end, pole], [start, pole]], at[:1]])
    whole = shapely.make_valid(shapely.Polygon(at), method="structure", keep_collapsed=False)
    turns = [shapely.box(-180.0 + turn, -90.0, 180.0 + turn, 90.0) for turn in TURNS]
    pieces = shapely.intersection(whole, turns)
    return shapely.union_all(
        [translate(piece, -turn) for piece, turn in zip(pieces, TURNS, strict=True)]
    )


def _check_degrees(parts: NDArray[np.object_], name: str) -> None:
    """Refuse what are no degrees, and edges of which nobody knows which way round they go."""
    west, south, east, north = shapely.total_bounds(parts)
    if not (-180.0 <= west <= east <= 180.0 and -90.0 <= south <= north <= 90.0):
        raise BadInput(
            f"region {name} reaches from {west:g},{south:g} to {east:g},{north:g}, which are no "
            "longitudes -180..180 and latitudes -90..90: declare its system, cut it at 180"
        )
    rings = shapely.get_rings(parts)
    at, ring = shapely.get_coordinates(rings, return_index=True)
    start, end = at[:-1, 0], at[1:, 0]
    # From -180 to 180 is all around the globe and nothing else.
    long = (ring[:-1] == ring[1:]) & (np.abs(end - start) > 180) & (np.abs(end - start) < 360)
    if long.any():
        edge = np.flatnonzero(long)[0]
        raise BadInput(
            f"region {name} has an edge from longitude {start[edge]:g} to {end[edge]:g}: if it "
            "goes over the antimeridian, cut it at 180; if not, give it a corner in between"
        )
