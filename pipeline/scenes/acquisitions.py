"""What was acquired when: tile, datatake and datastrip of Sentinel-2, wherever catalogues put them.

Versions of one acquisition share all three. Two datastrips of one datatake on one tile are halves
of it, which complete each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tessera_mosaic.pipeline.scenes.times import MIDNIGHT, utc

NAMES = (
    "mgrs_tile",
    "region_code",
    "tile_id",
    "tileId",
    "granule_id",
    "product_uri",
    "product_id",
    "product_name",
    "datatake_id",
    "datastrip_id",
    "utm_zone",
    "latitude_band",
    "grid_square",
    "title",
)
"""Properties of items that tell of the acquisition, by what they are called behind their prefix:
`s2:`, `sentinel:`, `eopf:`, `mgrs:` and others."""

GRID_CODE = "grid:code"
"""Property that has the tile behind `MGRS-`."""

_TILE = re.compile(r"(?:MGRS-|T)?(\d{1,2})([C-HJ-NP-X])([A-HJ-NP-Z]{2})")

_PRODUCT = re.compile(
    r"(?P<platform>S2[A-D])_MSI(?P<level>L\w{2})_(?P<datatake>\d{8}T\d{6})_(?:N\d{4}_)?(?:R\d{3}_)?"
    r"T(?P<tile>\d\d[C-X][A-Z]{2})(?:_(?P<made>\d{8}T\d{6}))?"
)
"""Names of products, such as `S2A_MSIL2A_20240702T101755_N0510_R108_T31UDS_20240702T160000`."""

_GRANULE = re.compile(
    r"L2A_T(?P<tile>\d\d[C-X][A-Z]{2})_A\d{6}_(?P<strip>\d{8}T\d{6})"
    r"|_T(?P<other>\d\d[C-X][A-Z]{2})_N\d\d\.\d\d"
)
"""A granule's folder in a product, which tells its datastrip, and a granule's name."""

_STRIP = re.compile(r"_S(\d{8}T\d{6})(?![0-9A-Za-z])")
_DATATAKE = re.compile(r"GS2[A-D]_(\d{8}T\d{6})_")
_SHORT_NAME = re.compile(r"(?P<platform>S2[A-D])_T?(?P<tile>\d{1,2}[C-X][A-Z]{2})_\d{8}")
"""Names of Earth Search, such as `S2A_31UDS_20240702_0_L2A`."""

_PLATFORM = re.compile(r"(?:sentinel-?|s)2([a-d])", re.IGNORECASE)


@dataclass(frozen=True)
class Acquisition:
    """What tells an acquisition of Sentinel-2 from others.

    Parameters
    ----------
    twin
        Platform, tile and datatake; empty where they are not known.
    strip
        Begin of its datastrip, as ESA writes it; empty where it is not known.
    made
        Time in UTC at which the product was made, by its name; empty where that is not known.
    """

    twin: tuple[str, ...]
    strip: str
    made: str


def tells_of_acquisition(name: str) -> bool:
    """Whether a property is one from which `acquisition` reads."""
    return name == GRID_CODE or name.rpartition(":")[2] in NAMES


def acquisition(
    name: str, when: str, properties: Mapping[str, Any], hrefs: Iterable[str]
) -> Acquisition:
    """Read which acquisition an item of Sentinel-2 is.

    Parameters
    ----------
    name, when
        The item's id and its time in UTC.
    properties
        Its properties.
    hrefs
        Addresses of its assets: those of ESA's own layout have the granule in them.
    """
    told: dict[str, str] = {}
    for key, value in properties.items():
        known = tells_of_acquisition(str(key)) and isinstance(value, str | int | float)
        if known and not isinstance(value, bool):
            told.setdefault(str(key).rpartition(":")[2], _text(value))
    texts = [name, *told.values(), next(iter(hrefs), "")]
    product = _first(_PRODUCT, texts)
    granule = _first(_GRANULE, texts)
    short = _first(_SHORT_NAME, [name])
    platform = _platform([str(properties.get("platform") or ""), _part(product, "platform"), name])
    tile = next(_tiles(told, (product, granule, granule, short)), "")
    strip = _STRIP.search(told.get("datastrip_id", "")) or _first(_STRIP, texts)
    datatake = _first(_DATATAKE, [told.get("datatake_id", ""), *texts])
    began = datatake[1] if datatake else _part(product, "datatake")
    if not began and not when.endswith(MIDNIGHT):
        began = when[:19].replace("-", "").replace(":", "")
    return Acquisition(
        (platform, tile, began) if tile and began else (),
        strip[1] if strip else _part(granule, "strip"),
        utc(_part(product, "made")) or "",
    )


def product_level(name: str, properties: Mapping[str, Any]) -> str:
    """Processing level that the name of a product of Sentinel-2 tells, `L2A`; empty for none."""
    names = ("s2:product_uri", "s2:product_id", "sentinel:product_id", "s2:product_type")
    texts = [name, *(_text(properties.get(key)) for key in names)]
    product = _first(_PRODUCT, texts)
    kind = next((text for text in texts if re.fullmatch(r"S2MSI[12][ABC]\w?", text)), "")
    return f"L{kind[5:7]}" if kind else _part(product, "level")


def _tiles(told: Mapping[str, str], names: Iterable[re.Match[str] | None]) -> Iterator[str]:
    """What may be the tile, the surest first."""
    parts = [told.get(key, "") for key in ("utm_zone", "latitude_band", "grid_square")]
    places = [told.get(key, "") for key in ("mgrs_tile", "code", "region_code", "tileId")]
    parts_of_names = [_part(match, group) for match in names for group in ("tile", "other")]
    for text in (*places, "".join(parts), told.get("tile_id", ""), *parts_of_names):
        if match := _TILE.fullmatch(text.upper()):
            yield f"{int(match[1]):02d}{match[2]}{match[3]}"


def _platform(texts: Iterable[str]) -> str:
    match = next((match for text in texts if (match := _PLATFORM.match(text))), None)
    return f"sentinel-2{match[1].lower()}" if match else ""


def _first(pattern: re.Pattern[str], texts: Iterable[str]) -> re.Match[str] | None:
    return next((match for text in texts if (match := pattern.search(text))), None)


def _part(match: re.Match[str] | None, group: str) -> str:
    """A named group of a match, empty where there is none."""
    return (match.groupdict().get(group) or "") if match else ""


def _text(value: Any) -> str:
    """A property as a text; whole numbers of any type as such."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)[:4096] if isinstance(value, str | int) else ""
