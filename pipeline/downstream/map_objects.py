"""The objects that a tile of a map has in the store: its shards, its GeoTIFF, names of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.map_layout import MapLayout
from tessera_mosaic.pipeline.downstream.map_rasters import encode_cog, encode_sidecar
from tessera_mosaic.pipeline.downstream.map_store import MapStore
from tessera_mosaic.pipeline.io.stored_object import StoredObject
from tessera_mosaic.pipeline.ledger.keys import cog_key, sidecar_key
from tessera_mosaic.pipeline.tiling.lattice import Tile


def empty_tile(layout: MapLayout) -> dict[str, NDArray[Any]]:
    """Arrays of a tile without data, by name."""
    return {
        array.name: np.full(
            (*((array.bands,) if array.bands else ()), layout.side, layout.side),
            array.fill,
            array.dtype,
        )
        for array in layout.arrays
    }


def put_tile(
    made: MapStore, tile: Tile, year: int, values: Mapping[str, NDArray[Any]]
) -> tuple[StoredObject, ...]:
    """Put a tile's shards and its GeoTIFF, and return what was put.

    Parameters
    ----------
    made
        The map.
    tile, year
        The tile, and its calendar year.
    values
        The pixels of each array by its name: (side, side), or (bands, side, side).
    """
    layout, stored = made.layout, list(made.write(tile, year, values))
    files = {cog_key(tile, year): encode_cog(layout, tile, values, made.tags(year))}
    if layout.of_classes:
        files[sidecar_key(tile, year)] = encode_sidecar(layout)
    for key, data in files.items():
        made.storage.write(key, data)
        stored.append(StoredObject.of(key, data))
    return tuple(stored)


def tile_keys(made: MapStore, tile: Tile, year: int) -> tuple[str, ...]:
    """Keys of all objects that a tile may have, in the order in which they are put."""
    keys = (*made.keys(tile, year), cog_key(tile, year))
    return (*keys, sidecar_key(tile, year)) if made.layout.of_classes else keys


def key_templates(made: MapStore, year: int) -> tuple[str, ...]:
    """Keys of a tile's objects, with names in the places of zone, row, column and tile."""
    step = made.step(year)
    shards = tuple(
        f"{{zone}}/{array.name}/c/{step}/{'0/' if array.bands else ''}{{row}}/{{col}}"
        for array in made.layout.arrays
    )
    sample = Tile(1, 0, 0, made.layout.side)
    files = tile_keys(made, sample, year)[len(shards) :]
    return (*shards, *(key.replace(sample.name, "{tile}") for key in files))
