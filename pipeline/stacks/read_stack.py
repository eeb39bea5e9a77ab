"""The annual stack of a region, read from a catalogue, and kept as a d-pixel directory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tessera_mosaic.model.observations import S1_BANDS, S2_BANDS
from tessera_mosaic.pipeline.bounds import check_bounds
from tessera_mosaic.pipeline.errors import (
    BadInput,
    Corrupt,
    Gone,
    Incomplete,
    Refused,
    SensorLost,
    choose,
)
from tessera_mosaic.pipeline.imagery.resample import Kernel
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.scene import YEARS, Scene, Sensor, check_year
from tessera_mosaic.pipeline.scenes.sensors import excused_scenes, sensors_without
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.dpixel_files import write_stack_directory
from tessera_mosaic.pipeline.stacks.losses import LOST_SCENES, Losses
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.stacks.sentinel1 import PassRule
from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule
from tessera_mosaic.pipeline.stacks.unit_parts import BESIDE
from tessera_mosaic.pipeline.tiling.lattice import Window, lonlat_bounds
from tessera_mosaic.pipeline.tiling.ownership import region_window, zones_touched
from tessera_mosaic.pipeline.tiling.region import read_region

log = logging.getLogger(__name__)

MOST_BYTES = 8 * 2**30
"""Largest stack that is made of a region, as that is done in memory."""

BYTES_A_PIXEL = {Sensor.S2: 2 * len(S2_BANDS) + 1, Sensor.S1: 2 * len(S1_BANDS)}
"""Bytes of one observation."""


@dataclass(frozen=True)
class StackRequest:
    """Which annual stack is asked for.

    Parameters
    ----------
    catalog
        STAC API, static catalogue or STAC GeoParquet index, as a path or URL, or the name of a
        public one; or a d-pixel directory.
    region
        Part of the Earth that lies in one UTM zone: `west,south,east,north` in degrees, a vector
        file, a country or a Sentinel-2 tile.
    year
        Calendar year of the scenes.
    kernel
        Resampling of the Sentinel-2 bands: `nearest`, `bilinear` or `cubic`.
    offset
        Rule by which the radiometric offset of Sentinel-2 is taken out: `evidence`, `reference`,
        `item` or `none`.
    s1_mosaic
        Rule for the value of a pixel that several scenes of one Sentinel-1 pass have: `first` or
        `mean`.
    allow_lost_scenes
        Number of scenes that may be faulty, gone, damaged or without answer.
    allow_hosts
        Hosts at private addresses that the catalogue may point to.
    allow_lost_sensor
        Whether the stack is made from one sensor though all scenes of the other are faulty.

    Raises
    ------
    BadInput
        If there are no scenes of the year, or a rule or a number cannot be.

    Examples
    --------
    >>> region = "2.997,50.846,2.998,50.847"
    >>> tm.StackRequest("archive/catalog.json", region, 2024, kernel="cubic").kernel
    <Kernel.CUBIC: 'cubic'>
    """

    catalog: str
    region: str
    year: int = field(metadata=YEARS.metadata)
    kernel: Kernel = Kernel.BILINEAR
    offset: OffsetRule = OffsetRule.EVIDENCE
    s1_mosaic: PassRule = PassRule.FIRST
    allow_lost_scenes: int = field(default=0, metadata=LOST_SCENES.metadata)
    allow_hosts: tuple[str, ...] = ()
    allow_lost_sensor: bool = False

    def __post_init__(self) -> None:
        check_year(self.year)
        check_bounds(self)
        choose(self, kernel=Kernel, offset=OffsetRule, s1_mosaic=PassRule)


@dataclass(frozen=True)
class RegionStack:
    """The annual stack of a region.

    Parameters
    ----------
    window
        Pixels of the lattice that it covers.
    year
        Calendar year of the scenes.
    catalog
        Address or name of the catalogue.
    rules
        Rules by which pixels became observations.
    annual
        The arrays, their dates, and the scenes that were used and not.
    absent_sensors
        Why a sensor gave no observation, by its name, `s2` or `s1`.
    """

    window: Window
    year: int
    catalog: str
    rules: Preprocessing
    annual: AnnualStack
    absent_sensors: Mapping[str, str] = field(default_factory=dict)

    def description(self) -> dict[str, Any]:
        """The fields of `stack.json`."""
        return {
            "crs": self.window.crs,
            "transform": list(self.window.transform),
            "shape": list(self.window.shape),
            "year": self.year,
            "catalog": self.catalog,
            "rules": {"imagery": self.rules.imagery.value, **self.rules.identity()},
            "dates": list(self.annual.dates),
            "ascending_dates": list(self.annual.ascending_dates),
            "descending_dates": list(self.annual.descending_dates),
            "absent_sensors": dict(self.absent_sensors),
            "scenes": {
                "used": list(self.annual.used),
                "unused": [{"id": name, "reason": why} for name, why in self.annual.unused],
                "offset_by_evidence": [
                    {"id": note.scene, "taken_out": note.taken_out, "by": note.by}
                    for note in self.annual.offsets
                ],
            },
        }


def read_stack(request: StackRequest) -> RegionStack:
    """Read the annual stack of a region.

    Parameters
    ----------
    request
        The stack that is asked for.

    Returns
    -------
    RegionStack
        Its `annual.stack` has reflectance times 10,000, uint16 (T, H, W, 10); masks, uint8
        (T, H, W); coded backscatter, int16 (A, H, W, 2) and (D, H, W, 2); and ordinal days of the
        year, uint16 (T,), int16 (A,) and int16 (D,).

    Raises
    ------
    BadInput
        If the region spans several zones or has no scenes in that year, or a scene cannot be read
        for good.
    SceneError
        If a provider cannot be asked now.

    Examples
    --------
    >>> request = tm.StackRequest("archive/catalog.json", "2.997,50.846,2.998,50.847", 2024)
    >>> stack = tm.read_stack(request).annual.stack
    >>> str(stack.bands.dtype), stack.bands.shape[1:]
    ('uint16', (13, 8, 10))
    """
    return _read(request, _find(request))


def write_stack(request: StackRequest, out: str | Path) -> RegionStack:
    """Read the annual stack of a region, and write it as a d-pixel directory.

    Parameters
    ----------
    request
        The stack that is asked for.
    out
        Directory for the arrays and `stack.json`, which is made.

    Returns
    -------
    RegionStack
        As `read_stack`.

    Raises
    ------
    BadInput
        As `read_stack`, or if the directory cannot be made or written to.
    SceneError
        If a provider cannot be asked now.

    Examples
    --------
    >>> request = tm.StackRequest("archive/catalog.json", "2.997,50.846,2.998,50.847", 2024)
    >>> tm.write_stack(request, "stack").window.shape
    (13, 8)
    """
    found = _find(request)
    make_directory(out)
    made = _read(request, found)
    write_stack_directory(out, made.annual.stack, made.description())
    return made


@dataclass(frozen=True)
class _Found:
    """The scenes of a region, where they are from, and what is to become of them."""

    window: Window
    source: Source
    rules: Preprocessing
    scenes: list[Scene]


def _find(request: StackRequest) -> _Found:
    """Find the scenes of a region."""
    window = _window(request)
    source = open_catalogue(request.catalog, request.allow_hosts)
    rules = Preprocessing(source.imagery, request.kernel, request.offset, request.s1_mosaic)
    rules.check(source)
    with _final_as_bad_input():
        scenes = source.search(lonlat_bounds(window), request.year)
    _check_size(request, window, scenes, source)
    return _Found(window, source, rules, scenes)


def _read(request: StackRequest, found: _Found) -> RegionStack:
    """Read the scenes of a region."""
    with _final_as_bad_input(), contextlib.closing(SceneReader(found.source)) as reader:
        excused = excused_scenes(found.scenes, request.allow_lost_sensor)
        losses = Losses(request.allow_lost_scenes, excused)
        annual = read_block(found.window, found.scenes, found.rules, reader, losses)
        absent = sensors_without(
            found.scenes,
            [scene for scene, *_ in losses.scenes],
            [scene for scene, why in annual.unused if why == BESIDE],
        )
    _tell_offsets(annual)
    return RegionStack(found.window, request.year, found.source.name, found.rules, annual, absent)


def _tell_offsets(annual: AnnualStack) -> None:
    """Say once in how many scenes evidence decided about the offset."""
    if annual.offsets:
        there = sum(note.taken_out for note in annual.offsets)
        log.warning(
            "radiometric offset of Sentinel-2: by evidence, against what the reference takes for "
            "granted, %d scenes had it, and it was taken out, and %d did not have it",
            there,
            len(annual.offsets) - there,
        )


def _window(request: StackRequest) -> Window:
    """The pixels of a region, which has to lie in one zone."""
    region = read_region(request.region)
    zones = zones_touched(region)
    if len(zones) != 1:
        raise BadInput(
            f"region {request.region} spans the UTM zones {', '.join(map(str, zones))}: a stack "
            "lies in one zone, so ask for each part by itself"
        )
    return region_window(zones[0], region)


def _check_size(request: StackRequest, window: Window, scenes: list[Scene], source: Source) -> None:
    """Refuse a stack of no scene, or one that does not fit into memory."""
    if not scenes:
        raise BadInput(
            f"catalogue {source.name} has no scenes of {request.year} over region {request.region}"
        )
    days = {(scene.sensor, scene.date, scene.orbit_state) for scene in scenes}
    pixel = sum(BYTES_A_PIXEL.get(sensor, 0) for sensor, _, _ in days)
    size = window.height * window.width * pixel
    if size > MOST_BYTES:
        raise BadInput(
            f"region {request.region} has {window.height:,} x {window.width:,} px and up to "
            f"{len(days)} days, a stack of {size / 2**30:.0f} GiB: ask for at most "
            f"{MOST_BYTES / 2**30:.0f} GiB at a time"
        )


@contextlib.contextmanager
def _final_as_bad_input() -> Iterator[None]:
    """What no further try can help with is bad input; a provider's bad moment is not."""
    try:
        yield
    except SensorLost as error:
        raise BadInput(f"{error} (allow a lost sensor to go on without it)") from None
    except (Corrupt, Gone, Incomplete, Refused) as error:
        way_out = " (allow one more lost scene to go on without it)" if error.scene else ""
        raise BadInput(f"{error}{way_out}") from None
