"""OPERA RTC-S1 from the Alaska Satellite Facility, found through NASA's CMR."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from tessera_mosaic.pipeline.errors import Corrupt, SceneError
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.scenes.credentials import check_earthdata_login
from tessera_mosaic.pipeline.scenes.opera_names import opera_name
from tessera_mosaic.pipeline.scenes.paging import Endless
from tessera_mosaic.pipeline.scenes.scene import Scene, Sensor
from tessera_mosaic.pipeline.scenes.stac_items import (
    EVERYWHERE,
    POLARISATIONS,
    damaged,
    sentinel1_scene,
)
from tessera_mosaic.pipeline.scenes.twins import settle
from tessera_mosaic.pipeline.tiling.boxes import Box, padded, spans

SEARCH = "https://cmr.earthdata.nasa.gov/search/granules.json"
COLLECTION = "C2777436413-ASF"
"""CMR's name of OPERA RTC-S1, version 1."""

PAGE_ITEMS = 2000
MAX_PAGES = 200
MAX_PAGE_BYTES = 256 * 2**20


def scene_of_granule(name: str, box: Box, hrefs: Iterable[str]) -> Scene:
    """Make a scene of an OPERA RTC-S1 granule.

    Parameters
    ----------
    name
        Name of the granule, which tells burst, time and version.
    box
        Box around its footprint in degrees.
    hrefs
        Addresses of its files, the preferred ones first.

    Returns
    -------
    The scene. A granule of another name, or of an impossible time, is one whose `faulty` says so.
    """
    told = opera_name(name)
    if told is None or told.name != name:
        return damaged(name, Sensor.S1, "its name is not that of an OPERA RTC-S1 granule", box)
    assets: dict[str, str] = {}
    for href in hrefs:
        kind = re.fullmatch(rf".*/{re.escape(name)}_(VV|VH|HH|HV)\.tif", href)
        if kind:
            assets.setdefault(kind[1].lower(), href)
    return sentinel1_scene(
        name,
        told.seen,
        box,
        {band: assets[band] for band in POLARISATIONS if band in assets},
        told.orbit_state,
        twin=told.twin,
        strip=told.seen,
        made=told.made,
    )


class OperaGranules:
    """OPERA RTC-S1 granules.

    Parameters
    ----------
    remote
        Fetches the listings and the granules.
    search
        Address of the search for granules.

    Raises
    ------
    BadInput
        If there is no credential for NASA Earthdata.
    """

    def __init__(self, remote: Remote, search: str = SEARCH) -> None:
        self._remote, self._search = remote, search
        check_earthdata_login()

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All scenes of a year that touch a box."""
        room = padded(bounds)
        scenes = []
        for west, east in spans(room):
            query = {
                "collection_concept_id": COLLECTION,
                "bounding_box": f"{west},{room[1]},{east},{room[3]}",
                "temporal": f"{year}-01-01T00:00:00Z,{year}-12-31T23:59:59Z",
                "page_size": PAGE_ITEMS,
            }
            entries = self._whole(f"{self._search}?{urlencode(query)}")
            scenes += [scene_of_entry(e, f"{self._search}#{n}") for n, e in enumerate(entries)]
        return settle(scenes, year)

    def _whole(self, url: str) -> list[Any]:
        """Entries of a search: no fewer than CMR counts, or an error."""
        found = self._to_the_end(url)

        def whole() -> list[Any]:
            entries, promised = found
            # A listing that moves on while it is read repeats one entry and leaves out another.
            came = len({json.dumps(entry, sort_keys=True) for entry in entries})
            if came < promised:
                raise Corrupt(f"{self._search} counts {promised} granules and lists {came}")
            return entries

        def again(error: SceneError) -> None:
            nonlocal found
            found = self._to_the_end(url)

        return self._remote.persist(whole, url, again)

    def _to_the_end(self, url: str) -> tuple[list[Any], int]:
        """Entries of a search, page by page, and how many CMR counts."""
        listed: list[Any] = []
        after, promised = "", 0
        asked: set[str] = set()
        while after not in asked and len(asked) < MAX_PAGES:
            asked.add(after)
            headers = {"CMR-Search-After": after} if after else {}
            ask = functools.partial(self._page, Access(url, headers))
            entries, told = self._remote.persist(ask, url)
            listed += entries
            hits = told.get("cmr-hits", "")
            promised = max(promised, int(hits) if hits.isdecimal() and len(hits) < 10 else 0)
            after = told.get("cmr-search-after", "")
            if not after or not entries:
                return listed, promised
        raise Endless(f"{self._search}: the pages of a search do not end")

    def _page(self, access: Access) -> tuple[list[Any], Mapping[str, str]]:
        answer = self._remote.get(access, MAX_PAGE_BYTES)
        try:
            entries = read_json(answer.data)["feed"]["entry"]
        except (ValueError, KeyError, TypeError):
            entries = None
        if not isinstance(entries, list):
            raise Corrupt(f"{self._search} did not answer with a list of granules")
        return entries, answer.headers


def scene_of_entry(entry: Any, place: str = "") -> Scene:
    """Make a scene of an entry of CMR's listing, which stands at some place of it."""
    if not isinstance(entry, dict):
        return damaged(place, Sensor.S1, "its entry is no JSON object")
    links = entry.get("links")
    hrefs = [
        link["href"]
        for link in (links if isinstance(links, list) else ())
        if isinstance(link, dict) and isinstance(link.get("href"), str)
    ]
    web = [href for href in hrefs if href.startswith("https://")]
    web.sort(key=lambda href: ".earthdatacloud.nasa.gov/" not in href)
    name = entry.get("producer_granule_id") or entry.get("title")
    name = name if isinstance(name, str) and name else place
    return scene_of_granule(name, _box_of_entry(entry), web)


def _box_of_entry(entry: dict[str, Any]) -> Box:
    """Box around an entry's outline, which CMR writes as latitudes and longitudes in turn."""
    try:
        numbers = [float(part) for ring in entry["polygons"] for part in ring[0].split()]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        numbers = []
    lats, lons = numbers[0::2], numbers[1::2]
    known = all(abs(lat) <= 90 for lat in lats) and all(abs(lon) <= 180 for lon in lons)
    if not lons or len(lats) != len(lons) or not known:
        return EVERYWHERE
    if max(lons) - min(lons) > 180.0:
        # Across the antimeridian, the western end is the least of the eastern longitudes.
        return min(v for v in lons if v > 0), min(lats), max(v for v in lons if v < 0), max(lats)
    return min(lons), min(lats), max(lons), max(lats)
