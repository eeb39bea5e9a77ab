"""What an estimate of areas says of itself."""

from __future__ import annotations

from tessera_mosaic.pipeline.contracts.state import Input, Kind, Numbers, State
from tessera_mosaic.pipeline.downstream.map_pixels import MapPixels
from tessera_mosaic.pipeline.downstream.map_store import ATTRIBUTE
from tessera_mosaic.pipeline.downstream.point_file import Points
from tessera_mosaic.pipeline.evaluation.intervals import CONFIDENCE

HECTARES = "ha"
"""Unit of areas of classes. A map of values is estimated in its own unit."""

INTERVALS = f"intervals of {CONFIDENCE:.0%}"
"""What tells how sure an estimate is."""


def area_state(pixels: MapPixels, points: Points) -> State:
    """The state of estimates.

    Parameters
    ----------
    pixels
        The map.
    points
        The labelled sample of it.
    """
    mosaic = pixels.attributes.get(ATTRIBUTE, {}).get("identity", {}).get("mosaic")
    return State(
        Kind.AREAS,
        inputs=(Input(Kind.MAP, pixels.digest), Input(Kind.SAMPLE, points.digest)),
        fingerprint=None if mosaic is None else str(mosaic),
        years=(pixels.year,),
        numbers=Numbers.VALUES,
        unit=HECTARES if pixels.of_classes else pixels.unit or None,
        classes={each.code: each.name for each in pixels.classes} or None,
        uncertainty=INTERVALS,
        design=points.origin.design.value,
    )
