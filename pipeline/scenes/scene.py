"""One scene: what the pipeline keeps of a catalogue's item, and nothing else.

A year over a tile has hundreds of scenes, so the record is small and plain.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from tessera_mosaic.model.observations import S1_BANDS, S2_BANDS
from tessera_mosaic.pipeline.errors import BadInput, Incomplete, SceneError, Unavailable
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.tiling.boxes import Box

CLASSES = "SCL"
"""Sentinel-2's scene classification among a scene's assets."""

S2_ASSETS = (*S2_BANDS, CLASSES)
"""Assets of a Sentinel-2 scene that are read."""


@dataclass(frozen=True)
class Scene:
    """One acquisition of one sensor over one footprint.

    Parameters
    ----------
    id
        Of the catalogue's item.
    sensor
        `s2` or `s1`.
    datetime
        Of the acquisition, UTC, `2024-05-01T10:30:31.024000Z`. Scenes compete in its order.
    bbox
        In degrees; west beyond east means across the antimeridian.
    assets
        Where each band lies. Keys are those of `S2_ASSETS`, or `vv` and `vh`.
    orbit_state
        `ascending`, `descending`, or empty where unknown.
    epsg
        Of the rasters, 0 where the item does not say.
    baseline
        Processing baseline of Sentinel-2, such as `05.11`, empty where unknown.
    offset
        What the catalogue says of Sentinel-2's radiometric offset: `applied` where it has been
        taken out of the pixels, `kept` where it is in them, empty where that is the baseline's.
    twin
        What reprocessed versions of the same acquisition share; empty for a scene that has none.
    made
        When this version was processed, UTC; the newest of several twins is taken.
    unusable
        Why the scene can never be used, empty if it can.
    """

    id: str
    sensor: str
    datetime: str
    bbox: Box
    assets: Mapping[str, str] = field(default_factory=dict)
    orbit_state: str = ""
    epsg: int = 0
    baseline: str = ""
    offset: str = ""
    twin: tuple[str, ...] = ()
    made: str = ""
    unusable: str = ""

    @property
    def date(self) -> str:
        """UTC date of the acquisition, `2024-05-01`."""
        return self.datetime[:10]

    @property
    def order(self) -> tuple[str, str]:
        """Rank among the scenes of a day: by time, then by id."""
        return self.datetime, self.id

    def asset(self, band: str) -> str:
        """Where a band lies.

        Raises
        ------
        Incomplete
            If the item lacks it.
        """
        if band not in self.assets:
            raise Incomplete("the item has no such asset", self.id, band)
        return self.assets[band]

    @property
    def anchor(self) -> str:
        """The band whose raster tells where the scene lies; those of all others lie there too."""
        return CLASSES if self.sensor == "s2" else S1_BANDS[0]

    @property
    def missing(self) -> tuple[str, ...]:
        """Bands that the item lacks."""
        wanted = S2_ASSETS if self.sensor == "s2" else S1_BANDS
        return tuple(band for band in wanted if band not in self.assets)


class Source(Protocol):
    """A catalogue of scenes. Credentials for their pixels are not its business (`signing`).

    Sources are opened once a process and are safe to use from many threads.
    """

    name: str
    remote: Remote
    """Fetches what the catalogue points to."""
    imagery: str
    """`mpc` where pixels are as ESA's processor wrote them, `aws` where the offset is out."""

    keeps_offset: bool
    """Whether its Sentinel-2 scenes have the offset in their pixels though they are `aws`."""

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All scenes of a year that touch a box, by time and id, twins marked unusable."""
        ...

    def refresh(self, scene: Scene) -> Scene:
        """Ask for the scene's item again, as its assets may have moved."""
        ...


@contextmanager
def opening(catalogue: str, no_such: str = "") -> Iterator[None]:
    """Say of which catalogue something could not be read while it was opened.

    Parameters
    ----------
    catalogue
        Its address, without a credential.
    no_such
        What it then turns out not to be, for the message; empty to say only what went wrong.

    Raises
    ------
    Unavailable
        Of the class of what went wrong, if the provider asks for patience or does not answer.
    BadInput
        If what is there, or may be read of it, cannot be used.
    """
    try:
        yield
    except Unavailable as error:
        raise type(error)(f"catalogue {catalogue}: {error.message}") from None
    except SceneError as error:
        what = f"catalogue {catalogue} is no {no_such}" if no_such else f"catalogue {catalogue}"
        raise BadInput(f"{what}: {error.message}") from None


def settle(scenes: Iterable[Scene], year: int) -> list[Scene]:
    """Put found scenes in order.

    Parameters
    ----------
    scenes
        In any order, and some perhaps twice.
    year
        That was asked for. Scenes of others are dropped; those of an unknown time stay.

    Returns
    -------
    By time and id. All but the newest sound one of twins are marked as superseded. Where several
    that differ have one id, a digest of each is added to it: the ids of STAC's items are told
    apart by their collections alone.
    """
    known = {repr(scene): scene for scene in scenes if scene.datetime[:4] in ("", f"{year:04d}")}
    named = Counter(scene.id for scene in known.values())
    ordered = sorted(
        (
            scene
            if named[scene.id] == 1
            else dataclasses.replace(scene, id=_distinct(scene.id, text))
            for text, scene in known.items()
        ),
        key=lambda scene: scene.order,
    )
    best: dict[tuple[str, ...], Scene] = {}
    for scene in ordered:
        if scene.twin and not scene.unusable:
            rival = best.get(scene.twin)
            if rival is None or _soundness(scene) > _soundness(rival):
                best[scene.twin] = scene
    return [
        dataclasses.replace(scene, unusable=f"superseded by {best[scene.twin].id}")
        if not scene.unusable and scene.twin and best[scene.twin].id != scene.id
        else scene
        for scene in ordered
    ]


def _distinct(name: str, text: str) -> str:
    return f"{name}#{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _soundness(scene: Scene) -> tuple[bool, str, str, str]:
    return not scene.missing, scene.made, scene.baseline, scene.id


FIRST_YEAR = 2016
"""First whole year of Sentinel-2 and Sentinel-1."""


def check_year(year: int) -> None:
    """Refuse a year of which there are no scenes."""
    if not FIRST_YEAR <= year <= datetime.date.today().year:
        raise BadInput(
            f"Sentinel-2 has whole years from {FIRST_YEAR} on, the future has none", "year", year
        )
