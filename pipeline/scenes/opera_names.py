"""Names of OPERA RTC-S1 products: they tell burst, time and version, and so the orbit state."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tessera_mosaic.pipeline.scenes.scene import OrbitState
from tessera_mosaic.pipeline.scenes.times import utc

ORBIT_SECONDS = 12 * 86400 / 175
BURST_SECONDS = 2.758273
FIRST_BURST_SECONDS = 2.299849
"""Sentinel-1 Level 1 Detailed Algorithm Definition, 9.25: bursts are numbered along the repeat
cycle of 175 orbits, from the ascending node of the first."""

GRANULE = re.compile(
    r"OPERA_L2_RTC-S1_T(?P<track>\d{3})-(?P<burst>\d{6})-(?P<swath>IW[123])_(?P<seen>\d{8}T\d{6})Z_"
    r"(?P<made>\d{8}T\d{6})Z_(?P<platform>S1[A-D])_\d+_v[\d.]*\d"
)


@dataclass(frozen=True)
class OperaName:
    """What the name of an OPERA RTC-S1 product tells.

    Parameters
    ----------
    name
        The name itself.
    orbit_state
        Direction in which the burst was seen.
    twin
        Burst and platform, which all versions of a product share.
    seen, made
        Times of acquisition and of processing in UTC, as `times.utc` writes them.
    """

    name: str
    orbit_state: OrbitState
    twin: tuple[str, ...]
    seen: str
    made: str


def opera_name(text: str) -> OperaName | None:
    """The name of an OPERA RTC-S1 product that stands in a text; None if there is none.

    Examples
    --------
    >>> name = opera_name(
    ...     "OPERA_L2_RTC-S1_T037-076843-IW1_20240704T174150Z_20250101T000000Z_S1A_30_v1.0"
    ... )
    >>> name.orbit_state
    <OrbitState.ASCENDING: 'ascending'>
    """
    match = GRANULE.search(text)
    seen = utc(match["seen"]) if match else None
    if match is None or seen is None:
        return None
    return OperaName(
        match[0],
        orbit_state(int(match["track"]), int(match["burst"])),
        (match["track"], match["burst"], match["swath"], match["platform"]),
        seen,
        utc(match["made"]) or "",
    )


def orbit_turn(track: int, burst: int) -> float:
    """Share of its orbit, from the ascending node on, at which a burst was seen."""
    seconds = (burst - 1) * BURST_SECONDS + FIRST_BURST_SECONDS - (track - 1) * ORBIT_SECONDS
    return seconds / ORBIT_SECONDS % 1.0


def orbit_state(track: int, burst: int) -> OrbitState:
    """Whether a burst is of an ascending or a descending pass, by its place in the cycle."""
    southward = 0.25 < orbit_turn(track, burst) < 0.75
    return OrbitState.DESCENDING if southward else OrbitState.ASCENDING
