"""In which form a raster is, as its item tells: GeoTIFF is read, other forms are named."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tessera_mosaic.pipeline.scenes.scene import LACKING

READ = re.compile(r"\.(tiff?|gtiff|geotiff|cog)$")
"""How the paths of what is read end."""

FORMS: Mapping[str, re.Pattern[str]] = {
    "JPEG 2000": re.compile(r"\.(jp2|j2k|jpx|jpf|j2c)$|^image/(jp2|jpx|jpm|j2c|j2k)\b"),
    "Zarr": re.compile(r"\.zarr(\.zip)?(/|$)|^application/(vnd[+.]|x-)?zarr\b"),
    "NetCDF": re.compile(r"\.(nc|nc4)$|^application/(x-)?netcdf\b"),
    "HDF5": re.compile(r"\.(h5|hdf5?|he5)$|^application/(x-)?hdf5?\b"),
    "an archive": re.compile(r"\.(zip|tar|tgz|safe)(/?$|\.gz$)|^application/(zip|gzip|x-tar)\b"),
}
"""Forms that are not read, by how the paths of their files end and by their media types. JPEG 2000
is one: a block of it takes some ten times as long to decode as one of a GeoTIFF."""


def unread_form(href: str, media_type: Any) -> str:
    """The form in which a raster is, if it is none that is read; empty if it is or may be.

    Parameters
    ----------
    href
        Address of the raster; how it ends counts for more than what is said of it.
    media_type
        What its item says of it.

    Examples
    --------
    >>> unread_form("s3://bucket/B04.jp2", None)
    'JPEG 2000'
    >>> unread_form("https://host/B04.tif?key=1", "image/jp2")
    ''
    """
    path = href.partition("?")[0].partition("#")[0].lower()
    if READ.search(path):
        return ""
    told = media_type.lower() if isinstance(media_type, str) else ""
    for form, pattern in FORMS.items():
        if pattern.search(path) or (told and pattern.search(told)):
            return form
    return ""


def asset_at_fault(
    wanted: Sequence[str], has: Collection[str], unread: Mapping[str, str]
) -> tuple[str, str]:
    """What is wrong with the assets of an item, and of which it is; empty if nothing is.

    Parameters
    ----------
    wanted, has
        Bands that are needed, and those that can be read.
    unread
        Forms of those that cannot.
    """
    missing = [band for band in wanted if band not in has]
    for band in (*(band for band in missing if band in unread), *missing):
        form = unread.get(band)
        return f"its raster is {form}, and only GeoTIFF is read" if form else LACKING, band
    return "", ""
