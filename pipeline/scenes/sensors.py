"""Of which sensors a place has scenes in a year, and what it means that it has none of one.

A sensor of which nothing is listed, or all scenes of which are of no use by their nature, such as
polar radar in HH and HV, is told and no more. One of which all scenes are faulty is a fault of the
catalogue: it fails a tile, unless the user allows it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

from tessera_mosaic.pipeline.errors import SensorLost
from tessera_mosaic.pipeline.scenes.scene import Scene, Sensor

log = logging.getLogger(__name__)

SENSORS = (Sensor.S2, Sensor.S1)
"""The sensors that observe a place, each by itself."""


def absent_sensors(scenes: Sequence[Scene]) -> dict[str, str]:
    """Why there are no observations of a sensor, by the sensors of which there are none.

    Parameters
    ----------
    scenes
        All scenes that a catalogue lists of a place and year.

    Returns
    -------
    Empty where there may be scenes of both, and where d-pixels stand in for scenes.
    """
    if any(scene.sensor == Sensor.DPIXELS for scene in scenes):
        return {}
    absent = {}
    for sensor in SENSORS:
        mine = [scene for scene in scenes if scene.sensor == sensor]
        useful = [scene for scene in mine if not scene.unusable]
        if not mine:
            absent[sensor.value] = "the catalogue lists no scene of it"
        elif not useful:
            absent[sensor.value] = (
                f"no scene of it can be used, of {len(mine)}: {mine[0].id}: {mine[0].unusable}"
            )
        elif all(scene.faulty for scene in useful):
            absent[sensor.value] = _all_lost(useful, useful[0].faulty)
    return absent


def excused_scenes(scenes: Sequence[Scene], allow_lost_sensor: bool) -> frozenset[str]:
    """Scenes that need not be read, because their sensor may be lost and is.

    Parameters
    ----------
    scenes
        All scenes that a catalogue lists of a place and year.
    allow_lost_sensor
        Whether all scenes of one sensor may be lost.

    Returns
    -------
    Ids of the faulty scenes of a sensor that has no others.

    Raises
    ------
    SensorLost
        If all scenes of a sensor are faulty, and that is not allowed or there is no other sensor.
    """
    absent = absent_sensors(scenes)
    faulty = {
        sensor: [s for s in scenes if s.sensor == sensor and s.faulty]
        for sensor in SENSORS
        if sensor in absent
    }
    lost = {sensor: ids for sensor, ids in faulty.items() if ids}
    for sensor in lost:
        if not allow_lost_sensor or len(absent) == len(SENSORS):
            raise SensorLost(f"{sensor.label}: {absent[sensor]}")
    return frozenset(scene.id for ids in lost.values() for scene in ids)


def sensors_without(
    scenes: Sequence[Scene],
    lost: Collection[str],
    unreached: Collection[str],
) -> dict[str, str]:
    """Why there are no observations of a sensor, once its scenes have been read.

    Parameters
    ----------
    scenes
        All scenes that a catalogue lists of a place and year.
    lost
        Ids of the scenes that could not be read.
    unreached
        Ids of those that turned out to lie beside the place.

    Returns
    -------
    As `absent_sensors`; also where all scenes of a sensor were lost as they were read.
    """
    absent = absent_sensors(scenes)
    for sensor in SENSORS:
        mine = [s for s in scenes if s.sensor == sensor and not s.unusable]
        gone = [scene for scene in mine if scene.id in lost]
        rest = {s.id for s in mine} - set(lost) - set(unreached) - {s.id for s in mine if s.faulty}
        if sensor not in absent and gone and not rest:
            absent[sensor.value] = _all_lost(gone, "it could not be read")
    return absent


def told_absent(absent: Mapping[str, str]) -> str:
    """A line about what is missing for people; empty where nothing is.

    Examples
    --------
    >>> told_absent({"s1": "the catalogue lists no scene of it"})
    'from Sentinel-2 alone: of Sentinel-1, the catalogue lists no scene of it'
    """
    there = [sensor.label for sensor in SENSORS if sensor not in absent]
    if not absent:
        return ""
    why = "; ".join(f"of {Sensor(sensor).label}, {why}" for sensor, why in absent.items())
    return f"from {' and '.join(there) or 'nothing'} alone: {why}"


def tell_absent(absent: Mapping[str, str]) -> None:
    """Say before a run that all of it is from one sensor, where it is: with a line of the log."""
    if told := told_absent(absent):
        log.warning("the whole run is %s", told)


def _all_lost(scenes: Sequence[Scene], why: str) -> str:
    return f"all {len(scenes)} scenes of it are faulty or lost, such as {scenes[0].id}: {why}"
