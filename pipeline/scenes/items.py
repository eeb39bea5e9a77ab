"""STAC items as the public catalogues write them -> scenes.

Everything in an item is untrusted: what has the wrong type or makes no sense ends up as a reason
in the scene, never as a crash.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin

from model.observations import S1_BANDS
from pipeline.scenes.scene import CLASSES, S2_ASSETS, Box, Scene

COMMON_NAMES = {
    "red": "B04",
    "blue": "B02",
    "green": "B03",
    "nir": "B08",
    "nir08": "B8A",
    "rededge1": "B05",
    "rededge2": "B06",
    "rededge3": "B07",
    "swir16": "B11",
    "swir22": "B12",
    "scl": CLASSES,
}
"""Asset keys of Earth Search, by the band they hold."""

NATIVE_SIZES = {"B02": "10m", "B03": "10m", "B04": "10m", "B08": "10m"}
"""Suffixes of the Copernicus Data Space's asset keys; all other bands are `20m`."""

EVERYWHERE: Box = (-180.0, -90.0, 180.0, 90.0)
"""Place of an item that does not say where it is: it is named wherever one looks."""

MAX_TEXT = 4096
"""Longest id or address that is taken from an item."""

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)?$")


def scene_of_item(item: Any, base: str = "") -> Scene | None:
    """Make a scene of a STAC item.

    Parameters
    ----------
    item
        Decoded JSON.
    base
        Address of the item's document, for relative addresses in it.

    Returns
    -------
    None if the item is of no product that is used here: neither Sentinel-2 L2A nor
    terrain-corrected Sentinel-1. An item that cannot be used otherwise is a scene whose
    `unusable` says why.
    """
    if not isinstance(item, Mapping):
        return _damaged(base or "?", "s2", "the item is no JSON object")
    properties = item.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    assets = item.get("assets")
    assets = assets if isinstance(assets, Mapping) else {}
    sensor = _sensor(item, properties, assets)
    if sensor is None:
        return None
    name = item.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_TEXT:
        return _damaged(base or "?", sensor, "the item has no id")
    when = utc(properties.get("datetime")) or utc(properties.get("start_datetime"))
    box = _box(item)
    if when is None:
        return _damaged(name, sensor, "the item has no datetime", box or EVERYWHERE)
    if box is None:
        return _damaged(name, sensor, "the item's place makes no sense", EVERYWHERE, when)
    make = _sentinel2 if sensor == "s2" else _sentinel1
    return make(name, when, box, properties, assets, base)


def _sensor(
    item: Mapping[str, Any], properties: Mapping[str, Any], assets: Mapping[str, Any]
) -> str | None:
    collection = str(item.get("collection") or "").lower()
    platform = str(properties.get("platform") or "").lower()
    keys = {str(key).lower() for key in assets}
    if "rtc" not in collection and re.search("l1c|grd|slc|ocn", collection):
        return None
    if "sentinel-1" in collection or "rtc" in collection or platform.startswith("sentinel-1"):
        return "s1"
    if re.search("sentinel-(s?2)", collection) or platform.startswith("sentinel-2"):
        return "s2"
    if keys & {"vv", "vh", "hh", "hv"}:
        return "s1"
    return "s2" if keys & {"scl", "scl_20m"} else None


def _sentinel2(
    name: str,
    when: str,
    box: Box,
    properties: Mapping[str, Any],
    assets: Mapping[str, Any],
    base: str,
) -> Scene:
    hrefs, kinds = {}, set()
    for band in S2_ASSETS:
        keys = [band, *(key for key, value in COMMON_NAMES.items() if value == band)]
        keys.append(f"{band}_{NATIVE_SIZES.get(band, '20m')}")
        for key in keys:
            href = _href(assets.get(key), base)
            if href:
                hrefs[band] = href
                kinds.add(_kind(assets[key], href))
                break
    text = _Texts(properties)
    strip = re.search(r"_S(\d{8}T\d{6})", text("s2:datastrip_id"))
    tile = text("s2:mgrs_tile") or text("grid:code").removeprefix("MGRS-")
    if not tile and text("sentinel:grid_square", "mgrs:grid_square"):
        tile = "".join(
            str(properties.get(f"{prefix}:{part}") or "")
            for prefix in ("mgrs", "sentinel")
            for part in ("utm_zone", "latitude_band", "grid_square")
        )
    platform = text("platform").lower()
    return Scene(
        id=name,
        sensor="s2",
        datetime=when,
        bbox=box,
        assets=hrefs,
        epsg=_epsg(properties),
        baseline=text("s2:processing_baseline", "sentinel:processing_baseline")
        or text("processing:version"),
        offset_applied=any(
            properties.get(f"{prefix}:boa_offset_applied") is True
            for prefix in ("earthsearch", "sentinel")
        ),
        twin=(platform, tile, strip[1] if strip else when[:19]) if tile else (),
        made=utc(properties.get("s2:generation_time")) or utc(properties.get("created")) or "",
        unusable="its rasters are JPEG 2000, and only GeoTIFF is read" if "jp2" in kinds else "",
    )


def _sentinel1(
    name: str,
    when: str,
    box: Box,
    properties: Mapping[str, Any],
    assets: Mapping[str, Any],
    base: str,
) -> Scene:
    lower = {str(key).lower(): value for key, value in assets.items()}
    hrefs = {band: _href(lower.get(band), base) for band in (*S1_BANDS, "hh", "hv")}
    found = {band: href for band, href in hrefs.items() if href}
    state = str(properties.get("sat:orbit_state") or "").lower()
    known = state in ("ascending", "descending")
    unusable = ""
    if not found.keys() & set(S1_BANDS) and found:
        unusable = f"its polarisations are {'/'.join(found).upper()}, not VV/VH"
    elif not known:
        unusable = "its orbit state is unknown"
    return Scene(
        id=name,
        sensor="s1",
        datetime=when,
        bbox=box,
        assets={band: href for band, href in found.items() if band in S1_BANDS},
        orbit_state=state if known else "",
        epsg=_epsg(properties),
        unusable=unusable,
    )


class _Texts:
    """First of several properties that is a text, else empty."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self._properties = properties

    def __call__(self, *names: str) -> str:
        values = (self._properties.get(name) for name in names)
        return next((v for v in values if isinstance(v, str) and 0 < len(v) <= MAX_TEXT), "")


def utc(value: Any) -> str | None:
    """A time as `2024-05-01T10:30:31.024000Z`, so that texts sort by time; None if it is none."""
    match = _TIME.match(value) if isinstance(value, str) else None
    if match is None:
        return None
    zone = match[8] or "Z"
    try:
        moment = dt.datetime(*(int(match[n]) for n in range(1, 7)), tzinfo=dt.UTC)
        moment += dt.timedelta(microseconds=round(float(match[7] or 0) * 1e6))
        if zone != "Z":
            sign = -1 if zone[0] == "-" else 1
            moment -= sign * dt.timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
    except (ValueError, OverflowError):
        return None


def _damaged(name: str, sensor: str, why: str, box: Box = EVERYWHERE, when: str = "") -> Scene:
    return Scene(id=name[:MAX_TEXT], sensor=sensor, datetime=when, bbox=box, unusable=why)


def _href(asset: Any, base: str) -> str:
    href = asset.get("href") if isinstance(asset, Mapping) else None
    if not isinstance(href, str) or not 0 < len(href) <= MAX_TEXT:
        return ""
    return resolve(base, href)


def resolve(base: str, href: str) -> str:
    """An address that stands in a document, whole."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", href) or (href.startswith("/") and "://" not in base):
        return href
    scheme, mark, rest = base.partition("://")
    if not mark:
        return os.path.normpath(os.path.join(os.path.dirname(base), href))
    # urljoin knows http alone; any object store's addresses join the same way.
    joined = urljoin(f"http://{rest}", href)
    return f"{scheme}://{joined.removeprefix('http://')}"


def _kind(asset: Mapping[str, Any], href: str) -> str:
    media = str(asset.get("type") or "")
    return "jp2" if "jp2" in media or href.lower().partition("?")[0].endswith(".jp2") else "tiff"


def _epsg(properties: Mapping[str, Any]) -> int:
    code = properties.get("proj:code")
    if isinstance(code, str) and re.fullmatch(r"EPSG:\d{4,6}", code):
        return int(code[5:])
    epsg = properties.get("proj:epsg")
    return epsg if isinstance(epsg, int) and 1024 <= epsg < 1_000_000 else 0


def _box(item: Mapping[str, Any]) -> Box | None:
    """Degrees box of an item, from its bbox or else its geometry."""
    box = item.get("bbox")
    if isinstance(box, list) and len(box) in (4, 6):
        half = len(box) // 2
        box = [*box[:2], *box[half : half + 2]]
    else:
        geometry = item.get("geometry")
        places = list(_places(geometry)) if isinstance(geometry, Mapping) else []
        if not places:
            return None
        xs, ys = zip(*places, strict=True)
        box = [min(xs), min(ys), max(xs), max(ys)]
    if not all(isinstance(v, int | float) and math.isfinite(v) for v in box):
        return None
    west, south, east, north = (float(v) for v in box)
    sound = -360 <= west <= 360 and -360 <= east <= 360 and -90 <= south <= north <= 90
    return (west, south, east, north) if sound else None


def _places(geometry: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    """Corners of a GeoJSON geometry; none if one is no pair of numbers."""
    queue, found = [geometry.get("coordinates")], []
    while queue:
        part = queue.pop()
        if not isinstance(part, list) or len(found) > 100_000:
            return
        if len(part) >= 2 and all(isinstance(v, int | float) for v in part[:2]):
            found.append((part[0], part[1]))
        else:
            queue.extend(part)
    yield from found
