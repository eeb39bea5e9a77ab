"""STAC items as the public catalogues write them -> scenes.

Everything in an item is untrusted: what has the wrong type or makes no sense ends up as a reason
in the scene, never as a crash.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urljoin

from tessera_mosaic.model.observations import S1_BANDS
from tessera_mosaic.pipeline.io.urls import (
    GDAL,
    WEB,
    is_local,
    local_path,
    scheme_of,
    without_gdal,
)
from tessera_mosaic.pipeline.scenes.asset_numbers import why_no_powers
from tessera_mosaic.pipeline.scenes.offset_claim import OFFSET_APPLIED, offset_claim
from tessera_mosaic.pipeline.scenes.scene import (
    CLASSES,
    S2_ASSETS,
    OrbitState,
    RadiometricOffset,
    Scene,
    Sensor,
)
from tessera_mosaic.pipeline.tiling.boxes import Box

COMMON_NAMES = {
    "B04": "red",
    "B02": "blue",
    "B03": "green",
    "B08": "nir",
    "B8A": "nir08",
    "B05": "rededge1",
    "B06": "rededge2",
    "B07": "rededge3",
    "B11": "swir16",
    "B12": "swir22",
    CLASSES: "scl",
}
"""Asset keys of Earth Search by band. Planetary Computer's are the bands' own names."""

KEEPING_OFFSET = "sentinel-2-c1-l2a"
"""Earth Search's collection whose pixels are as ESA made them, under the names of the others."""

BANDS_10M = ("B02", "B03", "B04", "B08")
"""Bands whose keys end in `_10m` in the Copernicus Data Space; those of the others in `_20m`."""

POLARISATIONS = (*S1_BANDS, "hh", "hv")

EVERYWHERE: Box = (-180.0, -90.0, 180.0, 90.0)
"""Place of an item that does not say where it is: it is named wherever one looks."""

MAX_TEXT = 4096
"""Longest name or address that is taken from an item."""

MAX_CORNERS = 100_000
"""Most corners of an item's outline."""

_WHOLE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII
)


@dataclass(frozen=True)
class _Item:
    """An item whose id, time and place are sound."""

    id: str
    collection: str
    when: str
    box: Box
    properties: Mapping[str, Any]
    assets: Mapping[str, Any]
    base: str
    own: str

    def text(self, *names: str) -> str:
        """The first of some properties that is a text, else empty."""
        values = (self.properties.get(name) for name in names)
        return next((v for v in values if isinstance(v, str) and 0 < len(v) <= MAX_TEXT), "")

    def href(self, key: str) -> str:
        """Address of an asset, empty if there is none."""
        asset = self.assets.get(key)
        href = asset.get("href") if isinstance(asset, Mapping) else None
        if not isinstance(href, str) or not 0 < len(href) <= MAX_TEXT:
            return ""
        return resolve(self.base, href, self.own)

    @property
    def epsg(self) -> int:
        """Code of the rasters' projection, 0 where the item does not say."""
        code = re.fullmatch(r"EPSG:(\d{4,6})", self.text("proj:code"))
        epsg = int(code[1]) if code else self.properties.get("proj:epsg")
        return epsg if isinstance(epsg, int) and 1024 <= epsg < 1_000_000 else 0


def scene_of_item(item: Any, base: str = "") -> Scene | None:
    """Make a scene of a STAC item.

    Parameters
    ----------
    item
        Decoded JSON.
    base
        Address of the document it stands in, for relative addresses where the item does not
        give its own.

    Returns
    -------
    None if the item is of no product that is used: neither Sentinel-2 L2A nor terrain-corrected
    Sentinel-1. An item that cannot be used otherwise is a scene whose `unusable` says why.
    """
    if not isinstance(item, Mapping):
        return damaged(base, Sensor.S2, "the item is no JSON object")
    properties, assets = _mapping(item, "properties"), _mapping(item, "assets")
    collection = str(item.get("collection") or "").lower()[:MAX_TEXT]
    sensor = _sensor(collection, str(properties.get("platform") or "").lower(), assets)
    if sensor is None:
        return None
    name = item.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_TEXT:
        return damaged(base, sensor, "the item has no id")
    when = utc(properties.get("datetime")) or utc(properties.get("start_datetime"))
    box = _box(item)
    if when is None:
        return damaged(name, sensor, "the item has no datetime", box or EVERYWHERE)
    if box is None:
        return damaged(name, sensor, "the item's place makes no sense", EVERYWHERE, when)
    sound = _Item(name, collection, when, box, properties, assets, base, own_address(item))
    return _sentinel2(sound) if sensor == Sensor.S2 else _sentinel1(sound)


def _sensor(collection: str, platform: str, assets: Mapping[str, Any]) -> Sensor | None:
    """Whose product an item is, by its collection, else its platform, else its assets."""
    if re.search("l1c|grd|slc|ocn", collection):
        return None
    if re.search("sentinel-?1|rtc-?s1", collection) or platform.startswith("sentinel-1"):
        return Sensor.S1
    if re.search("sentinel-?s?-?2", collection) or platform.startswith("sentinel-2"):
        return Sensor.S2
    keys = {str(key).lower() for key in assets}
    if keys & set(POLARISATIONS):
        return Sensor.S1
    return Sensor.S2 if keys & {"scl", "scl_20m"} else None


def _sentinel2(item: _Item) -> Scene:
    assets, spectral = {}, []
    for band in S2_ASSETS:
        suffix = "10m" if band in BANDS_10M else "20m"
        for key in (band, COMMON_NAMES[band], f"{band}_{suffix}"):
            if href := item.href(key):
                assets[band] = href
                if band != CLASSES:
                    spectral.append(item.assets[key])
                break
    tile = item.text("s2:mgrs_tile") or item.text("grid:code").removeprefix("MGRS-")
    strip = re.search(r"_S(\d{8}T\d{6})_", item.text("s2:datastrip_id"))
    jpeg = any(href.partition("?")[0].lower().endswith(".jp2") for href in assets.values())
    return Scene(
        id=item.id,
        sensor=Sensor.S2,
        datetime=item.when,
        bbox=item.box,
        assets=assets,
        epsg=item.epsg,
        baseline=item.text(
            "s2:processing_baseline", "sentinel:processing_baseline", "processing:version"
        ),
        offset=_offset(item),
        claim=offset_claim(
            item.id,
            item.when[:10],
            item.properties,
            spectral,
            always_kept=item.collection == KEEPING_OFFSET,
        ),
        twin=(item.text("platform").lower(), tile, strip[1] if strip else item.when[:19])
        if tile
        else (),
        made=utc(item.text("s2:generation_time")) or utc(item.text("created")) or "",
        unusable="its rasters are JPEG 2000, and only GeoTIFF is read" if jpeg else "",
    )


def _offset(item: _Item) -> RadiometricOffset:
    """What the catalogue says of the radiometric offset."""
    kept = item.collection == KEEPING_OFFSET
    told = (item.properties.get(name) for name in OFFSET_APPLIED)
    applied = next((value for value in told if isinstance(value, bool)), None)
    if applied is None:
        return RadiometricOffset.KEPT if kept else RadiometricOffset.BY_BASELINE
    return RadiometricOffset.APPLIED if applied else RadiometricOffset.BY_BASELINE


def _sentinel1(item: _Item) -> Scene:
    lower = {str(key).lower(): str(key) for key in item.assets}
    hrefs = {band: item.href(lower[band]) for band in POLARISATIONS if band in lower}
    assets = {band: href for band, href in hrefs.items() if href}
    scene = sentinel1_scene(
        item.id,
        item.when,
        item.box,
        assets,
        item.text("sat:orbit_state").lower(),
        item.epsg,
        declared=item.properties.get("sar:polarizations"),
    )
    told = (item.assets[lower[band]] for band in S1_BANDS if band in lower)
    return dataclasses.replace(scene, no_power=why_no_powers(told))


def sentinel1_scene(
    name: str,
    when: str,
    box: Box,
    assets: Mapping[str, str],
    orbit_state: str,
    epsg: int = 0,
    twin: tuple[str, ...] = (),
    made: str = "",
    declared: Any = None,
) -> Scene:
    """Make a scene of a Sentinel-1 product, and say if it is of no use.

    Parameters
    ----------
    name, when, box, assets, orbit_state, epsg, twin, made
        As of `Scene`; `assets` may have polarisations that are not used.
    declared
        Polarisations that the product should have, if its catalogue says.
    """
    has = {str(p).lower() for p in declared} if isinstance(declared, list) else set(assets)
    state = OrbitState(orbit_state) if orbit_state in tuple(OrbitState) else None
    unusable = ""
    if has and not has >= set(S1_BANDS):
        unusable = f"its polarisations are {'+'.join(sorted(has)).upper()}, not VV and VH"
    elif state is None:
        unusable = "its orbit state is unknown"
    return Scene(
        id=name,
        sensor=Sensor.S1,
        datetime=when,
        bbox=box,
        assets={band: assets[band] for band in S1_BANDS if band in assets},
        orbit_state=state,
        epsg=epsg,
        twin=twin,
        made=made,
        unusable=unusable,
    )


def utc(value: Any) -> str | None:
    """A time as `2024-05-01T10:30:31.024000Z`, so that texts sort by time; None if it is none."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    date, time, second, fraction, zone = match.groups()
    try:
        # A leap second counts as the first of the next minute, which is what clocks make of it.
        leap = dt.timedelta(seconds=1 if second == "60" else 0)
        second = "59" if leap else second
        text = f"{date}T{time}:{second}{(fraction or '.0')[:7]:0<7}+00:00"
        moment = dt.datetime.fromisoformat(text) + leap
        if zone not in (None, "Z", "z"):
            away = dt.timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
            moment -= away if zone[0] == "+" else -away
    except (ValueError, OverflowError):
        return None
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def resolve(base: str, href: str, own: str = "") -> str:
    """The whole of an address that stands in a document; as it stands if it makes no sense.

    Parameters
    ----------
    base
        Address at which the document was read, after all redirects.
    href
        The address in it, which may be relative, and one of GDAL's.
    own
        Address that the document gives itself, of `own_address`. On the web relative ones are
        relative to it. A copy on this machine is taken as it lies: relative ones lead to the
        files that were copied with it, and only where there is none to what was not copied.
    """
    href = without_gdal(href)
    if _WHOLE.match(href) or href.startswith(GDAL):
        return href
    if not is_local(base):
        return _joined(own if own and scheme_of(base) in WEB else base, href)
    beside = _joined(base, href)
    if os.path.exists(local_path(beside)):
        return beside
    if own:
        return _joined(own, href)
    decoded = _joined(base, unquote(href)) if "%" in href and "://" not in base else beside
    return decoded if os.path.exists(local_path(decoded)) else beside


def own_address(document: Mapping[str, Any]) -> str:
    """Address that a document gives itself by its link `self`; empty if that is no whole one."""
    links = document.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and link.get("rel") == "self":
            href = link.get("href")
            if isinstance(href, str) and len(href) <= MAX_TEXT:
                href = without_gdal(href)
                return href if _WHOLE.match(href) and not is_local(href) else ""
    return ""


def _joined(base: str, href: str) -> str:
    """A relative address after the one to which it is relative."""
    scheme, mark, rest = base.partition("://")
    if not mark:
        return os.path.normpath(os.path.join(os.path.dirname(base), href))
    try:
        # urljoin knows the schemes of the web alone; those of object stores join the same way.
        return f"{scheme}://{urljoin(f'http://{rest}', href)[7:]}"
    except ValueError:
        return href


def damaged(name: str, sensor: Sensor, why: str, box: Box = EVERYWHERE, when: str = "") -> Scene:
    """A scene that can be named but not used."""
    return Scene(id=name[:MAX_TEXT] or "?", sensor=sensor, datetime=when, bbox=box, unusable=why)


def _mapping(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = item.get(name)
    return value if isinstance(value, Mapping) else {}


def _box(item: Mapping[str, Any]) -> Box | None:
    """Box of an item in degrees, as it says or else around its outline."""
    box = item.get("bbox")
    if isinstance(box, list) and len(box) in (4, 6):
        box = [*box[:2], *box[len(box) // 2 :][:2]]
    else:
        places = list(_corners(_mapping(item, "geometry").get("coordinates")))
        if not places:
            return None
        xs, ys = zip(*places, strict=True)
        box = [min(xs), min(ys), max(xs), max(ys)]
    if not all(_is_number(value) for value in box):
        return None
    west, south, east, north = (float(value) for value in box)
    sound = -360 <= west <= 360 and -360 <= east <= 360 and -90 <= south <= north <= 90
    return (west, south, east, north) if sound else None


def _corners(coordinates: Any) -> Iterator[tuple[float, float]]:
    """Corners of a GeoJSON geometry, as far as they are pairs of numbers."""
    queue, count = [coordinates], 0
    while queue and count < MAX_CORNERS:
        part = queue.pop()
        if not isinstance(part, list):
            continue
        if len(part) >= 2 and _is_number(part[0]) and _is_number(part[1]):
            count += 1
            yield part[0], part[1]
        else:
            queue.extend(part)


def _is_number(value: Any) -> bool:
    # Not `isfinite`, which integers can be too large for.
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
    )
