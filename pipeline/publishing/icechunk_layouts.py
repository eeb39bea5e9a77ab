"""What an Icechunk repository of a mosaic holds: two ways to lay out the same shards.

`tessera` is the layout of the store itself. `dclimate` is that of the repository that dClimate
publishes, which `tessera_apps` and the TESSERA client read: a group for each hemisphere of a zone,
and the dimensions of an embedding last. A shard is one chunk of both: within the sharding a
transposition of inner chunks tells the difference, so that the index and every byte stay the same.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tessera_mosaic.pipeline.mosaic.conventions import PLACE, place_attributes
from tessera_mosaic.pipeline.mosaic.layout import (
    BYTES,
    PLAIN,
    Array,
    array_node,
    count_array,
    group_node,
)
from tessera_mosaic.pipeline.mosaic.metadata import (
    YEARS_CHUNK,
    coordinate,
    root_node,
    zone_nodes,
    zone_objects,
)
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, PIXEL, WIDTH, Window, zone_group

FALSE_NORTHING = 10_000_000
"""Metres that the southern projections add to northings."""

DCLIMATE_NAMES = {
    "scales": "scales",
    count_array("s2"): "s2_obs_count",
    count_array("s1_ascending"): "s1_asc_obs_count",
    count_array("s1_descending"): "s1_desc_obs_count",
    "embeddings": "embeddings",
}
"""Names of arrays in dClimate's layout by ours; nested depths have none there."""


@dataclass(frozen=True)
class Placed:
    """An array of a repository, and which shards of the mosaic are its chunks.

    Parameters
    ----------
    path
        Its path in the repository.
    array
        The array of the mosaic whose shards they are.
    top, rows
        First row of shards, and the number of rows, that it has of the zone's.
    bands_last
        Whether the dimensions of an embedding are its last axis.
    """

    path: str
    array: Array
    top: int
    rows: int
    bands_last: bool = False

    def holds(self, row: int) -> bool:
        """Whether it has a row of shards."""
        return 0 <= row - self.top < self.rows

    def index(self, step: int, row: int, col: int) -> list[int]:
        """Place of a shard among its chunks."""
        place = [row - self.top, col]
        if not self.array.bands:
            return [step, *place]
        return [step, *place, 0] if self.bands_last else [step, 0, *place]


@dataclass(frozen=True)
class Hierarchy:
    """All that a repository holds but the shards.

    Parameters
    ----------
    nodes
        Zarr metadata by path; that of the root has the empty path.
    chunks
        Bytes of coordinates, by key.
    arrays
        Arrays of each zone, by its number.
    """

    nodes: Mapping[str, Mapping[str, Any]]
    chunks: Mapping[str, bytes]
    arrays: Mapping[int, Sequence[Placed]]


def tessera_layout(mosaic: Mosaic, made: Mapping[int, Sequence[int]]) -> Hierarchy:
    """The layout of the store itself, without its picture.

    Parameters
    ----------
    mosaic
        The mosaic.
    made
        Rows of shards, of any year, of each zone that has some.
    """
    nodes: dict[str, Any] = {"": _root(mosaic)}
    chunks: dict[str, bytes] = {}
    arrays = {}
    for zone in made:
        group = zone_group(zone)
        nodes |= zone_nodes(mosaic.layout, zone, len(mosaic.years))
        objects = zone_objects(mosaic.layout, zone, mosaic.years)
        chunks |= {key: data for key, data in objects if not key.endswith("/zarr.json")}
        across = HEIGHT // mosaic.layout.side
        arrays[zone] = [Placed(f"{group}/{a.name}", a, 0, across) for a in mosaic.layout.arrays]
    return Hierarchy(nodes, chunks, arrays)


def dclimate_layout(mosaic: Mosaic, made: Mapping[int, Sequence[int]]) -> Hierarchy:
    """The layout of dClimate's repository; parameters as of `tessera_layout`."""
    nodes: dict[str, Any] = {"": _root(mosaic)}
    chunks: dict[str, bytes] = {}
    arrays: dict[int, list[Placed]] = {}
    side = mosaic.layout.side
    equator = Window(1, 0, 0, 1, 1).north // PIXEL // side
    halves = {"N": (0, equator), "S": (equator, HEIGHT // side - equator)}
    for zone, rows_made in made.items():
        arrays[zone] = []
        for half, (top, rows) in halves.items():
            if not any(top <= row < top + rows for row in rows_made):
                continue
            group = f"{zone:02d}{half}"
            window = Window(zone, top * side, 0, rows * side, WIDTH)
            nodes[group] = group_node(_half_attributes(mosaic, window, half))
            for name, length, data in _half_coordinates(mosaic, window, half):
                dtype = np.dtype("<i4" if name in ("time", "band") else "<f8")
                chunk = YEARS_CHUNK if name == "time" else length
                codecs = [BYTES, PLAIN.metadata(dtype)]
                nodes[f"{group}/{name}"] = array_node(
                    (length,), (chunk,), dtype, 0, (name,), codecs
                )
                chunks[f"{group}/{name}/c/0"] = data
            for array in mosaic.layout.arrays:
                if array.name in DCLIMATE_NAMES:
                    path = f"{group}/{DCLIMATE_NAMES[array.name]}"
                    nodes[path] = _half_node(array, len(mosaic.years), rows * side)
                    arrays[zone].append(Placed(path, array, top, rows, bands_last=True))
    return Hierarchy(nodes, chunks, arrays)


def _root(mosaic: Mosaic) -> dict[str, Any]:
    """The root's metadata; Icechunk has that of all nodes by itself."""
    attributes = root_node(mosaic)["attributes"]
    del attributes["tessera_mosaic:sha256"]
    encoder = mosaic.identity.get("encoder")
    checkpoint = {"checkpoint_id": encoder["weights_sha256"]} if encoder else {}
    return group_node(attributes | checkpoint)


def _half_attributes(mosaic: Mosaic, window: Window, half: str) -> dict[str, Any]:
    south = half == "S"
    width, _, west, _, height, north = window.transform
    place = place_attributes(
        PLACE,
        f"EPSG:32{7 if south else 6}{window.zone:02d}",
        ("northing", "easting"),
        window.shape,
        (width, 0.0, west, 0.0, height, north + FALSE_NORTHING * south),
    )
    return place | {"utm_zone": window.zone, "years_complete": list(mosaic.years_made())}


def _half_coordinates(mosaic: Mosaic, window: Window, half: str) -> list[tuple[str, int, bytes]]:
    """Name, length and bytes of each coordinate."""
    first = window.north + FALSE_NORTHING * (half == "S") - PIXEL / 2
    northing = first - PIXEL * np.arange(window.height, dtype="<f8")
    return [
        ("time", len(mosaic.years), coordinate("time", mosaic.years)),
        ("northing", window.height, bytes(PLAIN.codec.encode(northing))),
        ("easting", WIDTH, coordinate("x", WIDTH)),
        ("band", mosaic.layout.dims, coordinate("band", mosaic.layout.dims)),
    ]


def _half_node(array: Array, steps: int, height: int) -> dict[str, Any]:
    """Metadata of an array of one hemisphere, the dimensions of an embedding last."""
    node = copy.deepcopy(array.metadata(steps, {}))
    grid = node["chunk_grid"]["configuration"]
    sharding = node["codecs"][0]["configuration"]
    if array.bands:
        node["shape"] = [steps, height, WIDTH, array.bands]
        grid["chunk_shape"] = [1, array.side, array.side, array.bands]
        sharding["chunk_shape"] = [1, array.inner, array.inner, array.bands]
        turned = {"name": "transpose", "configuration": {"order": [0, 3, 1, 2]}}
        sharding["codecs"] = [turned, *sharding["codecs"]]
        node["dimension_names"] = ["time", "northing", "easting", "band"]
    else:
        node["shape"] = [steps, height, WIDTH]
        node["dimension_names"] = ["time", "northing", "easting"]
    return node
