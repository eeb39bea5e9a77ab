"""NASA's Common Metadata Repository with some granules of OPERA, and its login."""

from __future__ import annotations

import datetime as dt

from tests.fakes.web import Reply, Request

NAME = "OPERA_L2_RTC-S1_T137-292319-IW2_{:%Y%m%d}T015858Z_20250830T120333Z_S1A_30_v1.0"


def granules(count: int) -> list[dict]:
    """Entries as CMR lists them."""
    entries = []
    for number in range(count):
        name = NAME.format(dt.date(2021, 1, 1) + dt.timedelta(number))
        base = f"https://cumulus.asf.earthdatacloud.nasa.gov/OPERA/{name}/{name}"
        links = [{"href": f"s3://asf-cumulus/{name}_VV.tif", "rel": "s3#"}]
        links += [{"href": f"https://datapool.asf.alaska.edu/{name}_VV.tif", "rel": "data#"}]
        links += [{"href": f"{base}_{kind}", "rel": "data#"} for kind in ("VV.tif", "VH.tif", "h5")]
        corners = "34.2 -119.9 34.2 -119.5 34.6 -119.5 34.6 -119.9 34.2 -119.9"
        entries.append({"producer_granule_id": name, "links": links, "polygons": [[corners]]})
    return entries


class FakeCmr:
    """CMR with these entries, a few a page, and NASA's login beside it."""

    def __init__(self, entries: list[dict], page: int, promised: int | None = None) -> None:
        self.entries, self.page = entries, page
        self.promised = len(entries) if promised is None else promised
        self.logins: list[str | None] = []

    def __call__(self, request: Request) -> Reply:
        if request.path == "/token":
            self.logins.append(request.headers.get("authorization"))
            return 200, {}, {"access_token": f"token-{len(self.logins)}"}
        start = int(request.headers.get("cmr-search-after", 0))
        stop = start + self.page
        headers = {"CMR-Hits": str(self.promised)}
        if stop < len(self.entries):
            headers["CMR-Search-After"] = str(stop)
        return 200, headers, {"feed": {"entry": self.entries[start:stop]}}
