"""STAC items as the public catalogues write them -> scenes.

Everything in an item is untrusted: what has the wrong type or makes no sense ends up as a reason
in the scene, never as a crash.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tessera_mosaic.model.observations import S1_BANDS, S2_BANDS
from tessera_mosaic.pipeline.scenes.acquisitions import acquisition, product_level
from tessera_mosaic.pipeline.scenes.asset_numbers import why_no_powers
from tessera_mosaic.pipeline.scenes.forms import asset_at_fault, unread_form
from tessera_mosaic.pipeline.scenes.links import MAX_TEXT, own_address, resolve
from tessera_mosaic.pipeline.scenes.offset_claim import OFFSET_APPLIED, offset_claim
from tessera_mosaic.pipeline.scenes.opera_names import opera_name
from tessera_mosaic.pipeline.scenes.scene import (
    CLASSES,
    S2_ASSETS,
    OrbitState,
    RadiometricOffset,
    Scene,
    Sensor,
)
from tessera_mosaic.pipeline.scenes.times import utc
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

COLLECTIONS = {
    Sensor.S1: r"sentinel-?1|rtc-?s1|\bs1[_-]rtc",
    Sensor.S2: r"sentinel-?s?-?2|\bs2[_-]l2a",
}
"""How collections of each sensor are called, in lower case."""

TIMES = ("datetime", "start_datetime", "end_datetime")
"""Properties that tell the time of an item; the first that does counts."""

LONGEST_DAYS = 2.0
"""Days from the start to the end of an item that may still be one acquisition."""

MAX_CORNERS = 100_000
"""Most corners of an item's outline."""


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

    def rasters(
        self, keys: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, str], dict[str, str], dict[str, Mapping[str, Any]]]:
        """Addresses of bands that can be read, forms of others, and the assets of the first.

        Parameters
        ----------
        keys
            Names of assets by band, the preferred ones first, in lower case.
        """
        named = {str(key).lower(): str(key) for key in self.assets}
        read: dict[str, str] = {}
        unread: dict[str, str] = {}
        told: dict[str, Mapping[str, Any]] = {}
        for band, names in keys.items():
            for name in (named[key] for key in names if key in named):
                href, about = self.href(name), self.assets[name]
                form = unread_form(href, about.get("type")) if href else ""
                if href and not form:
                    read.setdefault(band, href)
                    told.setdefault(band, about)
                elif form:
                    unread.setdefault(band, form)
        unread = {band: form for band, form in unread.items() if band not in read}
        return read, unread, told

    @property
    def epsg(self) -> int:
        """Code of the rasters' projection, 0 where the item does not say."""
        code = re.fullmatch(r"EPSG:(\d{4,6})", self.text("proj:code"))
        epsg = int(code[1]) if code else self.properties.get("proj:epsg")
        if isinstance(epsg, float) and epsg.is_integer():
            epsg = int(epsg)
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
    Sentinel-1. An item that is of no use otherwise is a scene whose `unusable` says why, and one
    with which something is wrong a scene whose `faulty` does.
    """
    if not isinstance(item, Mapping):
        return damaged(base, Sensor.S2, "the item is no JSON object")
    properties, assets = _mapping(item, "properties"), _mapping(item, "assets")
    collection = str(item.get("collection") or "").lower()[:MAX_TEXT]
    given = item.get("id")
    name = given if isinstance(given, str) and len(given) <= MAX_TEXT else ""
    platform = str(properties.get("platform") or "").lower()
    sensor = _sensor(collection, platform, assets)
    level = product_level(name, properties) if sensor == Sensor.S2 else ""
    if sensor is None or level.startswith("L1"):
        return None
    if not name:
        return damaged(base, sensor, "the item has no id")
    times = [utc(properties.get(key)) for key in TIMES]
    when, box = next((time for time in times if time), None), _box(item)
    if when is None:
        return damaged(name, sensor, _without_time(properties), box or EVERYWHERE)
    if times[1] and times[2] and _days_between(times[1], times[2]) > LONGEST_DAYS:
        why = "it is made of several acquisitions"
        return Scene(name, sensor, when, box or EVERYWHERE, unusable=why)
    if box is None:
        return damaged(name, sensor, "the item's place makes no sense", EVERYWHERE, when)
    sound = _Item(name, collection, when, box, properties, assets, base, own_address(item))
    return _sentinel2(sound) if sensor == Sensor.S2 else _sentinel1(sound)


def _sensor(collection: str, platform: str, assets: Mapping[str, Any]) -> Sensor | None:
    """Whose product an item is, by its collection, else its platform, else its assets."""
    if re.search("l1c|grd|slc|ocn|rtc-s1-static", collection):
        return None
    for sensor, names in COLLECTIONS.items():
        if re.search(names, collection) or platform.startswith(f"sentinel-{sensor.value[1]}"):
            return sensor
    keys = {str(key).lower() for key in assets}
    if keys & set(POLARISATIONS):
        return Sensor.S1
    return Sensor.S2 if keys & {"scl", "scl_20m"} else None


def _without_time(properties: Mapping[str, Any]) -> str:
    """What is wrong with the times of an item that has none that is understood."""
    told = next((properties[key] for key in TIMES if properties.get(key) is not None), None)
    return "the item has no datetime" if told is None else f"{str(told)[:40]!r} is no datetime"


def _days_between(first: str, last: str) -> float:
    """Days from one time in UTC to another."""
    return (dt.datetime.fromisoformat(last) - dt.datetime.fromisoformat(first)) / dt.timedelta(1)


def _sentinel2(item: _Item) -> Scene:
    assets, unread, told = item.rasters({band: _keys(band) for band in S2_ASSETS})
    faulty, asset = asset_at_fault(S2_ASSETS, assets, unread)
    known = acquisition(item.id, item.when, item.properties, assets.values())
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
            [told[band] for band in S2_BANDS if band in told],
            always_kept=item.collection == KEEPING_OFFSET,
        ),
        twin=known.twin,
        strip=known.strip,
        made=utc(item.text("s2:generation_time"))
        or utc(item.text("processing:datetime"))
        or known.made
        or utc(item.text("created"))
        or "",
        faulty=faulty,
        faulty_asset=asset,
    )


def _keys(band: str) -> tuple[str, ...]:
    """Names of a band of Sentinel-2 among assets, in lower case, the preferred ones first."""
    plain, suffix = band.lower(), "10m" if band in BANDS_10M else "20m"
    names = plain, COMMON_NAMES[band].lower(), f"{plain}_{suffix}"
    return (*names, *(f"{name}-jp2" for name in names))


def _offset(item: _Item) -> RadiometricOffset:
    """What the catalogue says of the radiometric offset."""
    kept = item.collection == KEEPING_OFFSET
    told = (item.properties.get(name) for name in OFFSET_APPLIED)
    applied = next((value for value in told if isinstance(value, bool)), None)
    if applied is None:
        return RadiometricOffset.KEPT if kept else RadiometricOffset.BY_BASELINE
    return RadiometricOffset.APPLIED if applied else RadiometricOffset.BY_BASELINE


def _sentinel1(item: _Item) -> Scene:
    assets, unread, told = item.rasters({band: (band, f"{band}-jp2") for band in POLARISATIONS})
    hrefs = [href for key in item.assets if (href := item.href(key))]
    # NASA's items call their assets as they like; the files have names that tell.
    hrefs.sort(key=lambda href: not href.startswith("https://"))
    for href in hrefs:
        kind = re.search(r"_(VV|VH|HH|HV)\.tiff?$", href.partition("?")[0])
        if kind and kind[1].lower() not in unread:
            assets.setdefault(kind[1].lower(), href)
    opera = next((name for text in (item.id, *hrefs[:1]) if (name := opera_name(text))), None)
    state = item.text("sat:orbit_state", "sar:pass_direction").lower()
    scene = sentinel1_scene(
        item.id,
        item.when,
        item.box,
        assets,
        state if state in tuple(OrbitState) or opera is None else opera.orbit_state,
        item.epsg,
        twin=opera.twin if opera else (),
        strip=opera.seen if opera else "",
        made=opera.made if opera else "",
        declared=item.properties.get("sar:polarizations"),
        unread=unread,
    )
    numbers = [told[band] for band in S1_BANDS if band in told]
    return dataclasses.replace(scene, no_power=why_no_powers(numbers))


def sentinel1_scene(
    name: str,
    when: str,
    box: Box,
    assets: Mapping[str, str],
    orbit_state: str,
    epsg: int = 0,
    twin: tuple[str, ...] = (),
    strip: str = "",
    made: str = "",
    declared: Any = None,
    unread: Mapping[str, str] = MappingProxyType({}),
) -> Scene:
    """Make a scene of a Sentinel-1 product, and say if it is of no use.

    Parameters
    ----------
    name, when, box, assets, orbit_state, epsg, twin, strip, made
        As of `Scene`; `assets` may have polarisations that are not used.
    declared
        Polarisations that the product should have, if its catalogue says.
    unread
        Forms of polarisations that it has in none that is read.
    """
    told = declared if isinstance(declared, list) else [declared]
    has = (
        set(assets) | set(unread) | set(re.findall("vv|vh|hh|hv", " ".join(map(str, told)).lower()))
    )
    state = OrbitState(orbit_state) if orbit_state in tuple(OrbitState) else None
    unusable, (faulty, asset) = "", asset_at_fault(S1_BANDS, assets, unread)
    if has and not has >= set(S1_BANDS):
        unusable = f"its polarisations are {'+'.join(sorted(has)).upper()}, not VV and VH"
        faulty = asset = ""
    elif state is None and not faulty:
        faulty = "its orbit state is unknown"
    return Scene(
        id=name,
        sensor=Sensor.S1,
        datetime=when,
        bbox=box,
        assets={band: assets[band] for band in S1_BANDS if band in assets},
        orbit_state=state,
        epsg=epsg,
        twin=twin,
        strip=strip,
        made=made,
        unusable=unusable,
        faulty=faulty,
        faulty_asset=asset,
    )


def damaged(name: str, sensor: Sensor, why: str, box: Box = EVERYWHERE, when: str = "") -> Scene:
    """A scene of which no more is known than what is wrong with its item."""
    return Scene(id=name[:MAX_TEXT] or "?", sensor=sensor, datetime=when, bbox=box, faulty=why)


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
