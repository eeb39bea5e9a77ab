"""Which ground is land, from a layer that comes with the package."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.land_cells import CELL, SHAPE, read_mask

COAST = 12_000
"""Metres of sea around all land that count as land: users of earlier mosaics found coasts clipped
with 1 km, and later ones took some 11 km."""


LAYER = Path(__file__).parent / "data" / "land.npz"


@dataclass(frozen=True)
class Land:
    """Which cells of the zones have land.

    Parameters
    ----------
    name
        What the user called it: `coast`, or the path of a file.
    packed
        Bits of the cells by zone, uint8 (cell rows, bytes); a zone that is absent has no land.
    """

    name: str
    packed: Mapping[int, NDArray[np.uint8]]

    def cells(self, zone: int) -> NDArray[np.bool_]:
        """Cells of a zone that have land: bool (cell rows, cell columns)."""
        if zone not in self.packed:
            return np.zeros(SHAPE, bool)
        return np.unpackbits(self.packed[zone], axis=1, count=SHAPE[1]).astype(bool)

    def tiles(self, zone: int, side: int, rows: slice, cols: slice) -> NDArray[np.bool_]:
        """Which tiles of some rows and columns of a zone have land: bool (rows, cols)."""
        first = rows.start * side // CELL, cols.start * side // CELL
        stop = -(-rows.stop * side // CELL), -(-cols.stop * side // CELL)
        cells = self.cells(zone)[first[0] : stop[0], first[1] : stop[1]]
        if side < CELL:
            step = CELL // side
            small = cells.repeat(step, axis=0).repeat(step, axis=1)
            top, left = rows.start - first[0] * step, cols.start - first[1] * step
            return small[top:, left:][: rows.stop - rows.start, : cols.stop - cols.start]
        step = side // CELL
        blocks = cells.reshape(rows.stop - rows.start, step, cols.stop - cols.start, step)
        return np.asarray(blocks.any(axis=(1, 3)))


def read_land(text: str) -> Land | None:
    """Read a land layer.

    Parameters
    ----------
    text
        `coast` for the package's own: all land and 12 km around it; `everywhere` for no limit; or
        a user's own: a vector file of areas, or a GeoTIFF that is neither zero nor without data on
        land.

    Raises
    ------
    BadInput
        If it cannot be used.
    """
    if text == "everywhere":
        return None
    if text == "coast":
        with np.load(LAYER) as layer:
            return Land(text, {int(zone): layer[zone] for zone in layer.files})
    path = Path(text)
    if not path.exists():
        raise BadInput("there is no such file; 'coast' and 'everywhere' need none", "land", text)
    packed = {zone: np.packbits(cells, axis=1) for zone, cells in read_mask(path) if cells.any()}
    if not packed:
        raise BadInput("the file has no land", "land", text)
    return Land(text, packed)


def write_layer(path: Path, cells: Mapping[int, NDArray[np.bool_]]) -> None:
    """Write a layer as the package ships it, the same bytes for the same cells."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for zone in sorted(cells):
            member = zipfile.ZipInfo(f"{zone:02d}.npy")
            member.compress_type = zipfile.ZIP_DEFLATED
            with packed.open(member, "w") as file:
                np.lib.format.write_array(file, np.packbits(cells[zone], axis=1))
