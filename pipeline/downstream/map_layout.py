"""How a map of classes or of values lies in its store.

A map is a Zarr store on the lattice of the mosaic that it was made from: one group a zone, one
shard a tile and array, and the time axis of the mosaic. A map of classes has `class` and
`confidence`, a map of values `value` and `uncertainty`; `probability` and `quality` stand beside
them where they were asked for. A map of change has `value`, `cosine` and `state`. The root's
attribute `classes` lists code, name and colour, and `states` what `state` holds.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tessera_mosaic.pipeline.downstream.change import NOTHING
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.mosaic.layout import (
    BYTES,
    COUNTS,
    PLAIN,
    SHARDS,
    Array,
    array_node,
    count_array,
    group_node,
)
from tessera_mosaic.pipeline.mosaic.metadata import (
    YEARS_CHUNK,
    array_attributes,
    coordinate,
    zone_attributes,
)
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, WIDTH, zone_group

UNKNOWN, NO_DATA = 254, 255
"""Codes of pixels that are unlike all that the head was trained on, and of pixels without any."""

MOST_CLASSES = UNKNOWN
"""Classes that a map can tell apart: codes 0 to 253."""

UNKNOWN_COLOUR = (128, 128, 128)
"""Colour of class 254."""

CHUNK = 256
"""Side in pixels of the inner chunks: what a picture reads at once."""

DISTANCE = "distance"
MEASURES = (*map(count_array, COUNTS), DISTANCE)
"""What the array `quality` holds of a pixel: how often it was seen, and how unlike the training
data its embedding is, as 100 times the Mahalanobis distance."""

DISTANCE_STEP = 0.01
"""Mahalanobis distance of one step of `quality`."""

NO_QUALITY = 65_535
"""What `quality` holds of a pixel without data, and where a count is unknown."""

CHANGE_UNIT = "spreads of the noise of unchanged ground"
"""Unit of the values of a map of change."""

COORDINATES = {"time": "<i4", "y": "<f8", "x": "<f8", "code": "<i4", "measure": "<i4"}
"""Types of the coordinates: `code` numbers the classes of `probability`, `measure` what `quality`
holds."""


@dataclass(frozen=True)
class MapClass:
    """A class of a map.

    Parameters
    ----------
    code
        Its value in the array `class`, 0 to 253.
    name
        What people call it.
    colour
        Red, green and blue, 0 to 255.

    Examples
    --------
    >>> MapClass(1, "wheat", (230, 180, 60)).to_json()
    {'code': 1, 'name': 'wheat', 'colour': '#e6b43c'}
    """

    code: int
    name: str
    colour: tuple[int, int, int]

    def to_json(self) -> dict[str, Any]:
        """The fields as attributes hold them, the colour as `#rrggbb`."""
        red, green, blue = self.colour
        return {"code": self.code, "name": self.name, "colour": f"#{red:02x}{green:02x}{blue:02x}"}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> MapClass:
        """Read a class back; KeyError, TypeError or ValueError if the fields are none."""
        code, told = int(fields["code"]), bytes.fromhex(str(fields["colour"])[1:])
        if not 0 <= code < MOST_CLASSES or len(told) != 3:
            raise ValueError(f"{dict(fields)} is no class of a map")
        return cls(code, str(fields["name"]), (told[0], told[1], told[2]))


def map_digest(told: Any, kind: str, year: int) -> str:
    """What tells a map of a year from others: `m` and 15 hexadecimal digits.

    Parameters
    ----------
    told
        What decides its bytes, or where it does not say so, its classes.
    kind
        Name of its array: `class` or `value`.
    year
        Calendar year.
    """
    text = json.dumps([told, kind, year], sort_keys=True)
    return f"m{hashlib.sha256(text.encode()).hexdigest()[:15]}"


@dataclass(frozen=True)
class MapArray(Array):
    """An array of a map.

    Parameters
    ----------
    axis
        Name of the axis between time and y; empty where there is none.
    """

    axis: str = ""

    @property
    def band_dim(self) -> str:
        """Name of the axis between time and y."""
        return self.axis


@dataclass(frozen=True)
class MapLayout:
    """Which arrays a map has.

    Parameters
    ----------
    side
        Side in pixels of tiles and shards.
    classes
        Classes in the order of their codes; empty for a map of values.
    unit
        Unit of the values; empty for a map of classes, or where nobody named one.
    probabilities
        Whether the probability of every class is stored.
    quality
        Whether observation counts and the distance to the training data are stored.
    change
        Whether its values tell a change between two years, and no head made them.
    """

    side: int
    classes: tuple[MapClass, ...] = ()
    unit: str = ""
    probabilities: bool = False
    quality: bool = True
    change: bool = False

    @classmethod
    def of_change(cls, side: int) -> MapLayout:
        """The layout of a map of change, of tiles of so many pixels a side."""
        return cls(side, unit=CHANGE_UNIT, quality=False, change=True)

    @property
    def of_classes(self) -> bool:
        """Whether it is a map of classes, and not of values."""
        return bool(self.classes)

    @property
    def pictured(self) -> tuple[str, str]:
        """Names of the two arrays that people see: what is mapped, and what is behind it."""
        if self.of_classes:
            return "class", "confidence"
        return "value", "cosine" if self.change else "uncertainty"

    @property
    def arrays(self) -> tuple[MapArray, ...]:
        """All arrays of pixels, in the order in which a tile's objects are written."""
        arrays = []
        if self.quality:
            arrays.append(self._array("quality", "<u2", NO_QUALITY, len(MEASURES), "measure"))
        if self.probabilities:
            arrays.append(self._array("probability", "u1", NO_DATA, len(self.classes), "code"))
        if self.of_classes:
            arrays.append(self._array("confidence", "u1", NO_DATA))
            arrays.append(self._array("class", "u1", NO_DATA))
        elif self.change:
            arrays.append(self._array("state", "u1", NOTHING))
            arrays.append(self._array("cosine", "<f4", math.nan))
            arrays.append(self._array("value", "<f4", math.nan))
        else:
            arrays.append(self._array("uncertainty", "<f4", math.nan))
            arrays.append(self._array("value", "<f4", math.nan))
        return tuple(arrays)

    def array(self, name: str) -> MapArray:
        """An array by its name.

        Raises
        ------
        BadInput
            If the map has no such array.
        """
        for array in self.arrays:
            if array.name == name:
                return array
        have = ", ".join(array.name for array in self.arrays)
        raise BadInput(f"the map has no array {name}: it has {have}")

    def coordinates(self, years: tuple[int, ...]) -> Iterator[tuple[str, int, bytes]]:
        """Name, length and bytes of each coordinate."""
        yield "time", len(years), coordinate("time", years)
        yield "y", HEIGHT, coordinate("y", HEIGHT)
        yield "x", WIDTH, coordinate("x", WIDTH)
        if self.quality:
            yield "measure", len(MEASURES), coordinate("measure", len(MEASURES))
        if self.probabilities:
            codes = np.array([each.code for each in self.classes], "<i4")
            yield "code", len(codes), bytes(PLAIN.codec.encode(codes))

    def zone_nodes(self, zone: int, years: tuple[int, ...]) -> dict[str, dict[str, Any]]:
        """Zarr metadata of a zone's group and arrays, by path."""
        group = zone_group(zone)
        nodes = {group: group_node(zone_attributes(zone))}
        for name, length, _ in self.coordinates(years):
            dtype = np.dtype(COORDINATES[name])
            chunk = YEARS_CHUNK if name == "time" else length
            codecs = [BYTES, PLAIN.metadata(dtype)]
            nodes[f"{group}/{name}"] = array_node((length,), (chunk,), dtype, 0, (name,), codecs)
        for array in self.arrays:
            nodes[f"{group}/{array.name}"] = array.metadata(len(years), array_attributes(zone))
        return nodes

    def to_json(self) -> dict[str, Any]:
        """The layout as the root's attributes tell it."""
        return {
            "tile_side": self.side,
            "unit": self.unit,
            "probabilities": self.probabilities,
            "quality": self.quality,
            "classes": [each.to_json() for each in self.classes],
            # Maps by a head were made before there was any other.
            **({"change": True} if self.change else {}),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> MapLayout:
        """Read a layout back; KeyError, TypeError or ValueError if the fields are none."""
        return cls(
            int(fields["tile_side"]),
            tuple(MapClass.from_json(each) for each in fields["classes"]),
            str(fields["unit"]),
            bool(fields["probabilities"]),
            bool(fields["quality"]),
            bool(fields.get("change", False)),
        )

    def _array(
        self, name: str, dtype: str, fill: float, bands: int = 0, axis: str = ""
    ) -> MapArray:
        inner = min(CHUNK, self.side)
        return MapArray(name, np.dtype(dtype), fill, bands, inner, self.side, SHARDS, axis)
